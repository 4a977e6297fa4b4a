#![allow(clippy::unwrap_used)]

use zzdot_zonegen::clock::UnixTime;

use super::*;
use crate::host::{Dhcp, Link, Source};
use crate::network::{Gateway, Medium, SignalKind};

const SECRET: [u8; 32] = [5; 32];
const ROUTER: &str = "3c:a6:2f:01:02:03";
const OTHER_ROUTER: &str = "5c:49:79:aa:bb:cc";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn resolvers(link: Option<u32>, servers: &[&str], default_route: bool) -> LinkResolvers {
    LinkResolvers {
        search: Vec::new(),
        link: link.map(|index| Link {
            index,
            name: format!("link{index}"),
        }),
        servers: servers.iter().map(|server| at(server)).collect(),
        domains: vec![],
        default_route,
        tunnel: false,
        dhcp: None,
        captive_portal: None,
        source: Source::NetworkManager,
    }
}

fn sight(index: u32, mac: &str) -> Sight {
    Sight {
        view: LinkView {
            index,
            name: format!("link{index}"),
            medium: Medium::Wired,
            gateways: vec![Gateway {
                address: "192.168.1.1".parse().unwrap(),
                mac: Some(mac.parse().unwrap()),
            }],
            prefixes: vec!["192.168.1.0/24".parse().unwrap()],
            dhcp_server: None,
            dhcp_domain: None,
            captive_portal: None,
            ssid: None,
            security: None,
            resolvers: vec![at("192.168.1.1:53")],
            domains: vec![],
            settled: true,
        },
        epoch: 1,
        quiet: true,
        unknown: vec![],
    }
}

fn known(id: u8, mac: &str) -> KnownNetwork {
    let sighting = Sighting::of(&sight(2, mac).view, &SECRET);
    KnownNetwork {
        id: NetworkId::from_bytes([id; 8]),
        expects: "00000000000000000000.zz".parse().unwrap(),
        server: at("192.168.1.1:53"),
        endpoint: at("192.168.1.1:853"),
        signals: sighting.signals().clone(),
        first_seen: UnixTime(0),
        confirmed: UnixTime(0),
        label: None,
    }
}

#[derive(Default)]
struct World {
    director: Director,
    decision: Decision,
    elsewhere: Vec<Elsewhere>,
    sights: Vec<Sight>,
    known: Vec<KnownNetwork>,
    separated: Vec<SeparatedNetwork>,
    drawn: u8,
}

impl World {
    fn plan(&mut self) -> Plan {
        let where_is = |server: SocketAddr| match server.ip() {
            ip if ip.is_loopback() => Whereabouts::Apart,
            _ => Whereabouts::Link(2),
        };
        let inputs = Inputs {
            decision: &self.decision,
            elsewhere: &self.elsewhere,
            sights: &self.sights,
            where_is: &where_is,
            known: &self.known,
            separated: &self.separated,
            secret: &SECRET,
        };
        let drawn = &mut self.drawn;
        self.director.plan(&inputs, &mut || {
            *drawn += 1;
            Some(NetworkId::from_bytes([200 + *drawn; 8]))
        })
    }

    fn default_stop(&mut self) -> Stop {
        let plan = self.plan();
        plan.stops[plan.default.unwrap()].clone()
    }
}

fn network(stop: &Stop) -> NetworkId {
    match stop.surroundings.place {
        Place::Network(network) => network,
        Place::Server(server) => panic!("{server} is no network"),
    }
}

/// One link, in a network whose router is this.
fn at_home(mac: &str) -> World {
    World {
        decision: Decision {
            links: vec![resolvers(Some(2), &["192.168.1.1:53"], true)],
            ..Decision::default()
        },
        sights: vec![sight(2, mac)],
        ..World::default()
    }
}

fn domain(text: &str) -> crate::host::Domain {
    text.parse().unwrap()
}

#[test]
fn nothing_is_asked_before_a_link_is_settled() {
    let mut world = at_home(ROUTER);
    world.sights[0].view.settled = false;
    let plan = world.plan();
    assert!(plan.stops.is_empty());
    assert_eq!(plan.default, None);
    assert_eq!(plan.waiting, ["link2"]);
}

#[test]
fn a_known_network_is_expected_at_once_and_a_new_one_is_not_called_new_before_it_is_quiet() {
    let mut world = at_home(ROUTER);
    world.sights[0].quiet = false;
    assert_eq!(world.plan().default, None);
    world.known = vec![known(1, ROUTER)];
    let stop = world.default_stop();
    assert_eq!(stop.taken, Taken::Expected);
    assert_eq!(network(&stop), NetworkId::from_bytes([1; 8]));
    assert_eq!(stop.surroundings.doubt, None);
    assert!(!stop.surroundings.signals.is_empty());
}

#[test]
fn a_new_network_keeps_its_number_while_the_link_stays_and_gets_another_when_it_comes_back() {
    let mut world = at_home(ROUTER);
    let first = world.default_stop();
    assert_eq!(first.taken, Taken::New);
    world.sights[0]
        .view
        .prefixes
        .push("2001:db8::/64".parse().unwrap());
    let grown = world.default_stop();
    assert_eq!(network(&grown), network(&first));
    assert_ne!(grown.surroundings.signals, first.surroundings.signals);
    world.sights[0].epoch = 2;
    assert_ne!(network(&world.default_stop()), network(&first));
}

#[test]
fn a_router_that_is_another_from_one_moment_to_the_next_is_suspect() {
    let mut world = at_home(ROUTER);
    world.known = vec![known(1, ROUTER)];
    assert_eq!(world.default_stop().taken, Taken::Expected);
    world.sights = vec![sight(2, OTHER_ROUTER)];
    let stop = world.default_stop();
    assert_eq!(stop.taken, Taken::Suspect);
    assert!(stop.turned);
    assert_eq!(network(&stop), NetworkId::from_bytes([1; 8]));
    assert_eq!(
        stop.surroundings.doubt,
        Some(vec![SignalKind::GatewayMacV4])
    );
    // The cable was out for long: this is another network of the same addresses.
    world.sights[0].epoch = 2;
    assert_eq!(world.default_stop().taken, Taken::New);
}

#[test]
fn a_network_that_a_person_forgot_is_new_and_not_haunted_by_its_number() {
    let mut world = at_home(ROUTER);
    world.known = vec![known(1, ROUTER)];
    let before = world.default_stop();
    world.known.clear();
    let after = world.default_stop();
    assert_eq!(after.taken, Taken::New);
    // Nobody is expected under that number any more; the session may as well go on under it.
    assert_eq!(network(&after), network(&before));
}

#[test]
fn a_network_that_was_new_is_expected_under_the_number_that_it_was_learned_under() {
    let mut world = at_home(ROUTER);
    let first = world.default_stop();
    let mut learned = known(1, ROUTER);
    learned.id = network(&first);
    world.known = vec![learned];
    let second = world.default_stop();
    assert_eq!(
        (network(&second), second.taken),
        (network(&first), Taken::Expected)
    );
}

#[test]
fn of_several_servers_the_one_that_was_met_is_asked() {
    let mut world = at_home(ROUTER);
    world.decision.links[0].servers = vec![at("192.168.1.2:53"), at("192.168.1.1:53")];
    assert_eq!(world.default_stop().server, at("192.168.1.2:53"));
    world.known = vec![known(1, ROUTER)];
    assert_eq!(world.default_stop().server, at("192.168.1.1:53"));
}

#[test]
fn a_tunnel_has_no_network_and_its_domains_go_there_alone() {
    let mut world = at_home(ROUTER);
    let mut tunnel = resolvers(Some(9), &["10.8.0.1:53"], false);
    tunnel.tunnel = true;
    tunnel.domains = vec![domain("corp.example")];
    world.decision.links.push(tunnel);
    let plan = world.plan();
    let way = plan
        .ways
        .lookup(b"\x03www\x04corp\x07example\0")
        .and_then(|branch| branch.stop)
        .unwrap();
    assert_eq!(plan.stops[way].taken, Taken::Apart);
    assert_eq!(plan.stops[way].server, at("10.8.0.1:53"));
    assert_ne!(plan.default, Some(way));
    assert!(!plan.is_uniform());
}

#[test]
fn names_of_a_link_that_is_not_recognised_yet_go_nowhere_else() {
    let mut world = at_home(ROUTER);
    let mut office = resolvers(Some(3), &["10.0.0.1:53"], false);
    office.domains = vec![domain("corp.example")];
    world.decision.links.push(office);
    let plan = world.plan();
    let way = plan.ways.lookup(b"\x04corp\x07example\0").unwrap();
    assert_eq!(way.stop, None);
    assert!(way.link.is_some(), "people are told which link");
    assert!(plan.default.is_some());
}

#[test]
fn domains_that_lead_where_everything_goes_are_no_choice() {
    let mut world = at_home(ROUTER);
    world.decision.links[0].domains = vec![domain("fritz.box")];
    assert!(world.plan().is_uniform());
}

#[test]
fn names_that_a_person_sends_elsewhere_go_there_whatever_the_network() {
    let mut world = at_home(ROUTER);
    world.elsewhere = vec![Elsewhere {
        domains: vec![domain("lab.example")],
        server: at("198.51.100.53:53"),
    }];
    let plan = world.plan();
    let way = plan.ways.lookup(b"\x03lab\x07example\0").unwrap();
    assert_eq!(way.link, None);
    let way = way.stop.unwrap();
    let place = Place::Server(at("198.51.100.53:53"));
    assert_eq!(plan.stops[way].surroundings.place, place);
    let configured = Plan::configured(&Server::Address(at("192.0.2.1:53")), &world.elsewhere);
    let configured = configured.unwrap();
    assert_eq!(configured.stops.len(), 2);
    assert!(!configured.is_uniform());
}

#[test]
fn a_server_of_this_machine_is_no_network() {
    let mut world = at_home(ROUTER);
    world.decision.links = vec![resolvers(None, &["127.0.0.1:5353"], true)];
    let stop = world.default_stop();
    assert_eq!(stop.taken, Taken::Apart);
    assert_eq!(
        stop.surroundings,
        Surroundings::of_server(at("127.0.0.1:5353"))
    );
}

#[test]
fn a_server_that_a_file_names_belongs_to_the_link_that_leads_there() {
    let mut world = at_home(ROUTER);
    world.decision.links = vec![resolvers(None, &["203.0.113.5:53"], true)];
    assert_eq!(world.default_stop().link.as_deref(), Some("link2"));
}

#[test]
fn of_several_links_the_first_that_is_recognised_has_the_names() {
    let mut world = at_home(ROUTER);
    world
        .decision
        .links
        .push(resolvers(Some(3), &["10.0.0.1:53"], true));
    let mut office = sight(3, OTHER_ROUTER);
    office.view.gateways[0].address = "10.0.0.1".parse().unwrap();
    world.sights.push(office);
    assert_eq!(world.default_stop().link.as_deref(), Some("link2"));
    world.sights[0].view.settled = false;
    assert_eq!(world.default_stop().link.as_deref(), Some("link3"));
}

#[test]
fn the_observer_is_given_what_each_link_was_given() {
    let mut first = resolvers(Some(2), &["192.168.1.1:53"], true);
    first.dhcp = Some(Dhcp {
        server: Some("192.168.1.1".parse().unwrap()),
        domain: Some("lan".to_owned()),
    });
    let mut tunnel = resolvers(Some(9), &["10.8.0.1:53"], true);
    tunnel.tunnel = true;
    let decision = Decision {
        links: vec![first, resolvers(None, &["192.168.1.7:53"], true), tunnel],
        ..Decision::default()
    };
    let givens = givens(&decision, &|_| Whereabouts::Link(2));
    assert_eq!(givens.keys().copied().collect::<Vec<_>>(), [2]);
    let given = &givens[&2];
    assert_eq!(
        given.resolvers,
        [at("192.168.1.1:53"), at("192.168.1.7:53")]
    );
    assert_eq!(given.dhcp_domain.as_deref(), Some("lan"));
}

#[path = "separated_tests.rs"]
mod separated;

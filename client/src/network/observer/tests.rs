#![allow(clippy::unwrap_used)]

use super::*;
use crate::network::MacAddress;
use crate::network::Medium;
use crate::network::netlink::Event;
use crate::network::netlink::{AddressRow, LinkRow, NeighbourRow, RouteRow};

const ETHER: u16 = 1;
const UP: u32 = 0x1 | 0x40;
const ROUTER: &str = "3c:a6:2f:01:02:03";

struct Machine {
    observer: Observer,
    now: Instant,
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self {
            observer: Observer::default(),
            now: Instant::now(),
        };
        machine.tell(Told::Afresh);
        machine.tell(Told::Whole);
        machine
    }

    fn tell(&mut self, told: Told) {
        self.observer.told(self.now, told);
    }

    fn event(&mut self, event: Event) {
        self.tell(Told::Event(event));
    }

    fn link(&mut self, index: u32, flags: u32, kind: Option<&str>) {
        self.event(Event::Link(row(index, flags, kind)));
    }

    fn address(&mut self, index: u32, address: &str) {
        let on_link: ipnet::IpNet = address.parse().unwrap();
        self.event(Event::Address(AddressRow {
            index,
            address: on_link.addr(),
            on_link,
            tentative: false,
        }));
    }

    fn router(&mut self, index: u32, address: &str) {
        let gateway: IpAddr = address.parse().unwrap();
        self.event(Event::Default(vec![RouteRow {
            index,
            gateway: Some(gateway),
            metric: 100,
            v6: gateway.is_ipv6(),
        }]));
    }

    fn neighbour(&mut self, index: u32, address: &str, mac: Option<&str>) {
        self.event(Event::Neighbour(NeighbourRow {
            index,
            address: address.parse().unwrap(),
            mac: mac.map(|mac| mac.parse().unwrap()),
        }));
    }

    fn resolver(&mut self, index: u32, address: &str) {
        let given = Given {
            resolvers: vec![address.parse().unwrap()],
            ..Given::default()
        };
        self.observer.given.insert(index, given);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn sights(&mut self) -> Vec<Sight> {
        self.observer.views(self.now)
    }

    fn sight(&mut self) -> Sight {
        let mut sights = self.sights();
        assert_eq!(sights.len(), 1, "{sights:?}");
        sights.remove(0)
    }

    /// A card in a network, up to the router's hardware address.
    fn plugged(&mut self) {
        self.link(2, UP, None);
        self.address(2, "192.168.1.7/24");
        self.router(2, "192.168.1.1");
        self.resolver(2, "192.168.1.1:53");
    }
}

fn row(index: u32, flags: u32, kind: Option<&str>) -> LinkRow {
    LinkRow {
        index,
        name: format!("link{index}"),
        hardware: ETHER,
        flags,
        kind: kind.map(str::to_owned),
        below: None,
        master: None,
        reaches_out: false,
    }
}

#[test]
fn a_page_that_a_router_advertises_counts_until_the_link_goes_and_after_that_of_a_lease() {
    let mut machine = Machine::new();
    machine.plugged();
    let page = |machine: &mut Machine| machine.sight().view.captive_portal;
    assert_eq!(page(&mut machine), None);
    machine.event(Event::Portal(3, "https://elsewhere.example/".to_owned()));
    assert_eq!(page(&mut machine), None);
    machine.event(Event::Portal(2, "https://portal.example/".to_owned()));
    assert_eq!(
        page(&mut machine).as_deref(),
        Some("https://portal.example/")
    );
    // Asked for everything anew, the kernel does not say it again.
    machine.tell(Told::Afresh);
    machine.plugged();
    machine.tell(Told::Whole);
    assert_eq!(
        page(&mut machine).as_deref(),
        Some("https://portal.example/")
    );
    let given = machine.observer.given.get_mut(&2).unwrap();
    given.captive_portal = Some("https://lease.example/".to_owned());
    assert_eq!(
        page(&mut machine).as_deref(),
        Some("https://lease.example/")
    );
    machine.event(Event::LinkGone(2));
    machine.plugged();
    assert_eq!(page(&mut machine), None);
}

#[test]
fn a_link_is_settled_the_moment_its_router_is_known_and_not_before() {
    let mut machine = Machine::new();
    machine.plugged();
    let sight = machine.sight();
    assert!(!sight.view.settled);
    assert_eq!(sight.unknown, ["192.168.1.1".parse::<IpAddr>().unwrap()]);
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    let sight = machine.sight();
    assert!(sight.view.settled);
    assert!(sight.unknown.is_empty());
    assert_eq!(sight.view.gateways[0].mac, Some(ROUTER.parse().unwrap()));
    assert_eq!(sight.view.prefixes, ["192.168.1.0/24".parse().unwrap()]);
}

#[test]
fn a_router_that_never_answers_settles_nothing() {
    let mut machine = Machine::new();
    machine.plugged();
    machine.neighbour(2, "192.168.1.1", None);
    machine.wait(Duration::from_secs(3600));
    assert!(!machine.sight().view.settled);
}

#[test]
fn a_second_router_is_waited_for_only_so_long() {
    let mut machine = Machine::new();
    machine.plugged();
    machine.router(2, "fe80::1");
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    assert!(!machine.sight().view.settled);
    let timeout = machine.observer.next_timeout(machine.now).unwrap();
    machine.now = timeout;
    assert!(machine.sight().view.settled);
}

#[test]
fn a_router_that_shows_up_later_unsettles_nothing() {
    let mut machine = Machine::new();
    machine.plugged();
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    assert!(machine.sight().view.settled);
    machine.router(2, "fe80::1");
    let sight = machine.sight();
    assert!(sight.view.settled);
    assert_eq!(sight.unknown, ["fe80::1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn nothing_is_called_quiet_before_it_was() {
    let mut machine = Machine::new();
    machine.plugged();
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    assert!(!machine.sight().quiet);
    machine.wait(QUIET / 2);
    machine.address(2, "2001:db8::7/64");
    assert!(!machine.sight().quiet);
    machine.wait(QUIET / 2);
    assert!(!machine.sight().quiet);
    let timeout = machine.observer.next_timeout(machine.now).unwrap();
    machine.now = timeout;
    assert!(machine.sight().quiet);
    // And then there is nothing to wait for.
    machine.wait(QUIET);
    assert_eq!(machine.observer.next_timeout(machine.now), None);
}

#[test]
fn where_there_is_no_way_out_the_resolver_is_the_neighbour_to_know() {
    let mut machine = Machine::new();
    machine.link(2, UP, None);
    machine.address(2, "192.168.1.7/24");
    machine.resolver(2, "192.168.1.1:53");
    assert!(!machine.sight().view.settled);
    machine.wait(GRACE);
    let sight = machine.sight();
    assert_eq!(sight.unknown, ["192.168.1.1".parse::<IpAddr>().unwrap()]);
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    assert!(machine.sight().view.settled);
}

#[test]
fn tunnels_bridges_for_guests_and_ports_are_no_networks() {
    let mut machine = Machine::new();
    for (index, kind) in [
        (3, "wireguard"),
        (4, "tun"),
        (5, "bridge"),
        (6, "dummy"),
        (7, "gre"),
    ] {
        machine.link(index, UP, Some(kind));
    }
    let mut guest = row(8, UP, Some("veth"));
    guest.master = Some(5);
    machine.event(Event::Link(guest));
    machine.event(Event::Link(row(1, UP | 0x8, None)));
    assert_eq!(machine.sights(), []);
}

#[test]
fn what_stands_on_a_real_card_is_real() {
    let mut machine = Machine::new();
    let mut port = row(2, UP, None);
    port.master = Some(3);
    machine.event(Event::Link(port));
    machine.link(3, UP, Some("bond"));
    let mut vlan = row(4, UP, Some("vlan"));
    vlan.below = Some(3);
    machine.event(Event::Link(vlan));
    machine.link(5, UP, Some("veth"));
    let mut outside = row(6, UP, Some("macvlan"));
    outside.reaches_out = true;
    machine.event(Event::Link(outside));
    let sights = machine.sights();
    let indices: Vec<u32> = sights.iter().map(|sight| sight.view.index).collect();
    assert_eq!(indices, [3, 4, 5, 6]);
    assert!(
        sights
            .iter()
            .all(|sight| sight.view.medium == Medium::Wired)
    );
}

#[test]
fn links_that_stand_on_one_another_in_a_circle_are_none() {
    let mut machine = Machine::new();
    for (index, below) in [(2, 3), (3, 2)] {
        let mut vlan = row(index, UP, Some("vlan"));
        vlan.below = Some(below);
        machine.event(Event::Link(vlan));
    }
    assert_eq!(machine.sights(), []);
}

#[test]
fn a_cable_that_was_out_for_a_moment_is_in_the_same_socket_and_later_it_is_not() {
    let mut machine = Machine::new();
    machine.plugged();
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    let first = machine.sight().epoch;
    for (out, same) in [(FLAP / 2, true), (FLAP, false)] {
        machine.link(2, 0x1, None);
        assert_eq!(machine.sights(), []);
        machine.wait(out);
        machine.link(2, UP, None);
        let sight = machine.sight();
        assert_eq!(sight.epoch == first, same);
        // In any case the router has to show itself again.
        assert_eq!(sight.view.gateways[0].mac, None);
        machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    }
}

#[test]
fn another_wireless_network_is_another_time() {
    let mut machine = Machine::new();
    let tuned = |ssid: Option<&str>| {
        let wireless = Wireless {
            ssid: ssid.map(|ssid| ssid.as_bytes().to_vec()),
            security: Some(Security::Personal),
        };
        BTreeMap::from([(2, wireless)])
    };
    let now = machine.now;
    machine.observer.tune(now, tuned(Some("home")));
    machine.plugged();
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    let first = machine.sight();
    assert_eq!(first.view.medium, Medium::Wireless);
    assert_eq!(first.view.ssid.as_deref(), Some(&b"home"[..]));
    // Between two access points there is a moment without any.
    machine.observer.tune(now, tuned(None));
    machine.observer.tune(now, tuned(Some("home")));
    assert_eq!(machine.sight().epoch, first.epoch);
    machine.observer.tune(now, tuned(Some("café")));
    assert_ne!(machine.sight().epoch, first.epoch);
}

#[test]
fn an_overrun_loses_nothing_that_is_still_there_and_keeps_nothing_that_is_gone() {
    let mut machine = Machine::new();
    machine.plugged();
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    machine.link(3, UP, None);
    let before = machine.sights();
    machine.tell(Told::Afresh);
    // Meanwhile nothing counts as settled.
    assert!(!machine.sights().iter().any(|sight| sight.view.settled));
    machine.plugged();
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    machine.tell(Told::Whole);
    let after = machine.sight();
    assert_eq!(after.view, before[0].view);
    assert_eq!(after.epoch, before[0].epoch);
}

#[test]
fn a_router_that_was_not_asked_lately_is_still_known_and_another_who_answers_is_seen() {
    let mut machine = Machine::new();
    machine.plugged();
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    machine.neighbour(2, "192.168.1.1", None);
    assert_eq!(
        machine.sight().view.gateways[0].mac,
        Some(ROUTER.parse().unwrap())
    );
    machine.neighbour(2, "192.168.1.1", Some("5c:49:79:aa:bb:cc"));
    assert_ne!(
        machine.sight().view.gateways[0].mac,
        Some(ROUTER.parse().unwrap())
    );
}

#[test]
fn a_crowd_of_neighbours_pushes_out_no_router_and_is_bounded() {
    let mut machine = Machine::new();
    machine.plugged();
    machine.neighbour(2, "192.168.1.1", Some(ROUTER));
    for number in 0_u32..10_000 {
        let address = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + number));
        machine.event(Event::Neighbour(NeighbourRow {
            index: 2,
            address,
            mac: Some(MacAddress([2, 1, 1, 1, 1, 1])),
        }));
    }
    assert!(machine.sight().view.settled);
}

#[test]
fn a_modem_has_no_neighbours_to_wait_for() {
    let mut machine = Machine::new();
    let mut modem = row(2, UP | 0x80, None);
    modem.hardware = 519;
    machine.event(Event::Link(modem));
    machine.address(2, "100.64.3.4/30");
    machine.resolver(2, "203.0.113.53:53");
    let sight = machine.sight();
    assert!(sight.view.settled);
    assert_eq!(sight.view.medium, Medium::Mobile);
    assert!(sight.unknown.is_empty());
}

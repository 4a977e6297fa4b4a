//! Links whose domains resolved would ask past this program: which they are, and what is done about each.
//!
//! A domain of a link counts for more to resolved than the whole machine's `~.`; and whoever asks on one link alone gets
//! that link's default route. So a link that has servers keeps neither. Whom to tell depends on who keeps the link: of one
//! that networkd manages resolved hears nobody else. NetworkManager is told to leave resolved alone before (see
//! `resolved.rs`); what it had said of its links is dropped, and read from NetworkManager itself from then on.

use std::collections::BTreeSet;
use std::fmt;

use zbus::Connection;

use super::services::{Called, call_owner};
use crate::host::decide::meant;
use crate::host::{
    Domain, HeldLink, Inputs, Keeper, LINKS_MAX, Leased, LinkSays, Saying, Source, resolved,
};

const NETWORKD: &str = "org.freedesktop.network1";
const NETWORKD_MANAGER: &str = "org.freedesktop.network1.Manager";
const NETWORKD_PATH: &str = "/org/freedesktop/network1";

/// What is done about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Its domains and its default route are taken from it.
    Hold(HeldLink),
    /// resolved forgets what it was told about it: NetworkManager knows it better.
    Forget(u32),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold(held) => write!(f, "the names of link {}", held.index),
            Self::Forget(index) => write!(f, "the servers of link {index}"),
        }
    }
}

/// Links that look as if they were held, for when nothing else is known of them.
pub(super) fn guessed(inputs: &Inputs) -> impl Iterator<Item = HeldLink> {
    let of_networkd = |saying: &&Saying| saying.source == Source::Networkd && saying.says.managed;
    let sayings = inputs.sayings.iter().filter(of_networkd);
    sayings.filter_map(|Saying { says, .. }| {
        let index = says.index.filter(|_| is_harmless(says))?;
        Some(held(Keeper::Networkd, index, says, None))
    })
}

/// What is to be done now; nothing where nothing goes past us.
pub(super) fn orders(inputs: &Inputs) -> Vec<Order> {
    let links = inputs.resolved.iter().flat_map(|says| &says.links);
    links
        .filter_map(|says| order(inputs, says))
        .take(LINKS_MAX)
        .collect()
}

fn order(inputs: &Inputs, says: &LinkSays) -> Option<Order> {
    let index = says.index?;
    let ours = |server| inputs.own.contains(&meant(server, index));
    if says.servers.iter().all(|server| ours(*server)) || is_harmless(says) {
        return None;
    }
    let known = inputs.held.iter().find(|held| held.index == index);
    let by_networkd = said_by(inputs, index, Source::Networkd);
    if let Some(networkd) = by_networkd.filter(|networkd| networkd.managed) {
        // resolved hears of it a moment later.
        if is_harmless(networkd) {
            return None;
        }
        let default_route = says.default_route;
        let says = LinkSays {
            default_route,
            ..networkd.clone()
        };
        return Some(Order::Hold(held(Keeper::Networkd, index, &says, known)));
    }
    let of_nm = said_by(inputs, index, Source::NetworkManager);
    let servers = of_nm.map(|of_nm| &of_nm.servers);
    if servers.is_some_and(|servers| says.servers.iter().all(|one| servers.contains(one))) {
        return Some(Order::Forget(index));
    }
    let known = known.filter(|known| known.servers == says.servers);
    Some(Order::Hold(held(Keeper::Resolved, index, says, known)))
}

/// resolved asks it about nothing.
fn is_harmless(says: &LinkSays) -> bool {
    says.domains.is_empty() && says.default_route == Some(false)
}

fn said_by(inputs: &Inputs, index: u32, source: Source) -> Option<&LinkSays> {
    let mut facts = inputs.links.iter();
    let name = facts.find(|facts| facts.index == index);
    let about = |says: &LinkSays| match says.index {
        Some(said) => said == index,
        None => says.name.is_some() && says.name.as_ref() == name.map(|facts| &facts.name),
    };
    let mut sayings = inputs.sayings.iter();
    let found = sayings.find(|Saying { source: by, says }| *by == source && about(says));
    found.map(|saying| &saying.says)
}

fn held(keeper: Keeper, index: u32, says: &LinkSays, known: Option<&HeldLink>) -> HeldLink {
    let known = known.filter(|known| known.keeper == keeper);
    let leased: BTreeSet<&Domain> = says.lease_domains.iter().collect();
    let own = |domains: &[Domain]| -> Vec<Domain> {
        let own = domains.iter().filter(|domain| !leased.contains(domain));
        own.cloned().collect()
    };
    HeldLink {
        index,
        keeper,
        servers: says.servers.clone(),
        domains: own(&says.domains),
        search: own(&says.search),
        leased: match () {
            () if says.search.iter().any(|domain| leased.contains(domain)) => Leased::Searched,
            () if says.domains.iter().any(|domain| leased.contains(domain)) => Leased::Routed,
            () => Leased::Unused,
        },
        // What is false now may be false by us.
        default_route: says.default_route != Some(false)
            || known.is_some_and(|known| known.default_route),
    }
}

/// Takes its domains from a link, or lets resolved forget it.
pub(super) async fn carry_out(bus: &Connection, order: &Order) -> Called {
    match order {
        Order::Hold(held) => tell(bus, held, &[], false).await,
        Order::Forget(index) => forget(bus, *index).await,
    }
}

/// Gives back what was taken. A link that is gone needs nothing, and a keeper that is gone knows nothing of us.
pub(super) async fn give_back(bus: &Connection, held: &HeldLink) -> Called {
    if held.keeper == Keeper::Networkd {
        let index = number(held.index);
        let call = (NETWORKD, NETWORKD_PATH, NETWORKD_MANAGER, "RevertLinkDNS");
        return call_owner(bus, call, &index).await;
    }
    let Some(owner) = crate::host::bus::owner(bus, resolved::NAME).await else {
        return Called::NobodyThere;
    };
    let now = match resolved::read(bus, &owner).await {
        Ok(says) => says,
        Err(error) => return Called::Failed(error),
    };
    let mut links = now.links.iter();
    let same = links.any(|says| {
        let same = says.index == Some(held.index) && says.servers == held.servers;
        same && is_harmless(says)
    });
    // Whoever told resolved something else since meant that.
    if !same {
        return Called::Done;
    }
    let domains: Vec<(String, bool)> = held
        .domains
        .iter()
        .map(|domain| (domain.to_string(), !held.search.contains(domain)))
        .collect();
    tell(bus, held, &domains, held.default_route).await
}

async fn tell(
    bus: &Connection,
    held: &HeldLink,
    domains: &[(String, bool)],
    default_route: bool,
) -> Called {
    let (name, path, interface) = match held.keeper {
        Keeper::Networkd => (NETWORKD, NETWORKD_PATH, NETWORKD_MANAGER),
        Keeper::Resolved => (resolved::NAME, resolved::PATH, resolved::MANAGER),
    };
    let index = number(held.index);
    let call = (name, path, interface, "SetLinkDomains");
    match call_owner(bus, call, &(index, domains)).await {
        Called::Done => {}
        other => return other,
    }
    let call = (name, path, interface, "SetLinkDefaultRoute");
    call_owner(bus, call, &(index, default_route)).await
}

/// resolved forgets the servers and domains of a link; not the rest, such as that nobody is to be asked by multicast.
async fn forget(bus: &Connection, index: u32) -> Called {
    let call = |method| (resolved::NAME, resolved::PATH, resolved::MANAGER, method);
    let servers: [(i32, &[u8]); 0] = [];
    let index = number(index);
    match call_owner(bus, call("SetLinkDNS"), &(index, &servers[..])).await {
        Called::Done => {}
        other => return other,
    }
    let domains: [(&str, bool); 0] = [];
    call_owner(bus, call("SetLinkDomains"), &(index, &domains[..])).await
}

/// As D-Bus has it; there are no links with such numbers.
fn number(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn domains(texts: &[&str]) -> Vec<Domain> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn link(texts: &[&str], default_route: Option<bool>) -> LinkSays {
        LinkSays {
            index: Some(2),
            servers: vec!["192.168.1.1:53".parse().unwrap()],
            domains: domains(texts),
            search: domains(texts),
            default_route,
            ..LinkSays::default()
        }
    }

    fn machine(of_resolved: LinkSays, more: &[(Source, LinkSays)]) -> Inputs {
        let saying = |(source, says): &(Source, LinkSays)| Saying {
            source: *source,
            says: says.clone(),
        };
        Inputs {
            sayings: more.iter().map(saying).collect(),
            ..Inputs::behind_resolved(of_resolved)
        }
    }

    fn only(orders: Vec<Order>) -> HeldLink {
        match orders.as_slice() {
            [Order::Hold(held)] => held.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_link_that_networkd_manages_is_taken_from_networkd() {
        let networkd = LinkSays {
            managed: true,
            lease_domains: domains(&["lan"]),
            ..link(&["lan", "home.example"], None)
        };
        let of_resolved = link(&["lan", "home.example"], Some(true));
        let found = only(orders(&machine(
            of_resolved,
            &[(Source::Networkd, networkd)],
        )));
        assert_eq!(found.keeper, Keeper::Networkd);
        assert_eq!(found.domains, domains(&["home.example"]));
        assert_eq!(found.leased, Leased::Searched);
        assert!(found.default_route);
    }

    #[test]
    fn what_networkd_was_just_told_is_not_told_again_while_resolved_has_not_heard_it() {
        let networkd = LinkSays {
            managed: true,
            ..link(&[], Some(false))
        };
        let inputs = machine(link(&["lan"], Some(true)), &[(Source::Networkd, networkd)]);
        assert_eq!(orders(&inputs), []);
    }

    #[test]
    fn what_network_manager_knows_itself_resolved_forgets() {
        let of_nm = LinkSays {
            index: None,
            name: Some("eth0".into()),
            ..link(&["lan"], None)
        };
        let inputs = machine(
            link(&["lan"], Some(true)),
            &[(Source::NetworkManager, of_nm.clone())],
        );
        assert_eq!(orders(&inputs), [Order::Forget(2)]);
        // Somebody else's word about NetworkManager's link is another matter.
        let mut other = link(&["corp.example"], Some(true));
        other.servers = vec!["10.0.0.1:53".parse().unwrap()];
        let found = only(orders(&machine(other, &[(Source::NetworkManager, of_nm)])));
        assert_eq!(found.keeper, Keeper::Resolved);
    }

    #[test]
    fn a_link_that_is_asked_about_nothing_and_one_that_asks_us_are_left_alone() {
        assert_eq!(orders(&machine(link(&[], Some(false)), &[])), []);
        let mut ours = link(&["lan"], Some(true));
        ours.servers = vec!["127.0.0.1:53".parse().unwrap()];
        assert_eq!(orders(&machine(ours, &[])), []);
        let mut nobody = link(&["lan"], Some(true));
        nobody.servers.clear();
        assert_eq!(orders(&machine(nobody, &[])), []);
    }

    #[test]
    fn a_default_route_alone_is_enough_to_go_past_us() {
        assert!(only(orders(&machine(link(&[], Some(true)), &[]))).default_route);
    }

    #[test]
    fn a_domain_that_came_back_does_not_make_our_own_word_the_links() {
        let mut inputs = machine(link(&["lan"], Some(false)), &[]);
        let first = machine(link(&[], Some(true)), &[]);
        inputs.held = vec![only(orders(&first))];
        let again = only(orders(&inputs));
        assert!(again.default_route, "we said that it has none");
        assert_eq!(again.domains, domains(&["lan"]));
        // With other servers it is somebody else's word.
        inputs.held[0].servers.clear();
        assert!(!only(orders(&inputs)).default_route);
    }
}

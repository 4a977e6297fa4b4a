//! Links whose names go to this program: what was taken from them, so that it is known here and can be given back.
//!
//! resolved asks a link about names below the link's own domains, whatever stands for the whole machine. So the domains
//! are taken from the link; its servers stay, for us to read. What the domains were stands in the journal.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Domain, Inputs, LinkSays, Source};

/// A link, as it was before its domains were taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeldLink {
    /// Its number.
    pub index: u32,
    /// Who was told.
    pub keeper: Keeper,
    /// Its servers then.
    pub servers: Vec<SocketAddr>,
    /// Its domains, but for those of a lease.
    pub domains: Vec<Domain>,
    /// Those that are put behind names of one label, too.
    pub search: Vec<Domain>,
    /// What was made of the domains of the lease.
    pub leased: Leased,
    /// Names of no domain could be asked there.
    pub default_route: bool,
}

/// Who keeps what resolved does with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeper {
    /// systemd-networkd, which manages the link: resolved hears nobody else about it.
    Networkd,
    /// resolved itself, as somebody told it over D-Bus.
    Resolved,
}

/// What is made of domains that DHCP names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leased {
    /// Nothing.
    Unused,
    /// Names below them are asked on the link.
    Routed,
    /// And they are put behind names of one label.
    Searched,
}

impl HeldLink {
    /// What the link would say by itself, where `says` has been said since.
    fn give_back(&self, says: &mut LinkSays, lease_domains: &[Domain]) {
        let leased = match self.leased {
            Leased::Unused => &[],
            Leased::Routed | Leased::Searched => lease_domains,
        };
        for domain in self.domains.iter().chain(leased) {
            if !says.domains.contains(domain) {
                says.domains.push(domain.clone());
            }
        }
        let searched = match self.leased {
            Leased::Searched => lease_domains,
            Leased::Unused | Leased::Routed => &[],
        };
        for domain in self.search.iter().chain(searched) {
            if !says.search.contains(domain) {
                says.search.push(domain.clone());
            }
        }
        // `false` is what we said ourselves.
        if says.default_route == Some(false) {
            says.default_route = Some(self.default_route);
        }
    }
}

/// The inputs as they would be if nothing were held. networkd's word about a lease is followed from one network to the
/// next; what somebody told resolved belongs to the servers that came with it.
pub(super) fn given_back(inputs: &Inputs) -> Inputs {
    let mut whole = inputs.clone();
    for held in &inputs.held {
        let of_networkd = |saying: &&super::Saying| {
            saying.source == Source::Networkd && saying.says.index == Some(held.index)
        };
        let lease: Vec<Domain> = inputs
            .sayings
            .iter()
            .find(of_networkd)
            .map(|saying| saying.says.lease_domains.clone())
            .unwrap_or_default();
        let links = whole.resolved.iter_mut().flat_map(|says| &mut says.links);
        for says in links.filter(|says| says.index == Some(held.index)) {
            if held.keeper == Keeper::Networkd || says.servers == held.servers {
                held.give_back(says, &lease);
            }
        }
        if held.keeper == Keeper::Networkd {
            let sayings = whole.sayings.iter_mut();
            for saying in sayings.filter(|saying| of_networkd(&&**saying)) {
                held.give_back(&mut saying.says, &lease);
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::host::{Saying, decide};

    fn domains(texts: &[&str]) -> Vec<Domain> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn held(keeper: Keeper) -> HeldLink {
        HeldLink {
            index: 2,
            keeper,
            servers: vec!["192.168.1.1:53".parse().unwrap()],
            domains: domains(&["corp.example", "home.example"]),
            search: domains(&["home.example"]),
            leased: Leased::Searched,
            default_route: true,
        }
    }

    /// A machine behind us: resolved has the link's server, and nothing else of it.
    fn behind_us(server: &str, keeper: Keeper) -> Inputs {
        let says = LinkSays {
            index: Some(2),
            servers: vec![server.parse().unwrap()],
            default_route: Some(false),
            ..LinkSays::default()
        };
        let of_networkd = LinkSays {
            lease_domains: domains(&["cafe.example"]),
            ..says.clone()
        };
        Inputs {
            sayings: match keeper {
                Keeper::Networkd => vec![Saying {
                    source: Source::Networkd,
                    says: of_networkd,
                }],
                Keeper::Resolved => Vec::new(),
            },
            held: vec![held(keeper)],
            ..Inputs::behind_resolved(says)
        }
    }

    #[test]
    fn what_is_taken_from_a_link_is_still_known_and_its_lease_is_followed() {
        let decision = decide(&behind_us("10.0.0.1:53", Keeper::Networkd));
        let link = &decision.links[0];
        assert_eq!(
            link.domains,
            domains(&["corp.example", "home.example", "cafe.example"])
        );
        assert_eq!(link.search, domains(&["home.example", "cafe.example"]));
        assert!(link.default_route, "{decision:?}");
        assert_eq!(link.servers, ["10.0.0.1:53".parse().unwrap()]);
        assert!(decision.past_us.is_empty(), "{decision:?}");
    }

    #[test]
    fn without_resolved_the_files_of_networkd_say_the_same() {
        let mut inputs = behind_us("10.0.0.1:53", Keeper::Networkd);
        inputs.resolved = None;
        let decision = decide(&inputs);
        assert_eq!(decision.links[0].source, Source::Networkd);
        assert_eq!(decision.links[0].domains.len(), 3);
        assert!(decision.links[0].default_route);
    }

    #[test]
    fn domains_of_servers_that_went_are_forgotten() {
        let before = decide(&behind_us("192.168.1.1:53", Keeper::Resolved));
        assert_eq!(
            before.links[0].domains,
            domains(&["corp.example", "home.example"])
        );
        let after = decide(&behind_us("10.0.0.1:53", Keeper::Resolved));
        assert!(after.links[0].domains.is_empty(), "{after:?}");
    }

    #[test]
    fn an_unused_domain_of_a_lease_stays_unused() {
        let mut inputs = behind_us("10.0.0.1:53", Keeper::Networkd);
        inputs.held[0].leased = Leased::Unused;
        assert_eq!(decide(&inputs).links[0].domains.len(), 2);
        inputs.held[0].leased = Leased::Routed;
        let decision = decide(&inputs);
        assert_eq!(decision.links[0].domains.len(), 3);
        assert_eq!(decision.links[0].search, domains(&["home.example"]));
    }

    #[test]
    fn a_domain_that_came_back_to_the_link_is_told_as_going_past_us() {
        let mut inputs = behind_us("10.0.0.1:53", Keeper::Networkd);
        inputs.resolved.as_mut().unwrap().links[0].domains = domains(&["lan"]);
        let decision = decide(&inputs);
        assert_eq!(
            decision.past_us[0].domains,
            domains(&["lan"]),
            "{decision:?}"
        );
    }
}

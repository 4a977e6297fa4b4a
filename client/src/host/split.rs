//! Which way a name goes (split DNS): the longest domain that holds it decides.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::Deserialize;

use super::{Decision, Domain};
use crate::config::address_and_port;

/// The most octets of a name (RFC 1035 §3.1).
const NAME_MAX: usize = 255;

/// Domains, and what belongs to each.
#[derive(Clone, Debug)]
pub struct SplitTable<T> {
    by_domain: HashMap<Box<[u8]>, T>,
}

impl<T> Default for SplitTable<T> {
    fn default() -> Self {
        Self {
            by_domain: HashMap::new(),
        }
    }
}

impl<T> SplitTable<T> {
    /// No domain at all: every name goes the same way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_domain.is_empty()
    }

    /// How many domains there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_domain.len()
    }

    /// Adds a domain, unless it is there: who comes first, stays.
    pub fn add(&mut self, domain: &Domain, value: T) {
        self.by_domain.entry(domain.wire().into()).or_insert(value);
    }

    /// What belongs to the longest domain that holds `name` (as on the wire, uncompressed, in any
    /// letter case). None for a name that none holds, and for octets that are no name. Allocates nothing.
    #[must_use]
    pub fn lookup(&self, name: &[u8]) -> Option<&T> {
        self.longest(name).map(|(_, value)| value)
    }

    /// The same, and how many octets of `name` stand before the domain.
    fn longest(&self, name: &[u8]) -> Option<(usize, &T)> {
        if self.by_domain.is_empty() {
            return None;
        }
        let mut lower = [0_u8; NAME_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        // Lengths are below 64, and so below the letters.
        lower.make_ascii_lowercase();
        let mut rest = &*lower;
        loop {
            if let Some(value) = self.by_domain.get(rest) {
                return Some((name.len() - rest.len(), value));
            }
            match rest {
                [length @ 1..=63, tail @ ..] => rest = tail.get(usize::from(*length)..)?,
                _ => return None,
            }
        }
    }

    /// As [`SplitTable::lookup`], with the domain, for people.
    #[must_use]
    pub fn decide(&self, name: &[u8]) -> Option<(Domain, &T)> {
        let (before, value) = self.longest(name)?;
        Some((Domain::of_wire(name.get(before..)?), value))
    }

    /// The same domains, and what `change` makes of what belongs to each.
    #[must_use]
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> SplitTable<U> {
        let changed = |(domain, value)| (domain, change(value));
        SplitTable {
            by_domain: self.by_domain.into_iter().map(changed).collect(),
        }
    }

    /// All domains and what belongs to them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.by_domain
            .iter()
            .map(|(domain, value)| (&**domain, value))
    }

    /// The same for people, by the names of the domains.
    #[must_use]
    pub fn sorted(&self) -> Vec<(Domain, &T)> {
        let all = self.iter();
        let mut all: Vec<_> = all
            .map(|(domain, value)| (Domain::of_wire(domain), value))
            .collect();
        all.sort_by_cached_key(|(domain, _)| domain.to_string());
        all
    }
}

/// Names that go elsewhere: a table `[[elsewhere]]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Elsewhere {
    /// These domains and all names below them
    pub domains: Vec<Domain>,
    /// are asked of this server.
    #[serde(deserialize_with = "server_address")]
    pub server: SocketAddr,
}

/// The way of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server that the configuration names for it.
    Elsewhere(SocketAddr),
    /// To the resolvers of the link at this place in [`Decision::links`].
    Link(usize),
}

/// The table of all domains. A name that it does not know goes to the links with a default route.
///
/// What a person configured goes before what a link says. Where two links name the same domain, the
/// tunnel has it: whoever is in the office by wire and by tunnel started the tunnel on purpose.
#[must_use]
pub fn split(decision: &Decision, elsewhere: &[Elsewhere]) -> SplitTable<Way> {
    let mut table = SplitTable::default();
    for entry in elsewhere {
        for domain in &entry.domains {
            table.add(domain, Way::Elsewhere(entry.server));
        }
    }
    let links = || decision.links.iter().enumerate();
    let tunnels = links().filter(|(_, link)| link.tunnel);
    for (place, link) in tunnels.chain(links().filter(|(_, link)| !link.tunnel)) {
        // The root is no domain to pick by: it made the link the default route already.
        for domain in link.domains.iter().filter(|domain| !domain.is_root()) {
            table.add(domain, Way::Link(place));
        }
    }
    table
}

fn server_address<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    address_and_port(&text, crate::config::DNS_PORT)
        .filter(|address| !address.ip().is_unspecified() && !address.ip().is_multicast())
        .ok_or_else(|| {
            let problem = format!("found \"{text}\"; ADDRESS or ADDRESS:PORT is expected");
            serde::de::Error::custom(problem)
        })
}

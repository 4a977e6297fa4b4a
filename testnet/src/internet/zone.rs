//! Zones before they are signed.

use std::{collections::BTreeSet, fmt::Write};

/// Seconds; short, so that a lab that stays up sees records expire.
const TTL_SECS: u32 = 300;
const NEGATIVE_TTL_SECS: u32 = 60;

/// How a zone is signed, and what is wrong with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Signing {
    /// Not at all; its parent proves that.
    Unsigned,
    /// With an NSEC chain.
    Nsec,
    /// With an NSEC3 chain (no salt, no iterations: RFC 9276).
    Nsec3,
    /// With every signature spoilt.
    Broken,
    /// With signatures of last year.
    Expired,
    /// With signatures of next year.
    NotYetValid,
    /// With another key than the one that its parent names.
    WrongKey,
    /// Not at all, though its parent names a key.
    Stripped,
}

impl Signing {
    /// The parent names a key of it.
    pub(crate) fn has_delegation_signer(self) -> bool {
        self != Self::Unsigned
    }

    /// It goes through the signer.
    pub(crate) fn is_signed(self) -> bool {
        !matches!(self, Self::Unsigned | Self::Stripped)
    }
}

/// A name server as a zone names it, with addresses where the zone holds them.
#[derive(Clone, Debug)]
pub(crate) struct NameServer {
    pub(crate) name: String,
    pub(crate) addresses: [String; 2],
}

/// A zone: origin (empty for the root), name servers and the other records, as text.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) origin: String,
    pub(crate) signing: Signing,
    pub(crate) name_servers: Vec<NameServer>,
    /// `OWNER TYPE RDATA`, owners absolute, without duplicates.
    records: BTreeSet<String>,
}

impl Zone {
    pub(crate) fn new(origin: &str, signing: Signing, name_servers: Vec<NameServer>) -> Self {
        let mut zone = Self {
            origin: origin.to_owned(),
            signing,
            name_servers,
            records: BTreeSet::new(),
        };
        for server in zone.name_servers.clone() {
            if zone.holds(&server.name) {
                zone.add_addresses(&server.name, &server.addresses);
            }
        }
        zone
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, owner: &str, rtype: &str, rdata: &str) {
        self.records.insert(format!("{owner}. {rtype} {rdata}"));
    }

    /// Adds an IPv4 and an IPv6 address.
    pub(crate) fn add_addresses(&mut self, owner: &str, addresses: &[String; 2]) {
        self.add(owner, "A", &addresses[0]);
        self.add(owner, "AAAA", &addresses[1]);
    }

    /// Delegates a child: its name servers, their addresses where nobody else could give them, and its key.
    pub(crate) fn delegate(&mut self, child: &Zone, delegation_signer: Option<&str>) {
        for server in &child.name_servers {
            self.add(&child.origin, "NS", &format!("{}.", server.name));
            if child.holds(&server.name) {
                self.add_addresses(&server.name, &server.addresses);
            }
        }
        if let Some(rdata) = delegation_signer {
            self.add(&child.origin, "DS", rdata);
        }
    }

    /// Is this name at or below the origin?
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.origin.is_empty()
            || name == self.origin
            || name
                .strip_suffix(&self.origin)
                .is_some_and(|head| head.ends_with('.'))
    }

    /// The master file.
    pub(crate) fn master_file(&self) -> String {
        let origin = format!("{}.", self.origin);
        let server = self
            .name_servers
            .first()
            .map_or("", |server| server.name.as_str());
        let mut text = format!(
            "$TTL {TTL_SECS}\n{origin} {TTL_SECS} IN SOA {server}. hostmaster.{server}. 1 3600 600 86400 {NEGATIVE_TTL_SECS}\n"
        );
        for server in &self.name_servers {
            let _ = writeln!(text, "{origin} IN NS {}.", server.name);
        }
        for record in &self.records {
            let (owner, rest) = record.split_once(' ').unwrap_or((record, ""));
            let _ = writeln!(text, "{owner} IN {rest}");
        }
        text
    }

    /// A name for its files.
    pub(crate) fn file_stem(&self) -> &str {
        if self.origin.is_empty() {
            "root"
        } else {
            &self.origin
        }
    }
}

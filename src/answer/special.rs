//! Names that are answered on this machine and never leave it.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, SOA},
};

use super::local::Found;

/// Time to live of what is answered here, in seconds (RFC 6303 §3).
const TTL_SECS: u32 = 10_800;

/// What is special about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Does not exist, and nobody else may be asked.
    Nowhere,
    /// The loopback addresses (RFC 6761 §6.3).
    Loopback,
    /// A locally served zone in which only `_dns` exists, without records: there is no designated
    /// resolver but by the zones that this server publishes (RFC 9462 §6.4, RFC 6303).
    Designation,
}

/// The names that are special everywhere.
///
/// `use-application-dns.net`, `home.arpa` and the private reverse zones are not among them: what
/// they say is for the operator's own resolver behind this one to decide.
const SPECIAL: [(&str, Kind); 5] = [
    // Where resolvers that name themselves live: no root server has to hear of them.
    ("zz.", Kind::Nowhere),
    // RFC 6761 §6.4.
    ("invalid.", Kind::Nowhere),
    // RFC 7686 §2.
    ("onion.", Kind::Nowhere),
    ("localhost.", Kind::Loopback),
    ("resolver.arpa.", Kind::Designation),
];

/// Those by which resolvers are discovered: a server that publishes nothing itself leaves them to the
/// one behind it (protocol.md §3).
const DISCOVERY: [&str; 2] = ["zz.", "resolver.arpa."];

/// The special names, parsed once.
#[derive(Debug)]
pub(super) struct SpecialNames(Vec<(Name, Kind)>);

impl SpecialNames {
    /// Those that are special everywhere, and `suffixes` under which nobody else is asked.
    pub(super) fn new(suffixes: &[Name]) -> Self {
        let everywhere = SPECIAL.iter().map(|(name, kind)| {
            let name = Name::from_str(name).expect("a constant, tested below");
            (name, *kind)
        });
        let own = suffixes.iter().map(|name| (name.clone(), Kind::Nowhere));
        Self(everywhere.chain(own).collect())
    }

    /// Those that are special even to a server that leaves discovery to the one behind it.
    pub(super) fn without_discovery() -> Self {
        let Self(mut names) = Self::new(&[]);
        names.retain(|(name, _)| !DISCOVERY.contains(&name.to_ascii().as_str()));
        Self(names)
    }

    /// The answer for `name`, if it is special.
    pub(super) fn lookup(&self, name: &Name, qtype: RecordType) -> Option<Found> {
        let (zone, kind) = self.0.iter().find(|(zone, _)| zone.zone_of(name))?;
        let soa = Record::from_rdata(zone.clone(), TTL_SECS, RData::SOA(soa(zone)));
        Some(match kind {
            Kind::Nowhere => Found::nothing(name != zone, soa),
            Kind::Loopback => {
                let address = match qtype {
                    RecordType::A => RData::A(A(Ipv4Addr::LOCALHOST)),
                    RecordType::AAAA => RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)),
                    _ => return Some(Found::nothing(false, soa)),
                };
                Found::records(vec![Record::from_rdata(name.clone(), TTL_SECS, address)])
            }
            Kind::Designation if name == zone && qtype == RecordType::SOA => {
                Found::records(vec![soa])
            }
            Kind::Designation => {
                let exists = name == zone || below_underscore_dns(name, zone);
                Found::nothing(!exists, soa)
            }
        })
    }
}

/// Whether the label next to `zone` is `_dns`, or `name` is above a port of it (RFC 9461 §3).
fn below_underscore_dns(name: &Name, zone: &Name) -> bool {
    let depth = usize::from(name.num_labels().saturating_sub(zone.num_labels()));
    name.iter()
        .nth(depth.saturating_sub(1))
        .is_some_and(|label| label.eq_ignore_ascii_case(b"_dns"))
}

/// The SOA record of RFC 6303 §3.
fn soa(zone: &Name) -> SOA {
    let nobody = Name::from_str("nobody.invalid.").expect("a constant, tested below");
    SOA::new(zone.clone(), nobody, 1, 3600, 1200, 604_800, TTL_SECS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use hickory_proto::op::ResponseCode;

    fn lookup(name: &str, qtype: RecordType) -> Option<Found> {
        let suffix = Name::from_str("home.test.").unwrap();
        SpecialNames::new(&[suffix]).lookup(&Name::from_str(name).unwrap(), qtype)
    }

    #[test]
    fn names_that_must_not_leave_end_here() {
        for (name, qtype, rcode, answers) in [
            (
                "abcdefghij0123456789.zz.",
                RecordType::A,
                ResponseCode::NXDomain,
                0,
            ),
            ("zz.", RecordType::NS, ResponseCode::NoError, 0),
            ("a.b.ZZ.", RecordType::TXT, ResponseCode::NXDomain, 0),
            ("www.invalid.", RecordType::A, ResponseCode::NXDomain, 0),
            ("duck.OnIon.", RecordType::A, ResponseCode::NXDomain, 0),
            ("x.home.test.", RecordType::A, ResponseCode::NXDomain, 0),
            ("localhost.", RecordType::A, ResponseCode::NoError, 1),
            ("app.LOCALHOST.", RecordType::AAAA, ResponseCode::NoError, 1),
            ("localhost.", RecordType::MX, ResponseCode::NoError, 0),
            (
                "_dns.resolver.arpa.",
                RecordType::SVCB,
                ResponseCode::NoError,
                0,
            ),
            (
                "_dns.Resolver.ARPA.",
                RecordType::A,
                ResponseCode::NoError,
                0,
            ),
            (
                "_8853._dns.resolver.arpa.",
                RecordType::SVCB,
                ResponseCode::NoError,
                0,
            ),
            ("resolver.arpa.", RecordType::SOA, ResponseCode::NoError, 1),
            ("resolver.arpa.", RecordType::A, ResponseCode::NoError, 0),
            (
                "other.resolver.arpa.",
                RecordType::A,
                ResponseCode::NXDomain,
                0,
            ),
        ] {
            let found = lookup(name, qtype).unwrap_or_else(|| panic!("{name} left the machine"));
            assert_eq!(found.rcode, rcode, "{name} {qtype}");
            assert_eq!(found.answers.len(), answers, "{name} {qtype}");
            // A denial without SOA cannot be cached (RFC 2308 §5).
            let denial = answers == 0;
            assert_eq!(
                found.authorities.len(),
                usize::from(denial),
                "{name} {qtype}"
            );
        }
    }

    #[test]
    fn who_leaves_discovery_to_others_asks_for_its_names() {
        let names = SpecialNames::without_discovery();
        let lookup = |name: &str| names.lookup(&Name::from_str(name).unwrap(), RecordType::A);
        for name in ["a.zz.", "zz.", "resolver.arpa.", "_dns.resolver.arpa."] {
            assert!(lookup(name).is_none(), "{name}");
        }
        for name in ["www.invalid.", "duck.onion.", "localhost."] {
            assert!(lookup(name).is_some(), "{name}");
        }
    }

    #[test]
    fn names_that_only_look_special_are_asked_for() {
        for name in [
            ".",
            "arpa.",
            "xzz.",
            "zz.example.",
            "notlocalhost.",
            "onion.example.",
            "home.arpa.",
            "1.168.192.in-addr.arpa.",
            "use-application-dns.net.",
            "test.",
            "local.",
            "resolver-name.arpa.",
            "myresolver.arpa.",
        ] {
            assert!(lookup(name, RecordType::A).is_none(), "{name}");
        }
    }
}

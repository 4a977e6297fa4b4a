//! Which questions may be passed on: those by which resolvers are discovered, and no others.

use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::{
    name::ResolverName,
    owners::{DEFAULT_SUFFIX, PASSAGE, anchor_zone},
};

/// The most hops through which one name leads.
const MAX_STEPS: usize = 8;

/// What can be learned of a resolver by these types is all that is asked of it.
const TYPES: [RecordType; 13] = [
    RecordType::A,
    RecordType::NS,
    RecordType::SOA,
    RecordType::PTR,
    RecordType::TXT,
    RecordType::AAAA,
    RecordType::KEY,
    RecordType::DNAME,
    RecordType::DS,
    RecordType::NSEC,
    RecordType::DNSKEY,
    RecordType::TLSA,
    RecordType::SVCB,
];

/// Why a question is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The name is not one of discovery.
    Name,
    /// Nor is the type.
    Type,
    /// The name leads through too many hops.
    Steps,
}

/// Whether `name`, which stands before `q` in a name below our zone, may be asked of an upstream.
/// Resolvers' names are those below `.zz` and below `suffixes`.
pub(super) fn judge(name: &Name, qtype: RecordType, suffixes: &[Name]) -> Result<(), Unfit> {
    if !TYPES.contains(&qtype) {
        return Err(Unfit::Type);
    }
    judge_name(name, suffixes)
}

/// Whether records at `name` may come back.
pub(super) fn is_passed_on(name: &Name, suffixes: &[Name]) -> bool {
    judge_name(name, suffixes).is_ok()
}

fn judge_name(name: &Name, suffixes: &[Name]) -> Result<(), Unfit> {
    let labels: Vec<&[u8]> = name.iter().collect();
    let mut rest = labels.as_slice();
    // The step that led here is one already.
    for _ in 1..=MAX_STEPS {
        // At the very front `q` is itself what is asked for.
        let step = rest.iter().skip(1).position(|label| is_passage(label));
        let Some(before) = step.map(|place| place + 1) else {
            return is_discovery(rest, suffixes)
                .then_some(())
                .ok_or(Unfit::Name);
        };
        let (asked, through) = rest.split_at(before);
        if !is_discovery(asked, suffixes) {
            return Err(Unfit::Name);
        }
        rest = through.get(1..).unwrap_or_default();
    }
    Err(Unfit::Steps)
}

fn is_passage(label: &[u8]) -> bool {
    label.eq_ignore_ascii_case(PASSAGE)
}

/// Whether it is at or below `resolver-name.arpa`, or the name of a resolver.
fn is_discovery(labels: &[&[u8]], suffixes: &[Name]) -> bool {
    let Ok(mut name) = Name::from_labels(labels.iter().copied()) else {
        return false;
    };
    name.set_fqdn(true);
    anchor_zone().zone_of(&name)
        || is_below_resolver(&name, &[DEFAULT_SUFFIX.as_bytes()])
        || suffixes.iter().any(|suffix| {
            let suffix: Vec<&[u8]> = suffix.iter().collect();
            is_below_resolver(&name, &suffix)
        })
}

/// Whether the label in front of `suffix` makes a resolver's name of it.
fn is_below_resolver(name: &Name, suffix: &[&[u8]]) -> bool {
    let Some(own) = name.iter().len().checked_sub(suffix.len() + 1) else {
        return false;
    };
    let apex = Name::from_labels(name.iter().skip(own));
    apex.is_ok_and(|apex| {
        let same = apex.iter().skip(1).zip(suffix);
        same.into_iter()
            .all(|(one, other)| one.eq_ignore_ascii_case(other))
            && ResolverName::try_from(&apex).is_ok()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const UP: &str = "aaaaaaaaaaaaaaaaaaaa.zz";
    const FAR: &str = "bbbbbbbbbbbbbbbbbbbb.dns.example";

    fn judged(name: &str, qtype: RecordType) -> Result<(), Unfit> {
        let suffix = Name::from_ascii("dns.example.").unwrap();
        judge(&Name::from_ascii(name).unwrap(), qtype, &[suffix])
    }

    #[test]
    fn names_of_discovery_pass_through_any_number_of_hops_up_to_eight() {
        let mut through = String::new();
        for _ in 0..MAX_STEPS {
            for name in [
                format!("resolver-name.arpa{through}"),
                format!("{UP}.resolver-name.ARPA{through}"),
                format!("_succession.resolver-name.arpa{through}"),
                format!("*.{UP}{through}"),
                format!("{UP}{through}"),
                format!("{}{through}", UP.to_uppercase()),
                format!("_853._tcp.{UP}{through}"),
                format!("transport.{FAR}.{UP}{through}"),
                format!("{FAR}{through}"),
                format!("q.{UP}{through}"),
                format!("Q.{UP}{through}"),
            ] {
                assert_eq!(judged(&name, RecordType::TXT), Ok(()), "{name}");
            }
            through.push_str(".q.cccccccccccccccccccc.zz");
        }
        let name = format!("resolver-name.arpa{through}");
        assert_eq!(judged(&name, RecordType::TXT), Err(Unfit::Steps));
    }

    #[test]
    fn no_other_name_passes_however_it_is_dressed() {
        for name in [
            ".",
            "zz.",
            "arpa.",
            "resolver.arpa.",
            "1.0.0.127.in-addr.arpa.",
            "xresolver-name.arpa.",
            "www.example.com.",
            "aaaaaaaaaaaaaaaaaaaa.com.",
            "aaaaaaaaaaaaaaaaaaaa.example.",
            "aaaaaaaaaaaaaaaaaaa.zz.",
            "aaaaaaaaaaaaaaaaaaaw.zz.",
            "aaaaaaaaaaaaaaaaaaaa.b.zz.",
            "dns.example.",
            "q.",
            "q.q.q.",
            "resolver-name.arpa.q.",
            "resolver-name.arpa.q.q.",
            "resolver-name.arpa.q.example.com.",
            "resolver-name.arpa.q.resolver-name.arpa.q.example.com.",
            "www.example.com.q.aaaaaaaaaaaaaaaaaaaa.zz.",
            "www.example.com.q.resolver-name.arpa.",
            "resolver-name.arpa.q.www.example.com.q.aaaaaaaaaaaaaaaaaaaa.zz.",
        ] {
            assert_eq!(judged(name, RecordType::A), Err(Unfit::Name), "{name}");
        }
        let mut deep = "q.".repeat(100);
        assert!(judged(&deep, RecordType::A).is_err());
        deep.insert_str(0, "resolver-name.arpa.");
        assert!(judged(&deep, RecordType::A).is_err());
    }

    #[test]
    fn labels_are_octets_and_no_text() {
        let label = |last: u8| {
            let mut label = b"aaaaaaaaaaaaaaaaaaaa".to_vec();
            label[19] = last;
            label
        };
        let (good, zero, dot) = (label(b'A'), label(0), label(b'.'));
        let cases: [(&[&[u8]], bool); 11] = [
            (&[&good, b"ZZ"], true),
            (&[b"\0", &good, b"zz"], true),
            (&[b"resolver-name.arpa", &good, b"zz"], true),
            (&[&zero, b"zz"], false),
            (&[&dot, b"zz"], false),
            (&[&good, b"zz\0"], false),
            (&[b"resolver-name\0", b"arpa"], false),
            (&[b"resolver-name.arpa"], false),
            (&[b"www.example.com.q.aaaaaaaaaaaaaaaaaaaa.zz"], false),
            (&[b"www", b"example", b"q\0", &good, b"zz"], true),
            (&[b"www", b"example", b"Q", &good, b"zz"], false),
        ];
        for (labels, passes) in cases {
            let name = Name::from_labels(labels.iter().copied()).unwrap();
            let judged = judge(&name, RecordType::TXT, &[]);
            assert_eq!(judged.is_ok(), passes, "{name}");
            assert_eq!(is_passed_on(&name, &[]), passes, "{name}");
        }
    }

    #[test]
    fn no_other_type_passes() {
        for qtype in [
            RecordType::ANY,
            RecordType::AXFR,
            RecordType::MX,
            RecordType::NULL,
            RecordType::RRSIG,
            RecordType::HTTPS,
            RecordType::CNAME,
            RecordType::Unknown(65_280),
        ] {
            assert_eq!(judged("resolver-name.arpa.", qtype), Err(Unfit::Type));
        }
    }
}

//! Names by which resolvers are discovered. They get here only where discovery is left to the upstreams.

use std::sync::LazyLock;

use hickory_proto::{rr::Name, serialize::binary::BinEncodable};
use zzdot_client::wire::View;
use zzdot_zonegen::owners;

/// The domains, in wire form: what a resolver says of its name, of what it designates, and of itself under the suffix
/// that names have unless somebody configured another.
static DOMAINS: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let suffix = Name::from_ascii(owners::DEFAULT_SUFFIX).map(|mut name| {
        name.set_fqdn(true);
        name
    });
    [
        owners::anchor_zone(),
        owners::designated_resolvers(),
        suffix.expect("a constant name"),
    ]
    .map(|name| name.to_bytes().expect("a constant name has octets"))
});

/// Whether `query` is about a resolver.
pub(super) fn is_about_resolvers(query: &[u8]) -> bool {
    let Some(asked) = View::parse(query).ok().and_then(|view| view.question()) else {
        return false;
    };
    DOMAINS
        .iter()
        .any(|domain| is_within(asked.wire_name, domain))
}

/// Whether `name` is `domain` or below it.
fn is_within(name: &[u8], domain: &[u8]) -> bool {
    let Some(cut) = name.len().checked_sub(domain.len()) else {
        return false;
    };
    // Labels and not letters are compared.
    let mut at = 0;
    while at < cut {
        at += 1 + usize::from(name[at]);
    }
    at == cut && name[cut..].eq_ignore_ascii_case(domain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hickory_proto::rr::RecordType;
    use zzdot_client::wire::{QuestionFlags, question};

    use super::*;

    #[test]
    fn names_of_resolvers_are_told_from_all_others() {
        for (name, is) in [
            ("resolver-name.arpa.", true),
            ("x.RESOLVER-name.arpa.", true),
            ("_dns.resolver.arpa.", true),
            ("8g2l0qv7c4m1t5b9r3se.zz.", true),
            ("xresolver-name.arpa.", false),
            ("arpa.", false),
            ("zz.example.", false),
            (".", false),
        ] {
            let name = Name::from_ascii(name).unwrap();
            let query = question(1, &name, RecordType::TXT, QuestionFlags::default(), None);
            assert_eq!(is_about_resolvers(&query), is, "{name}");
        }
        assert!(!is_about_resolvers(b"broken"));
    }
}

//! The owner names that the protocol fixes.

use hickory_proto::rr::Name;

use crate::name::ResolverName;

/// The suffix of names when nothing else is configured.
pub const DEFAULT_SUFFIX: &str = "zz";

/// `resolver-name.arpa.`: the zone by which every resolver tells its own name.
pub fn anchor_zone() -> Name {
    from_labels(&[b"resolver-name", b"arpa"])
}

/// `resolver.arpa.`: the name of designated resolvers (RFC 9462), served locally.
pub fn designated_resolvers() -> Name {
    from_labels(&[b"resolver", b"arpa"])
}

/// `NAME.resolver-name.arpa.`: where the KEY of `NAME` stands.
pub fn key_owner(name: &ResolverName) -> Name {
    below(name.as_name(), &anchor_zone())
}

/// `_succession.resolver-name.arpa.`: where the statements of retired anchors stand.
pub fn succession_owner() -> Name {
    below(&from_labels(&[b"_succession"]), &anchor_zone())
}

/// `_PORT._tcp.NAME.`: where the TLSA of the DNS over TLS service stands (RFC 6698 §3).
pub fn tlsa_owner(name: &ResolverName, port: u16) -> Name {
    below(
        &from_labels(&[format!("_{port}").as_bytes(), b"_tcp"]),
        name.as_name(),
    )
}

/// `_tcp.NAME.`: above the services that run over TCP.
pub fn services_owner(name: &ResolverName) -> Name {
    below(&from_labels(&[b"_tcp"]), name.as_name())
}

/// `_dns.NAME.`: where the SVCB of the DNS service stands (RFC 9461 §4).
pub fn svcb_owner(name: &ResolverName) -> Name {
    below(&from_labels(&[b"_dns"]), name.as_name())
}

/// `server-type.NAME.`: where the TXT with the server's type stands.
pub fn server_type_owner(name: &ResolverName) -> Name {
    below(&from_labels(&[b"server-type"]), name.as_name())
}

fn from_labels(labels: &[&[u8]]) -> Name {
    let mut name = Name::from_labels(labels.iter().copied()).expect("the labels are short");
    name.set_fqdn(true);
    name
}

fn below(prefix: &Name, domain: &Name) -> Name {
    let mut relative = prefix.clone();
    relative.set_fqdn(false);
    relative
        .append_domain(domain)
        .expect("a resolver's name leaves room for every owner name")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::name::MAX_WIRE_LEN;

    #[test]
    fn owner_names_are_those_of_the_protocol() {
        let name: ResolverName = "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap();
        let shown = |name: Name| name.to_ascii();
        assert_eq!(shown(anchor_zone()), "resolver-name.arpa.");
        assert_eq!(
            shown(key_owner(&name)),
            "8g2l0qv7c4m1t5b9r3se.zz.resolver-name.arpa."
        );
        assert_eq!(
            shown(tlsa_owner(&name, 853)),
            "_853._tcp.8g2l0qv7c4m1t5b9r3se.zz."
        );
        assert_eq!(shown(svcb_owner(&name)), "_dns.8g2l0qv7c4m1t5b9r3se.zz.");
        assert_eq!(
            shown(server_type_owner(&name)),
            "server-type.8g2l0qv7c4m1t5b9r3se.zz."
        );
    }

    #[test]
    fn the_longest_name_leaves_room_for_each_owner() {
        let suffix_len = MAX_WIRE_LEN - 21 - 1;
        let suffix = format!("{}.{}", "a".repeat(40), "b".repeat(suffix_len - 42));
        let name: ResolverName = format!("8g2l0qv7c4m1t5b9r3se.{suffix}").parse().unwrap();
        key_owner(&name);
        assert!(tlsa_owner(&name, 65_535).is_fqdn());
    }
}

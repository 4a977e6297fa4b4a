//! The owner names that the protocol fixes.

use hickory_proto::rr::Name;

use crate::name::ResolverName;
use crate::upstream::{UnnamedLabel, UpstreamId};

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

/// The label above which a question stands that is to be passed on (protocol.md §3).
pub const PASSAGE: &[u8] = b"q";

/// The label below which upstreams without a name stand.
const UNNAMED: &[u8] = b"unnamed";

/// What is said about one upstream, each at an owner of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// KEY, A and AAAA: `<UP>.NAME.`
    Itself,
    /// TXT: `server-type.<UP>.NAME.`
    ServerType,
    /// TXT: `transport.<UP>.NAME.`
    Transport,
    /// TXT: `proof.<UP>.NAME.`
    Proof,
    /// SVCB: `_dns.<UP>.NAME.`
    Service,
    /// TLSA: `_PORT._tcp.<UP>.NAME.`
    Tlsa(u16),
    /// DNAME: `q.<UP>.NAME.`
    Passage,
}

/// `upstreams.NAME.`: where a PTR for each upstream stands.
pub fn upstreams_owner(name: &ResolverName) -> Name {
    below(&from_labels(&[b"upstreams"]), name.as_name())
}

/// `q.NAME.`: what stands below it is asked of the upstream that is preferred now.
pub fn passage_owner(name: &ResolverName) -> Name {
    below(&from_labels(&[PASSAGE]), name.as_name())
}

/// Where `name` makes this claim about its upstream `id`.
pub fn claim_owner(name: &ResolverName, id: &UpstreamId, claim: Claim) -> Name {
    let upstream = match id {
        UpstreamId::Named(upstream) => below(upstream.as_name(), name.as_name()),
        UpstreamId::Unnamed(_) => upstream_target(name, id),
    };
    let port;
    let labels: &[&[u8]] = match claim {
        Claim::Itself => return upstream,
        Claim::ServerType => &[b"server-type"],
        Claim::Transport => &[b"transport"],
        Claim::Proof => &[b"proof"],
        Claim::Service => &[b"_dns"],
        Claim::Tlsa(number) => {
            port = format!("_{number}");
            &[port.as_bytes(), b"_tcp"]
        }
        Claim::Passage => &[PASSAGE],
    };
    below(&from_labels(labels), &upstream)
}

/// Where the PTR of `upstreams.NAME.` leads: to the upstream's own name, or to `LABEL.unnamed.NAME.`
pub fn upstream_target(name: &ResolverName, id: &UpstreamId) -> Name {
    match id {
        UpstreamId::Named(upstream) => upstream.as_name().clone(),
        UpstreamId::Unnamed(label) => {
            let label = label.to_string();
            below(&from_labels(&[label.as_bytes(), UNNAMED]), name.as_name())
        }
    }
}

/// Which upstream of `name` a PTR with this target means; none where it is neither a resolver's name nor
/// an address below `unnamed.NAME.`
pub fn upstream_of_target(name: &ResolverName, target: &Name) -> Option<UpstreamId> {
    match unnamed(name, target) {
        Some(label) => Some(UpstreamId::Unnamed(label)),
        None => ResolverName::try_from(target).ok().map(UpstreamId::Named),
    }
}

/// Which upstream of `name` is claimed something about at `owner`, which is that of [`Claim::Itself`].
pub fn upstream_of_owner(name: &ResolverName, owner: &Name) -> Option<UpstreamId> {
    if let Some(label) = unnamed(name, owner) {
        return Some(UpstreamId::Unnamed(label));
    }
    let upstream = without(owner, name.as_name())?;
    ResolverName::try_from(&upstream)
        .ok()
        .map(UpstreamId::Named)
}

/// The address in `LABEL.unnamed.NAME.`
fn unnamed(name: &ResolverName, owner: &Name) -> Option<UnnamedLabel> {
    let relative = without(owner, name.as_name())?;
    match relative.iter().collect::<Vec<_>>().as_slice() {
        [label, unnamed] if unnamed.eq_ignore_ascii_case(UNNAMED) => {
            str::from_utf8(label).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// The name by which `name` is asked `asked` of its upstream `id`, or of the one that it prefers; none
/// where that is longer than a name can be.
pub fn passage_name(asked: &Name, name: &ResolverName, id: Option<&UpstreamId>) -> Option<Name> {
    let owner = match id {
        Some(id) => claim_owner(name, id, Claim::Passage),
        None => passage_owner(name),
    };
    let mut relative = asked.clone();
    relative.set_fqdn(false);
    relative.append_domain(&owner).ok()
}

/// What stands before `domain` in `name`, as a name of its own; none where it is not below it.
fn without(name: &Name, domain: &Name) -> Option<Name> {
    // `num_labels` leaves out an asterisk.
    let labels = name.iter().len().checked_sub(domain.iter().len())?;
    if labels == 0 || !domain.zone_of(name) {
        return None;
    }
    let before = name.iter().take(labels);
    let mut name = Name::from_labels(before).ok()?;
    name.set_fqdn(true);
    Some(name)
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
        let named = UpstreamId::Named(name.clone());
        assert!(claim_owner(&name, &named, Claim::Tlsa(65_535)).is_fqdn());
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
        let unnamed = UpstreamId::Unnamed(UnnamedLabel::new(longest.parse().unwrap()));
        assert!(claim_owner(&name, &unnamed, Claim::Tlsa(65_535)).is_fqdn());
        assert_eq!(passage_name(&key_owner(&name), &name, Some(&named)), None);
    }

    #[test]
    fn what_is_said_about_upstreams_stands_where_the_protocol_says() {
        let name: ResolverName = "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap();
        let up = "aaaaaaaaaaaaaaaaaaaa.dns.example";
        let named = UpstreamId::Named(up.parse().unwrap());
        let address = "192.0.2.1:5353".parse().unwrap();
        let unnamed = UpstreamId::Unnamed(UnnamedLabel::new(address));
        let own = "8g2l0qv7c4m1t5b9r3se.zz.";
        let label = "192-0-2-1-p5353.unnamed";
        for (owner, text) in [
            (upstreams_owner(&name), format!("upstreams.{own}")),
            (passage_owner(&name), format!("q.{own}")),
            (upstream_target(&name, &named), format!("{up}.")),
            (upstream_target(&name, &unnamed), format!("{label}.{own}")),
            (
                claim_owner(&name, &named, Claim::Itself),
                format!("{up}.{own}"),
            ),
            (
                claim_owner(&name, &unnamed, Claim::Itself),
                format!("{label}.{own}"),
            ),
            (
                claim_owner(&name, &named, Claim::ServerType),
                format!("server-type.{up}.{own}"),
            ),
            (
                claim_owner(&name, &unnamed, Claim::Transport),
                format!("transport.{label}.{own}"),
            ),
            (
                claim_owner(&name, &named, Claim::Proof),
                format!("proof.{up}.{own}"),
            ),
            (
                claim_owner(&name, &named, Claim::Service),
                format!("_dns.{up}.{own}"),
            ),
            (
                claim_owner(&name, &named, Claim::Tlsa(853)),
                format!("_853._tcp.{up}.{own}"),
            ),
            (
                claim_owner(&name, &named, Claim::Passage),
                format!("q.{up}.{own}"),
            ),
        ] {
            assert_eq!(owner.to_ascii(), text);
        }
        for id in [&named, &unnamed] {
            let target = upstream_target(&name, id);
            assert_eq!(upstream_of_target(&name, &target).as_ref(), Some(id));
            let owner = claim_owner(&name, id, Claim::Itself);
            assert_eq!(upstream_of_owner(&name, &owner).as_ref(), Some(id));
        }
        for other in [
            ".",
            "zz.",
            own,
            "www.example.com.",
            "192-0-2-1-p53.unnamed.zz.",
            "*.8g2l0qv7c4m1t5b9r3se.zz.",
            "*.aaaaaaaaaaaaaaaaaaaa.zz.8g2l0qv7c4m1t5b9r3se.zz.",
        ] {
            let other = Name::from_ascii(other).unwrap();
            assert_eq!(upstream_of_owner(&name, &other), None, "{other}");
        }
        let asked = anchor_zone();
        let through = passage_name(&asked, &name, Some(&named)).unwrap();
        assert_eq!(
            through.to_ascii(),
            format!("resolver-name.arpa.q.{up}.{own}")
        );
        let through = passage_name(&asked, &name, None).unwrap();
        assert_eq!(through.to_ascii(), format!("resolver-name.arpa.q.{own}"));
    }
}

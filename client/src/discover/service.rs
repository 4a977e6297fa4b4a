//! Where the zone says that the service is: SVCB (RFC 9460, RFC 9461) and addresses, and which
//! addresses may be tried.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::rr::Name;

use crate::wire::NameView;

/// The port of DNS over TLS when nothing else is said (RFC 7858 §3.1).
pub const DOT_PORT: u16 = 853;

/// The most addresses taken from a zone.
pub const MAX_ADDRESSES: usize = 16;

const KEY_MANDATORY: u16 = 0;
const KEY_ALPN: u16 = 1;
const KEY_PORT: u16 = 3;
const KEY_IPV4_HINT: u16 = 4;
const KEY_IPV6_HINT: u16 = 6;

/// One way to reach the service by DNS over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) port: u16,
    pub(super) hints: Vec<IpAddr>,
}

impl Service {
    pub(super) fn at(port: u16) -> Self {
        Self {
            port,
            hints: Vec::new(),
        }
    }
}

impl Default for Service {
    /// Where the service is when the zone does not say.
    fn default() -> Self {
        Self::at(DOT_PORT)
    }
}

/// The service of the preferred record among `data` that offers DNS over TLS at `name` itself and
/// that demands nothing unknown. None when there is no such record.
pub(super) fn preferred_service(data: &[Vec<u8>], name: &Name) -> Option<Service> {
    let mut found: Vec<_> = data
        .iter()
        .filter_map(|data| read_service(data, name))
        .collect();
    found.sort_by_key(|(priority, _)| *priority);
    found.into_iter().next().map(|(_, service)| service)
}

/// The port of that service.
pub(crate) fn dot_port(data: &[Vec<u8>], name: &Name) -> Option<u16> {
    preferred_service(data, name).map(|service| service.port)
}

fn read_service(data: &[u8], name: &Name) -> Option<(u16, Service)> {
    let (priority, rest) = data.split_first_chunk()?;
    let priority = u16::from_be_bytes(*priority);
    let (target, length) = NameView::read_alone(rest)?;
    // AliasMode (priority 0) and other hosts are not followed: they would need another TLSA.
    let own = target.is_root() || target.to_name() == *name;
    if priority == 0 || !own {
        return None;
    }
    let mut service = Service::default();
    let mut speaks_dot = false;
    let mut rest = rest.get(length..)?;
    while !rest.is_empty() {
        let (key, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        match u16::from_be_bytes(*key) {
            KEY_MANDATORY => {
                let known = |key: &[u8]| {
                    let key: Option<[u8; 2]> = key.try_into().ok();
                    key.map(u16::from_be_bytes).is_some_and(|key| {
                        matches!(key, KEY_ALPN | KEY_PORT | KEY_IPV4_HINT | KEY_IPV6_HINT)
                    })
                };
                if !value.chunks(2).all(known) {
                    return None;
                }
            }
            KEY_ALPN => speaks_dot = alpns(value).any(|alpn| alpn == b"dot"),
            KEY_PORT => service.port = u16::from_be_bytes(value.try_into().ok()?),
            KEY_IPV4_HINT => service.hints.extend(
                value
                    .chunks(4)
                    .filter_map(|bytes| <[u8; 4]>::try_from(bytes).ok())
                    .map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes))),
            ),
            KEY_IPV6_HINT => service.hints.extend(
                value
                    .chunks(16)
                    .filter_map(|bytes| <[u8; 16]>::try_from(bytes).ok())
                    .map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))),
            ),
            _ => {}
        }
    }
    service.hints.truncate(MAX_ADDRESSES);
    (speaks_dot && service.port != 0).then_some((priority, service))
}

fn alpns(mut value: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, after) = value.split_first()?;
        let (alpn, after) = after.split_at_checked(usize::from(*length))?;
        value = after;
        Some(alpn)
    })
}

/// The address in the data of an A or AAAA record.
pub(crate) fn address(data: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(data) {
        return Some(IpAddr::V4(v4.into()));
    }
    let v6 = <[u8; 16]>::try_from(data).ok()?;
    Some(IpAddr::V6(v6.into()))
}

/// Whether an address that a zone names may be connected to. Who publishes a zone must not be able
/// to point this program at its own computer, at many computers, or at none; where the configured
/// server is on this computer, so may the others be.
pub(crate) fn may_try(address: IpAddr, configured: SocketAddr) -> bool {
    let address = address.to_canonical();
    let refused = address.is_unspecified()
        || address.is_multicast()
        || match address {
            IpAddr::V4(v4) => v4.is_broadcast() || v4.octets().first() == Some(&0),
            // A zone cannot say which link a link-local address is on.
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
    let configured_local = configured.ip().to_canonical().is_loopback();
    !refused && (configured_local || !address.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name() -> Name {
        Name::from_ascii("8g2l0qv7c4m1t5b9r3se.zz.").unwrap()
    }

    fn svcb(priority: u16, target: &[u8], params: &[(u16, &[u8])]) -> Vec<u8> {
        let mut data = priority.to_be_bytes().to_vec();
        data.extend_from_slice(target);
        for (key, value) in params {
            data.extend_from_slice(&key.to_be_bytes());
            data.extend_from_slice(&(value.len() as u16).to_be_bytes());
            data.extend_from_slice(value);
        }
        data
    }

    #[test]
    fn the_preferred_record_that_speaks_dot_gives_port_and_hints() {
        let records = [
            svcb(1, &[0], &[(1, b"\x02h2"), (3, &[1, 187])]),
            svcb(3, &[0], &[(1, b"\x03dot"), (3, &[0, 9])]),
            svcb(
                2,
                &[0],
                &[
                    (0, &[0, 3]),
                    (1, b"\x03doq\x03dot"),
                    (3, &[34, 185]),
                    (4, &[192, 0, 2, 1, 192, 0, 2, 2]),
                    (99, b"?"),
                ],
            ),
        ];
        let service = preferred_service(&records, &name()).unwrap();
        assert_eq!(service.port, 8889);
        assert_eq!(service.hints.len(), 2);
    }

    #[test]
    fn records_that_cannot_be_used_are_passed_over() {
        let dot: (u16, &[u8]) = (1, b"\x03dot");
        for unusable in [
            svcb(0, &[0], &[]),
            svcb(1, b"\x05other\x00", &[dot]),
            svcb(1, &[0], &[]),
            svcb(1, &[0], &[(0, &[0, 99]), dot, (99, b"")]),
            svcb(1, &[0], &[dot, (3, &[0, 0])]),
            svcb(1, &[0], &[dot, (3, &[1])]),
            svcb(1, &[0xC0, 12], &[dot]),
            vec![0],
        ] {
            assert_eq!(
                preferred_service(std::slice::from_ref(&unusable), &name()),
                None,
                "{unusable:?}"
            );
        }
        let bare = preferred_service(&[svcb(1, &[0], &[dot])], &name()).unwrap();
        assert_eq!(bare.port, DOT_PORT);
    }

    #[test]
    fn a_zone_cannot_point_at_this_computer_or_at_many() {
        let remote: SocketAddr = "192.0.2.1:53".parse().unwrap();
        let local: SocketAddr = "127.0.0.1:53".parse().unwrap();
        let may = |text: &str, configured| may_try(text.parse().unwrap(), configured);
        for good in ["192.0.2.2", "10.0.0.1", "2001:db8::1", "fd00::1"] {
            assert!(may(good, remote), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "fe80::1",
            "::ffff:224.0.0.1",
        ] {
            assert!(!may(bad, remote), "{bad}");
        }
        assert!(may("127.0.0.2", local) && may("::1", local) && may("192.0.2.2", local));
        assert!(!may("0.0.0.0", local) && !may("ff02::1", local));
    }
}

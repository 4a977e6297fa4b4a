//! Where the zone says that the service is: SVCB (RFC 9460, RFC 9461) and addresses, and which
//! addresses may be tried.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::Name;

use crate::wire::Svcb;

/// The port of DNS over TLS when nothing else is said (RFC 7858 §3.1).
pub const DOT_PORT: u16 = 853;

/// The most addresses taken from a zone.
pub const MAX_ADDRESSES: usize = 16;

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
/// that demands nothing unknown. None when there is no such record, or when one is malformed: then the
/// whole set is worth nothing (RFC 9460 §2.2).
pub(super) fn preferred_service(data: &[Vec<u8>], name: &Name) -> Option<Service> {
    let records: Result<Vec<Svcb<'_>>, _> = data.iter().map(|data| Svcb::read(data)).collect();
    let records = records.ok()?;
    let usable = records.iter().filter_map(|record| {
        let service = service(record, name)?;
        Some((record.priority, service))
    });
    let preferred = usable.min_by_key(|(priority, _)| *priority);
    preferred.map(|(_, service)| service)
}

/// The port of that service.
pub(crate) fn dot_port(data: &[Vec<u8>], name: &Name) -> Option<u16> {
    preferred_service(data, name).map(|service| service.port)
}

fn service(record: &Svcb<'_>, name: &Name) -> Option<Service> {
    // AliasMode (priority 0) and other hosts are not followed: they would need another TLSA.
    let own = record.target.is_root() || record.target.to_name() == *name;
    let port = record.port.unwrap_or(DOT_PORT);
    let usable = record.priority != 0
        && own
        && !record.demands_unknown
        && record.offers(b"dot")
        && port != 0;
    usable.then(|| Service {
        port,
        hints: record.hints().take(MAX_ADDRESSES).collect(),
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
    let configured_local = configured.ip().to_canonical().is_loopback();
    is_one_place(address) && (configured_local || !address.to_canonical().is_loopback())
}

/// Whether an address in a zone can mean one computer, and the same one to everybody on this side.
pub(crate) fn is_one_place(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let refused = address.is_unspecified()
        || address.is_multicast()
        || match address {
            IpAddr::V4(v4) => v4.is_broadcast() || v4.octets().first() == Some(&0),
            // A zone cannot say which link a link-local address is on.
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
    !refused
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
    fn one_malformed_record_spoils_the_set() {
        let sound = svcb(1, &[0], &[(1, b"\x03dot"), (3, &[34, 185])]);
        let twice = svcb(2, &[0], &[(3, &[34, 185]), (3, &[34, 186])]);
        let cut = svcb(2, &[0], &[(4, &[192, 0, 2])]);
        for malformed in [twice, cut, vec![0]] {
            let set = [sound.clone(), malformed];
            assert_eq!(preferred_service(&set, &name()), None, "{set:?}");
        }
        assert!(preferred_service(&[sound], &name()).is_some());
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

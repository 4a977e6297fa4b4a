//! Which addresses may be looked at: what a zone says must not lead to services of this computer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::discover::is_one_place;

/// The addresses of this computer, on all of its interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnAddresses {
    /// These. Those of loopback need not be among them.
    Known(BTreeSet<IpAddr>),
    /// The kernel does not say: any address may be one, and none is tried.
    Unknown,
}

/// By whose word a resolver is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// That of one who vouches for it, and who was met on loopback of this computer.
    OnLoopback,
    /// That of anybody else.
    Elsewhere,
}

impl OwnAddresses {
    /// Whether a handshake may be tried with `address`.
    ///
    /// Who was met on loopback is on this computer, or was let onto it, and asks its upstreams from here: what it calls
    /// loopback is the same as what this client calls so. Anybody else means a loopback of his own, or harm. Whatever
    /// else this computer is reached at is nobody's to name. A link-local address means another computer on each link,
    /// and who names one does not say which link it means.
    pub(super) fn may_look(&self, address: IpAddr, by: Word) -> bool {
        let address = address.to_canonical();
        if address.is_loopback() {
            return by == Word::OnLoopback;
        }
        let link_local = matches!(address, IpAddr::V4(v4) if v4.is_link_local());
        let Self::Known(own) = self else { return false };
        is_one_place(address)
            && !link_local
            && !own.iter().any(|held| held.to_canonical() == address)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn may(own: &OwnAddresses, address: &str, by: Word) -> bool {
        own.may_look(address.parse().unwrap(), by)
    }

    #[test]
    fn addresses_of_this_computer_of_links_and_of_many_are_left_out() {
        let own = ["192.0.2.7", "2001:db8::7"].map(|own| own.parse().unwrap());
        let own = OwnAddresses::Known(BTreeSet::from(own));
        for by in [Word::OnLoopback, Word::Elsewhere] {
            for good in ["192.0.2.8", "10.0.0.1", "2001:db8::8", "fd00::1"] {
                assert!(may(&own, good, by), "{good}");
            }
            for bad in [
                "192.0.2.7",
                "::ffff:192.0.2.7",
                "2001:db8::7",
                "169.254.169.254",
                "::ffff:169.254.1.1",
                "fe80::1",
                "0.0.0.0",
                "0.1.2.3",
                "::",
                "224.0.0.1",
                "ff02::1",
                "255.255.255.255",
            ] {
                assert!(!may(&own, bad, by), "{bad}");
            }
        }
    }

    #[test]
    fn loopback_is_for_those_who_were_met_there() {
        let own = OwnAddresses::Known(BTreeSet::new());
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(may(&own, address, Word::OnLoopback), "{address}");
            assert!(!may(&own, address, Word::Elsewhere), "{address}");
        }
    }

    #[test]
    fn where_the_own_addresses_are_not_known_no_other_is_tried() {
        let own = OwnAddresses::Unknown;
        assert!(!may(&own, "192.0.2.8", Word::OnLoopback));
        assert!(!may(&own, "2001:db8::8", Word::Elsewhere));
        assert!(may(&own, "127.0.0.1", Word::OnLoopback));
    }
}

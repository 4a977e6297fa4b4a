//! What an access point says about its protection (IEEE 802.11 §9.4.2: information elements).

use crate::network::Security;

const CAPABILITY_PRIVACY: u16 = 0x10;
const ELEMENT_RSN: u8 = 48;
const ELEMENT_VENDOR: u8 = 221;
/// The vendor and type under which WPA was told before there was a standard.
const WPA_VENDOR: [u8; 4] = [0x00, 0x50, 0xf2, 1];
const OUI_IEEE: [u8; 3] = [0x00, 0x0f, 0xac];
const OUI_MICROSOFT: [u8; 3] = [0x00, 0x50, 0xf2];
/// More suites than the standard has.
const SUITES_MAX: u16 = 64;

/// The protection that `parts`, the elements of a beacon, and its `capability` tell.
pub(super) fn security(capability: u16, parts: &[u8]) -> Security {
    let rsn = element(parts, |id, _| id == ELEMENT_RSN);
    let wpa = element(parts, |id, value| {
        id == ELEMENT_VENDOR && value.starts_with(&WPA_VENDOR)
    });
    let keys = rsn
        .and_then(key_managements)
        .or_else(|| key_managements(wpa?.get(4..)?));
    match keys {
        Some(keys) => weakest(&keys),
        None if capability & CAPABILITY_PRIVACY != 0 => Security::Wep,
        None => Security::Open,
    }
}

fn element(mut parts: &[u8], wanted: impl Fn(u8, &[u8]) -> bool) -> Option<&[u8]> {
    while let [id, length, rest @ ..] = parts {
        let value = rest.get(..usize::from(*length))?;
        if wanted(*id, value) {
            return Some(value);
        }
        parts = rest.get(usize::from(*length)..)?;
    }
    None
}

/// The suites that say how a key comes about: behind the version, the group cipher, and the list of pairwise ciphers.
/// WPA is told in the same order.
fn key_managements(value: &[u8]) -> Option<Vec<[u8; 4]>> {
    let pairwise = count(value, 6)?;
    let at = 8 + usize::from(pairwise) * 4;
    let count = count(value, at)?;
    let suite = |number: u16| -> Option<[u8; 4]> {
        let start = at + 2 + usize::from(number) * 4;
        value.get(start..start + 4)?.try_into().ok()
    };
    (0..count).map(suite).collect()
}

/// All numbers of IEEE 802.11 are little-endian.
fn count(value: &[u8], at: usize) -> Option<u16> {
    let bytes = value.get(at..at + 2)?;
    let count = u16::from_le_bytes(bytes.try_into().ok()?);
    (count <= SUITES_MAX).then_some(count)
}

/// An access point that offers two ways is as open as the easier one.
fn weakest(keys: &[[u8; 4]]) -> Security {
    let kinds = keys.iter().filter_map(|[a, b, c, number]| {
        let oui = [*a, *b, *c];
        match (oui, number) {
            // 802.1X, its fast transition and stronger hashes, suite B.
            (OUI_IEEE, 1 | 3 | 5 | 11 | 12 | 13 | 22 | 23) | (OUI_MICROSOFT, 1) => {
                Some(Security::Enterprise)
            }
            // PSK, its fast transition and stronger hashes; SAE.
            (OUI_IEEE, 2 | 4 | 6 | 8 | 9 | 19 | 20 | 24 | 25) | (OUI_MICROSOFT, 2) => {
                Some(Security::Personal)
            }
            (OUI_IEEE, 18) => Some(Security::Opportunistic),
            _ => None,
        }
    });
    // What nobody knows here protects somehow, and with accounts more likely than without.
    kinds
        .min_by_key(|kind| match kind {
            Security::Open | Security::Wep => 0,
            Security::Opportunistic => 1,
            Security::Personal => 2,
            Security::Enterprise => 3,
        })
        .unwrap_or(Security::Enterprise)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Version 1, group cipher CCMP, one pairwise cipher CCMP, and these.
    fn rsn(keys: &[u8]) -> Vec<u8> {
        let mut value = vec![1, 0, 0, 0x0f, 0xac, 4, 1, 0, 0, 0x0f, 0xac, 4];
        value.extend([u8::try_from(keys.len()).unwrap_or(0), 0]);
        for key in keys {
            value.extend([0, 0x0f, 0xac, *key]);
        }
        value.extend([0, 0]);
        let mut element = vec![ELEMENT_RSN, u8::try_from(value.len()).unwrap_or(0)];
        element.extend(value);
        element
    }

    #[test]
    fn each_way_to_a_key_is_told_by_its_protection() {
        for (keys, expected) in [
            (&[2][..], Security::Personal),
            (&[8], Security::Personal),
            (&[2, 8], Security::Personal),
            (&[1], Security::Enterprise),
            (&[12], Security::Enterprise),
            (&[1, 2], Security::Personal),
            (&[18], Security::Opportunistic),
            (&[200], Security::Enterprise),
        ] {
            // Behind the name of the network, as in a beacon.
            let mut parts = vec![0, 4, b'h', b'o', b'm', b'e'];
            parts.extend(rsn(keys));
            assert_eq!(security(0x11, &parts), expected, "{keys:?}");
        }
    }

    #[test]
    fn wpa_of_before_the_standard_is_understood() {
        let mut value = WPA_VENDOR.to_vec();
        value.extend([1, 0, 0, 0x50, 0xf2, 2, 1, 0, 0, 0x50, 0xf2, 2]);
        value.extend([1, 0, 0, 0x50, 0xf2, 2]);
        let mut parts = vec![ELEMENT_VENDOR, u8::try_from(value.len()).unwrap_or(0)];
        parts.extend(value);
        assert_eq!(security(0x11, &parts), Security::Personal);
    }

    #[test]
    fn without_a_word_about_keys_the_capability_decides() {
        assert_eq!(security(0x01, &[]), Security::Open);
        assert_eq!(security(0x11, &[]), Security::Wep);
        // An element that is cut off says nothing.
        assert_eq!(security(0x01, &[ELEMENT_RSN, 20, 1, 0]), Security::Open);
    }

    proptest! {
        #[test]
        fn elements_that_are_none_do_no_harm(
            capability in any::<u16>(),
            parts in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            security(capability, &parts);
        }
    }
}

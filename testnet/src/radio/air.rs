//! Networks that are in the air, and what a card makes of them.

use serde::{Deserialize, Serialize};

/// How a network is protected.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// Not at all.
    Open,
    /// With a passphrase (WPA2).
    Passphrase,
    /// With a passphrase, by WPA2 and WPA3.
    BothPassphrases,
    /// With an account.
    Account,
    /// Encrypted, for anybody (OWE).
    Anybody,
}

/// An access point.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccessPoint {
    /// The name of its network; empty where it does not say.
    pub ssid: String,
    /// Its address.
    pub address: [u8; 6],
    /// Its protection.
    pub protection: Protection,
}

impl AccessPoint {
    /// The access point of a household.
    #[must_use]
    pub fn new(ssid: &str, protection: Protection) -> Self {
        Self {
            ssid: ssid.to_owned(),
            address: [0x3c, 0xa6, 0x2f, 0x10, 0x20, 0x31],
            protection,
        }
    }

    /// ESS, and whether what is sent is protected (IEEE 802.11 §9.4.1.4).
    pub(super) fn capability(&self) -> u16 {
        match self.protection {
            Protection::Open => 0x0001,
            _ => 0x0011,
        }
    }

    /// What its beacons say (IEEE 802.11 §9.4.2).
    pub(super) fn elements(&self) -> Vec<u8> {
        let mut elements = element(0, self.ssid.as_bytes());
        elements.extend(element(1, &[0x82, 0x84, 0x8b, 0x96]));
        // The channel.
        elements.extend(element(3, &[1]));
        let keys: &[u8] = match self.protection {
            Protection::Open => return elements,
            Protection::Passphrase => &[2],
            Protection::BothPassphrases => &[2, 8],
            Protection::Account => &[1],
            Protection::Anybody => &[18],
        };
        elements.extend(element(48, &rsn(keys)));
        elements
    }
}

fn element(id: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).expect("elements are short");
    [&[id, length], value].concat()
}

/// Version 1, CCMP for the group and for each, these ways to a key, no capabilities (IEEE 802.11 §9.4.2.24).
fn rsn(keys: &[u8]) -> Vec<u8> {
    const OUI: [u8; 3] = [0x00, 0x0f, 0xac];
    let suite = |number: u8| [OUI[0], OUI[1], OUI[2], number];
    let mut value = vec![1, 0];
    value.extend(suite(4));
    value.extend([1, 0]);
    value.extend(suite(4));
    value.push(u8::try_from(keys.len()).expect("there are few ways to a key"));
    value.push(0);
    value.extend(keys.iter().flat_map(|key| suite(*key)));
    value.extend([0, 0]);
    value
}

/// A wireless card.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Card {
    /// The link.
    pub link: String,
    /// The access point that it is associated with.
    pub joined: Option<AccessPoint>,
    /// Others that it hears.
    pub heard: Vec<AccessPoint>,
}

impl Card {
    /// A card that hears this one alone, and is associated with it.
    #[must_use]
    pub fn at(link: &str, access_point: AccessPoint) -> Self {
        Self {
            link: link.to_owned(),
            joined: Some(access_point),
            heard: Vec::new(),
        }
    }
}

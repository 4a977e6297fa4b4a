//! Addresses as people write them, and who answers.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use rustls_pki_types::ServerName;
use serde::{Deserialize, Deserializer};

use super::DNS_PORT;
use crate::dot::DOT_PORT;

/// An address of its own: the answer has to come from where it was asked, so the wildcard is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenAddress(pub(super) SocketAddr);

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            |allowed: &str| serde::de::Error::custom(format!("found \"{text}\"; {allowed}"));
        let address = address_and_port(&text, DNS_PORT).ok_or_else(|| {
            wrong("an address such as \"127.0.0.1:53\" or \"[::1]:53\" is expected")
        })?;
        if address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(wrong(
                "an address of this machine is expected, not all of them",
            ));
        }
        Ok(Self(address))
    }
}

/// Where numbers are told, in the configuration of either program: with a port, since there is none by custom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsAddress(pub SocketAddr);

impl<'de> Deserialize<'de> for MetricsAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let allowed = "ADDRESS:PORT such as \"127.0.0.1:9153\" is expected";
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && !address.ip().is_multicast() => Ok(Self(address)),
            _ => Err(serde::de::Error::custom(format!(
                "found \"{text}\"; {allowed}"
            ))),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum ServerSetting {
    System,
    Address(SocketAddr),
    Tls {
        address: SocketAddr,
        name: ServerName<'static>,
    },
}

impl FromStr for ServerSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "found \"{text}\"; \"system\", ADDRESS, ADDRESS:PORT or \
                 tls://ADDRESS[:PORT]#NAME is expected"
            )
        };
        if text == "system" {
            return Ok(Self::System);
        }
        let usable = |address: SocketAddr| {
            let ip = address.ip();
            if ip.is_unspecified() || ip.is_multicast() || address.port() == 0 {
                Err(format!("found \"{text}\"; nobody can answer there"))
            } else {
                Ok(address)
            }
        };
        if let Some(rest) = text.strip_prefix("tls://") {
            let (address, name) = rest.split_once('#').ok_or_else(wrong)?;
            let address = address_and_port(address, DOT_PORT).ok_or_else(wrong)?;
            let name = ServerName::try_from(name.to_owned()).map_err(|_| wrong())?;
            return Ok(Self::Tls {
                address: usable(address)?,
                name,
            });
        }
        address_and_port(text, DNS_PORT)
            .ok_or_else(wrong)
            .and_then(usable)
            .map(Self::Address)
    }
}

impl<'de> Deserialize<'de> for ServerSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// An address with or without a port; IPv6 with a port in brackets, as everywhere.
#[must_use]
pub fn address_and_port(text: &str, default_port: u16) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    text.parse().ok().or_else(|| {
        let ip: IpAddr = bare.parse().ok()?;
        Some(SocketAddr::new(ip, default_port))
    })
}

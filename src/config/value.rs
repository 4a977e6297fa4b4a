//! The values of the configuration file, each parsed once: what is kept cannot be malformed.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use hickory_proto::rr::Name;
use ipnet::IpNet;
use serde::Deserialize;

use super::upstream::{FORMS, Upstream};

/// `ADDRESS` or `ADDRESS:PORT`; IPv6 addresses take brackets when a port follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint {
    address: IpAddr,
    port: Option<u16>,
}

impl Endpoint {
    /// The socket address, `port` being used where none was written.
    pub fn or_port(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(port))
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_port = text.parse::<SocketAddr>().ok();
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        let (address, port) = match (with_port, bare.parse::<IpAddr>()) {
            (Some(socket), _) => (socket.ip(), Some(socket.port())),
            (None, Ok(address)) => (address, None),
            (None, Err(_)) => {
                return Err(format!(
                    "{text:?} is not an address; allowed: ADDRESS or ADDRESS:PORT, for example \
                     \"192.0.2.1\", \"192.0.2.1:53\" or \"[2001:db8::1]:53\""
                ));
            }
        };
        if port == Some(0) {
            return Err(format!("{text:?} names port 0; allowed: 1 to 65535"));
        }
        Ok(Self { address, port })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A network in prefix notation; a bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let net = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| {
                format!(
                    "{text:?} is not a network; allowed: ADDRESS/LENGTH or ADDRESS, for example \
                     \"192.0.2.0/24\" or \"2001:db8::/32\""
                )
            })?;
        if net.trunc() != net {
            return Err(format!(
                "{text:?} has bits set after its prefix; allowed: {}",
                net.trunc()
            ));
        }
        // Addresses are judged in their IPv4 form, so that this would let nobody in.
        if let IpNet::V6(v6) = net
            && v6.addr().to_ipv4_mapped().is_some()
        {
            return Err(format!(
                "{text:?} is an IPv4 network in the form of IPv6; allowed: its IPv4 form"
            ));
        }
        Ok(Self(net))
    }
}

/// The domain under which a resolver invents its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Suffix(pub Name);

impl TryFrom<String> for Suffix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut name = Name::from_ascii(&text)
            .ok()
            .filter(|name| !name.is_root() && !text.is_empty())
            .ok_or_else(|| format!("{text:?} is not a domain name; allowed: for example \"zz\""))?;
        name.set_fqdn(true);
        Ok(Self(name.to_lowercase()))
    }
}

/// The servers of `resolve.upstreams`: a list, or whatever the host uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstreams {
    /// Those that the host's resolv.conf names.
    System,
    /// These, in order of preference.
    Listed(Vec<Upstream>),
}

impl<'de> Deserialize<'de> for Upstreams {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Upstreams;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "\"system\" or a list of {FORMS}")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Upstreams, E> {
                match text {
                    "system" => Ok(Upstreams::System),
                    one => one
                        .parse()
                        .map(|upstream| Upstreams::Listed(vec![upstream]))
                        .map_err(E::custom),
                }
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<Upstreams, A::Error> {
                use serde::de::Error as _;
                let mut listed = Vec::new();
                while let Some(text) = items.next_element::<String>()? {
                    // `["system"]` reads the same as `"system"`; a mixture has no clear meaning.
                    if text == "system" {
                        if listed.is_empty() && items.next_element::<String>()?.is_none() {
                            return Ok(Upstreams::System);
                        }
                        return Err(A::Error::custom(
                            "\"system\" stands among other upstreams; allowed: \"system\" alone, \
                             or addresses",
                        ));
                    }
                    listed.push(text.parse().map_err(A::Error::custom)?);
                }
                if listed.is_empty() {
                    return Err(A::Error::custom(
                        "the list is empty; allowed: \"system\", or one upstream or more",
                    ));
                }
                if listed.len() > MAX_UPSTREAMS {
                    return Err(A::Error::custom(format!(
                        "{} upstreams are listed; allowed: at most {MAX_UPSTREAMS}",
                        listed.len()
                    )));
                }
                Ok(Upstreams::Listed(listed))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// More servers than this cannot be tried within the packets that a question may cost.
pub const MAX_UPSTREAMS: usize = 8;

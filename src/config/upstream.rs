//! One server that questions are forwarded to, as it is written in the configuration.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use data_encoding::BASE64;
use rustls::pki_types::{DnsName, ServerName};
use serde::Deserialize;
use zzdot_client::config::parse_pin;

use super::value::Endpoint;

/// The most pins of one upstream: the key of now, the next, and a spare.
const MAX_PINS: usize = 4;

/// The forms that an upstream takes, for messages.
pub(super) const FORMS: &str = "ADDRESS[:PORT], tls://ADDRESS[:PORT]#NAME, \
                                tls://ADDRESS[:PORT]?pin=sha256/BASE64, \
                                https://ADDRESS[:PORT]/PATH#NAME, or quic://ADDRESS[:PORT]#NAME";

/// One server that questions are forwarded to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is known.
    pub kind: UpstreamKind,
}

/// How an upstream is known, and so how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamKind {
    /// By what it says of itself: it is discovered, and asked over TLS where that can be.
    Discovered,
    /// By a proof that stands in the configuration: encrypted from the first question on.
    Tls {
        /// What questions are carried in.
        over: Over,
        /// The name that its certificate must bear; with pins, the name that it is greeted by.
        name: Option<ServerName<'static>>,
        /// SHA-256 digests of the keys that it may hold (RFC 7858 §4.2). Where there are any, names and authorities do
        /// not matter, unless a file of authorities is configured as well.
        pins: Vec<[u8; 32]>,
    },
}

/// What carries questions to an upstream that is known by a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484), at this path.
    Https {
        /// With the slash that it begins with.
        path: String,
    },
    /// DNS over QUIC (RFC 9250).
    Quic,
}

impl Over {
    fn port(&self) -> u16 {
        match self {
            Self::Tls | Self::Quic => 853,
            Self::Https { .. } => 443,
        }
    }
}

impl Upstream {
    /// An upstream that is to be discovered at `address`.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            kind: UpstreamKind::Discovered,
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UpstreamKind::Tls { over, name, pins } = &self.kind else {
            return write!(out, "{}", self.address);
        };
        match over {
            Over::Tls => write!(out, "tls://{}", self.address)?,
            Over::Https { path } => write!(out, "https://{}{path}", self.address)?,
            Over::Quic => write!(out, "quic://{}", self.address)?,
        }
        for (at, pin) in pins.iter().enumerate() {
            let sign = if at == 0 { '?' } else { '&' };
            write!(out, "{sign}pin=sha256/{}", BASE64.encode(pin))?;
        }
        match name {
            Some(name) => write!(out, "#{}", name.to_str()),
            None => Ok(()),
        }
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why: &str| format!("{text:?} {why}; allowed: \"system\", {FORMS}");
        let Some((scheme, rest)) = text.split_once("://") else {
            let endpoint = endpoint_in(text, "").map_err(|why| refuse(&why))?;
            return Ok(Self::at(usable(endpoint.or_port(53)).map_err(refuse)?));
        };
        let (rest, name) = match rest.split_once('#') {
            Some((rest, name)) => (rest, Some(name)),
            None => (rest, None),
        };
        let (place, parameters) = match rest.split_once('?') {
            Some((place, parameters)) => (place, Some(parameters)),
            None => (rest, None),
        };
        // Schemes have no case (RFC 3986 §3.1).
        let scheme = scheme.to_ascii_lowercase();
        let (place, over) = match scheme.as_str() {
            "tls" => (place, Over::Tls),
            "quic" => (place, Over::Quic),
            "https" => {
                let (place, path) = path_in(place).map_err(|why| refuse(&why))?;
                (place, Over::Https { path })
            }
            other => return Err(refuse(&unknown_scheme(other))),
        };
        let endpoint = endpoint_in(place, &scheme).map_err(|why| refuse(&why))?;
        let pins = match parameters {
            Some(parameters) => pins_in(parameters).map_err(|why| refuse(&why))?,
            None => Vec::new(),
        };
        if name.is_none() && pins.is_empty() {
            return Err(refuse(
                "lacks the name that the certificate must bear, behind a #, or the pin of its key",
            ));
        }
        let name = name.map(name_in).transpose();
        Ok(Self {
            address: usable(endpoint.or_port(over.port())).map_err(refuse)?,
            kind: UpstreamKind::Tls {
                over,
                name: name.map_err(|why| refuse(&why))?.map(ServerName::DnsName),
                pins,
            },
        })
    }
}

/// The address in `place`, which stands behind `scheme`; nothing stands there where there is none.
fn endpoint_in(place: &str, scheme: &str) -> Result<Endpoint, String> {
    if let Ok(endpoint) = place.parse() {
        return Ok(endpoint);
    }
    let port = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let host = match place.rsplit_once(':') {
        Some((_, "0")) => return Err("names port 0".to_owned()),
        Some((host, digits)) if port(digits) => host,
        _ => place,
    };
    let is_name = |text: &str| {
        text.contains(|it: char| it.is_ascii_alphabetic())
            && !text.contains(':')
            && DnsName::try_from(text).is_ok()
    };
    Err(match (scheme, place.split_once('#')) {
        ("", Some((address, name))) if address.parse::<Endpoint>().is_ok() => {
            format!(
                "has a name that nothing is proved by in cleartext: write tls://{address}#{name}"
            )
        }
        _ if is_name(host) => format!(
            "has the name {host:?} where an address belongs, and nobody can be asked for names before there is an \
             upstream"
        ),
        ("", _) => "is not an address".to_owned(),
        _ => format!("has {place:?} where an address belongs"),
    })
}

/// Address and path of a URL.
fn path_in(place: &str) -> Result<(&str, String), String> {
    let at = place
        .find('/')
        .ok_or("lacks a path, as /dns-query is one")?;
    let (place, path) = place.split_at(at);
    // RFC 3986 §3.3; what else there is has to be percent-encoded.
    let fits = |octet: u8| octet.is_ascii_graphic() && !b"\"<>[]\\^`{|}".contains(&octet);
    match path.bytes().all(fits) {
        true => Ok((place, path.to_owned())),
        false => Err(format!("has {path:?}, which is no path of a URL")),
    }
}

fn name_in(text: &str) -> Result<DnsName<'static>, String> {
    if text.contains("?pin=") {
        return Err("has the pin behind the name; it stands before the #".to_owned());
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_owned();
    let is_address = name.parse::<IpAddr>().is_ok();
    let name = DnsName::try_from(name).ok().filter(|_| !is_address);
    name.ok_or_else(|| format!("has {text:?} behind the #, which is not a host name"))
}

fn unknown_scheme(scheme: &str) -> String {
    let meant = match scheme {
        "dot" => ", which is written tls://",
        "doh" | "h2" | "http" => ", which is written https://",
        "doq" | "h3" => ", which is written quic://",
        "dns" | "udp" | "tcp" => "; an address alone is asked as well as it can be",
        _ => "",
    };
    format!("has the unknown scheme {scheme:?}{meant}")
}

impl TryFrom<String> for Upstream {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

fn pins_in(parameters: &str) -> Result<Vec<[u8; 32]>, String> {
    let mut pins = Vec::new();
    for parameter in parameters.split('&') {
        let pin = parameter
            .strip_prefix("pin=")
            .ok_or_else(|| format!("has {parameter:?} after the question mark"))?;
        pins.push(parse_pin(pin).map_err(|_| {
            format!("has {pin:?}, which is not \"sha256/\" and 32 octets in base64")
        })?);
    }
    if pins.len() > MAX_PINS {
        return Err(format!("has {} pins, more than {MAX_PINS}", pins.len()));
    }
    Ok(pins)
}

fn usable(address: SocketAddr) -> Result<SocketAddr, &'static str> {
    if address.ip().is_unspecified() {
        return Err("is the unspecified address");
    }
    if address.ip().is_multicast() {
        return Err("is a multicast address");
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PIN: &str = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "192.0.2.1:53".to_owned(),
            "[2001:db8::1]:5353".to_owned(),
            "tls://9.9.9.9:853#dns.quad9.net".to_owned(),
            format!("tls://192.0.2.1:853?pin={PIN}"),
            format!("tls://[2001:db8::1]:8853?pin={PIN}&pin={PIN}#dns.example"),
            "https://9.9.9.9:443/dns-query#dns.quad9.net".to_owned(),
            format!("https://[2001:db8::1]:8443/a/b?pin={PIN}#dns.example"),
            "quic://9.9.9.9:853#dns.quad9.net".to_owned(),
        ] {
            assert_eq!(text.parse::<Upstream>().unwrap().to_string(), text);
        }
        let loud = "TLS://192.0.2.1:853#dns.example"
            .parse::<Upstream>()
            .unwrap();
        assert_eq!(loud.to_string(), "tls://192.0.2.1:853#dns.example");
        let short = format!("tls://192.0.2.1?pin={PIN}");
        let UpstreamKind::Tls { name, pins, .. } = short.parse::<Upstream>().unwrap().kind else {
            panic!("a pin is a proof");
        };
        assert_eq!((name, pins.len()), (None, 1));
    }

    #[test]
    fn what_proves_nothing_or_is_not_understood_is_refused() {
        for (text, why) in [
            ("tls://192.0.2.1", "lacks the name"),
            ("tls://192.0.2.1?", "has \"\" after the question mark"),
            ("tls://192.0.2.1?pin=sha256/AAAA", "which is not"),
            ("tls://192.0.2.1?pin=sha1/AAAA", "which is not"),
            ("tls://192.0.2.1?pins=1#a.example", "has \"pins=1\""),
            ("tls://0.0.0.0#a.example", "is the unspecified address"),
            (
                "tls://192.0.2.1#",
                "has \"\" behind the #, which is not a host name",
            ),
            (
                "tls://192.0.2.1#192.0.2.1",
                "has \"192.0.2.1\" behind the #",
            ),
            (
                "tls://192.0.2.1#a.example?pin=sha256/AAAA",
                "the pin behind the name",
            ),
            ("sdns://192.0.2.1#a", "has the unknown scheme \"sdns\""),
            ("doh://192.0.2.1/x#a", "\"doh\", which is written https://"),
            ("udp://192.0.2.1", "\"udp\"; an address alone is asked"),
            ("192.0.2.1#a.example", "write tls://192.0.2.1#a.example"),
            (
                "dns.example",
                "has the name \"dns.example\" where an address",
            ),
            (
                "dns.example:853",
                "has the name \"dns.example\" where an address",
            ),
            ("192.0.2.1.1", "is not an address"),
            ("192.0.2.1:0", "names port 0"),
            ("tls://[2001:db8::1]:0#a.example", "names port 0"),
            ("tls:192.0.2.1", "is not an address"),
            ("quic://", "has \"\" where an address belongs"),
            ("tls://[2001:db8::1#a.example", "where an address belongs"),
            (
                "https://192.0.2.1/dns query#a.example",
                "has \"/dns query\", which is no path of a URL",
            ),
            (
                "https://192.0.2.1/dns-query{?dns}#a.example",
                "which is no path of a URL",
            ),
            ("https://192.0.2.1dns-query#a.example", "lacks a path"),
            ("https://192.0.2.1#a.example", "lacks a path"),
            ("https://192.0.2.1/dns-query", "lacks the name"),
            (
                "https://dns.example/dns-query#dns.example",
                "has the name \"dns.example\" where an address",
            ),
            ("quic://192.0.2.1", "lacks the name"),
        ] {
            let told = text.parse::<Upstream>().unwrap_err();
            assert!(told.contains(why), "{told}");
            assert!(told.ends_with(FORMS), "{told}");
        }
        let many = vec![format!("pin={PIN}"); 5].join("&");
        let told = format!("tls://192.0.2.1?{many}").parse::<Upstream>();
        assert!(told.unwrap_err().contains("has 5 pins"));
    }
}

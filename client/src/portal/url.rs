//! As much of a URL as a portal needs (RFC 3986): whose it is, and for probes where to knock.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use hickory_proto::rr::Name;
use serde::{Deserialize, Deserializer};

/// Longer ones are not looked at.
const MAX_BYTES: usize = 2048;
const HTTP_PORT: u16 = 80;

/// Whose a URL is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// In lower case, from the root.
    Name(Name),
    /// Nobody has to be asked for it.
    Address(IpAddr),
}

/// Where to look for a portal: something on the network at large that nobody but a portal changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeUrl {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// What to say as the host.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// It is no URL that can be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"http://HOST[:PORT]/PATH\" is expected")]
pub struct UrlError;

/// The host of an HTTP or HTTPS URL that a network told; none where it is neither, or not well-formed.
#[must_use]
pub fn host_of(url: &str) -> Option<Host> {
    let (_, authority, _) = split(url)?;
    let (host, _) = host_and_port(authority)?;
    Some(host)
}

impl FromStr for ProbeUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, authority, path) = split(text).ok_or(UrlError)?;
        // HTTPS cannot be redirected, so it finds no portal.
        if scheme != "http" {
            return Err(UrlError);
        }
        let (host, port) = host_and_port(authority).ok_or(UrlError)?;
        Ok(Self {
            host,
            port: port.unwrap_or(HTTP_PORT),
            authority: authority.to_owned(),
            path: if path.is_empty() {
                "/".to_owned()
            } else {
                path.to_owned()
            },
        })
    }
}

impl<'de> Deserialize<'de> for ProbeUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|error| serde::de::Error::custom(format!("found \"{text}\"; {error}")))
    }
}

/// Scheme, authority and the rest of what may stand in a header: no blanks, nothing but ASCII.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let sound = url.len() <= MAX_BYTES && url.bytes().all(|byte| byte.is_ascii_graphic());
    let (scheme, rest) = url.split_once("://").filter(|_| sound)?;
    let scheme = ["http", "https"]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split('#').next()?;
    (path.is_empty() || path.starts_with('/') || path.starts_with('?'))
        .then_some((scheme, authority, path))
}

fn host_and_port(authority: &str) -> Option<(Host, Option<u16>)> {
    // User names in front of the host are for those who want to be deceived.
    if authority.contains('@') {
        return None;
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return Some((Host::Address(address.into()), port(rest)?));
    }
    let end = authority.find(':').unwrap_or(authority.len());
    let (host, rest) = authority.split_at(end);
    let port = port(rest)?;
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some((Host::Address(address), port));
    }
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let mut name = Name::from_ascii(host)
        .ok()
        .filter(|name| host.bytes().all(letters) && !name.is_root())?
        .to_lowercase();
    name.set_fqdn(true);
    // The top-level domains serve no pages.
    (name.num_labels() >= 2).then_some((Host::Name(name), port))
}

/// None where there is no number behind the colon.
fn port(rest: &str) -> Option<Option<u16>> {
    match rest.strip_prefix(':') {
        None => rest.is_empty().then_some(None),
        Some(digits) => {
            let port: u16 = digits.parse().ok()?;
            (port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(Some(port))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_probe_is_read_into_its_parts() {
        let probe: ProbeUrl = "http://Probe.Example:8080/check?x".parse().unwrap();
        assert_eq!(
            probe.host,
            Host::Name(Name::from_ascii("probe.example.").unwrap())
        );
        assert_eq!((probe.port, probe.path.as_str()), (8080, "/check?x"));
        assert_eq!(probe.authority, "Probe.Example:8080");
        let probe: ProbeUrl = "http://[2001:db8::1]".parse().unwrap();
        assert_eq!(probe.host, Host::Address("2001:db8::1".parse().unwrap()));
        assert_eq!((probe.port, probe.path.as_str()), (80, "/"));
        for bad in [
            "https://probe.example/",
            "probe.example",
            "ftp://probe.example/",
            "http://",
            "http://:80/",
            "http://probe/",
            "http://probe.example:0/",
            "http://probe.example:+8/",
            "http://probe.example:99999/",
            "http://probe.example/\r\nHost: x",
            "http://probe.example/ x",
            "http://a@probe.example/",
            "http://[::1/",
            "http://-%41.example/",
        ] {
            assert_eq!(bad.parse::<ProbeUrl>(), Err(UrlError), "{bad}");
        }
        let long = format!("http://probe.example/{}", "x".repeat(MAX_BYTES));
        assert_eq!(long.parse::<ProbeUrl>(), Err(UrlError));
    }

    #[test]
    fn whose_a_page_is_is_told_only_where_it_is_certain() {
        let login = Host::Name(Name::from_ascii("login.example.").unwrap());
        assert_eq!(host_of("HTTPS://Login.Example/x#y"), Some(login.clone()));
        assert_eq!(
            host_of("http://login.example?next=http://other.example/"),
            Some(login)
        );
        let address = Host::Address("192.0.2.1".parse().unwrap());
        assert_eq!(host_of("http://192.0.2.1:8080/"), Some(address));
        for bad in [
            "/login",
            "//login.example/",
            "javascript:x",
            "http://com/",
            "http://user@login.example/",
            "urn:x:y",
        ] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
    }
}

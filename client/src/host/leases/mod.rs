//! Files in which DHCP clients keep what they were told. Text in, sayings out; rubbish makes fewer sayings, never other
//! ones, since each value is parsed by itself and what is no address is left out.

mod dhclient;
mod networkd;

pub use dhclient::dhclient;
pub use networkd::{networkd_lease, networkd_lease_domains, networkd_link};

use std::net::{IpAddr, SocketAddr};

use crate::config::DNS_PORT;

/// The most octets of a file that are looked at. A lease has some hundreds; dhclient keeps many.
pub const LEASE_FILE_BYTES_MAX: usize = 256 * 1024;

/// Longest text of an option that is kept: a URI or a domain.
const TEXT_MAX: usize = 1024;

fn server(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, DNS_PORT)
}

/// The first or the last octets that are looked at, and no half letter.
fn head(text: &str) -> &str {
    let mut end = text.len().min(LEASE_FILE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(LEASE_FILE_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// A text that may be shown to a person: no controls, not endless.
fn plain(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= TEXT_MAX;
    (fits && text.chars().all(|c| !c.is_control())).then(|| text.to_owned())
}

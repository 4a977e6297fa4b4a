//! The networks that look like a known one and differ, for a person to say what is true.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use nix::ifaddrs::getifaddrs;

use super::{Places, Taken};
use crate::place::{NetworkId, Place, Surroundings};
use crate::upstream::{Proven, Unproven, Upstream};

/// A link in a network that looks like a known one and differs.
#[derive(Clone)]
pub struct Suspect {
    /// The known network.
    pub network: NetworkId,
    /// The link.
    pub link: String,
    /// What the link shows.
    pub surroundings: Surroundings,
    /// The link was in the known network, without doubt, since it came up.
    pub turned: bool,
    /// It shows enough to be recognised by.
    pub recognisable: bool,
    /// Who is asked there.
    pub upstream: Arc<Upstream>,
}

/// The resolver that is expected did not prove itself in a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// It did not prove itself.
    #[error(transparent)]
    Unproven(#[from] Unproven),
    /// It did, and in another network: packets to it do not go over this link.
    #[error("it is not reached over {link}, but over another link")]
    Elsewhere {
        /// The link that was meant.
        link: String,
    },
}

impl Places {
    /// The links in networks that are suspect.
    #[must_use]
    pub fn suspects(&self) -> Vec<Suspect> {
        let now = self.now();
        let suspects = now.stops.iter().filter_map(|(stop, upstream)| {
            let (Place::Network(network), Taken::Suspect) = (stop.surroundings.place, stop.taken)
            else {
                return None;
            };
            Some(Suspect {
                network,
                link: stop.link.clone()?,
                surroundings: stop.surroundings.clone(),
                turned: stop.turned,
                recognisable: stop.recognisable,
                upstream: Arc::clone(upstream),
            })
        });
        suspects.collect()
    }
}

impl Suspect {
    /// Has the resolver that is expected prove itself there, now and over this link.
    ///
    /// # Errors
    /// [`NotProven`].
    pub async fn prove(&self) -> Result<Proven, NotProven> {
        let proven = self.upstream.prove().await?;
        if proven.surroundings != self.surroundings {
            return Err(Unproven::Changed.into());
        }
        // Two networks of one range may be there at once, and the resolver in the other one.
        match leads_over(proven.identity.endpoint, &self.link) {
            true => Ok(proven),
            false => Err(NotProven::Elsewhere {
                link: self.link.clone(),
            }),
        }
    }
}

/// Whether the kernel would send a packet to `target` from an address of `link`. None is sent.
fn leads_over(target: SocketAddr, link: &str) -> bool {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(target).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let (Some(source), Ok(addresses)) = (source(), getifaddrs()) else {
        return false;
    };
    let mut owners = addresses
        .filter(|one| {
            let address = one.address.as_ref();
            let v4 = address
                .and_then(|it| it.as_sockaddr_in())
                .map(|it| IpAddr::V4(it.ip()));
            let v6 = address
                .and_then(|it| it.as_sockaddr_in6())
                .map(|it| IpAddr::V6(it.ip()));
            v4.or(v6) == Some(source)
        })
        .map(|one| one.interface_name)
        .peekable();
    owners.peek().is_some() && owners.all(|owner| owner == link)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_target_is_reached_over_the_link_that_the_kernel_would_take() {
        let here: SocketAddr = "127.0.0.1:853".parse().unwrap();
        assert!(leads_over(here, "lo"));
        assert!(!leads_over(here, "wlan0"));
    }
}

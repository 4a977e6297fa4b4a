//! Which network this is: what the kernel and the host's network manager say about a link, boiled down to signals, and
//! compared with those of the networks that are known.
//!
//! A network that is recognised tells whom to *expect* there. It never makes anybody trusted: whoever copies every
//! signal of a network is asked to prove the key that is expected on it, and cannot.

mod common;
mod link;
pub mod netlink;
mod observer;
mod score;
mod signals;

use crate::place::NetworkId;

pub use link::{Gateway, LinkView, MacAddress, Medium, ParseMacError, Security};
pub use observer::{Given, Observer, Sight, Wireless};
pub use score::{EXPECT, SUSPECT, Sighting, recognise};
pub use signals::{Fingerprint, NotAFingerprint, SignalKind, Signals, fingerprint};

/// Which network it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// A known one: whoever was met there is expected.
    Expect(NetworkId),
    /// One that looks like a known one, but not in everything. Whoever was met there is expected, and nothing is learned
    /// without a person's word.
    Suspect {
        /// The known one.
        network: NetworkId,
        /// What is not as it was.
        differs: Vec<SignalKind>,
    },
    /// None that is known.
    New,
}

//! Forwarders of today between a client and an upgraded resolver, and what each of them does to what is published.
//!
//! Every [`Model`] is a real program of Debian with a configuration that people run. [`measure`] asks what the walk and
//! the survey ask, and everything near it; the table in `docs/forwarders.md` is what came of that, and the story
//! `boxes` fails when a line of it is not true any more.

pub mod measure;
mod models;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::{
    ask::{AskError, wait_until_answering},
    host::Host,
    internet::Internet,
    process::Process,
    servers::READY,
    story::Failure,
};

pub use models::MODELS;

/// A forwarder as somebody has set it up.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Of its host, and of its line in the table.
    pub name: &'static str,
    /// The program and what is set, for people.
    pub about: &'static str,
    /// What a client behind it is to find.
    pub verdict: Verdict,
    /// Has it forget everything that it was told, as its operator would; none where only a new start is sure to do so.
    pub forget: Option<Forget>,
    /// Starts it.
    pub start: fn(&Place<'_>) -> Result<Process, Failure>,
}

/// Tells a box that runs to forget.
pub type Forget = fn(&Place<'_>) -> Result<(), Failure>;

/// What the walk of a client behind a box ends with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It meets the resolver behind the box.
    Upgraded,
    /// It takes the box for one that knows of nothing, for this reason.
    Legacy(&'static str),
    /// It cannot tell, and tries again.
    NoAnswer,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgraded => f.write_str("upgraded"),
            Self::NoAnswer => f.write_str("no-answer"),
            Self::Legacy(reason) => write!(f, "legacy: {reason}"),
        }
    }
}

/// Where a box runs, and what it needs to know.
#[derive(Debug)]
pub struct Place<'a> {
    /// Its machine.
    pub host: &'a Host,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whom it forwards to.
    pub upstream: SocketAddr,
    /// Whose root it validates by.
    pub internet: &'a Internet,
}

/// A model's place in a lab: the number gives the addresses.
#[must_use]
pub fn address(number: usize, network: [u8; 3]) -> IpAddr {
    let last = u8::try_from(FIRST + number).expect("there are fewer models than addresses");
    let [a, b, c] = network;
    Ipv4Addr::new(a, b, c, last).into()
}

/// The last octet of the first model's address.
const FIRST: usize = 100;

/// Waits until a box answers.
///
/// # Errors
/// It ended, or does not answer in time.
pub fn wait(place: &Place<'_>, process: &mut Process) -> Result<(), Failure> {
    let mut ended = None;
    let answering = wait_until_answering(place.host, place.listen, READY, || {
        process.check_running("an answer").map_err(|error| {
            ended = Some(error.to_string());
            Ended
        })
    });
    match (answering, ended) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(ended)) => Err(Failure::new(ended)),
        (Err(_), None) => Err(Failure::new(format!(
            "{} does not answer",
            place.host.name()
        ))),
    }
}

/// It ended, or was silent.
struct Ended;

impl From<AskError> for Ended {
    fn from(_: AskError) -> Self {
        Self
    }
}

//! An attacker that can be told what to do: it stands on the way between a laptop and its resolver, or in the resolver's
//! place.
//!
//! Packets that it lets through are forwarded by the kernel; what it drops, rejects or takes for itself is decided by
//! nftables ([`Manner::ruleset`]). What it takes is answered by threads of this process, out of an [`Answerer`]: a
//! function from a query to what is said to it, with the genuine resolver at hand to relay to, to record, to cut and to
//! change. Every question that it could read is kept ([`Attacker::heard`]).

pub mod answers;
mod brood;
mod impostor;
mod manner;
mod serve;

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use hickory_proto::{op::Message, rr::Name};

pub use answers::{Answerer, Genuine, Said};
pub use brood::{Brood, BroodError, CHILDREN};
pub use impostor::{Impostor, ImpostorError};
pub use manner::{Dns, Dot, Manner};

use crate::{host::Host, lab::LabError, programs};

/// Where it takes what was meant for port 53.
const DNS_PORT: u16 = 10_053;
/// Where it takes what was meant for port 853.
const DOT_PORT: u16 = 10_853;

/// A running attacker. Its threads live as long as the process: a lab's end is their end.
#[derive(Clone, Debug)]
pub struct Attacker {
    host: Host,
    link: String,
    state: Arc<State>,
}

/// What its threads share.
#[derive(Debug)]
struct State {
    manner: RwLock<Manner>,
    heard: Mutex<Vec<Heard>>,
    genuine: Genuine,
}

/// A question that the attacker could read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heard {
    /// How it came.
    pub over: Over,
    /// From whom.
    pub from: IpAddr,
    /// The name asked for; none where the message is not readable as DNS.
    pub name: Option<Name>,
}

impl Heard {
    /// It came over TLS, and is about resolvers.
    #[must_use]
    pub fn is_of_a_survey(&self) -> bool {
        self.over == Over::Tls && self.name.as_ref().is_some_and(answers::is_of_the_walk)
    }
}

/// How a message came to the attacker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Over {
    /// A datagram.
    Udp,
    /// A stream in cleartext.
    Tcp,
    /// TLS that the attacker ends itself.
    Tls,
}

impl Attacker {
    /// Puts itself on `host`, which forwards packets from `link` to the resolver at `genuine`. It does nothing yet.
    ///
    /// # Errors
    /// A port is taken.
    pub fn start(host: &Host, link: &str, genuine: IpAddr) -> io::Result<Self> {
        let state = Arc::new(State {
            manner: RwLock::default(),
            heard: Mutex::default(),
            genuine: Genuine::new(host, SocketAddr::new(genuine, 53)),
        });
        serve::start(host, &state)?;
        Ok(Self {
            host: host.clone(),
            link: link.to_owned(),
            state,
        })
    }

    /// Changes its ways. Connections that it let through before are not spared.
    ///
    /// # Errors
    /// nftables refused.
    pub fn turn(&self, manner: Manner) -> Result<(), LabError> {
        let rules = manner.ruleset(&self.link);
        // First the answers, then the packets: nobody is answered in the old way by the new rules.
        *self
            .state
            .manner
            .write()
            .unwrap_or_else(PoisonError::into_inner) = manner;
        nft(&self.host, &rules)
    }

    /// All questions that it could read so far.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.state
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Where it is.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The genuine resolver, as the attacker reaches it.
    #[must_use]
    pub fn genuine(&self) -> &Genuine {
        &self.state.genuine
    }
}

impl State {
    fn manner(&self) -> Manner {
        self.manner
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn hear(&self, over: Over, from: IpAddr, message: &[u8]) {
        let name = Message::from_vec(message).ok().and_then(|message| {
            message
                .queries
                .first()
                .map(|query| query.name().to_lowercase())
        });
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Heard { over, from, name });
    }
}

/// Loads a ruleset on a host.
fn nft(host: &Host, rules: &str) -> Result<(), LabError> {
    let failed = |source| LabError::Run {
        program: "nft".into(),
        source,
    };
    let mut command = Command::new(programs::find("nft")?);
    command
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // A child has the network of the thread that starts it.
    let mut child = host.within(|| command.spawn()).map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Network {
        what: format!("load on {}: {rules}", host.name()),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

//! Wireless networks for a program that asks the kernel about them, on a machine that has no radio.
//!
//! A lab's card is one end of a pair of virtual ones. What makes it wireless is what nl80211 says of it, and that is played:
//! `zzdot-testnet radio` runs the program, answers what it asks of generic netlink as the kernel would ([`answers`]), and
//! has its messages come and go by way of itself ([`redirect`]). The program is the real one, its sockets are real, and it
//! cannot tell. `iw` cannot, either: that is a test.
//!
//! What is in the air is written in a file, which is read for each answer; SIGHUP has the radio tell those who listen.

mod air;
mod answers;
mod message;
mod numbers;
mod redirect;

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Arc, PoisonError},
    thread,
};

use clap::Args;
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        signal::{SigSet, Signal, kill},
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind,
            getsockname, recvfrom, sendto, socket,
        },
    },
    unistd::Pid,
};

pub use air::{AccessPoint, Card, Protection};
use answers::Numbered;
use redirect::{Listeners, Redirect};

use crate::{
    Host, LabError, Process, ProcessError,
    story::Failure,
    tracing::{End, follow, launcher},
};

/// The largest request that anybody makes.
const REQUEST_BYTES_MAX: usize = 8192;

/// What is said once a radio can be told of changes.
pub const PLAYS: &str = "the radio plays";

/// The radio of a host.
#[derive(Clone, Debug)]
pub struct Radio {
    host: Host,
}

impl Radio {
    /// There is nothing in the air until [`Radio::tune`].
    #[must_use]
    pub fn of(host: &Host) -> Self {
        Self { host: host.clone() }
    }

    /// What the host's cards hear from now on, for whoever asks.
    ///
    /// # Errors
    /// The file system's.
    pub fn tune(&self, cards: &[Card]) -> Result<(), Failure> {
        // At once: it is read at any moment.
        let next = self
            .host
            .write("air.json.next", &serde_json::to_string(cards)?)?;
        Ok(fs::rename(next, self.air())?)
    }

    /// The same, and those who listen are told what has changed. `process` is one of [`Radio::command`].
    ///
    /// # Errors
    /// The file system's, or there is no such process.
    pub fn turn(&self, cards: &[Card], process: &Process) -> Result<(), Failure> {
        self.tune(cards)?;
        process
            .signal(Signal::SIGHUP)
            .map_err(|error: ProcessError| error.into())
    }

    /// A command that runs on the host with this radio.
    ///
    /// # Errors
    /// A program is missing.
    pub fn command(&self, program: &str) -> Result<Command, LabError> {
        let own = env::current_exe().map_err(|source| LabError::Run {
            program: "this program".into(),
            source,
        })?;
        let mut command = self.host.command(&own.to_string_lossy())?;
        command.arg("radio").arg(self.air()).arg("--").arg(program);
        Ok(command)
    }

    /// Whose it is.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    fn air(&self) -> PathBuf {
        self.host.folder().join("air.json")
    }
}

/// Runs a program with a radio, in the network in which it is itself.
#[derive(Debug, Args)]
pub struct Playing {
    /// What is in the air.
    air: PathBuf,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Playing {
    /// Ends as the program does.
    ///
    /// # Errors
    /// The kernel refused something.
    pub fn run(&self) -> Result<ExitCode, Failure> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(Failure::new("there is no program to run"));
        };
        let antenna = Arc::new(Antenna::open(&self.air)?);
        let mut child = launcher(program).args(arguments).spawn()?;
        // After the program is there, which would begin with the same mask; and before there are threads, all of which
        // are to leave signals to the one that waits for them.
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
        signals.thread_block()?;
        eprintln!("zzdot-testnet: {PLAYS}");
        let pid = Pid::from_raw(child.id().cast_signed());
        let listeners = Listeners::default();
        let answering = Arc::clone(&antenna);
        thread::spawn(move || answering.answer());
        let told = Arc::clone(&listeners);
        let mut redirect = Redirect::new(antenna.port, listeners);
        thread::spawn(move || {
            let mut before = antenna.cards().unwrap_or_default();
            while let Ok(signal) = signals.wait() {
                if signal == Signal::SIGHUP {
                    before = antenna.tell(&before, &told);
                } else if kill(pid, signal).is_err() {
                    return;
                }
            }
        });
        match follow(&mut child, &mut redirect)? {
            End::Exited(code) => Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)),
            End::Signaled(signal) => Err(Failure::new(format!("it ended by signal {signal}"))),
        }
    }
}

/// The radio's end of the netlink.
struct Antenna {
    socket: OwnedFd,
    port: u32,
    air: PathBuf,
}

impl Antenna {
    fn open(air: &Path) -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkGeneric,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let own: NetlinkAddr = getsockname(socket.as_raw_fd())?;
        Ok(Self {
            socket,
            port: own.pid(),
            air: air.to_owned(),
        })
    }

    fn cards(&self) -> io::Result<Vec<Card>> {
        match fs::read(&self.air) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Answers for as long as this process lives.
    fn answer(&self) {
        let mut buffer = vec![0; REQUEST_BYTES_MAX];
        loop {
            let answered = self.answer_one(&mut buffer);
            if let Err(error) = answered {
                eprintln!("zzdot-testnet: the radio: {error}");
            }
        }
    }

    fn answer_one(&self, buffer: &mut [u8]) -> io::Result<()> {
        let (octets, sender) = recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), buffer)?;
        let port = sender.map_or(0, |sender| sender.pid());
        let cards = self.cards()?;
        for datagram in answers::answer(&buffer[..octets], &numbered(&cards), port) {
            self.send(&datagram, port)?;
        }
        Ok(())
    }

    /// Tells the `listeners` what has changed; what is so now.
    fn tell(&self, before: &[Card], listeners: &Listeners) -> Vec<Card> {
        let cards = self.cards().unwrap_or_default();
        let listeners = listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (index, card) in numbered(&cards) {
            let earlier = before.iter().find(|earlier| earlier.link == card.link);
            let event = earlier.and_then(|earlier| answers::event(earlier, (index, card)));
            for (event, port) in event
                .iter()
                .flat_map(|event| listeners.iter().map(move |port| (event, port)))
            {
                // It may have closed its socket.
                let _ = self.send(event, *port);
            }
        }
        cards
    }

    fn send(&self, datagram: &[u8], port: u32) -> Result<(), Errno> {
        let receiver = NetlinkAddr::new(port, 0);
        sendto(
            self.socket.as_raw_fd(),
            datagram,
            &receiver,
            MsgFlags::empty(),
        )
        .map(drop)
    }
}

/// The cards that are plugged in.
fn numbered(cards: &[Card]) -> Vec<Numbered<'_>> {
    let cards = cards.iter();
    let cards = cards.filter_map(|card| Some((if_nametoindex(card.link.as_str()).ok()?, card)));
    cards.collect()
}

//! Those who are attacked: the product's client and its peers, each on a laptop of its own.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::op::ResponseCode;
use serde::{Deserialize, Serialize};
use zzdot_zonegen::{identity::Identity, identity_files::CERTIFICATE};

use super::{
    Outcome,
    ground::{INSIDE, TRUTH},
};
use crate::{
    ask::{Question, ask_once, wait_until_answering},
    attacker::answers::LIE,
    host::Host,
    process::{POLL, Process},
    products, programs,
    radio::{Card, Radio},
    servers::READY,
    story::Failure,
};

/// More than the product takes until it gives up.
const PATIENCE: Duration = Duration::from_secs(9);
/// Peers that have no answer may try for minutes; by then an application has given up on them.
const PATIENCE_WITH_PEERS: Duration = Duration::from_secs(2);

/// Which program.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `zzdot-client` with the resolver's address and nothing else.
    Product,
    /// stubby with the resolver's key pinned by hand.
    Stubby,
    /// unbound that forwards by TLS and was given the resolver's certificate and name by hand.
    Unbound,
}

impl Kind {
    /// As hosts are named after it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Product => "laptop",
            Self::Stubby => "stubby",
            Self::Unbound => "unbound",
        }
    }
}

/// A laptop with one of them.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) kind: Kind,
    pub(super) host: Host,
    pub(super) address: IpAddr,
    process: Option<Process>,
    /// Its clock, as libfaketime takes it: an offset, or a time to start from.
    pub(super) clock: Option<String>,
    /// Where the product's link is a wireless one.
    pub(super) radio: Option<Radio>,
    /// Lines of the product's configuration beyond the least.
    pub(super) settings: String,
}

/// What became of one question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    /// By what the application was told alone.
    pub outcome: Outcome,
    /// What it was told.
    pub words: String,
    /// The text of the extended error, where there is one.
    pub reason: Option<String>,
}

impl Victim {
    pub(super) fn new(kind: Kind, host: Host, address: IpAddr) -> Self {
        Self {
            kind,
            host,
            address,
            process: None,
            clock: None,
            radio: None,
            settings: String::new(),
        }
    }

    /// Starts it; it keeps what it remembers.
    pub(super) fn start(&mut self, resolver: IpAddr, identity: &Identity) -> Result<(), Failure> {
        let process = match self.kind {
            Kind::Product => self.product(resolver)?,
            Kind::Stubby => self.stubby(resolver, identity)?,
            Kind::Unbound => self.unbound(resolver, identity)?,
        };
        let process = self.process.insert(process);
        wait_until_answering(&self.host, listen(), READY, || {
            process.check_running("an answer").map_err(Failure::from)
        })
    }

    /// Kills the product and starts it again, without waiting for anything but its sockets.
    pub(super) fn crash(&mut self, resolver: IpAddr) -> Result<(), Failure> {
        self.process = None;
        self.process = Some(self.product(resolver)?);
        let deadline = Instant::now() + READY;
        self.host.within(|| {
            while TcpStream::connect(listen()).is_err() {
                if Instant::now() > deadline {
                    return Err(Failure::new("the client does not listen"));
                }
                thread::sleep(POLL);
            }
            Ok(())
        })
    }

    /// Its wireless card moves while the link stays up, as within a network that has several access points.
    pub(super) fn roam(&self, card: Card) -> Result<(), Failure> {
        match (&self.radio, &self.process) {
            (Some(radio), Some(process)) => radio.turn(&[card], process),
            _ => Err(Failure::new("nobody is there who could roam")),
        }
    }

    /// Ends it, politely.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        if let Some(process) = self.process.take() {
            process.end()?;
        }
        Ok(())
    }

    fn product(&self, resolver: IpAddr) -> Result<Process, Failure> {
        let state = self.host.folder().join("zzdot-client-state");
        // Where settings of an attack name a server, that is the one.
        let server = if self.settings.contains("server =") {
            String::new()
        } else {
            format!("server = \"{resolver}\"\n")
        };
        let config = self.host.write(
            "zzdot-client.toml",
            &format!(
                "listen = [\"{}\"]\n{server}state-dir = {state:?}\n{}\n",
                listen(),
                self.settings
            ),
        )?;
        let program = products::find("zzdot-client")?;
        let program = program.to_string_lossy();
        let mut command = match &self.radio {
            Some(radio) => radio.command(&program)?,
            None => self.host.command(&program)?,
        };
        if let Some(clock) = &self.clock {
            // Not by the wrapper of this library, which does not pass on the signal to end.
            command
                .env("LD_PRELOAD", programs::libfaketime()?)
                .env("FAKETIME", clock);
        }
        command.args(["run", "--config"]).arg(config);
        Ok(self.host.start("zzdot-client", command)?)
    }

    fn stubby(&self, resolver: IpAddr, identity: &Identity) -> Result<Process, Failure> {
        let pin = data_encoding::BASE64.encode(&identity.spki_sha256());
        let config = self.host.write(
            "stubby.yml",
            &format!(
                "resolution_type: GETDNS_RESOLUTION_STUB\ndns_transport_list:\n  - GETDNS_TRANSPORT_TLS\n\
                 tls_authentication: GETDNS_AUTHENTICATION_REQUIRED\ntls_query_padding_blocksize: 128\n\
                 round_robin_upstreams: 0\nidle_timeout: 10000\ntimeout: 5000\ntls_backoff_time: 1\nlisten_addresses:\n  \
                 - {}@{}\nupstream_recursive_servers:\n  - address_data: {resolver}\n    tls_port: 853\n    \
                 tls_pubkey_pinset:\n      - digest: \"sha256\"\n        value: {pin}\n",
                listen().ip(),
                listen().port(),
            ),
        )?;
        let mut command = self.host.command("stubby")?;
        command.arg("-C").arg(config);
        Ok(self.host.start("stubby", command)?)
    }

    fn unbound(&self, resolver: IpAddr, identity: &Identity) -> Result<Process, Failure> {
        let authority = self.host.folder().join(CERTIFICATE);
        let pem = pem(&identity.certificate());
        fs::write(&authority, pem)?;
        let config = self.host.write(
            "unbound.conf",
            &format!(
                "server:\n  directory: {:?}\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  \
                 verbosity: 1\n  do-daemonize: no\n  num-threads: 1\n  interface: {}\n  do-not-query-localhost: no\n  \
                 module-config: \"iterator\"\n  tls-cert-bundle: {authority:?}\nforward-zone:\n  name: \".\"\n  \
                 forward-tls-upstream: yes\n  forward-no-cache: yes\n  forward-addr: {resolver}@853#{}\nremote-control:\n  \
                 control-enable: no\n",
                self.host.folder(),
                listen().ip(),
                identity.name(),
            ),
        )?;
        let mut command = self.host.command("unbound")?;
        command.args(["-d", "-p", "-c"]).arg(config);
        Ok(self.host.start("unbound", command)?)
    }

    /// Asks it, once, as an application does.
    pub(super) fn ask(&self, question: &Question) -> Told {
        // Whether a peer says SERVFAIL or nothing at all is a matter of patience and not of what is compared.
        match self.kind {
            Kind::Product => self.ask_within(question, PATIENCE, Outcome::Silent),
            Kind::Stubby | Kind::Unbound => {
                self.ask_within(question, PATIENCE_WITH_PEERS, Outcome::Refused)
            }
        }
    }

    /// Asks for what it will have an answer to, however long that takes on a busy machine.
    pub(super) fn ask_for_known(&self, question: &Question) -> Told {
        self.ask_within(question, PATIENCE, Outcome::Silent)
    }

    fn ask_within(&self, question: &Question, patience: Duration, silence: Outcome) -> Told {
        let answer = self.host.within(|| ask_once(listen(), question, patience));
        match answer {
            Err(error) => Told {
                outcome: silence,
                words: error.to_string(),
                reason: None,
            },
            Ok(answer) => {
                let holds = |address: String| {
                    answer
                        .answers
                        .iter()
                        .any(|record| record.ends_with(&format!(" {address}")))
                };
                let inside = INSIDE.iter().any(|(_, inside)| holds(inside.to_string()));
                let outcome = if inside || holds(LIE.to_string()) {
                    Outcome::Believed
                } else if answer.rcode == ResponseCode::NoError && holds(TRUTH.to_string()) {
                    Outcome::Private
                } else {
                    Outcome::Refused
                };
                Told {
                    outcome,
                    words: answer.to_string(),
                    reason: answer.errors.first().map(|(_, text)| text.clone()),
                }
            }
        }
    }
}

/// Where each of them listens.
pub(super) fn listen() -> SocketAddr {
    ([127, 0, 0, 1], 53).into()
}

fn pem(der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

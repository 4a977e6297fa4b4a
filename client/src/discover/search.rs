//! Where is the TLS peer that TLSA names?

use std::mem;
use std::net::{IpAddr, SocketAddr};

use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

use super::action::{ConnectId, Step, TlsFailure};
use super::ledger::Ledger;
use super::refusal::Refusal;
use super::service::may_try;
use super::tlsa::{Tlsa, TlsaMismatch, peer_named_by};

/// The most addresses of the zone that are connected to when the configured one is not the peer.
pub const MAX_FALLBACKS: usize = 4;

/// The search for one peer on one port: first at the configured address, then at those in the zone.
pub(super) struct PeerSearch {
    server: SocketAddr,
    name: ResolverName,
    port: u16,
    /// Attempts that are not judged yet.
    attempts: Vec<ConnectId>,
    tried: Vec<SocketAddr>,
    patient: bool,
    fell_back: bool,
    proven: Option<SocketAddr>,
    mismatch: Option<(SocketAddr, TlsaMismatch)>,
    handshake_failure: Option<(SocketAddr, String)>,
}

impl PeerSearch {
    /// Connects to the configured address.
    pub(super) fn start(
        server: SocketAddr,
        name: ResolverName,
        port: u16,
        ledger: &mut Ledger,
    ) -> Self {
        let mut search = Self {
            server,
            name,
            port,
            attempts: Vec::new(),
            tried: Vec::new(),
            patient: true,
            fell_back: false,
            proven: None,
            mismatch: None,
            handshake_failure: None,
        };
        search.connect_configured(ledger);
        search
    }

    pub(super) fn configured(&self) -> SocketAddr {
        self.server
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether the configured address is still the only one that is tried.
    pub(super) fn is_patient(&self) -> bool {
        self.patient && !self.fell_back
    }

    pub(super) fn lose_patience(&mut self) {
        self.patient = false;
    }

    /// What did not come by now counts as unanswered, and nothing else is tried.
    pub(super) fn give_up_waiting(&mut self, ledger: &mut Ledger) {
        self.fell_back = true;
        for attempt in &self.attempts {
            let detail = "no answer in time".to_owned();
            ledger.on_tls(*attempt, Err(TlsFailure::NoConnection { detail }));
        }
    }

    /// Starts anew on another port. True when it is another.
    pub(super) fn move_to_port(&mut self, ledger: &mut Ledger, port: u16) -> bool {
        if port == self.port {
            return false;
        }
        self.port = port;
        self.attempts.clear();
        self.tried.clear();
        self.connect_configured(ledger);
        true
    }

    /// Judges the attempts that came out by now.
    pub(super) fn judge(&mut self, ledger: &mut Ledger, tlsa: &[Tlsa], clock: UnixTime) {
        if self.proven.is_some() {
            return;
        }
        let mut waiting = Vec::new();
        for attempt in mem::take(&mut self.attempts) {
            let (Some(outcome), Some(endpoint)) =
                (ledger.attempt(attempt), ledger.address(attempt))
            else {
                waiting.push(attempt);
                continue;
            };
            match outcome {
                Err(TlsFailure::NoConnection { .. }) => {}
                Err(TlsFailure::Handshake { detail }) => {
                    let detail = detail.clone();
                    self.handshake_failure.get_or_insert((endpoint, detail));
                }
                Ok(peer) => match peer_named_by(tlsa, peer, &self.name, clock) {
                    Ok(tlsa) => {
                        self.proven = Some(endpoint);
                        let tlsa = tlsa.to_string();
                        ledger.tell(Step::PeerProven { endpoint, tlsa });
                        break;
                    }
                    Err(mismatch) => {
                        let why = mismatch.to_string();
                        ledger.tell(Step::PeerRejected { endpoint, why });
                        self.mismatch.get_or_insert((endpoint, mismatch));
                    }
                },
            }
        }
        self.attempts = waiting;
    }

    /// The configured address may be that of a legacy forwarder in front of the resolver: then the
    /// resolver is at one of the addresses in its zone.
    pub(super) fn fall_back(&mut self, ledger: &mut Ledger, addresses: &[IpAddr]) {
        let due = self.attempts.is_empty() || !self.patient;
        if self.fell_back || self.proven.is_some() || !due {
            return;
        }
        self.fell_back = true;
        let server = self.server;
        let candidates = addresses
            .iter()
            .filter(|address| address.to_canonical() != server.ip().to_canonical())
            .filter(|address| may_try(**address, server))
            .take(MAX_FALLBACKS);
        for address in candidates {
            self.connect(ledger, SocketAddr::new(*address, self.port));
        }
    }

    /// Where the peer is, or why it is nowhere; none while there is hope.
    pub(super) fn outcome(&mut self) -> Option<Result<SocketAddr, Refusal>> {
        if let Some(endpoint) = self.proven {
            return Some(Ok(endpoint));
        }
        if !self.fell_back || !self.attempts.is_empty() {
            return None;
        }
        Some(Err(
            if let Some((endpoint, mismatch)) = self.mismatch.take() {
                Refusal::CertificateMismatch { endpoint, mismatch }
            } else if let Some((endpoint, detail)) = self.handshake_failure.take() {
                Refusal::HandshakeFailed { endpoint, detail }
            } else {
                let tried = mem::take(&mut self.tried);
                Refusal::NoAnswerOnDotPort { tried }
            },
        ))
    }

    fn connect_configured(&mut self, ledger: &mut Ledger) {
        // `set_port` keeps the link of a link-local address.
        let mut endpoint = self.server;
        endpoint.set_port(self.port);
        self.connect(ledger, endpoint);
    }

    fn connect(&mut self, ledger: &mut Ledger, endpoint: SocketAddr) {
        self.tried.push(endpoint);
        let attempt = ledger.connect(endpoint, self.name.to_string());
        self.attempts.push(attempt);
    }
}

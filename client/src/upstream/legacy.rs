//! Passes questions on to a server that is not upgraded.

use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::time::timeout_at;

use super::Upstream;
use super::discovery::Discovery;
use crate::config::LegacyPolicy;
use crate::discover::{LegacyReason, Refusal};
use crate::dot::without_hop_options;
use crate::exchange::{ExchangeError, ExchangeLimits, udp_then_tcp};
use crate::session::{Failure, State};
use crate::wire;

/// Questions in cleartext under way, each with a socket of its own; more wait for their turn within
/// their budget. Well below the 1,024 descriptors that a process gets by default.
pub(super) const PLAIN_IN_FLIGHT: usize = 512;

impl Upstream {
    /// In cleartext, where the configuration lets a question go so far.
    pub(super) async fn pass_on(
        &self,
        discovery: &Discovery,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let (server, legacy) = {
            let session = &discovery.lock().session;
            (session.server(), session.policy().legacy)
        };
        if legacy != LegacyPolicy::Plain {
            return Err(discovery.no_rung_left());
        }
        let unfit = |error: wire::WireError| Failure::NoAnswer(error.to_string());
        let query = without_hop_options(query).map_err(unfit)?;
        let turn = timeout_at(deadline.into(), discovery.plain_turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            let detail = format!("more than {PLAIN_IN_FLIGHT} questions in cleartext under way");
            return Err(Failure::NoAnswer(detail));
        };
        self.cleartext.fetch_add(1, Ordering::Relaxed);
        let limits = ExchangeLimits::default();
        let answer = match udp_then_tcp(server, &query, &limits, deadline).await {
            Ok(reply) => reply.message,
            // Old boxes without TCP: the asker sees for himself that something is missing.
            Err(ExchangeError::TcpFailed {
                truncated: Some(message),
                ..
            }) => message,
            Err(error) => return Err(Failure::NoAnswer(error.to_string())),
        };
        without_hop_options(&answer).map_err(unfit)
    }
}

impl Discovery {
    /// The configuration allows nothing that this server can do.
    fn no_rung_left(&self) -> Failure {
        let reason = match self.lock().session.state() {
            State::Legacy { reason, .. } => *reason,
            // It changed this very moment.
            _ => LegacyReason::NoSuchZone,
        };
        Failure::Refused(Refusal::Legacy { reason })
    }
}

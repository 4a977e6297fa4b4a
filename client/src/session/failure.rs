//! Why a question gets no answer, under the names that people are told.

use crate::discover::{Refusal, TlsaMismatch};
use crate::dot::{ConnectError, ConnectStage, DotError};

/// Why a question gets no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// For a reason of trust, or of its absence.
    Refused(Refusal),
    /// The server does not answer, be it plain or over TLS.
    NoAnswer(String),
}

impl Failure {
    /// A stable name in kebab-case: the refusal's, or `no-answer`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.name(),
            Self::NoAnswer(_) => "no-answer",
        }
    }

    /// Info-code and text of the extended error (RFC 8914).
    #[must_use]
    pub fn ede(&self) -> (u16, String) {
        const NO_REACHABLE_AUTHORITY: u16 = 22;
        match self {
            Self::Refused(refusal) => refusal.ede(),
            Self::NoAnswer(detail) => (NO_REACHABLE_AUTHORITY, format!("no-answer: {detail}")),
        }
    }
}

/// Whether it tells no more than that TLS fails.
pub(super) fn is_about_connection(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::CertificateMismatch { .. }
            | Refusal::HandshakeFailed { .. }
            | Refusal::NoAnswerOnDotPort { .. }
    )
}

/// A failure of TLS under the name that people are told.
#[must_use]
pub fn failure_of(error: &DotError) -> Failure {
    let connect = match error {
        DotError::NoConnection(connect) => Some(connect),
        DotError::Deadline { connect, .. } => connect.as_ref(),
        _ => None,
    };
    match connect {
        None => Failure::NoAnswer(error.to_string()),
        Some(ConnectError::Untrusted { address, .. }) => {
            Failure::Refused(Refusal::CertificateMismatch {
                endpoint: *address,
                mismatch: TlsaMismatch::OtherKey,
            })
        }
        Some(
            ConnectError::Tcp { address, .. }
            | ConnectError::TimedOut {
                address,
                stage: ConnectStage::Tcp,
            },
        ) => Failure::Refused(Refusal::NoAnswerOnDotPort {
            tried: vec![*address],
        }),
        Some(ConnectError::Handshake { address, reason }) => {
            Failure::Refused(Refusal::HandshakeFailed {
                endpoint: *address,
                detail: reason.clone(),
            })
        }
        Some(ConnectError::TimedOut { address, .. }) => {
            Failure::Refused(Refusal::HandshakeFailed {
                endpoint: *address,
                detail: "it took too long".to_owned(),
            })
        }
    }
}

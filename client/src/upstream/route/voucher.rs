//! Who vouches for the end of the chain.
//!
//! With `first-use = "auto"` and `"ask"` those before it do: the nearest names the keys of the next, and so on to the
//! end. Whoever is trusted with all questions may say who answers them. With `"enrolled-only"` somebody said that no
//! resolver is asked but those that he knows, and the end is one that is asked: it has to be verified or enrolled
//! itself, and proves that it is the one by its own trust anchor, as the nearest did. Nothing is remembered of it.

use std::sync::Arc;

use zzdot_zonegen::clock::build_date;

use super::super::Upstream;
use super::super::discovery::Discovery;
use super::ends::EndPool;
use crate::config::FirstUse;
use crate::discover::{Discovered, Refusal, Verdict, WalkPolicy};
use crate::trust::{Enrolled, KnownIdentity, TrustState};
use crate::walker::{Carrier, walk_at};

/// What is known of who vouches for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voucher {
    /// Nobody has to beside the chain, or somebody did, and it is who it says.
    Given,
    /// Nobody does, or it is another.
    Missing,
    /// It did not show who it is.
    Unknown,
}

impl Upstream {
    /// Who vouches for the end. What somebody vouched for is not looked at again before a person decides about anybody.
    pub(super) async fn voucher(&self, discovery: &Discovery, end: &EndPool) -> Voucher {
        if discovery.lock().session.policy().first_use != FirstUse::EnrolledOnly {
            return Voucher::Given;
        }
        let decisions = {
            let service = end.service();
            if service.is_vouched_for() {
                return Voucher::Given;
            }
            // Before the look at who is enrolled.
            service.decisions()
        };
        let found = end.end();
        let known = discovery.store.identity(&found.name);
        let enrolled = discovery.store.enrolled(&found.name);
        if enrolled.is_none() && !known.as_ref().is_some_and(is_verified) {
            return Voucher::Missing;
        }
        let policy = WalkPolicy {
            clock_floor: build_date().max(discovery.store.clock_floor()),
            timeout: self.walk_budget,
        };
        let carrier = Carrier::Encrypted(Arc::clone(end.pool()));
        let name = &found.name;
        let told = |step: &_| tracing::debug!(%name, "{step}");
        // The zones are those of a stranger yet: they choose nobody else for this computer to connect to.
        let walked = walk_at(&carrier, found.address, known.clone(), policy, told).await;
        let met = match walked.verdict {
            Verdict::Upgraded(met) => met,
            Verdict::Refused { refusal } if is_another(&refusal) => return Voucher::Missing,
            Verdict::Refused { .. } | Verdict::Legacy { .. } | Verdict::NoAnswer => {
                return Voucher::Unknown;
            }
        };
        // The zones may have been passed on by somebody else: all keys that the connection was made with are to be its own.
        let is_it = found.tlsa.iter().all(|tlsa| met.tlsa.contains(tlsa));
        if is_it && vouches(known, enrolled.as_ref(), &met) {
            end.service().on_voucher(decisions);
            Voucher::Given
        } else {
            Voucher::Missing
        }
    }
}

/// Whether it answered, and is not who was known by its name.
fn is_another(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::AnchorChanged { .. }
            | Refusal::NameChanged { .. }
            | Refusal::IdentityRevoked { .. }
            | Refusal::RevokedKeyReturned { .. }
    )
}

/// Whether what a person said about a resolver is about the one that was met.
fn vouches(known: Option<KnownIdentity>, enrolled: Option<&Enrolled>, met: &Discovered) -> bool {
    let identity = match known {
        Some(known) => match known.met_again(met) {
            Ok(identity) => identity,
            Err(_) => return false,
        },
        None => KnownIdentity::first_met(met),
    };
    match identity.state {
        TrustState::Verified | TrustState::Managed => true,
        TrustState::Revoked => false,
        TrustState::Provisional => {
            let active = identity.anchor.active();
            enrolled.is_some_and(|enrolled| {
                enrolled.name == identity.name && active.is_some_and(|key| enrolled.names(key))
            })
        }
    }
}

fn is_verified(known: &KnownIdentity) -> bool {
    matches!(known.state, TrustState::Verified | TrustState::Managed)
}

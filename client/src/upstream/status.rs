//! What `zzdot-client status` and `zzdot-client resolvers` are told.

use serde_json::{Value, json};
use zzdot_zonegen::clock::UnixTime;

use super::discovery::Discovery;
use super::now;
use crate::comparison::phrase_of;
use crate::discover::Refusal;
use crate::ladder::Rung;
use crate::session::{Failure, Route, State};
use crate::store::Store;
use crate::trust::{KnownIdentity, TrustState};

/// An identity as `zzdot-client` tells about it in JSON: `status` and `resolvers`.
#[must_use]
pub fn describe(identity: &KnownIdentity) -> Value {
    use zzdot_zonegen::keys::key_tag;
    json!({
        "name": identity.name,
        "trust": identity.state,
        "trust-in-words": identity.state.to_string(),
        "verification": identity.verification.map(|verification| json!({
            "by": verification.by,
            "at": verification.at.to_string(),
        })),
        "phrase": phrase_of(identity).map(|phrase| phrase.to_string()),
        "server-type": identity.server_type,
        "endpoint": identity.endpoint,
        "anchor-key-tags": identity.anchor.trusted().iter().map(key_tag).collect::<Vec<_>>(),
        "tlsa": identity.tlsa,
        "first-seen": identity.first_seen.to_string(),
        "last-seen": identity.last_seen.to_string(),
        "signatures-expire": identity.signatures_expire.to_string(),
    })
}

/// All resolvers of `store`, as the daemon and the tools tell them.
#[must_use]
pub fn describe_all(store: &Store) -> Value {
    let resolvers = store.identities().into_iter().map(|identity| {
        let mut told = describe(&identity);
        told["servers"] = json!(store.servers_of(&identity.name));
        told
    });
    json!({ "resolvers": resolvers.collect::<Vec<_>>() })
}

/// Why a question that came now would not be answered.
pub(super) fn down(failure: &Failure) -> Value {
    let cause = match failure {
        Failure::Refused(refusal) => refusal.cause(),
        Failure::NoAnswer(cause) => cause.clone(),
    };
    json!({ "reason": failure.name(), "cause": cause })
}

impl Discovery {
    pub(super) fn status(&self, queries: &Value) -> Value {
        let inner = self.lock();
        let session = &inner.session;
        let mut status = json!({
            "server": session.server(),
            "place": inner.surroundings.place,
            "doubt": inner.surroundings.doubt,
            "state": "discovering",
            "rung": null,
            "portal": self.gate.status(),
            "walking": session.is_walking(),
            "queries": queries,
        });
        match session.state() {
            State::Unknown => {}
            State::Strict { identity, fault } => {
                status["state"] = "strict".into();
                status["rung"] = json!(match identity.state {
                    TrustState::Provisional => Some(Rung::Known),
                    TrustState::Verified | TrustState::Managed => Some(Rung::Verified),
                    TrustState::Revoked => None,
                });
                status["resolver"] = describe(identity);
                status["refusal"] = json!(fault);
                let doubt = inner.surroundings.doubt.is_some();
                let explain = |fault: &Refusal| {
                    let mut explanation = fault.explain(Some(identity));
                    if doubt {
                        let [.., last] = &mut explanation.options;
                        *last = format!(
                            "if you know that this is another network, which only looks like the known one: \
                             `zzdot-client networks separate`; or {last}"
                        );
                    }
                    explanation
                };
                status["explanation"] = json!(fault.as_ref().map(explain));
                status["unremembered"] = json!(session.unremembered());
            }
            State::Legacy { reason, until } => {
                status["state"] = "legacy".into();
                status["legacy"] = json!({
                    "reason": reason,
                    "cause": reason.to_string(),
                    "cure": reason.cure(),
                    "policy": session.policy().legacy.name(),
                    "looks-again-secs": until.saturating_duration_since(now()).as_secs(),
                    "ladder": self.legacy.status(),
                });
                status["rung"] = status["legacy"]["ladder"]["rung"].clone();
            }
            State::Refused { refusal, .. } => {
                status["state"] = "refused".into();
                status["refusal"] = json!(refusal);
                status["explanation"] = json!(refusal.explain(None));
            }
            State::NoAnswer { .. } => status["state"] = "no-answer".into(),
        }
        let pool = inner.pool.as_ref().map(|(_, pool)| pool);
        if let Some(pool) = pool {
            status["tls"] = json!(pool.status());
        }
        let failure = match session.route(now(), UnixTime::now()) {
            Route::Fail(failure) | Route::FailAndWalk(failure) => Some(failure),
            Route::Encrypted => pool.and_then(|pool| {
                let connection = || Some(session.explain(&pool.failure()?));
                let by_end = self.chains.asks_end(pool);
                self.chains
                    .failure(pool)
                    .or_else(|| if by_end { None } else { connection() })
            }),
            Route::Legacy if self.legacy.is_out_of_reach() => Some(self.no_rung_left(&inner)),
            Route::Legacy | Route::AfterWalk => None,
        };
        let at_portal = session.identity().is_none().then(|| self.gate.failure());
        let failure = at_portal.flatten().or(failure);
        status["down"] = json!(failure.as_ref().map(down));
        if let Some(Failure::Refused(refusal @ Refusal::ChainNotEncrypted { .. })) = &failure {
            status["refusal"] = json!(refusal);
            status["explanation"] = json!(refusal.explain(session.identity()));
        }
        let strict = pool.filter(|_| session.identity().is_some());
        status["route"] = self.chains.status(strict.map(|pool| &**pool));
        status
    }
}

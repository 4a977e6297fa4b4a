//! Finds out, beside the questions of people, whether an upstream is at work: when one left a question without an answer
//! or failed at it, and at the end of each of its rests.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hickory_proto::rr::RecordType;
use tokio::{runtime::Handle, sync::watch, time::Instant};
use zzdot_client::{
    ladder::harmless_question,
    upstream::Standing,
    wire::{QuestionFlags, question},
};
use zzdot_zonegen::name::ResolverName;

use super::{
    PACKETS_AN_ATTEMPT, Reach, ResolveError, Server, Shared, follow::Look, health::Probed, sanitise,
};

/// How long the answer may take: nothing has to be found out for it.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);

/// How long one form of the question has before the next is asked as well.
const NEXT_FORM_AFTER: Duration = Duration::from_millis(500);

impl Shared {
    /// Sees to it that the upstream is probed when that is due. Where there is no other there is nothing to decide.
    pub(super) fn look_after(self: &Arc<Self>, at: usize) {
        if self.servers.len() < 2 {
            return;
        }
        // Where it was built, and not where one of its questions happens to be: that may end earlier.
        let Some(runtime) = self.runtime.clone().or_else(|| Handle::try_current().ok()) else {
            return;
        };
        let due = self.health()[at].schedule(Instant::now().into_std());
        if let Some(due) = due {
            runtime.spawn(probe_at(Arc::downgrade(self), at, due.into()));
        }
    }

    /// One is back after a rest, and whatever kept it away may have kept others away, who protect a question better.
    pub(super) fn on_return(self: &Arc<Self>) {
        for at in 0..self.servers.len() {
            let hastened = self.health()[at].hasten(Instant::now().into_std());
            if hastened {
                self.look_after(at);
            }
        }
    }

    /// Heeds what others find who look at an upstream now and then.
    pub(super) fn heed(self: &Arc<Self>, at: usize, looks: watch::Receiver<Option<Look>>) {
        if self.servers.len() < 2 {
            return;
        }
        if let Some(runtime) = &self.runtime {
            runtime.spawn(heed(Arc::downgrade(self), at, looks));
        }
    }

    async fn probe(&self, at: usize) -> Probed {
        let server = &self.servers[at];
        let queries = server.reach.harmless_questions();
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut asking: FuturesUnordered<_> = queries
            .iter()
            .zip(0..)
            .map(|(query, place)| async move {
                tokio::time::sleep(NEXT_FORM_AFTER * place).await;
                self.ask_harmless(server, query, deadline).await
            })
            .collect();
        let mut outcome = Probed::NotSent;
        while let Some(answer) = asking.next().await {
            match answer {
                // Whatever it says, be it that it refuses.
                Ok(_) => return Probed::Answered,
                Err(ResolveError::Overloaded) => {}
                // It may take the other form.
                Err(ResolveError::TimedOut) => outcome = Probed::Failed,
                Err(error) => {
                    tracing::debug!(upstream = %server.address, %error, "probe failed");
                    return Probed::Failed;
                }
            }
        }
        outcome
    }

    async fn ask_harmless(
        &self,
        server: &Server,
        query: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, ResolveError> {
        let asking = server
            .reach
            .ask(server.address, query, PACKETS_AN_ATTEMPT, deadline);
        let reached = tokio::time::timeout_at(deadline, asking)
            .await
            .map_err(|_| ResolveError::TimedOut)?;
        self.count_packets(reached.spent);
        sanitise::incoming(query, &reached.message?).map_err(|reason| ResolveError::InvalidAnswer {
            upstream: server.address,
            reason,
        })
    }
}

impl Reach {
    /// A question that nobody else can make slow, and that says nothing about anybody: for the zone of an upstream that
    /// named itself, and for what others have at hand about the root, be it that they refuse to say. Of several forms any
    /// may be the one that is answered.
    fn harmless_questions(&self) -> Vec<Vec<u8>> {
        let identity = match self {
            Self::Discovered(discovered) => match discovered.standing() {
                Standing::Upgraded { identity, .. } => Some(identity),
                _ => None,
            },
            _ => None,
        };
        if let Some(identity) = identity {
            return vec![about_itself(&identity.name)];
        }
        // Without RD nobody has to ask anybody for it: a resolver that cannot reach the root, where only names of its own
        // network are of use, would leave it unanswered otherwise. There are servers that answer nothing without RD.
        [false, true].map(harmless_question).to_vec()
    }
}

/// What whoever is called `name` answers out of its own zone.
pub(super) fn about_itself(name: &ResolverName) -> Vec<u8> {
    let flags = QuestionFlags::default();
    question(0, name.as_name(), RecordType::SOA, flags, None)
}

/// Probes when it is due, and again for as long as there is a use for it.
async fn probe_at(shared: Weak<Shared>, at: usize, mut due: Instant) {
    loop {
        tokio::time::sleep_until(due).await;
        // Nobody forwards to it any more.
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let now = || Instant::now().into_std();
        let begins = shared.health()[at].begin_probe(now(), due.into_std());
        if begins {
            let outcome = shared.probe(at).await;
            let is_back = shared.health()[at].on_probe(now(), outcome);
            if is_back {
                shared.on_return();
            }
        }
        let Some(next) = shared.health()[at].schedule(now()) else {
            return;
        };
        due = next.into();
    }
}

async fn heed(shared: Weak<Shared>, at: usize, mut looks: watch::Receiver<Option<Look>>) {
    while looks.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let Some(look) = *looks.borrow_and_update() else {
            continue;
        };
        let now = Instant::now().into_std();
        shared.health()[at].on_look(now, look.began, look.answered);
        shared.look_after(at);
    }
}

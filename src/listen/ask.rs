//! Waiting for the source of answers: how long, and what is said meanwhile.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{timeout, timeout_at},
};

use super::limits::QUERY_GRACE;
use crate::{
    answer::{Pending, Refresh, Responder},
    counters::Event,
    resolve::ResolveError,
};

/// How long an asker waits for a fresh answer when there is one whose time has passed (the client
/// response timer of RFC 8767 §5).
const CLIENT_RESPONSE: Duration = Duration::from_millis(1800);

/// Questions that are asked while nobody waits for them. They are a courtesy to those who ask
/// next: beyond this many, who asks next waits.
const REFRESHES: usize = 64;

/// Asks the source of answers, for those who wait and for those who will come.
#[derive(Clone)]
pub(super) struct Inquirer {
    responder: Arc<Responder>,
    /// The limit `query-ms`.
    limit: Duration,
    refreshes: Arc<Semaphore>,
}

impl Inquirer {
    /// One that waits no longer than `limit` for an answer.
    pub(super) fn new(responder: Arc<Responder>, limit: Duration) -> Self {
        Self {
            responder,
            limit,
            refreshes: Arc::new(Semaphore::new(REFRESHES)),
        }
    }

    /// The response to `pending`, when there is one. Nothing goes on when this is dropped.
    pub(super) async fn ask(&self, pending: Box<Pending>) -> Vec<u8> {
        if pending.has_stale() {
            return self.ask_impatiently(pending).await;
        }
        let response = resolve(&self.responder, pending.query(), self.limit).await;
        self.responder.finish(*pending, response, Instant::now())
    }

    /// Asks again beside everybody's way; needs a tokio runtime.
    pub(super) fn refresh(&self, refresh: Box<Refresh>) {
        let Some(place) = self.place() else {
            let overloaded = Err(ResolveError::Overloaded);
            self.responder
                .refreshed(*refresh, overloaded, Instant::now());
            return;
        };
        let (responder, limit) = (Arc::clone(&self.responder), self.limit);
        tokio::spawn(async move {
            let response = resolve(&responder, refresh.query(), limit).await;
            responder.refreshed(*refresh, response, Instant::now());
            drop(place);
        });
    }

    /// As [`Inquirer::ask`], and after some time the old answer is good enough, while the question
    /// goes on.
    async fn ask_impatiently(&self, pending: Box<Pending>) -> Vec<u8> {
        // Ends with this future, unless it is handed on.
        let mut resolving = JoinSet::new();
        let (responder, query, limit) = (Arc::clone(&self.responder), pending.query(), self.limit);
        resolving.spawn(async move { resolve(&responder, query, limit).await });
        if let Ok(response) = timeout(CLIENT_RESPONSE, outcome(&mut resolving)).await {
            return self.responder.finish(*pending, response, Instant::now());
        }
        let Some(stale) = self.responder.stale(&pending, Instant::now()) else {
            let response = outcome(&mut resolving).await;
            return self.responder.finish(*pending, response, Instant::now());
        };
        if let Some(place) = self.place() {
            let responder = Arc::clone(&self.responder);
            let refresh = pending.into_refresh();
            tokio::spawn(async move {
                let response = outcome(&mut resolving).await;
                responder.refreshed(refresh, response, Instant::now());
                drop(place);
            });
        }
        stale
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.refreshes).try_acquire_owned().ok();
        self.responder.counters().count(match place {
            Some(_) => Event::Refreshed,
            None => Event::RefreshesAll,
        });
        place
    }
}

/// What the source says, within the limit.
async fn resolve(
    responder: &Responder,
    query: Arc<[u8]>,
    limit: Duration,
) -> Result<Vec<u8>, ResolveError> {
    let source = responder.source();
    let deadline = tokio::time::Instant::now() + limit;
    let resolving = source.resolve(query, deadline);
    match timeout_at(deadline + QUERY_GRACE, resolving).await {
        Ok(response) => response,
        Err(_) => {
            responder.counters().count(Event::QueryTime);
            Err(ResolveError::TimedOut)
        }
    }
}

/// What the only task of `resolving` came to. Safe to cancel.
async fn outcome(
    resolving: &mut JoinSet<Result<Vec<u8>, ResolveError>>,
) -> Result<Vec<u8>, ResolveError> {
    match resolving.join_next().await {
        Some(Ok(response)) => response,
        // The runtime is shutting down.
        Some(Err(_)) | None => Err(ResolveError::TimedOut),
    }
}

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
    resolve::{ResolveError, Through},
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
        let (query, through) = (pending.query(), pending.through());
        let response = resolve(&self.responder, query, through, self.limit).await;
        self.responder.finish(*pending, response, Instant::now())
    }

    /// Asks again beside everybody's way; needs a tokio runtime.
    pub(super) fn refresh(&self, refresh: Box<Refresh>) {
        let Some(place) = self.place() else {
            return;
        };
        let (responder, limit) = (Arc::clone(&self.responder), self.limit);
        tokio::spawn(async move {
            let response = resolve(&responder, refresh.query(), None, limit).await;
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
        resolving.spawn(async move { resolve(&responder, query, None, limit).await });
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

/// What the source says, or its one upstream through which the question is to go, within the limit.
async fn resolve(
    responder: &Responder,
    query: Arc<[u8]>,
    through: Option<&Through>,
    limit: Duration,
) -> Result<Vec<u8>, ResolveError> {
    let source = responder.source();
    let deadline = tokio::time::Instant::now() + limit;
    let resolving = match through {
        None => source.resolve(query, deadline),
        // It may have been replaced by one that has no upstreams.
        Some(through) => source
            .passage()
            .ok_or(ResolveError::NoUpstream)?
            .pass(through, query, deadline),
    };
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use tokio::sync::watch;
    use zzdot_client::{
        cache::{Cache, Limits},
        wire::{self, QuestionFlags, View},
    };

    use super::*;
    use crate::{
        answer::{Asker, Outcome, Transport, cookie::Secret},
        counters::Counters,
        resolve::{Resolution, Source},
    };

    /// Answers with an address whose TTL is 60 as soon as it may; counts who is asking.
    struct Slow {
        may: watch::Sender<bool>,
        asking: Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Source for Slow {
        fn resolve(&self, query: Arc<[u8]>, _: tokio::time::Instant) -> Resolution<'_> {
            struct Asking(Arc<std::sync::atomic::AtomicUsize>);
            impl Drop for Asking {
                fn drop(&mut self) {
                    self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
            self.asking
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let asking = Asking(Arc::clone(&self.asking));
            Box::pin(async move {
                let mut may = self.may.subscribe();
                let _ = may.wait_for(|may| *may).await;
                drop(asking);
                let mut response = query.to_vec();
                response[2] |= 0x80;
                response[7] = 1;
                response.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]);
                Ok(response)
            })
        }

        fn describe(&self) -> serde_json::Value {
            serde_json::Value::Null
        }
    }

    struct Lab {
        responder: Arc<Responder>,
        inquirer: Inquirer,
        source: Arc<Slow>,
        start: Instant,
    }

    impl Lab {
        fn new() -> Self {
            let source = Arc::new(Slow {
                may: watch::Sender::new(true),
                asking: Arc::default(),
            });
            // Long enough ago for an answer of that time to be over by now.
            let start = Instant::now().checked_sub(Duration::from_secs(90)).unwrap();
            let responder = Arc::new(Responder::new(
                Arc::clone(&source) as Arc<dyn Source>,
                Secret([1; 16]),
                Arc::new(Counters::default()),
            ));
            responder.replace_cache(Some(Cache::new(Limits::default(), [2; 16], start)));
            Self {
                inquirer: Inquirer::new(Arc::clone(&responder), Duration::from_secs(7)),
                responder,
                source,
                start,
            }
        }

        fn ask(&self, name: &str, instant: Instant) -> Outcome {
            let asker = Asker {
                address: [127, 0, 0, 1].into(),
                transport: Transport::Tcp,
                time: SystemTime::now(),
                instant,
                pressed: false,
                idle: None,
            };
            let flags = QuestionFlags {
                rd: true,
                ..QuestionFlags::default()
            };
            let qtype = hickory_proto::rr::RecordType::A;
            let query = wire::question(1, &name.parse().unwrap(), qtype, flags, None);
            self.responder.answer(&asker, &query, &mut Vec::new())
        }

        /// The question about a name whose answer was kept 90 seconds ago for 60.
        async fn overdue(&self, name: &str) -> Box<Pending> {
            let Outcome::Ask(pending) = self.ask(name, self.start) else {
                panic!("not asked");
            };
            let answer = self
                .source
                .resolve(pending.query(), tokio::time::Instant::now());
            let answer = answer.await;
            self.responder.finish(*pending, answer, self.start);
            match self.ask(name, Instant::now()) {
                Outcome::Ask(pending) if pending.has_stale() => pending,
                other => panic!("{other:?}"),
            }
        }

        fn asking(&self) -> usize {
            self.source
                .asking
                .load(std::sync::atomic::Ordering::Relaxed)
        }
    }

    fn ttl(answer: &[u8]) -> u32 {
        let view = View::parse(answer).unwrap();
        view.records().next().unwrap().unwrap().ttl
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_source_is_waited_for_and_a_slow_one_is_not_and_goes_on() {
        let lab = Lab::new();
        let quick = lab.overdue("www.example.").await;
        assert_eq!(ttl(&lab.inquirer.ask(quick).await), 60);

        let slow = lab.overdue("slow.example.").await;
        lab.source.may.send_replace(false);
        let before = tokio::time::Instant::now();
        assert_eq!(ttl(&lab.inquirer.ask(slow).await), 30);
        assert_eq!(before.elapsed(), CLIENT_RESPONSE);

        // The answer still comes, for the next one.
        assert_eq!(lab.asking(), 1);
        lab.source.may.send_replace(true);
        while !matches!(
            lab.ask("slow.example.", Instant::now()),
            Outcome::Replied(_)
        ) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(lab.responder.counters().value(Event::Refreshed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_on_for_who_has_gone() {
        let lab = Lab::new();
        let pending = lab.overdue("www.example.").await;
        lab.source.may.send_replace(false);
        let inquirer = lab.inquirer.clone();
        let asking = tokio::spawn(async move { inquirer.ask(pending).await });
        while lab.asking() == 0 {
            tokio::task::yield_now().await;
        }
        asking.abort();
        while lab.asking() != 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_asked_again_and_no_more() {
        let lab = Lab::new();
        let mut refreshes = Vec::new();
        for number in 0..=REFRESHES {
            let pending = lab.overdue(&format!("n{number}.example.")).await;
            refreshes.push(Box::new(pending.into_refresh()));
        }
        lab.source.may.send_replace(false);
        refreshes
            .into_iter()
            .for_each(|refresh| lab.inquirer.refresh(refresh));
        let counters = lab.responder.counters();
        assert_eq!(counters.value(Event::Refreshed), REFRESHES as u64);
        assert_eq!(counters.value(Event::RefreshesAll), 1);

        // A place is free again once one has its answer.
        lab.source.may.send_replace(true);
        while lab.inquirer.refreshes.available_permits() < REFRESHES {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(matches!(
            lab.ask("n0.example.", Instant::now()),
            Outcome::Replied(_)
        ));
    }
}

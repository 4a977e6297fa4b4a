//! One exchange for all who ask the same at the same time.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use zzdot_client::wire::{HEADER_BYTES, View};

use super::ResolveError;

/// What an exchange came to, for everybody who waits for it.
type Outcome = Result<Arc<[u8]>, ResolveError>;

/// Different questions in flight at the same time. It is above what the front lets through (its
/// limits `udp-queries`, `stream-queries` and `connections`), so that it is there that somebody who
/// asks too much is told apart from the others.
const MAX_IN_FLIGHT: usize = 32_768;

/// Where the outcome of an exchange is told.
type Tell = Arc<watch::Sender<Option<Outcome>>>;

/// What is asked, and where its outcome will be told.
type Exchanges = Mutex<HashMap<Vec<u8>, Tell>>;

/// The exchanges under way, by what is asked.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    exchanges: Arc<Exchanges>,
}

impl InFlight {
    /// Waits for the exchange of `key`, starting it when nobody has. It runs in a task of its own,
    /// so that an asker who goes away takes nothing from the others; it ends with the last of them,
    /// so that nobody is left at work for connections that are gone.
    pub(super) async fn share<F>(
        &self,
        key: Vec<u8>,
        exchange: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, ResolveError>
    where
        F: Future<Output = Result<Vec<u8>, ResolveError>> + Send + 'static,
    {
        let mut waiting = self.join_or_start(key, exchange)?;
        let outcome = waiting
            .wait_for(Option::is_some)
            .await
            // The task ended without a word: the runtime is shutting down.
            .map_err(|_| ResolveError::TimedOut)?
            .clone();
        let answer = outcome.unwrap_or(Err(ResolveError::TimedOut))?;
        Ok(answer.to_vec())
    }

    /// How many exchanges are under way.
    pub(super) fn len(&self) -> usize {
        lock(&self.exchanges).len()
    }

    fn join_or_start<F>(
        &self,
        key: Vec<u8>,
        exchange: impl FnOnce() -> F,
    ) -> Result<watch::Receiver<Option<Outcome>>, ResolveError>
    where
        F: Future<Output = Result<Vec<u8>, ResolveError>> + Send + 'static,
    {
        let mut exchanges = lock(&self.exchanges);
        if let Some(tell) = exchanges.get(&key) {
            return Ok(tell.subscribe());
        }
        if exchanges.len() >= MAX_IN_FLIGHT {
            return Err(ResolveError::Overloaded);
        }
        let (tell, waiting) = watch::channel(None);
        let tell = Arc::new(tell);
        exchanges.insert(key.clone(), Arc::clone(&tell));
        drop(exchanges);
        let entry = Entry {
            exchanges: self.exchanges.clone(),
            key,
            tell,
        };
        let work = exchange();
        tokio::spawn(async move {
            tokio::pin!(work);
            let outcome = loop {
                tokio::select! {
                    outcome = &mut work => break outcome.map(Arc::from),
                    () = entry.tell.closed() => if entry.leave_if_alone() {
                        return;
                    },
                }
            };
            let tell = Arc::clone(&entry.tell);
            // Out of the map first: who asks from now on gets an answer of his own time.
            drop(entry);
            tell.send_replace(Some(outcome));
        });
        Ok(waiting)
    }
}

/// What makes two queries the same: everything but the id and the letters' case in the question.
pub(super) fn key_of(query: &[u8]) -> Vec<u8> {
    let mut key = query.to_vec();
    let question = View::parse(query)
        .ok()
        .and_then(|view| view.question())
        .map_or(0, |question| question.wire_name.len());
    key[..2].fill(0);
    key[HEADER_BYTES..HEADER_BYTES + question].make_ascii_lowercase();
    key
}

/// Takes its exchange out of the map, however the exchange ends.
struct Entry {
    exchanges: Arc<Exchanges>,
    key: Vec<u8>,
    tell: Tell,
}

impl Entry {
    /// Leaves the map where nobody waits any more; true when it did. Nobody can join meanwhile.
    fn leave_if_alone(&self) -> bool {
        let mut exchanges = lock(&self.exchanges);
        let alone = self.tell.receiver_count() == 0;
        if alone {
            exchanges.remove(&self.key);
        }
        alone
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut exchanges = lock(&self.exchanges);
        // After it left, the same may have been asked anew.
        if exchanges
            .get(&self.key)
            .is_some_and(|tell| Arc::ptr_eq(tell, &self.tell))
        {
            exchanges.remove(&self.key);
        }
    }
}

fn lock(exchanges: &Exchanges) -> MutexGuard<'_, HashMap<Vec<u8>, Tell>> {
    exchanges.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_same_question_is_asked_once() {
        let in_flight = Arc::new(InFlight::default());
        let asked = Arc::new(AtomicU32::new(0));
        let (open, gate) = watch::channel(false);
        let askers: Vec<_> = (0..20)
            .map(|_| {
                let (in_flight, asked) = (in_flight.clone(), asked.clone());
                let mut gate = gate.clone();
                tokio::spawn(async move {
                    in_flight
                        .share(b"question".to_vec(), || async move {
                            asked.fetch_add(1, Ordering::Relaxed);
                            gate.wait_for(|open| *open).await.unwrap();
                            Ok(b"answer".to_vec())
                        })
                        .await
                })
            })
            .collect();
        while in_flight.len() == 0 {
            tokio::task::yield_now().await;
        }
        // One asker goes away; the others are answered all the same.
        askers[0].abort();
        open.send_replace(true);
        for asker in askers.into_iter().skip(1) {
            assert_eq!(asker.await.unwrap().unwrap(), b"answer");
        }
        assert_eq!(in_flight.len(), 0);
    }

    #[tokio::test]
    async fn an_exchange_ends_when_the_last_who_asked_is_gone() {
        let in_flight = Arc::new(InFlight::default());
        let ask = || {
            let in_flight = in_flight.clone();
            tokio::spawn(async move {
                let never = std::future::pending::<Result<Vec<u8>, ResolveError>>;
                in_flight.share(b"question".to_vec(), never).await
            })
        };
        let (first, second) = (ask(), ask());
        while in_flight.len() == 0 {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(in_flight.len(), 1);
        second.abort();
        while in_flight.len() > 0 {
            tokio::task::yield_now().await;
        }
        // And what is asked anew is answered.
        let answer = in_flight.share(b"question".to_vec(), || async { Ok(b"answer".to_vec()) });
        assert_eq!(answer.await.unwrap(), b"answer");
    }

    #[tokio::test]
    async fn no_more_than_so_many_are_in_flight() {
        let in_flight = InFlight::default();
        let _waiting: Vec<_> = (0..MAX_IN_FLIGHT)
            .map(|n| {
                let key = n.to_be_bytes().to_vec();
                in_flight
                    .join_or_start(key, std::future::pending::<Result<Vec<u8>, ResolveError>>)
                    .unwrap()
            })
            .collect();
        let refused = in_flight
            .share(b"one more".to_vec(), || async { Ok(Vec::new()) })
            .await;
        assert_eq!(refused, Err(ResolveError::Overloaded));
    }
}

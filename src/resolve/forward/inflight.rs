//! One exchange for all who ask the same at the same time.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::resolve::ResolveError;

/// What an exchange came to, for everybody who waits for it.
type Outcome = Result<Arc<[u8]>, ResolveError>;

/// What is asked, and where its outcome will be told.
type Exchanges = Arc<Mutex<HashMap<Vec<u8>, watch::Receiver<Option<Outcome>>>>>;

/// Different questions in flight at the same time.
const MAX_IN_FLIGHT: usize = 4_096;

/// The exchanges under way, by what is asked.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    exchanges: Exchanges,
}

impl InFlight {
    /// Waits for the exchange of `key`, starting it when nobody has. It runs in a task of its own,
    /// so that an asker who goes away takes nothing from the others.
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
        self.exchanges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn join_or_start<F>(
        &self,
        key: Vec<u8>,
        exchange: impl FnOnce() -> F,
    ) -> Result<watch::Receiver<Option<Outcome>>, ResolveError>
    where
        F: Future<Output = Result<Vec<u8>, ResolveError>> + Send + 'static,
    {
        let mut exchanges = self
            .exchanges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = exchanges.get(&key) {
            return Ok(waiting.clone());
        }
        if exchanges.len() >= MAX_IN_FLIGHT {
            return Err(ResolveError::Overloaded);
        }
        let (tell, waiting) = watch::channel(None);
        exchanges.insert(key.clone(), waiting.clone());
        drop(exchanges);
        let entry = Entry {
            exchanges: self.exchanges.clone(),
            key,
        };
        let work = exchange();
        tokio::spawn(async move {
            let outcome = work.await.map(Arc::from);
            // Out of the map first: who asks from now on gets an answer of his own time.
            drop(entry);
            tell.send_replace(Some(outcome));
        });
        Ok(waiting)
    }
}

/// Takes its exchange out of the map, however the exchange ends.
struct Entry {
    exchanges: Exchanges,
    key: Vec<u8>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.exchanges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
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
    async fn no_more_than_so_many_are_in_flight() {
        let in_flight = InFlight::default();
        for n in 0..MAX_IN_FLIGHT {
            let key = n.to_be_bytes().to_vec();
            in_flight
                .join_or_start(key, std::future::pending::<Result<Vec<u8>, ResolveError>>)
                .unwrap();
        }
        let refused = in_flight
            .share(b"one more".to_vec(), || async { Ok(Vec::new()) })
            .await;
        assert_eq!(refused, Err(ResolveError::Overloaded));
    }
}

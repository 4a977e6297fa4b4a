//! Which connection a question goes over: one that is there, another where it is overdue, a new one when one dies.

use super::*;

impl Inner {
    /// The current connection, or a new one; many may wait for the same.
    pub(super) async fn connection(
        self: &Arc<Self>,
        newer_than: Option<u64>,
    ) -> Result<Arc<Connection>, ConnectError> {
        loop {
            let (step, patience) = self.next_step(newer_than);
            let patience = async {
                match patience {
                    Some(end) => sleep_until(end.into()).await,
                    None => std::future::pending().await,
                }
            };
            match step {
                Step::Use(connection) => return Ok(connection),
                Step::Fail(error) => return Err(error),
                Step::Pause(until) => tokio::select! {
                    () = sleep_until(until.into()) => {}
                    () = patience => {}
                },
                Step::Wait(connecting) => tokio::select! {
                    outcome = outcome_of(connecting) => {
                        // It may have ended already; that is for the sender to find out.
                        if let Some(Ok(connection)) = outcome {
                            return Ok(connection);
                        }
                    }
                    () = patience => {}
                },
            }
        }
    }

    /// What a question does next, and when to look again at the latest.
    pub(super) fn next_step(self: &Arc<Self>, newer_than: Option<u64>) -> (Step, Option<Instant>) {
        let now = now();
        let mut state = self.lock();
        if state.sleep.slept(now, SystemTime::now()) {
            // Whatever was connected is most likely gone, and the server need not be spared.
            state.current = None;
            state.failing_since = None;
            state.backoff.reset();
        }
        let down = state.is_down(now, self.limits.grace);
        if let Some(current) = &state.current
            && current.is_open()
            && newer_than.is_none_or(|serial| current.serial > serial)
            && !(down.is_some() && state.is_given_up(current))
        {
            return (Step::Use(Arc::clone(current)), None);
        }
        if let Some(error) = down {
            return (Step::Fail(error), None);
        }
        let patience = state.failing_since.map(|since| since + self.limits.grace);
        (self.connect_or_wait(state, now), patience)
    }

    /// Starts to connect, unless that is under way or too soon.
    fn connect_or_wait(self: &Arc<Self>, mut state: MutexGuard<'_, State>, now: Instant) -> Step {
        state.note_answers();
        if let Some(current) = state.current.take_if(|current| !current.is_open())
            && !current.was_heard()
        {
            state.backoff.on_failure(now);
        }
        if let Some(connecting) = &state.connecting
            // Closed without a word: the task that connected was lost.
            && (connecting.has_changed().is_ok() || connecting.borrow().is_some())
        {
            return Step::Wait(connecting.clone());
        }
        if let Some(until) = state.backoff.pause(now) {
            return Step::Pause(until);
        }
        let (report, connecting) = watch::channel(None);
        state.connecting = Some(connecting.clone());
        drop(state);
        tokio::spawn(Arc::clone(self).connect(report));
        Step::Wait(connecting)
    }

    /// One step towards a connection that no question waits for; none when there is one, or when
    /// nobody asked for so long that the next who does is to find a clean slate.
    fn recover(self: &Arc<Self>) -> Option<Step> {
        let now = now();
        let mut state = self.lock();
        let unasked = now.saturating_duration_since(state.last_asked);
        if state.failing_since.is_some() && unasked < self.limits.persistence {
            return Some(self.connect_or_wait(state, now));
        }
        state.failing_since = None;
        state.recovering = false;
        None
    }

    /// Runs on its own, so that an asker who gives up does not take the connect along.
    pub(super) async fn connect(self: Arc<Self>, report: watch::Sender<Outcome>) {
        let started = now();
        let offered = self.offered().take();
        let connected = match offered {
            Some(link) => Ok(link),
            None => self.connector.connect().await,
        };
        let mut state = self.lock();
        state.connecting = None;
        let outcome = match connected {
            Ok(link) => {
                count(&self.counters.connects);
                state.backoff.on_connected();
                state.last_failure = None;
                state.failing_since = None;
                state.next_serial += 1;
                let counters = Arc::clone(&self.counters);
                let connection = Connection::start(state.next_serial, link, &self.limits, counters);
                // The one before lives on in the tickets of its questions, and ends with them.
                state.current = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                count(&self.counters.connect_failures);
                state.note_answers();
                state.backoff.on_failure(now());
                state.last_failure = Some(error.clone());
                state.failing_since.get_or_insert(started);
                if !std::mem::replace(&mut state.recovering, true) {
                    tokio::spawn(recover(Arc::downgrade(&self)));
                }
                tracing::debug!(%error, "no connection");
                Err(error)
            }
        };
        drop(state);
        report.send_replace(Some(outcome));
    }
}

/// Connects until it works, as long as there is a pool and somebody asks for it.
async fn recover(pool: Weak<Inner>) {
    loop {
        let Some(step) = pool.upgrade().and_then(|inner| inner.recover()) else {
            return;
        };
        match step {
            Step::Pause(until) => sleep_until(until.into()).await,
            Step::Wait(connecting) => drop(outcome_of(connecting).await),
            Step::Use(_) | Step::Fail(_) => {}
        }
    }
}

/// How a connect ended; none when the task that connects is gone.
async fn outcome_of(mut connecting: watch::Receiver<Outcome>) -> Outcome {
    let outcome = connecting.wait_for(Option::is_some).await;
    outcome.ok().and_then(|outcome| outcome.clone())
}

pub(super) enum Step {
    Use(Arc<Connection>),
    Wait(watch::Receiver<Outcome>),
    Pause(Instant),
    Fail(ConnectError),
}

//! Accepting connections, whatever goes wrong with it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use nix::errno::Errno;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Protocol, Stop,
    connection::{self, Peer},
    crowd::Crowded,
    shared::{Phase, Shared},
    stopped, worker,
};
use crate::{answer::Transport, counters::Event};

/// The first pause when there are no descriptors left, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// Accepts for a worker.
pub(super) struct Acceptor {
    pub(super) shared: Arc<Shared>,
    pub(super) protocol: Protocol,
    pub(super) worker: usize,
    pub(super) alive: watch::Receiver<Phase>,
}

impl Acceptor {
    /// Accepts until told to stop.
    pub(super) async fn serve(self, listener: TcpListener, mut stop: Stop) {
        let stopped = stopped(&mut stop);
        tokio::pin!(stopped);
        let mut pause = PAUSES.0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stopped => return,
                accepted = listener.accept() => accepted,
            };
            let pause = match accepted {
                Ok((stream, address)) => {
                    pause = PAUSES.0;
                    self.admit(stream, address);
                    continue;
                }
                Err(error) if is_exhaustion(&error) => {
                    self.shared.counters().count(Event::AcceptExhausted);
                    self.shared.crowd.make_room();
                    let now = pause;
                    pause = (pause * 2).min(PAUSES.1);
                    now
                }
                // The network's errors on the new connection come through accept(2): the next call
                // is about the next connection. The pause is for errors that would come for ever.
                Err(_) => {
                    self.shared.counters().count(Event::AcceptAborted);
                    PAUSES.0
                }
            };
            tokio::select! {
                biased;
                () = &mut stopped => return,
                () = sleep(pause) => {}
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        let shared = &self.shared;
        let counters = shared.counters();
        if !shared.responder.access().allows(address.ip()) {
            // Before a word of TLS is spoken.
            counters.count(Event::Stranger);
            return;
        }
        let (place, crowded) = shared.crowd.admit(address.ip(), Instant::now());
        counters.count(Event::ConnectionOpened);
        match crowded {
            Some(Crowded::All) => counters.count(Event::ConnectionsAll),
            Some(Crowded::Address) => counters.count(Event::ConnectionsAddress),
            None => {}
        }
        let peer = Peer {
            address: address.ip(),
            transport: match self.protocol {
                Protocol::Tls => Transport::Tls,
                Protocol::Udp | Protocol::Tcp => Transport::Tcp,
            },
            place,
        };
        let worker = worker::less_busy(&shared.seats, self.worker).unwrap_or(self.worker);
        let runtime = &shared.runtimes[worker];
        let Ok(stream) = self.hand_over(stream, worker) else {
            counters.count(Event::StreamBroken);
            return;
        };
        shared.seats[worker].fetch_add(1, Ordering::Relaxed);
        let alive = self.alive.clone();
        runtime.spawn(connection::serve(
            stream,
            peer,
            Arc::clone(shared),
            worker,
            alive,
        ));
    }

    /// Gives the stream to the runtime of `worker`.
    fn hand_over(&self, stream: TcpStream, worker: usize) -> io::Result<TcpStream> {
        if worker == self.worker {
            return Ok(stream);
        }
        let stream = stream.into_std()?;
        let _runtime = self.shared.runtimes[worker].enter();
        TcpStream::from_std(stream)
    }
}

/// Whether accept(2) lacked something of this machine.
fn is_exhaustion(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
    )
}

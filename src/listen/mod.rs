//! The sockets: UDP, TCP and TLS, and what they may cost.
//!
//! A [`Front`] takes queries from its sockets, lets the [`Responder`] decide on each, and waits
//! for the source of answers beside the socket's own loop, so that a slow question never holds
//! another (RFC 7766 §6.2.1.1). Every resource that a stranger can use up has a limit with a name.
//!
//! It has threads of its own, the [workers](worker), each with its own sockets on every address;
//! the limits hold for all of them together.

mod accept;
mod ask;
mod connection;
mod crowd;
mod datagrams;
mod flight;
mod frames;
mod gate;
mod limits;
mod outgoing;
mod scratch;
mod shared;
mod sockets;
mod udp;
mod worker;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use crate::answer::{Responder, cookie::Secret};
use accept::Acceptor;
use shared::{Phase, Shared, drained};
use udp::UdpEndpoint;

pub use limits::{IDLE_GRACE, Limits, QUERY_GRACE};
pub use sockets::{Inherited, ListenError, Protocol};

/// How often the secret of the cookies is replaced: more than the hour for which a cookie is good,
/// less than the 36 days that RFC 7873 §7.1 allows.
const SECRET_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long a connection's close is waited for once its deadline has passed.
const CLOSE_TIME: Duration = Duration::from_millis(200);

/// What a [`Front`] is made of.
#[derive(Debug)]
pub struct FrontConfig {
    /// Where plain DNS is served, over UDP and TCP. Port 0 takes a free one, the same for both.
    pub dns: Vec<SocketAddr>,
    /// Where DNS over TLS is served.
    pub dot: Vec<SocketAddr>,
    /// Threads that serve, one at the least.
    pub workers: usize,
    /// What it may cost.
    pub limits: Limits,
    /// The certificate and its key, see [`crate::tls::server_config`]. Replaced while running, it counts for
    /// the connections that come then; [`Front::end_tls`] ends the others.
    pub tls: Arc<ArcSwap<rustls::ServerConfig>>,
    /// Sockets that were bound already. They are served beside the addresses above, and instead
    /// of binding those that are the same.
    pub inherited: Inherited,
}

/// The running listeners and their connections. [`Front::drain`] ends them; dropped, it drains
/// too, and nobody waits for it.
#[derive(Debug)]
pub struct Front {
    shared: Arc<Shared>,
    listeners: HashMap<(Protocol, SocketAddr), Listener>,
}

/// How much a front has in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FrontStatus {
    /// The addresses on which plain DNS is served.
    pub dns: Vec<SocketAddr>,
    /// The addresses on which DNS over TLS is served.
    pub dot: Vec<SocketAddr>,
    /// Threads that serve.
    pub workers: usize,
    /// Connections that are open.
    pub connections: usize,
    /// As many as there may be.
    pub connections_allowed: usize,
    /// Queries over UDP that wait for the source of answers.
    pub udp_queries: usize,
    /// Queries over TCP and TLS that wait for the source of answers.
    pub stream_queries: usize,
}

/// The sockets on one address, one for each worker, which listen until this is dropped.
#[derive(Debug)]
struct Listener {
    bound: SocketAddr,
    inherited: bool,
    /// Every task that listens holds a receiver.
    stop: watch::Sender<()>,
}

/// Closed when it is time to stop listening.
type Stop = watch::Receiver<()>;

impl Front {
    /// Binds and serves, in threads of its own. Raises the soft limit of descriptors to the hard
    /// one.
    ///
    /// # Errors
    /// [`ListenError`] names the address that cannot be served; nothing is then left running.
    pub fn start(config: FrontConfig, responder: Arc<Responder>) -> Result<Self, ListenError> {
        let idle = worker::Idle::new(config.workers).map_err(ListenError::Workers)?;
        let shared = Shared::new(responder, config.limits, config.tls, idle.handles());
        let shared = Arc::new(shared);
        // Dropped on an error, it ends what runs.
        let mut front = Self {
            shared,
            listeners: HashMap::new(),
        };
        front.adopt(config.inherited)?;
        front.rebind(&config.dns, &config.dot)?;
        front.shared.runtimes[0].spawn(roll_secrets(
            Arc::clone(&front.shared.responder),
            front.shared.life.subscribe(),
        ));
        idle.run(&front.shared).map_err(ListenError::Workers)?;
        Ok(front)
    }

    /// Serves these addresses from now on: binds those that are new, then lets go of those that
    /// are gone. Connections stay, and so do inherited sockets.
    ///
    /// # Errors
    /// [`ListenError`] where an address cannot be bound; everything is then as it was. An address
    /// and the wildcard of its port cannot replace each other while running.
    pub fn rebind(&mut self, dns: &[SocketAddr], dot: &[SocketAddr]) -> Result<(), ListenError> {
        let workers = self.shared.runtimes.len();
        let mut bound = Vec::new();
        for address in dns {
            let udp = (Protocol::Udp, *address);
            let tcp = (Protocol::Tcp, *address);
            match (self.serves(udp), self.serves(tcp)) {
                (true, true) => {}
                (false, false) => {
                    let (udp_sockets, listeners) = sockets::bind_dns(*address, workers)?;
                    bound.push((udp, Sockets::Udp(udp_sockets)));
                    bound.push((tcp, Sockets::Tcp(listeners)));
                }
                (false, true) => {
                    let udp_sockets = sockets::bind_udp(*address, workers)?;
                    bound.push((udp, Sockets::Udp(udp_sockets)));
                }
                (true, false) => {
                    let listeners = sockets::bind_tcp(*address, Protocol::Tcp, workers)?;
                    bound.push((tcp, Sockets::Tcp(listeners)));
                }
            }
        }
        for address in dot {
            let tls = (Protocol::Tls, *address);
            if !self.serves(tls) {
                let listeners = sockets::bind_tcp(*address, Protocol::Tls, workers)?;
                bound.push((tls, Sockets::Tcp(listeners)));
            }
        }
        let mut fresh = Vec::new();
        for (key, sockets) in bound {
            fresh.push((key, self.listen(key, sockets, false)?));
        }
        self.listeners.extend(fresh);
        self.listeners.retain(|(protocol, address), listener| {
            let wanted = match protocol {
                Protocol::Udp | Protocol::Tcp => dns,
                Protocol::Tls => dot,
            };
            let wanted = wanted.contains(address) || wanted.contains(&listener.bound);
            wanted || listener.inherited
        });
        Ok(())
    }

    /// Ends the TLS connections that there are, once what is in flight on them is answered, with close_notify: they were
    /// made with a key that is in wrong hands. Whoever comes back meets the certificate of now.
    pub fn end_tls(&self) {
        self.shared.begin_era();
    }

    /// What it has in hand, and on which addresses.
    pub fn status(&self) -> FrontStatus {
        FrontStatus {
            dns: self.bound(Protocol::Tcp),
            dot: self.bound(Protocol::Tls),
            workers: self.shared.runtimes.len(),
            connections: self.shared.crowd.len(),
            connections_allowed: self.shared.connections_allowed,
            udp_queries: self.shared.udp_flight.len(),
            stream_queries: self.shared.stream_flight.len(),
        }
    }

    /// Stops accepting and reading, finishes what is in flight, closes every connection (TLS with
    /// close_notify), and returns when all that is done, or shortly after `deadline`.
    pub async fn drain(mut self, deadline: Instant) {
        // Who goes now must not come back to a socket that nobody serves.
        let listeners: Vec<_> = self.listeners.drain().collect();
        for (_, listener) in listeners {
            listener.stop.send_replace(());
            let _ = timeout_at(deadline, listener.stop.closed()).await;
        }
        self.shared.enter(Phase::Draining);
        let life = &self.shared.life;
        if timeout_at(deadline, life.closed()).await.is_err() {
            self.shared.enter(Phase::Closed);
            let _ = timeout(2 * CLOSE_TIME, life.closed()).await;
        }
    }

    fn adopt(&mut self, inherited: Inherited) -> Result<(), ListenError> {
        let workers = self.shared.runtimes.len();
        let failed = |protocol| move |source| ListenError::Inherited { protocol, source };
        let mut adopted = Vec::new();
        for socket in inherited.udp {
            let sockets = sockets::share(socket, workers, std::net::UdpSocket::try_clone)
                .map_err(failed(Protocol::Udp))?;
            adopted.push((Protocol::Udp, Sockets::Udp(sockets)));
        }
        let tcp = inherited.tcp.into_iter().map(|one| (Protocol::Tcp, one));
        let tls = inherited.tls.into_iter().map(|one| (Protocol::Tls, one));
        for (protocol, listener) in tcp.chain(tls) {
            let listeners = sockets::share(listener, workers, std::net::TcpListener::try_clone)
                .map_err(failed(protocol))?;
            adopted.push((protocol, Sockets::Tcp(listeners)));
        }
        for (protocol, sockets) in adopted {
            let address = sockets.local_addr().map_err(failed(protocol))?;
            let key = (protocol, address);
            let listener = self.listen(key, sockets, true)?;
            self.listeners.insert(key, listener);
        }
        Ok(())
    }

    /// Gives each worker its socket.
    fn listen(
        &self,
        (protocol, address): (Protocol, SocketAddr),
        sockets: Sockets,
        inherited: bool,
    ) -> Result<Listener, ListenError> {
        let failed = |source| ListenError::Bind {
            protocol,
            address,
            source,
        };
        let bound = sockets.local_addr().map_err(failed)?;
        let stop = watch::Sender::new(());
        let shared = || Arc::clone(&self.shared);
        let alive = || self.shared.life.subscribe();
        match sockets {
            Sockets::Udp(sockets) => {
                for (socket, runtime) in sockets.into_iter().zip(&self.shared.runtimes) {
                    let _entered = runtime.enter();
                    let endpoint = UdpEndpoint::new(socket, shared(), alive()).map_err(failed)?;
                    runtime.spawn(Arc::new(endpoint).serve(stop.subscribe()));
                }
            }
            Sockets::Tcp(listeners) => {
                let runtimes = self.shared.runtimes.iter().enumerate();
                for (listener, (worker, runtime)) in listeners.into_iter().zip(runtimes) {
                    let _entered = runtime.enter();
                    sockets::prepare_listener(&listener).map_err(failed)?;
                    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
                    let acceptor = Acceptor {
                        shared: shared(),
                        protocol,
                        worker,
                        alive: alive(),
                    };
                    runtime.spawn(acceptor.serve(listener, stop.subscribe()));
                }
            }
        }
        Ok(Listener {
            bound,
            inherited,
            stop,
        })
    }

    /// Whether there is a listener for the address, under its port or as port 0.
    fn serves(&self, (protocol, address): (Protocol, SocketAddr)) -> bool {
        self.listeners
            .iter()
            .any(|((served, configured), listener)| {
                *served == protocol && (*configured == address || listener.bound == address)
            })
    }

    fn bound(&self, of: Protocol) -> Vec<SocketAddr> {
        let mut bound: Vec<_> = self
            .listeners
            .iter()
            .filter(|((protocol, _), _)| *protocol == of)
            .map(|(_, listener)| listener.bound)
            .collect();
        bound.sort();
        bound
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.listeners.clear();
        self.shared.enter(Phase::Draining);
    }
}

/// Whether these addresses could be served: binds each as [`Front::start`] does, and lets go.
///
/// # Errors
/// The first that could not.
pub fn try_to_bind(dns: &[SocketAddr], dot: &[SocketAddr]) -> Result<(), ListenError> {
    for address in dns {
        sockets::bind_dns(*address, 1)?;
    }
    for address in dot {
        sockets::bind_tcp(*address, Protocol::Tls, 1)?;
    }
    Ok(())
}

/// One for each worker, and one at the least.
enum Sockets {
    Udp(Vec<std::net::UdpSocket>),
    Tcp(Vec<std::net::TcpListener>),
}

impl Sockets {
    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Udp(sockets) => sockets[0].local_addr(),
            Self::Tcp(listeners) => listeners[0].local_addr(),
        }
    }
}

/// Waits until it is time to stop listening.
async fn stopped(stop: &mut Stop) {
    // Told so, or the listener is gone.
    let _ = stop.changed().await;
}

async fn roll_secrets(responder: Arc<Responder>, mut phase: watch::Receiver<Phase>) {
    let random = SystemRandom::new();
    while timeout(SECRET_LIFETIME, drained(&mut phase)).await.is_err() {
        let mut secret = [0; 16];
        match random.fill(&mut secret) {
            Ok(()) => responder.roll_secret(Secret(secret)),
            Err(_) => tracing::warn!("no random bytes: the cookie secret stays as it is"),
        }
    }
}

//! The sockets: UDP, TCP and TLS, and what they may cost.
//!
//! A [`Front`] takes queries from its sockets, lets the [`Responder`] decide on each, and waits
//! for the source of answers beside the socket's own loop, so that a slow question never holds
//! another (RFC 7766 §6.2.1.1). Every resource that a stranger can use up has a limit with a name.

mod accept;
mod ask;
mod connection;
mod crowd;
mod flight;
mod frames;
mod limits;
mod outgoing;
mod sockets;
mod tls;
mod udp;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    answer::{Responder, cookie::Secret},
    counters::Counters,
};
use ask::Inquirer;
use crowd::Crowd;
use flight::Flight;
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
    /// What it may cost.
    pub limits: Limits,
    /// The certificate and its key, see [`crate::tls::server_config`]. Replaced while running, it counts for
    /// the connections that come then.
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
    /// Every task holds a receiver: none is left once this is closed.
    phase: watch::Sender<Phase>,
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
    /// Connections that are open.
    pub connections: usize,
    /// As many as there may be.
    pub connections_allowed: usize,
    /// Queries over UDP that wait for the source of answers.
    pub udp_queries: usize,
    /// Queries over TCP and TLS that wait for the source of answers.
    pub stream_queries: usize,
}

/// What the tasks of a front share.
struct Shared {
    responder: Arc<Responder>,
    limits: Limits,
    tls: Arc<ArcSwap<rustls::ServerConfig>>,
    crowd: Arc<Crowd>,
    connections_allowed: usize,
    udp_flight: Arc<Flight>,
    stream_flight: Arc<Flight>,
    inquirer: Inquirer,
}

#[derive(Debug)]
struct Listener {
    bound: SocketAddr,
    inherited: bool,
    task: JoinHandle<()>,
}

/// Where in its life a front is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Nothing new is read; what is in flight is finished.
    Draining,
    /// Everything ends now.
    Closed,
}

impl Front {
    /// Binds and serves. Needs a tokio runtime. Raises the soft limit of descriptors to the hard
    /// one.
    ///
    /// # Errors
    /// [`ListenError`] names the address that cannot be served; nothing is then left running.
    pub fn start(config: FrontConfig, responder: Arc<Responder>) -> Result<Self, ListenError> {
        let limits = config.limits;
        let connections_allowed = sockets::descriptors_for(&limits);
        let shared = Arc::new(Shared {
            tls: config.tls,
            crowd: Crowd::new(
                connections_allowed,
                limits.connections_per_address,
                Instant::now(),
            ),
            connections_allowed,
            udp_flight: Flight::new(limits.udp_queries, limits.udp_queries_per_address),
            stream_flight: Flight::new(limits.stream_queries, limits.stream_queries_per_address),
            inquirer: Inquirer::new(Arc::clone(&responder), limits.query),
            limits,
            responder,
        });
        let mut front = Self {
            shared,
            phase: watch::Sender::new(Phase::Serving),
            listeners: HashMap::new(),
        };
        let started = front
            .adopt(config.inherited)
            .and_then(|()| front.rebind(&config.dns, &config.dot));
        if let Err(error) = started {
            front.stop_listening();
            return Err(error);
        }
        tokio::spawn(roll_secrets(
            Arc::clone(&front.shared.responder),
            front.phase.subscribe(),
        ));
        Ok(front)
    }

    /// Serves these addresses from now on: binds those that are new, then lets go of those that
    /// are gone. Connections stay, and so do inherited sockets.
    ///
    /// # Errors
    /// [`ListenError`] where an address cannot be bound; everything is then as it was. An address
    /// and the wildcard of its port cannot replace each other while running.
    pub fn rebind(&mut self, dns: &[SocketAddr], dot: &[SocketAddr]) -> Result<(), ListenError> {
        let mut bound = Vec::new();
        for address in dns {
            let udp = (Protocol::Udp, *address);
            let tcp = (Protocol::Tcp, *address);
            match (self.serves(udp), self.serves(tcp)) {
                (true, true) => {}
                (false, false) => {
                    let (udp_socket, tcp_listener) = sockets::bind_dns(*address)?;
                    bound.push((udp, Socket::Udp(udp_socket)));
                    bound.push((tcp, Socket::Tcp(tcp_listener)));
                }
                (false, true) => bound.push((udp, Socket::Udp(sockets::bind_udp(*address)?))),
                (true, false) => {
                    let listener = sockets::bind_tcp(*address, Protocol::Tcp)?;
                    bound.push((tcp, Socket::Tcp(listener)));
                }
            }
        }
        for address in dot {
            let tls = (Protocol::Tls, *address);
            if !self.serves(tls) {
                let listener = sockets::bind_tcp(*address, Protocol::Tls)?;
                bound.push((tls, Socket::Tcp(listener)));
            }
        }
        let mut fresh: Vec<((Protocol, SocketAddr), Listener)> = Vec::new();
        for (key, socket) in bound {
            match self.listen(key, socket, false) {
                Ok(listener) => fresh.push((key, listener)),
                Err(error) => {
                    fresh.iter().for_each(|(_, listener)| listener.task.abort());
                    return Err(error);
                }
            }
        }
        self.listeners.extend(fresh);
        self.listeners.retain(|(protocol, address), listener| {
            let wanted = match protocol {
                Protocol::Udp | Protocol::Tcp => dns,
                Protocol::Tls => dot,
            };
            let wanted = wanted.contains(address) || wanted.contains(&listener.bound);
            if !wanted && !listener.inherited {
                listener.task.abort();
            }
            wanted || listener.inherited
        });
        Ok(())
    }

    /// What it has in hand, and on which addresses.
    pub fn status(&self) -> FrontStatus {
        FrontStatus {
            dns: self.bound(Protocol::Tcp),
            dot: self.bound(Protocol::Tls),
            connections: self.shared.crowd.len(),
            connections_allowed: self.shared.connections_allowed,
            udp_queries: self.shared.udp_flight.len(),
            stream_queries: self.shared.stream_flight.len(),
        }
    }

    /// Stops accepting and reading, finishes what is in flight, closes every connection (TLS with
    /// close_notify), and returns when all that is done, or shortly after `deadline`.
    pub async fn drain(mut self, deadline: Instant) {
        self.phase.send_replace(Phase::Draining);
        self.stop_listening();
        if timeout_at(deadline, self.phase.closed()).await.is_err() {
            self.phase.send_replace(Phase::Closed);
            let _ = timeout(2 * CLOSE_TIME, self.phase.closed()).await;
        }
    }

    fn adopt(&mut self, inherited: Inherited) -> Result<(), ListenError> {
        let udp = inherited.udp.into_iter();
        let tcp = inherited.tcp.into_iter();
        let tls = inherited.tls.into_iter();
        let sockets = udp
            .map(|socket| (Protocol::Udp, Socket::Udp(socket)))
            .chain(tcp.map(|listener| (Protocol::Tcp, Socket::Tcp(listener))))
            .chain(tls.map(|listener| (Protocol::Tls, Socket::Tcp(listener))));
        for (protocol, socket) in sockets {
            let address = socket
                .local_addr()
                .map_err(|source| ListenError::Inherited { protocol, source })?;
            let key = (protocol, address);
            let listener = self.listen(key, socket, true)?;
            self.listeners.insert(key, listener);
        }
        Ok(())
    }

    fn listen(
        &self,
        (protocol, address): (Protocol, SocketAddr),
        socket: Socket,
        inherited: bool,
    ) -> Result<Listener, ListenError> {
        let failed = |source| ListenError::Bind {
            protocol,
            address,
            source,
        };
        let shared = Arc::clone(&self.shared);
        let phase = self.phase.subscribe();
        let bound = socket.local_addr().map_err(failed)?;
        let task = match socket {
            Socket::Udp(socket) => {
                let endpoint = UdpEndpoint::new(socket, shared).map_err(failed)?;
                tokio::spawn(udp::serve(Arc::new(endpoint), phase))
            }
            Socket::Tcp(listener) => {
                sockets::prepare_listener(&listener).map_err(failed)?;
                let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
                tokio::spawn(accept::serve(listener, protocol, shared, phase))
            }
        };
        Ok(Listener {
            bound,
            inherited,
            task,
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

    fn stop_listening(&mut self) {
        for (_, listener) in self.listeners.drain() {
            listener.task.abort();
        }
    }
}

/// Whether these addresses could be served: binds each as [`Front::start`] does, and lets go.
///
/// # Errors
/// The first that could not.
pub fn try_to_bind(dns: &[SocketAddr], dot: &[SocketAddr]) -> Result<(), ListenError> {
    for address in dns {
        sockets::bind_dns(*address)?;
    }
    for address in dot {
        sockets::bind_tcp(*address, Protocol::Tls)?;
    }
    Ok(())
}

impl Shared {
    fn counters(&self) -> &Counters {
        self.responder.counters()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

enum Socket {
    Udp(std::net::UdpSocket),
    Tcp(std::net::TcpListener),
}

impl Socket {
    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(listener) => listener.local_addr(),
        }
    }
}

/// Waits until the front is no longer serving or gone.
async fn drained(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
}

/// Waits until the front's deadline has passed; for ever when it is dropped without a drain.
async fn closed(phase: &mut watch::Receiver<Phase>) {
    if phase
        .wait_for(|phase| *phase == Phase::Closed)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
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

//! The way out of the recursor: short time-outs, so that a dead server costs little, and a budget
//! of packets that one query may send, whatever the servers on its way answer.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future, stream, stream::BoxStream};
use hickory_resolver::{
    ConnectionProvider, PoolContext,
    config::{ConnectionConfig, ProtocolConfig},
    net::{
        DnsHandle, NetError, runtime::TokioRuntimeProvider, tcp::TcpClientStream, xfer::DnsExchange,
    },
    proto::op::{DnsRequest, DnsResponse},
};
use tokio::time::Instant;
use zzdot_client::{
    exchange::{ExchangeError, ExchangeLimits, udp_once},
    wire::{Flags, View},
};

use super::{
    errand::{Asked, Errand},
    shape::{self, Cut},
};

/// How long one name server may take over UDP. The pool of a zone has five seconds in all, so a
/// dead server must leave time for the next.
const UDP_TIMEOUT: Duration = Duration::from_millis(1_600);

/// When a datagram counts as lost and is sent once more; an answer to either will do.
const UDP_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long connecting and asking over TCP may take.
const TCP_TIMEOUT: Duration = Duration::from_secs(2);

/// How many may wait on one TCP connection.
const TCP_IN_FLIGHT: usize = 32;

tokio::task_local! {
    /// What is left of the packets that the current query may send.
    static BUDGET: Arc<Budget>;
}

/// The packets that one query may send: datagrams, and messages on a stream.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU32,
}

impl Budget {
    pub(super) fn new(packets: u32) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU32::new(packets),
        })
    }

    /// Runs `work`, charging what it sends.
    pub(super) async fn charge<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        BUDGET.scope(self.clone(), work).await
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    pub(super) fn take(&self) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }
}

/// Opens connections to name servers.
#[derive(Clone, Default)]
pub(super) struct Provider {
    runtime: TokioRuntimeProvider,
}

impl ConnectionProvider for Provider {
    type Conn = Connection;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Connection, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        _: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let server = SocketAddr::new(ip, config.port);
        match config.protocol {
            ProtocolConfig::Udp => Ok(Box::pin(future::ready(Ok(Connection::Udp(server))))),
            ProtocolConfig::Tcp => {
                let connecting = TcpClientStream::exchange(
                    server,
                    None,
                    TCP_TIMEOUT,
                    Some(TCP_IN_FLIGHT),
                    self.runtime.clone(),
                );
                Ok(Box::pin(
                    async move { Ok(Connection::Tcp(connecting.await?)) },
                ))
            }
        }
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.runtime
    }
}

/// A way to a name server.
#[derive(Clone)]
pub(super) enum Connection {
    /// Each question has a socket of its own, and may be lost.
    Udp(SocketAddr),
    /// Many questions share a connection.
    Tcp(DnsExchange<TokioRuntimeProvider>),
}

impl DnsHandle for Connection {
    type Response = BoxStream<'static, Result<DnsResponse, NetError>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        match self {
            Self::Udp(server) => stream::once(by_udp(*server, request)).boxed(),
            Self::Tcp(_) if !may_send() => stream::once(future::err(spent())).boxed(),
            Self::Tcp(exchange) => exchange.send(request).boxed(),
        }
    }
}

/// Asks over UDP, unless the response is there already.
async fn by_udp(server: SocketAddr, request: DnsRequest) -> Result<DnsResponse, NetError> {
    let query = request.to_vec()?;
    let (errand, asked) = (Errand::current(), Asked::by(&query));
    let response = match (&errand, asked) {
        (Some(errand), Some(asked)) => on_errand(server, &query, errand, asked).await?,
        _ => ask(server, &query).await?,
    };
    Ok(DnsResponse::from_buffer(shape::trim(response))?)
}

async fn on_errand(
    server: SocketAddr,
    query: &[u8],
    errand: &Errand,
    asked: Asked,
) -> Result<Vec<u8>, NetError> {
    if let Some(held) = errand.take(&asked) {
        return Ok(shape::answering(query, held));
    }
    if let Some(rtype) = errand.asked_next(&asked)
        && let Some(next) = shape::asked_for(query, rtype)
    {
        if let Some(no_cut) = errand.no_cut() {
            return Ok(shape::answering(query, no_cut));
        }
        let wanted = Asked {
            rtype,
            ..asked.clone()
        };
        let response = match errand.take(&wanted) {
            Some(held) => shape::answering(query, held),
            None => ask(server, &next).await?,
        };
        let ns = shape::TYPE_NS;
        match shape::cut(&response) {
            Cut::No => {
                witness(errand, &wanted, server, &response);
                let told = shape::first_answer(&response);
                let told = shape::asked_for(told.as_ref().unwrap_or(&response), ns);
                errand.hold(wanted, response);
                if let Some(told) = told {
                    errand.on_no_cut(told.clone());
                    return Ok(shape::answering(query, told));
                }
            }
            Cut::Referral => {
                if let Some(referral) = shape::asked_for(&response, ns) {
                    keep_referral(errand, &asked, &referral);
                    return Ok(referral);
                }
            }
            Cut::Unknown => {}
        }
    }
    let response = ask(server, query).await?;
    witness(errand, &asked, server, &response);
    keep_referral(errand, &asked, &response);
    Ok(response)
}

fn witness(errand: &Errand, asked: &Asked, server: SocketAddr, response: &[u8]) {
    let authoritative =
        View::parse(response).is_ok_and(|view| view.flags().has(Flags::AUTHORITATIVE));
    if authoritative {
        errand.on_answer(asked, server);
    }
}

/// Keeps what a referral says: its DS records are what is asked for next.
fn keep_referral(errand: &Errand, asked: &Asked, response: &[u8]) {
    if asked.rtype != shape::TYPE_NS {
        return;
    }
    if let Some((zone, ttl)) = shape::referral(response) {
        errand.on_referral(zone, ttl);
    }
    if let Some(answer) = shape::delegation_signer(response) {
        let asked = Asked {
            rtype: shape::TYPE_DS,
            ..asked.clone()
        };
        errand.hold(asked, answer);
    } else if let Some(answer) = shape::delegation(response)
        && !errand.is_about(asked)
    {
        // Where a zone is not signed, the recursor asks for its NS records once more, to see
        // whether there is a cut.
        errand.hold(asked.clone(), answer);
    }
}

/// Sends a datagram, and another when there is no answer; an answer to either will do.
async fn ask(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>, NetError> {
    if !may_send() {
        return Err(spent());
    }
    let deadline = (Instant::now() + UDP_TIMEOUT).into_std();
    let limits = ExchangeLimits::default();
    let first = udp_once(server, query, &limits, deadline);
    let again = async {
        tokio::time::sleep(UDP_AGAIN_AFTER).await;
        if !may_send() {
            // The first one may still be answered.
            return future::pending().await;
        }
        udp_once(server, query, &limits, deadline).await
    };
    let (first, again) = (std::pin::pin!(first), std::pin::pin!(again));
    match future::select(first, again).await.factor_first().0 {
        Ok(reply) => Ok(reply.message),
        Err(ExchangeError::NoAnswer { .. }) => Err(NetError::Timeout),
        Err(ExchangeError::Unreachable { source, .. } | ExchangeError::Local(source)) => {
            Err(source.into())
        }
        Err(error) => Err(NetError::from(error.to_string())),
    }
}

/// Charges a packet to the query that the caller works for. Work that belongs to no query (there is
/// none today) is not charged.
fn may_send() -> bool {
    BUDGET.try_with(|budget| budget.take()).unwrap_or(true)
}

fn spent() -> NetError {
    NetError::from("the budget of packets is spent")
}

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
        DnsHandle, NetError,
        runtime::TokioRuntimeProvider,
        tcp::TcpClientStream,
        udp::UdpClientStream,
        xfer::{DnsExchange, FirstAnswer},
    },
    proto::op::{DnsRequest, DnsResponse},
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

    fn take(&self) -> bool {
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
            ProtocolConfig::Udp => {
                let exchange = UdpClientStream::builder(server, self.runtime.clone())
                    .with_timeout(Some(UDP_TIMEOUT))
                    // Done here, where it is charged.
                    .with_max_retries(0)
                    .exchange();
                Ok(Box::pin(future::ready(Ok(Connection {
                    exchange,
                    datagrams: true,
                }))))
            }
            ProtocolConfig::Tcp => {
                let connecting = TcpClientStream::exchange(
                    server,
                    None,
                    TCP_TIMEOUT,
                    Some(TCP_IN_FLIGHT),
                    self.runtime.clone(),
                );
                Ok(Box::pin(async move {
                    Ok(Connection {
                        exchange: connecting.await?,
                        datagrams: false,
                    })
                }))
            }
        }
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.runtime
    }
}

/// One connection to a name server.
#[derive(Clone)]
pub(super) struct Connection {
    exchange: DnsExchange<TokioRuntimeProvider>,
    /// What is sent may be lost.
    datagrams: bool,
}

impl DnsHandle for Connection {
    type Response = BoxStream<'static, Result<DnsResponse, NetError>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        // Work that belongs to no query (there is none today) is not charged.
        let budget = BUDGET.try_with(Arc::clone).ok();
        let may_send = move || budget.as_ref().is_none_or(|budget| budget.take());
        if !may_send() {
            let spent = NetError::from("the budget of packets is spent");
            return stream::once(future::err(spent)).boxed();
        }
        let first = self.exchange.send(request.clone());
        if !self.datagrams {
            return first.boxed();
        }
        let exchange = self.exchange.clone();
        let again = async move {
            tokio::time::sleep(UDP_AGAIN_AFTER).await;
            if !may_send() {
                // The first one may still be answered.
                return future::pending().await;
            }
            exchange.send(request).first_answer().await
        };
        stream::once(async move {
            let first = std::pin::pin!(first.first_answer());
            let again = std::pin::pin!(again);
            future::select(first, again).await.factor_first().0
        })
        .boxed()
    }
}

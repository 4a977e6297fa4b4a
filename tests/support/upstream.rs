//! An upstream server on loopback that says whatever a test wants, and counts what it is sent.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

/// How a query came.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Via {
    Udp,
    Tcp,
}

/// What is done with a query.
pub enum Act {
    /// Send this from where the query went to.
    Say(Vec<u8>),
    /// Send this from another port.
    SayFromOtherPort(Vec<u8>),
    /// Send this from another address.
    SayFromOtherAddress(Vec<u8>),
    /// Close the connection.
    Close,
}

type Script = dyn Fn(&[u8], Via) -> Vec<Act> + Send + Sync;

/// The running server.
pub struct Upstream {
    pub address: SocketAddr,
    counted: Arc<Counted>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Counted {
    datagrams: AtomicU32,
    connections: AtomicU32,
    queries: Mutex<Vec<Vec<u8>>>,
}

impl Upstream {
    /// Serves with `script` on a free port of 127.0.0.1.
    pub async fn start(script: impl Fn(&[u8], Via) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::serve(bind_both().await, script)
    }

    /// Serves with `script` at `address`, where nobody else is.
    pub async fn start_at(
        address: &str,
        script: impl Fn(&[u8], Via) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let udp = UdpSocket::bind(address).await.unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        Self::serve((udp, tcp), script)
    }

    fn serve(
        (udp, tcp): (UdpSocket, TcpListener),
        script: impl Fn(&[u8], Via) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let counted = Arc::new(Counted::default());
        let address = udp.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, script.clone(), counted.clone()));
        tasks.spawn(serve_tcp(tcp, script, counted.clone()));
        Self {
            address,
            counted,
            _tasks: tasks,
        }
    }

    /// Datagrams that came.
    pub fn datagrams(&self) -> u32 {
        self.counted.datagrams.load(Ordering::SeqCst)
    }

    /// Connections that came.
    pub fn connections(&self) -> u32 {
        self.counted.connections.load(Ordering::SeqCst)
    }

    /// The queries that came, in order.
    pub fn queries(&self) -> Vec<Vec<u8>> {
        self.counted.queries.lock().unwrap().clone()
    }
}

async fn bind_both() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

async fn serve_udp(socket: UdpSocket, script: Arc<Script>, counted: Arc<Counted>) {
    let port_beside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let elsewhere = UdpSocket::bind(("127.0.0.77", port)).await.unwrap();
    let mut buffer = vec![0; 65_535];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        counted.datagrams.fetch_add(1, Ordering::SeqCst);
        counted
            .queries
            .lock()
            .unwrap()
            .push(buffer[..length].to_vec());
        for act in script(&buffer[..length], Via::Udp) {
            let (from_socket, bytes) = match act {
                Act::Say(bytes) => (&socket, bytes),
                Act::SayFromOtherPort(bytes) => (&port_beside, bytes),
                Act::SayFromOtherAddress(bytes) => (&elsewhere, bytes),
                Act::Close => continue,
            };
            // Whoever asked may be gone; that is his affair.
            let _ = from_socket.send_to(&bytes, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, script: Arc<Script>, counted: Arc<Counted>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        counted.connections.fetch_add(1, Ordering::SeqCst);
        let (script, counted) = (script.clone(), counted.clone());
        connections.spawn(async move {
            loop {
                let Ok(length) = stream.read_u16().await else {
                    return;
                };
                let mut query = vec![0; usize::from(length)];
                if stream.read_exact(&mut query).await.is_err() {
                    return;
                }
                counted.queries.lock().unwrap().push(query.clone());
                for act in script(&query, Via::Tcp) {
                    let (Act::Say(bytes)
                    | Act::SayFromOtherPort(bytes)
                    | Act::SayFromOtherAddress(bytes)) = act
                    else {
                        return;
                    };
                    let mut framed = (bytes.len() as u16).to_be_bytes().to_vec();
                    framed.extend(bytes);
                    if stream.write_all(&framed).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

//! TCP with a host that swallows packets for a while: a listener whose queue is full does.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::DotLimits;
use super::super::connect::{dial, now};

/// After the packets that the system sends again after one second and, by its version, two; and
/// before the one after three.
const BACK_AFTER: Duration = Duration::from_millis(2100);
const TOO_LATE: Duration = Duration::from_millis(2900);

/// A listener that swallows what asks for a connection, and those who fill its queue.
async fn swallower() -> (TcpListener, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queued.push(connected.unwrap());
    }
    assert!(!queued.is_empty());
    (listener, queued)
}

#[tokio::test]
async fn a_host_that_is_back_is_reached_before_the_system_would_try_again() {
    let (listener, queued) = swallower().await;
    let address = listener.local_addr().unwrap();
    let limits = DotLimits::default();
    let dialing = tokio::spawn(dial(address, now() + TOO_LATE, limits.write));
    tokio::time::sleep(BACK_AFTER).await;
    for _ in &queued {
        listener.accept().unwrap();
    }
    assert!(dialing.await.unwrap().is_ok());
}

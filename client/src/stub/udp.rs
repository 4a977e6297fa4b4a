//! Questions in datagrams.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::Shared;
use super::limits::count;
use super::screen::{Screened, screen};
use crate::wire;

/// A question fits into far less; what is longer is cut and answered FORMERR.
const QUERY_BYTES_MAX: usize = 4096;

pub(super) async fn serve(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let local = socket
        .local_addr()
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
    let mut stopping = shared.stopping.clone();
    let mut buffer = vec![0; QUERY_BYTES_MAX];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let (length, peer) = match received {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error for an earlier answer; its asker is gone.
                tracing::debug!(%error, "receiving a datagram");
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        if !shared.admits(peer.ip(), local) {
            count(&shared.counters.strangers);
            continue;
        }
        let message = buffer.get(..length).unwrap_or_default();
        let udp_bytes = match screen(message) {
            Screened::Pass { udp_bytes } => udp_bytes,
            Screened::Drop => {
                count(&shared.counters.no_queries);
                continue;
            }
            Screened::Reply(reply) => {
                count(&shared.counters.bad_queries);
                send(&socket, &reply, peer).await;
                continue;
            }
        };
        count(&shared.counters.udp_queries);
        let Ok(turn) = Arc::clone(&shared.udp_turns).try_acquire_owned() else {
            count(&shared.counters.udp_overflows);
            continue;
        };
        let query = message.to_vec();
        let (socket, shared) = (Arc::clone(&socket), Arc::clone(&shared));
        tokio::spawn(async move {
            let _turn = turn;
            let answer = Arc::clone(&shared.source).answer(query).await;
            if answer.len() > udp_bytes {
                count(&shared.counters.truncated);
                send(&socket, &wire::truncate(&answer, udp_bytes), peer).await;
            } else {
                send(&socket, &answer, peer).await;
            }
        });
    }
}

async fn send(socket: &UdpSocket, message: &[u8], peer: std::net::SocketAddr) {
    if let Err(error) = socket.send_to(message, peer).await {
        tracing::debug!(%error, %peer, "sending a datagram");
    }
}

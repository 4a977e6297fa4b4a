//! Questions in datagrams.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::limits::{StubCounters, count};
use super::screen::{Screened, screen};
use crate::datagrams::{Asker, Counter, Inbox, Listener, Replies};
use crate::dot::Lane;

/// A question fits into far less; what is longer is cut and answered FORMERR.
const QUERY_BYTES_MAX: usize = 4096;

impl Counter for StubCounters {
    fn count(&self) {
        count(&self.truncated);
    }
}

/// The listener on `socket`. Call within a tokio runtime.
pub(super) fn listener(socket: UdpSocket, counters: &Arc<StubCounters>) -> io::Result<Listener> {
    Listener::new(socket, Arc::clone(counters) as Arc<dyn Counter>)
}

pub(super) async fn serve(listener: Listener, shared: Arc<Shared>) {
    let local = listener
        .local_addr()
        .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = Arc::new(listener);
    let mut inbox = Inbox::new(local, QUERY_BYTES_MAX);
    let mut replies = Replies::default();
    let mut stopping = shared.stopping.clone();
    let stop = stopping.wait_for(|stop| *stop);
    tokio::pin!(stop);
    loop {
        let filled = tokio::select! {
            filled = inbox.fill(&listener) => filled,
            _ = &mut stop => return,
        };
        if let Err(error) = filled {
            // An ICMP error for an earlier answer; its asker is gone.
            tracing::debug!(%error, "receiving a datagram");
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let lane = Arc::clone(&shared.source).lane();
        for (message, peer) in inbox.datagrams() {
            let source = (lane.as_ref(), &mut replies);
            take(message, peer, local, source, &listener, &shared);
        }
        replies.send();
        if inbox.is_full() {
            // What was taken goes out before more is.
            drop(lane);
            tokio::task::yield_now().await;
        }
    }
}

fn take(
    message: &[u8],
    peer: SocketAddr,
    local: SocketAddr,
    (lane, replies): (Option<&Lane>, &mut Replies),
    listener: &Arc<Listener>,
    shared: &Arc<Shared>,
) {
    if !shared.admits(peer.ip(), local.ip()) {
        count(&shared.counters.strangers);
        return;
    }
    let longest = match screen(message) {
        Screened::Pass { udp_bytes } => udp_bytes,
        Screened::Drop => {
            count(&shared.counters.no_queries);
            return;
        }
        Screened::Reply(reply) => {
            count(&shared.counters.bad_queries);
            let listener = Arc::clone(listener);
            tokio::spawn(async move { listener.send(&reply, peer).await });
            return;
        }
    };
    count(&shared.counters.udp_queries);
    let Ok(turn) = Arc::clone(&shared.udp_turns).try_acquire_owned() else {
        count(&shared.counters.udp_overflows);
        return;
    };
    let asker = Asker {
        listener: Arc::clone(listener),
        peer,
        longest,
        turn,
    };
    let asked = match lane {
        Some(lane) => lane.ask(message, asker, replies),
        None => Err(asker),
    };
    let Err(asker) = asked else {
        return;
    };
    let query = message.to_vec();
    let source = Arc::clone(&shared.source);
    tokio::spawn(async move { asker.reply(&source.answer(query).await).await });
}

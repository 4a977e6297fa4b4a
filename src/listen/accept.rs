//! Accepting connections, whatever goes wrong with it.

use std::{io, sync::Arc, time::Duration};

use nix::errno::Errno;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Phase, Protocol, Shared,
    connection::{self, Peer},
    crowd::Crowded,
    drained,
};
use crate::{answer::Transport, counters::Event};

/// The first pause when there are no descriptors left, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// Accepts until the front drains.
pub(super) async fn serve(
    listener: TcpListener,
    protocol: Protocol,
    shared: Arc<Shared>,
    mut phase: watch::Receiver<Phase>,
) {
    let transport = match protocol {
        Protocol::Tls => Transport::Tls,
        Protocol::Udp | Protocol::Tcp => Transport::Tcp,
    };
    let mut pause = PAUSES.0;
    loop {
        let accepted = tokio::select! {
            () = drained(&mut phase) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                pause = PAUSES.0;
                admit(&shared, stream, address, transport, &phase);
            }
            Err(error) if is_exhaustion(&error) => {
                shared.counters().count(Event::AcceptExhausted);
                shared.crowd.make_room();
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            // The network's errors on the new connection come through accept(2): the next call
            // is about the next connection. The pause is for errors that would come for ever.
            Err(_) => {
                shared.counters().count(Event::AcceptAborted);
                sleep(PAUSES.0).await;
            }
        }
    }
}

fn admit(
    shared: &Arc<Shared>,
    stream: TcpStream,
    address: std::net::SocketAddr,
    transport: Transport,
    phase: &watch::Receiver<Phase>,
) {
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
    // An answer is one small write that should not wait for the acknowledgement of the last.
    if stream.set_nodelay(true).is_err() {
        counters.count(Event::StreamBroken);
        return;
    }
    let peer = Peer {
        address: address.ip(),
        transport,
        place,
    };
    tokio::spawn(connection::serve(
        stream,
        peer,
        Arc::clone(shared),
        phase.clone(),
    ));
}

/// Whether accept(2) lacked something of this machine.
fn is_exhaustion(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
    )
}

//! Datagrams: many in one system call, each answered from the address that was asked.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::{io::Interest, net::UdpSocket, sync::watch, time::sleep};
use zzdot_client::wire;

use super::{Phase, Shared, closed, drained, flight::Full};
use crate::{
    answer::{Asker, Outcome, Pending, Transport},
    counters::Event,
};

/// The longest query that is read whole, in octets: what EDNS commonly offered before 2020. The
/// kernel cuts a longer one, which then does not parse.
const QUERY_BYTES: usize = 4096;
/// What fits through every path, in octets (RFC 1035 §4.2.1).
const SMALLEST_LIMIT: usize = 512;
/// The pause after a failed receive: such errors come one at a time, or for ever.
const PAUSE: Duration = Duration::from_millis(5);

/// A UDP socket and what it needs to answer.
pub(super) struct UdpEndpoint {
    socket: UdpSocket,
    state: UdpSocketState,
    shared: Arc<Shared>,
}

/// Where an answer goes, and where it comes from.
#[derive(Debug, Clone, Copy)]
struct Way {
    asker: SocketAddr,
    asked: Option<IpAddr>,
}

impl UdpEndpoint {
    /// Needs a tokio runtime.
    pub(super) fn new(socket: std::net::UdpSocket, shared: Arc<Shared>) -> io::Result<Self> {
        // Asks for packet information, so that on a wildcard socket each datagram tells which
        // address it came to.
        let state = UdpSocketState::new((&socket).into())?;
        // Datagrams joined by the kernel would need buffers of 64 kB each. Where this fails they
        // are not joined either; `stride` is honoured anyway.
        let _ = setsockopt(&socket, sockopt::UdpGroSegment, &false);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            state,
            shared,
        })
    }

    fn receive(&self, buffers: &mut [u8], metas: &mut [RecvMeta]) -> io::Result<usize> {
        let mut slices: Vec<_> = buffers
            .chunks_mut(QUERY_BYTES)
            .map(IoSliceMut::new)
            .collect();
        self.socket.try_io(Interest::READABLE, || {
            self.state.recv((&self.socket).into(), &mut slices, metas)
        })
    }

    async fn on_datagram(self: &Arc<Self>, query: &[u8], way: Way, phase: &watch::Receiver<Phase>) {
        let counters = self.shared.counters();
        counters.count(Event::UdpQuery);
        if way.asker.port() == 0 || way.asked.is_some_and(is_many) || is_many(way.asker.ip()) {
            counters.count(Event::Unanswerable);
            return;
        }
        let asker = Asker {
            address: way.asker.ip(),
            transport: Transport::Udp,
            time: SystemTime::now(),
            instant: Instant::now(),
            pressed: self.shared.udp_flight.pressed(),
            idle: None,
        };
        let mut answer = Vec::new();
        match self.shared.responder.answer(&asker, query, &mut answer) {
            Outcome::Replied(refresh) => {
                self.send(answer, way).await;
                if let Some(refresh) = refresh {
                    self.shared.inquirer.refresh(refresh);
                }
            }
            Outcome::Drop(_) => {}
            Outcome::Ask(pending) => self.ask(pending, way, phase),
        }
    }

    /// Waits for the answer beside the socket.
    fn ask(self: &Arc<Self>, pending: Box<Pending>, way: Way, phase: &watch::Receiver<Phase>) {
        let permit = match self.shared.udp_flight.enter(way.asker.ip()) {
            Ok(permit) => permit,
            Err(full) => {
                self.shared.counters().count(match full {
                    Full::All => Event::UdpQueriesAll,
                    Full::Address => Event::UdpQueriesAddress,
                });
                return;
            }
        };
        let endpoint = Arc::clone(self);
        let mut phase = phase.clone();
        tokio::spawn(async move {
            tokio::select! {
                answer = endpoint.shared.inquirer.ask(pending) => endpoint.send(answer, way).await,
                () = closed(&mut phase) => {}
            }
            drop(permit);
        });
    }

    async fn send(&self, mut answer: Vec<u8>, way: Way) {
        let counters = self.shared.counters();
        loop {
            let transmit = Transmit {
                destination: way.asker,
                ecn: None,
                contents: &answer,
                segment_size: None,
                src_ip: way.asked,
            };
            let sent = self.socket.try_io(Interest::WRITABLE, || {
                self.state.try_send((&self.socket).into(), &transmit)
            });
            match sent {
                Ok(()) => return counters.count(Event::Answered),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.socket.writable().await.is_err() {
                        return counters.count(Event::UdpSendFailed);
                    }
                }
                // Fragments are forbidden: what does not fit the path is asked for over TCP.
                Err(error)
                    if error.raw_os_error() == Some(Errno::EMSGSIZE as i32)
                        && answer.len() > SMALLEST_LIMIT =>
                {
                    counters.count(Event::Truncated);
                    answer = wire::truncate(&answer, SMALLEST_LIMIT);
                }
                Err(_) => return counters.count(Event::UdpSendFailed),
            }
        }
    }
}

/// Receives until the front drains.
pub(super) async fn serve(endpoint: Arc<UdpEndpoint>, mut phase: watch::Receiver<Phase>) {
    let answering = phase.clone();
    let mut buffers = vec![0; BATCH_SIZE * QUERY_BYTES];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    loop {
        let ready = tokio::select! {
            () = drained(&mut phase) => return,
            ready = endpoint.socket.readable() => ready,
        };
        let received = ready.and_then(|()| endpoint.receive(&mut buffers, &mut metas));
        let received = match received {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => {
                endpoint.shared.counters().count(Event::UdpReceiveFailed);
                sleep(PAUSE).await;
                continue;
            }
        };
        let filled = buffers.chunks(QUERY_BYTES).zip(&metas).take(received);
        for (buffer, meta) in filled {
            let way = Way {
                asker: meta.addr,
                asked: meta.dst_ip,
            };
            let datagrams = buffer.get(..meta.len).unwrap_or(buffer);
            if datagrams.is_empty() {
                endpoint.on_datagram(&[], way, &answering).await;
            }
            for datagram in datagrams.chunks(meta.stride.max(1)) {
                endpoint.on_datagram(datagram, way, &answering).await;
            }
        }
    }
}

/// Whether this is the address of many, from which nothing can be sent.
fn is_many(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}

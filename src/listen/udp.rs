//! Datagrams: many in one system call, each answered from the address that was asked.

use std::{
    future::poll_fn,
    io,
    net::IpAddr,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use nix::errno::Errno;
use tokio::{io::Interest, net::UdpSocket, sync::watch, time::sleep};
use zzdot_client::wire;

use super::{
    Stop,
    datagrams::{BATCH, Kind, Parcel, Post, Way, descriptor},
    flight::Full,
    shared::{Phase, Shared, closed},
    stopped,
};
use crate::{
    answer::{Asker, Outcome, Pending, Transport},
    counters::Event,
};

/// What fits through every path, in octets (RFC 1035 §4.2.1).
const SMALLEST_LIMIT: usize = 512;
/// The pause after a failed receive: such errors come one at a time, or for ever.
const PAUSE: Duration = Duration::from_millis(5);

/// A UDP socket of a worker, and what it needs to answer.
pub(super) struct UdpEndpoint {
    socket: UdpSocket,
    kind: Kind,
    shared: Arc<Shared>,
    alive: watch::Receiver<Phase>,
}

/// What one batch left to do.
enum Batch {
    /// The socket has no more.
    Drained,
    /// It may have more.
    Full,
}

/// An answer that the kernel did not take at once.
type Unsent = (Vec<u8>, Way);

impl UdpEndpoint {
    /// Within the runtime of the worker.
    pub(super) fn new(
        socket: std::net::UdpSocket,
        shared: Arc<Shared>,
        alive: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let kind = Kind::prepare(&socket)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            kind,
            shared,
            alive,
        })
    }

    /// Receives until told to stop.
    pub(super) async fn serve(self: Arc<Self>, mut stop: Stop) {
        let stopped = stopped(&mut stop);
        tokio::pin!(stopped);
        let mut unsent = Vec::new();
        loop {
            let ready = poll_fn(|context| {
                if stopped.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                self.socket.poll_recv_ready(context).map(Some)
            });
            let Some(ready) = ready.await else {
                return;
            };
            match ready.and_then(|()| self.answer_batch(&mut unsent)) {
                Ok(Batch::Full) => others_turn().await,
                Ok(Batch::Drained) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.shared.counters().count(Event::UdpReceiveFailed);
                    sleep(PAUSE).await;
                }
            }
            for (answer, way) in unsent.drain(..) {
                self.send(answer, way).await;
            }
        }
    }

    /// Receives a batch and sends the answers to it that are known here.
    fn answer_batch(self: &Arc<Self>, unsent: &mut Vec<Unsent>) -> io::Result<Batch> {
        Post::lend(|post| {
            let mut batch = Err(io::ErrorKind::WouldBlock.into());
            let _ = self.socket.try_io(Interest::READABLE, || {
                let received = post.receive(descriptor(&self.socket), self.kind);
                batch = received.map(|()| match post.arrived.len() {
                    BATCH => Batch::Full,
                    _ => Batch::Drained,
                });
                match &batch {
                    Ok(Batch::Full) => Ok(()),
                    // There is nothing left: to be told of more, without asking once again.
                    _ => Err(io::ErrorKind::WouldBlock.into()),
                }
            });
            if batch.is_ok() {
                self.answer(post);
                self.send_all(post, unsent);
            }
            batch
        })
    }

    /// Makes parcels for what arrived.
    fn answer(self: &Arc<Self>, post: &mut Post) {
        let counters = self.shared.counters();
        counters.count_many(Event::UdpQuery, post.arrived.len() as u64);
        let mut asker = Asker {
            address: IpAddr::from([0; 4]),
            transport: Transport::Udp,
            time: SystemTime::now(),
            instant: Instant::now(),
            pressed: self.shared.udp_flight.pressed(),
            idle: None,
        };
        let mut answers = std::mem::take(&mut post.answers);
        for at in 0..post.arrived.len() {
            let way = post.arrived[at].way;
            asker.address = way.asker.ip();
            if way.asker.port() == 0 || way.asked.is_some_and(is_many) || is_many(asker.address) {
                counters.count(Event::Unanswerable);
                continue;
            }
            let start = answers.len();
            let responder = &self.shared.responder;
            match responder.answer(&asker, post.query(at), &mut answers) {
                Outcome::Replied(refresh) => {
                    post.parcels.push(Parcel {
                        answer: start..answers.len(),
                        way,
                    });
                    if let Some(refresh) = refresh {
                        self.shared.inquirer.refresh(refresh);
                    }
                }
                Outcome::Drop(_) => answers.truncate(start),
                Outcome::Ask(pending) => {
                    answers.truncate(start);
                    self.ask(pending, way);
                    asker.pressed = self.shared.udp_flight.pressed();
                }
            }
        }
        post.answers = answers;
    }

    /// Sends the parcels; those for which there is no room are left in `unsent`.
    fn send_all(&self, post: &mut Post, unsent: &mut Vec<Unsent>) {
        let counters = self.shared.counters();
        let mut answered = 0;
        let mut next = 0;
        while let Some(parcel) = post.parcels.get_mut(next) {
            let answer = parcel.answer.clone();
            let sent = self.socket.try_io(Interest::WRITABLE, || {
                post.send(descriptor(&self.socket), self.kind, next)
            });
            match sent {
                Ok(sent) => {
                    answered += sent as u64;
                    // None sent and no error does not happen; it must not last for ever.
                    next += sent.max(1);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    unsent.extend(
                        post.parcels[next..].iter().map(|parcel| {
                            (post.answers[parcel.answer.clone()].to_vec(), parcel.way)
                        }),
                    );
                    break;
                }
                Err(error) if is_too_long(&error) && answer.len() > SMALLEST_LIMIT => {
                    counters.count(Event::Truncated);
                    let cut = wire::truncate(&post.answers[answer], SMALLEST_LIMIT);
                    let start = post.answers.len();
                    post.answers.extend_from_slice(&cut);
                    post.parcels[next].answer = start..post.answers.len();
                }
                Err(_) => {
                    counters.count(Event::UdpSendFailed);
                    next += 1;
                }
            }
        }
        counters.count_many(Event::Answered, answered);
    }

    /// Waits for the answer beside the socket.
    fn ask(self: &Arc<Self>, pending: Box<Pending>, way: Way) {
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
        tokio::spawn(async move {
            let mut phase = endpoint.alive.clone();
            let answering = async {
                let answer = endpoint.shared.inquirer.ask(pending).await;
                drop(permit);
                endpoint.send(answer, way).await;
            };
            tokio::select! {
                () = answering => {}
                () = closed(&mut phase) => {}
            }
        });
    }

    /// Sends one answer, as soon as there is room for it.
    async fn send(&self, answer: Vec<u8>, way: Way) {
        let mut unsent = vec![(answer, way)];
        while let Some((answer, way)) = unsent.pop() {
            Post::lend(|post| {
                post.answers.extend_from_slice(&answer);
                let answer = 0..answer.len();
                post.parcels.push(Parcel { answer, way });
                self.send_all(post, &mut unsent);
            });
            if !unsent.is_empty() && self.socket.writable().await.is_err() {
                return self.shared.counters().count(Event::UdpSendFailed);
            }
        }
    }
}

/// Fragments are forbidden: what does not fit the path is asked for over TCP.
fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMSGSIZE as i32)
}

/// Ready when every task that is ready now has had its turn.
async fn others_turn() {
    let mut waited = false;
    poll_fn(|context| match std::mem::replace(&mut waited, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// Whether this is the address of many, from which nothing can be sent.
fn is_many(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_multicast() || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}

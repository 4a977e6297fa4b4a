//! Ten manners of holding a server's connections without using them well.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    sync::watch,
    time::sleep,
};
use tokio_rustls::TlsConnector;

use super::{
    flood::Aim,
    garbage::client_hello,
    good::Service,
    random::Random,
    truth::{Question, ZONE, rtype},
};

/// Between two bytes of those who drip.
const DRIP: Duration = Duration::from_secs(1);
/// Questions of [`Manner::NeverReads`] on a connection.
const UNREAD_QUESTIONS: usize = 4_000;
/// Their receive buffer in bytes: it fills at once.
const UNREAD_BUFFER: u32 = 4_096;
/// Questions in flight of [`Manner::HangingNames`] on a connection.
const HANGING_QUESTIONS: usize = 4;
/// Before somebody whose connection was closed makes another, in milliseconds: from, and how many more.
const PAUSE_MS: (u64, usize) = (1_000, 2_000);

/// How a connection is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Connects and says nothing.
    Silent,
    /// Half a ClientHello and no more.
    HalfHello,
    /// A ClientHello, one byte a second.
    DrippedHello,
    /// A whole handshake and no question.
    HandshakeThenSilent,
    /// The length of a question and no question.
    LengthThenSilent,
    /// A question, one byte a second.
    DrippedQuestion,
    /// Thousands of questions, and no answer is ever read.
    NeverReads,
    /// Names whose server never answers.
    HangingNames,
    /// Asks, closes its half, and stays.
    HalfCloses,
    /// Handshakes that end in a reset or in noise, and cleartext on the encrypted port; over and over.
    BreaksOff,
}

impl Manner {
    /// All ten.
    pub const ALL: [Self; 10] = [
        Self::Silent,
        Self::HalfHello,
        Self::DrippedHello,
        Self::HandshakeThenSilent,
        Self::LengthThenSilent,
        Self::DrippedQuestion,
        Self::NeverReads,
        Self::HangingNames,
        Self::HalfCloses,
        Self::BreaksOff,
    ];
}

/// Many bad connections, each made anew when the server closes it, until this is dropped.
#[derive(Debug)]
pub struct Swarm {
    runtime: Option<Runtime>,
    counts: Arc<Counts>,
    started: watch::Receiver<usize>,
}

#[derive(Debug, Default)]
struct Counts {
    connected: AtomicUsize,
    made: AtomicUsize,
}

/// What one member of a swarm needs.
struct Member {
    manner: Manner,
    /// Chooses between variants of the manner.
    number: usize,
    source: IpAddr,
    dns: SocketAddr,
    dot: SocketAddr,
    tls: Arc<ClientConfig>,
    hello: Arc<[u8]>,
    /// A question that costs the server little and has a long answer.
    long: Arc<[u8]>,
}

impl Swarm {
    /// Starts `size` bad connections against `service`, manner by manner; number n comes from `source(n)`.
    /// `long` is a query with a long answer, for those who do not read it.
    ///
    /// # Errors
    /// No thread is to be had, or the service has no TLS.
    pub fn start(
        service: &Service,
        size: usize,
        source: impl Fn(usize) -> IpAddr,
        long: &[u8],
        random: &Random,
    ) -> io::Result<Self> {
        let (dot, tls) = service
            .dot
            .clone()
            .ok_or_else(|| io::Error::other("a service with TLS is wanted"))?;
        let aim = Aim {
            source: source(0),
            server: dot,
            own_names: Vec::new(),
            messages: 0,
            lenient: false,
        };
        let hello: Arc<[u8]> = client_hello(&aim, &tls).into();
        let long: Arc<[u8]> = long.into();
        // One thread: the server is to have the other one.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let counts = Arc::<Counts>::default();
        let (report_started, started) = watch::channel(0);
        let report_started = Arc::new(report_started);
        for number in 0..size {
            let member = Member {
                manner: Manner::ALL[number % Manner::ALL.len()],
                number: number / Manner::ALL.len(),
                source: source(number),
                dns: service.dns,
                dot,
                tls: tls.clone(),
                hello: hello.clone(),
                long: long.clone(),
            };
            let random = random.derive(&format!("swarm {number}"));
            runtime.spawn(live(member, random, counts.clone(), report_started.clone()));
        }
        Ok(Self {
            runtime: Some(runtime),
            counts,
            started,
        })
    }

    /// Waits until `count` members have had a connection.
    ///
    /// # Panics
    /// The swarm is gone: it is not, while this is.
    pub fn wait_for(&mut self, count: usize, within: Duration) -> bool {
        let runtime = self.runtime.as_ref().expect("present until it is dropped");
        runtime.block_on(async {
            let all = self.started.wait_for(|started| *started >= count);
            tokio::time::timeout(within, all).await.is_ok()
        })
    }

    /// Connections that are open now, as far as this side knows.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.counts.connected.load(Ordering::Relaxed)
    }

    /// Connections made so far.
    #[must_use]
    pub fn made(&self) -> usize {
        self.counts.made.load(Ordering::Relaxed)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// One member, until the runtime ends.
async fn live(
    member: Member,
    mut random: Random,
    counts: Arc<Counts>,
    started: Arc<watch::Sender<usize>>,
) {
    // All at once would only fill the queue of connections to be accepted.
    sleep(Duration::from_millis(random.below(4_000) as u64)).await;
    let mut first = true;
    loop {
        if let Ok(socket) = member.connect().await {
            counts.connected.fetch_add(1, Ordering::Relaxed);
            counts.made.fetch_add(1, Ordering::Relaxed);
            if first {
                started.send_modify(|count| *count += 1);
                first = false;
            }
            // However it ends, the next one follows.
            let _ = member.behave(socket, &mut random).await;
            counts.connected.fetch_sub(1, Ordering::Relaxed);
        }
        let pause = PAUSE_MS.0 + random.below(PAUSE_MS.1) as u64;
        sleep(Duration::from_millis(pause)).await;
    }
}

impl Member {
    /// Whether this member of its manner speaks TLS.
    fn encrypted(&self) -> bool {
        match self.manner {
            Manner::Silent | Manner::HalfHello | Manner::DrippedHello => true,
            Manner::HandshakeThenSilent | Manner::BreaksOff => true,
            Manner::LengthThenSilent
            | Manner::DrippedQuestion
            | Manner::NeverReads
            | Manner::HangingNames
            | Manner::HalfCloses => self.number.is_multiple_of(2),
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.source, 0))?;
        if self.manner == Manner::NeverReads {
            socket.set_recv_buffer_size(UNREAD_BUFFER)?;
        }
        let server = if self.encrypted() { self.dot } else { self.dns };
        socket.connect(server).await
    }

    async fn behave(&self, mut socket: TcpStream, random: &mut Random) -> io::Result<()> {
        match self.manner {
            Manner::Silent => {}
            Manner::HalfHello => {
                socket
                    .write_all(&self.hello[..self.hello.len() / 2])
                    .await?
            }
            Manner::DrippedHello => return drip(&mut socket, &self.hello).await,
            Manner::BreaksOff if self.number.is_multiple_of(3) => {
                let query = Question::new(ZONE, rtype::A).query(1);
                socket.write_all(&framed(&query)).await?;
            }
            _ if self.encrypted() => {
                let name = ServerName::IpAddress(self.dot.ip().into());
                let connector = TlsConnector::from(self.tls.clone());
                let tls = connector.connect(name, socket).await?;
                return self.talk_tls(tls, random).await;
            }
            _ => return self.talk(&mut socket, random).await,
        }
        until_closed(&mut socket).await
    }

    async fn talk_tls(
        &self,
        mut tls: tokio_rustls::client::TlsStream<TcpStream>,
        random: &mut Random,
    ) -> io::Result<()> {
        if self.manner != Manner::BreaksOff {
            return self.talk(&mut tls, random).await;
        }
        let (mut socket, _) = tls.into_inner();
        if self.number % 3 == 1 {
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
            return Ok(());
        }
        socket.write_all(&random.bytes(500)).await?;
        until_closed(&mut socket).await
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        random: &mut Random,
    ) -> io::Result<()> {
        let query = Question::new(&format!("slow-{}.{ZONE}", random.next()), rtype::A).query(1);
        match self.manner {
            Manner::LengthThenSilent => {
                stream.write_all(&[0, 64]).await?;
                stream.flush().await?;
            }
            Manner::DrippedQuestion => return drip(stream, &framed(&query)).await,
            Manner::NeverReads => {
                let question = framed(&self.long);
                for _ in 0..UNREAD_QUESTIONS {
                    stream.write_all(&question).await?;
                }
                stream.flush().await?;
                // Stays, without ever taking an answer, until its own patience ends.
                sleep(Duration::from_secs(60)).await;
                return Ok(());
            }
            Manner::HangingNames => loop {
                for _ in 0..HANGING_QUESTIONS {
                    let name = format!("hang-{:x}.{ZONE}", random.next());
                    let query = Question::new(&name, rtype::A).query(random.word());
                    stream.write_all(&framed(&query)).await?;
                }
                stream.flush().await?;
                for _ in 0..HANGING_QUESTIONS {
                    let length = stream.read_u16().await?;
                    stream.read_exact(&mut vec![0; usize::from(length)]).await?;
                }
            },
            Manner::HalfCloses => {
                stream.write_all(&framed(&query)).await?;
                stream.shutdown().await?;
            }
            _ => {}
        }
        until_closed(stream).await
    }
}

/// One byte at a time, as slowly as it goes, and then nothing.
async fn drip<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        stream.flush().await?;
        sleep(DRIP).await;
    }
    until_closed(stream).await
}

/// Reads, in small pieces, until there is no more.
async fn until_closed<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut buffer = [0; 512];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

fn framed(query: &[u8]) -> Vec<u8> {
    [&(query.len() as u16).to_be_bytes(), query].concat()
}

/// Lets this process, and those that it starts, have `descriptors` open at a time.
///
/// # Errors
/// The hard limit is lower, and this user may not raise it.
pub fn raise_descriptor_limit(descriptors: u64) -> io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= descriptors {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, descriptors, hard.max(descriptors)).map_err(|errno| {
        io::Error::other(format!(
            "{descriptors} open files are needed and the hard limit is {hard} ({errno}); mend it with: ulimit -Hn {descriptors}"
        ))
    })
}

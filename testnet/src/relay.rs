//! A slow and lossy line, in user space: kernels without netem still have bad weather.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::host::Host;

/// How bad the line is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One way.
    pub delay: Duration,
    /// Every so many datagrams, counted over both ways, one is lost; 0 for none. (Counted, not drawn: a story that
    /// fails fails again.)
    pub lose_every: u64,
}

/// A running relay's counters.
#[derive(Clone, Debug, Default)]
pub struct RelayCounters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    datagrams: AtomicU64,
    lost: AtomicU64,
}

impl RelayCounters {
    /// Datagrams that the line ate.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    fn loses(&self, weather: Weather) -> bool {
        let count = self.0.datagrams.fetch_add(1, Ordering::Relaxed) + 1;
        let lost = weather.lose_every != 0 && count.is_multiple_of(weather.lose_every);
        self.0.lost.fetch_add(u64::from(lost), Ordering::Relaxed);
        lost
    }
}

/// Relays UDP and TCP on `listen` of a host to `target`, as long as the process lives.
///
/// # Errors
/// The port is taken.
pub fn start(
    host: &Host,
    listen: SocketAddr,
    target: SocketAddr,
    weather: Weather,
) -> io::Result<RelayCounters> {
    let counters = RelayCounters::default();
    let (socket, listener) =
        host.within(|| io::Result::Ok((UdpSocket::bind(listen)?, TcpListener::bind(listen)?)))?;
    let (udp_host, udp_counters) = (host.clone(), counters.clone());
    thread::spawn(move || {
        udp_host
            .clone()
            .within(move || relay_datagrams(&Arc::new(socket), target, weather, &udp_counters))
    });
    let tcp_host = host.clone();
    thread::spawn(move || {
        tcp_host.within(move || {
            for near in listener.incoming().flatten() {
                thread::spawn(move || relay_connection(near, target, weather.delay));
            }
        });
    });
    Ok(counters)
}

/// One socket towards the target for each sender, so that answers find their way back.
fn relay_datagrams(
    near: &Arc<UdpSocket>,
    target: SocketAddr,
    weather: Weather,
    counters: &RelayCounters,
) {
    let mut far_ends: HashMap<SocketAddr, mpsc::Sender<(Instant, Vec<u8>)>> = HashMap::new();
    let mut buffer = vec![0; 65_535];
    while let Ok((length, sender)) = near.recv_from(&mut buffer) {
        if counters.loses(weather) {
            continue;
        }
        let far = match far_ends.entry(sender) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => match far_end(near, sender, target, weather, counters) {
                Ok(far) => new.insert(far),
                Err(_) => continue,
            },
        };
        let _ = far.send((Instant::now() + weather.delay, buffer[..length].to_vec()));
    }
}

fn far_end(
    near: &Arc<UdpSocket>,
    sender: SocketAddr,
    target: SocketAddr,
    weather: Weather,
    counters: &RelayCounters,
) -> io::Result<mpsc::Sender<(Instant, Vec<u8>)>> {
    let any = if target.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let far = UdpSocket::bind(any)?;
    far.connect(target)?;
    let back_socket = far.try_clone()?;
    let forth = delayed(move |bytes| drop(far.send(&bytes)));
    let (near, counters) = (Arc::clone(near), counters.clone());
    let back = delayed(move |bytes| drop(near.send_to(&bytes, sender)));
    thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        while let Ok(length) = back_socket.recv(&mut buffer) {
            if !counters.loses(weather)
                && back
                    .send((Instant::now() + weather.delay, buffer[..length].to_vec()))
                    .is_err()
            {
                return;
            }
        }
    });
    Ok(forth)
}

fn relay_connection(near: TcpStream, target: SocketAddr, delay: Duration) {
    let Ok(far) = TcpStream::connect(target) else {
        return;
    };
    let (Ok(near_reader), Ok(far_reader)) = (near.try_clone(), far.try_clone()) else {
        return;
    };
    thread::spawn(move || pump(far_reader, near, delay));
    pump(near_reader, far, delay);
}

/// Carries one direction of a connection; the end of the stream is carried too.
fn pump(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let queue = delayed(move |bytes: Vec<u8>| {
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            let _ = to.shutdown(Shutdown::Both);
        }
    });
    let mut buffer = vec![0; 16_384];
    loop {
        let length = from.read(&mut buffer).unwrap_or(0);
        if queue
            .send((Instant::now() + delay, buffer[..length].to_vec()))
            .is_err()
            || length == 0
        {
            return;
        }
    }
}

/// Hands on what comes in, each at its time and in order.
pub(crate) fn delayed(
    mut deliver: impl FnMut(Vec<u8>) + Send + 'static,
) -> mpsc::Sender<(Instant, Vec<u8>)> {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (at, bytes) in receiver {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            deliver(bytes);
        }
    });
    sender
}

//! Asks many names over one socket, so many at a time.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use hickory_proto::rr::{Name, RecordType};
use std::str::FromStr;
use zzdot_client::wire::{Edns, Flags, QuestionFlags, View, question};

use super::super::Failure;

/// When an answer counts as lost.
const PATIENCE: Duration = Duration::from_secs(4);

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Tally {
    latencies: Vec<Duration>,
    asked: u64,
    lost: u64,
    wrong: u64,
    unproved: u64,
}

impl Tally {
    pub(super) fn asked(&self) -> u64 {
        self.asked
    }

    pub(super) fn answered(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// The latency that this part of the answers does not exceed.
    pub(super) fn quantile_us(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1) as f64;
        let at = (last * part).round() as usize;
        self.latencies
            .get(at)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }

    /// Why the slice tells nothing.
    pub(super) fn faults(&self) -> impl Iterator<Item = String> {
        [
            (self.lost, "lost"),
            (self.wrong, "with another response code"),
            (self.unproved, "without the bit AD"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
    }
}

/// Asks for the addresses of `names`, DO set, `outstanding` at a time.
pub(super) fn ask_all(
    server: SocketAddr,
    names: &[String],
    outstanding: usize,
    rcode: u8,
    authentic: bool,
) -> Result<Tally, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut tally = Tally::default();
    let mut sent: Vec<Option<Instant>> = vec![None; names.len()];
    let mut waiting = 0;
    let mut next = 0;
    let mut buffer = [0; 4096];
    while next < names.len() || waiting > 0 {
        while next < names.len() && waiting < outstanding {
            let message = query(u16::try_from(next)?, &names[next])?;
            sent[next] = Some(Instant::now());
            socket.send(&message)?;
            tally.asked += 1;
            waiting += 1;
            next += 1;
        }
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if is_silence(&error) => {
                tally.lost += waiting as u64;
                break;
            }
            Err(error) => return Err(error.into()),
        };
        let response = View::parse(&buffer[..length])?;
        let asked_at = sent
            .get_mut(usize::from(response.id()))
            .and_then(Option::take);
        let Some(asked_at) = asked_at else {
            continue;
        };
        waiting -= 1;
        tally.latencies.push(asked_at.elapsed());
        tally.wrong += u64::from(response.rcode() != u16::from(rcode));
        tally.unproved += u64::from(authentic && !response.flags().has(Flags::AUTHENTIC_DATA));
    }
    tally.latencies.sort_unstable();
    Ok(tally)
}

/// Whether a program answers, whatever it says.
pub(super) fn is_answering(server: SocketAddr, within: Duration) -> Result<bool, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(within))?;
    // Until somebody listens, the kernel may refuse the datagram.
    Ok(socket.send(&query(1, "nothing")?).is_ok() && socket.recv(&mut [0; 4096]).is_ok())
}

/// Datagrams that left any socket of this network so far.
pub(super) fn datagrams_sent() -> Result<u64, Failure> {
    let v4 = fs::read_to_string("/proc/thread-self/net/snmp")?;
    let v6 = fs::read_to_string("/proc/thread-self/net/snmp6")?;
    let mut lines = v4.lines().filter(|line| line.starts_with("Udp:"));
    let v4 = lines.next().zip(lines.next()).and_then(|(names, values)| {
        names
            .split_whitespace()
            .zip(values.split_whitespace())
            .find_map(|(name, value)| (name == "OutDatagrams").then(|| value.parse::<u64>()))
    });
    let v6 = v6.lines().find_map(|line| {
        let value = line.strip_prefix("Udp6OutDatagrams")?;
        Some(value.trim().parse::<u64>())
    });
    match (v4, v6) {
        (Some(v4), Some(v6)) => Ok(v4? + v6?),
        _ => Err(Failure::new("the kernel does not count datagrams")),
    }
}

fn query(id: u16, name: &str) -> Result<Vec<u8>, Failure> {
    let flags = QuestionFlags {
        rd: true,
        ..QuestionFlags::default()
    };
    let name = Name::from_str(&format!("{name}."))?;
    Ok(question(
        id,
        &name,
        RecordType::A,
        flags,
        Some(&Edns::plain(true)),
    ))
}

fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

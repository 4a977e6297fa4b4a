//! The attacker's sockets: what nftables hand over is answered here, as the manner of the moment says.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt};
use rustls::{ServerConnection, StreamOwned};

use super::{Answerer, DNS_PORT, DOT_PORT, Dns, Dot, Over, Said, State};
use crate::host::Host;

/// The longest that a stream is kept without a word.
const IDLE: Duration = Duration::from_secs(30);

pub(super) fn start(host: &Host, state: &Arc<State>) -> io::Result<()> {
    let (udp, tcp, dot) = host.within(|| {
        io::Result::Ok((
            UdpSocket::bind(("0.0.0.0", DNS_PORT))?,
            TcpListener::bind(("0.0.0.0", DNS_PORT))?,
            TcpListener::bind(("0.0.0.0", DOT_PORT))?,
        ))
    })?;
    let shared = Arc::clone(state);
    thread::spawn(move || datagrams(&Arc::new(udp), &shared));
    for (listener, serve) in [
        (tcp, in_clear as fn(TcpStream, &State) -> io::Result<()>),
        (dot, on_the_port_of_tls),
    ] {
        let shared = Arc::clone(state);
        let host = host.clone();
        thread::spawn(move || {
            // Connections to the genuine resolver start here; threads inherit the network of who starts them.
            host.within(move || {
                for stream in listener.incoming().flatten() {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || serve(stream, &shared));
                }
            });
        });
    }
    Ok(())
}

fn datagrams(socket: &Arc<UdpSocket>, state: &Arc<State>) {
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let query = buffer[..length].to_vec();
        state.hear(Over::Udp, from.ip(), &query);
        let Dns::Answer(answerer) = state.manner().dns else {
            continue;
        };
        let (socket, state) = (Arc::clone(socket), Arc::clone(state));
        thread::spawn(move || {
            if let Said::Message(answer) = answerer.say(&query, &state.genuine) {
                let _ = socket.send_to(&answer, from);
            }
        });
    }
}

fn in_clear(stream: TcpStream, state: &State) -> io::Result<()> {
    let Dns::Answer(answerer) = state.manner().dns else {
        return Ok(());
    };
    let from = ready(&stream)?;
    messages(stream, Over::Tcp, from, &answerer, state)
}

fn on_the_port_of_tls(stream: TcpStream, state: &State) -> io::Result<()> {
    let from = ready(&stream)?;
    match state.manner().dot {
        Dot::Silent => hold(stream),
        Dot::Cleartext(answerer) => messages(stream, Over::Tcp, from, &answerer, state),
        Dot::Impostor(impostor, answerer) => {
            let connection = ServerConnection::new(impostor.config()).map_err(io::Error::other)?;
            let stream = StreamOwned::new(connection, stream);
            messages(stream, Over::Tls, from, &answerer, state)
        }
        Dot::Brood(brood, otherwise) => {
            let at = meant_for(&stream)?;
            let impostor = brood.impostor(at).ok_or(io::ErrorKind::ConnectionRefused)?;
            let connection = ServerConnection::new(impostor.config()).map_err(io::Error::other)?;
            let stream = StreamOwned::new(connection, stream);
            let answerer = brood.answerer(at, otherwise);
            messages(stream, Over::Tls, from, &answerer, state)
        }
        Dot::Cut(after) => through(stream, state, |seen, bytes| {
            let left = after.saturating_sub(seen);
            bytes.truncate(left);
            left > bytes.len()
        }),
        Dot::Corrupt(every) => through(stream, state, |seen, bytes| {
            for (at, byte) in bytes.iter_mut().enumerate() {
                if (seen + at + 1).is_multiple_of(every) {
                    *byte ^= 0x10;
                }
            }
            true
        }),
        // They ended when the manner changed.
        Dot::Pass | Dot::Drop | Dot::Reset | Dot::Unreachable => Ok(()),
    }
}

fn ready(stream: &TcpStream) -> io::Result<IpAddr> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    Ok(stream.peer_addr()?.ip())
}

/// Whom a connection was for before nftables handed it over.
fn meant_for(stream: &TcpStream) -> io::Result<Ipv4Addr> {
    let meant = getsockopt(stream, sockopt::OriginalDst)?;
    Ok(Ipv4Addr::from_bits(u32::from_be(meant.sin_addr.s_addr)))
}

/// Takes everything and says nothing.
fn hold(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Messages with their lengths before them (RFC 1035 4.2.2), one after the other.
fn messages(
    mut stream: impl Read + Write,
    over: Over,
    from: IpAddr,
    answerer: &Answerer,
    state: &State,
) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        state.hear(over, from, &query);
        match answerer.say(&query, &state.genuine) {
            Said::Nothing => {}
            Said::End => return Ok(()),
            Said::Message(answer) => {
                let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
                stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())?;
                stream.flush()?;
            }
        }
    }
}

/// The genuine TLS, with the resolver's octets passing through `change`, which is told how many came before and says
/// whether the stream goes on.
fn through(
    near: TcpStream,
    state: &State,
    mut change: impl FnMut(usize, &mut Vec<u8>) -> bool,
) -> io::Result<()> {
    let mut far = TcpStream::connect(state.genuine.dot())?;
    far.set_nodelay(true)?;
    let (mut near_reader, mut far_writer) = (near.try_clone()?, far.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut near_reader, &mut far_writer);
        let _ = far_writer.shutdown(Shutdown::Both);
    });
    let mut near = near;
    let mut seen = 0;
    let mut buffer = vec![0; 16_384];
    loop {
        let length = far.read(&mut buffer)?;
        let mut bytes = buffer[..length].to_vec();
        let goes_on = length > 0 && change(seen, &mut bytes);
        seen += length;
        near.write_all(&bytes)?;
        if !goes_on {
            let _ = far.shutdown(Shutdown::Both);
            return near.shutdown(Shutdown::Both);
        }
    }
}

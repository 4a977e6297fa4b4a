//! Sockets that the service manager bound and passed in (sd_listen_fds(3)).

use zzdot_zonegen::exit::{Exit, Failure};

use crate::listen::Inherited;

/// The port of DNS over TLS (RFC 7858 §3.1), and of whatever ends like it: 853, 8853, 10853.
fn is_tls_port(port: u16) -> bool {
    port % 1000 == 853
}

/// Takes the sockets that were passed in. UDP and TCP serve plain DNS, and TCP on a port that
/// ends in 853 serves DNS over TLS.
pub fn sockets() -> Result<Inherited, Failure> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut inherited = Inherited::default();
    let refuse = |at: usize, what: String| {
        Failure::new(Exit::CannotRun, format!("socket {at} passed in: {what}"))
            .with_hint("pass in UDP and TCP sockets, the TCP ones listening")
    };
    for at in 0..passed.len() {
        if let Ok(Some(udp)) = passed.take_udp_socket(at) {
            inherited.udp.push(udp);
            continue;
        }
        let tcp = passed
            .take_tcp_listener(at)
            .map_err(|error| refuse(at, error.to_string()))?
            .ok_or_else(|| refuse(at, "it is gone".into()))?;
        let address = tcp
            .local_addr()
            .map_err(|error| refuse(at, error.to_string()))?;
        if is_tls_port(address.port()) {
            inherited.tls.push(tcp);
        } else {
            inherited.tcp.push(tcp);
        }
    }
    Ok(inherited)
}

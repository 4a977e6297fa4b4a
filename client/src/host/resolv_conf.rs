//! The name server that the system was given (`resolv.conf(5)`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where every Unix keeps it.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

const DNS_PORT: u16 = 53;

/// Why the system names no server that could be asked.
#[derive(Debug, thiserror::Error)]
pub enum SystemServerError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no resolv.conf.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        problem: String,
    },
    /// There is no `nameserver` in it.
    #[error("{}: names no server", path.display())]
    NoneNamed {
        /// The file.
        path: PathBuf,
    },
    /// All that are in it are this program.
    #[error("{}: names no server other than this program itself", path.display())]
    OnlyOurselves {
        /// The file.
        path: PathBuf,
    },
}

/// The first server of the file at `path` that is not one of our `own` listening addresses: asking
/// that one would go in a circle.
///
/// # Errors
/// [`SystemServerError`].
pub fn system_server(path: &Path, own: &[SocketAddr]) -> Result<SocketAddr, SystemServerError> {
    let text = std::fs::read(path).map_err(|source| SystemServerError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let servers = servers_in(&text).map_err(|problem| SystemServerError::Malformed {
        path: path.to_owned(),
        problem,
    })?;
    let path = path.to_owned();
    if servers.is_empty() {
        return Err(SystemServerError::NoneNamed { path });
    }
    servers
        .into_iter()
        .find(|server| !own.contains(server))
        .ok_or(SystemServerError::OnlyOurselves { path })
}

/// The servers that the `text` of such a file names, in its order, each on port 53 and with the link that it is on.
///
/// # Errors
/// What the parser says of a text that is none.
pub fn servers_in(text: &[u8]) -> Result<Vec<SocketAddr>, String> {
    let config = resolv_conf::Config::parse(text).map_err(|error| error.to_string())?;
    let addresses = config.nameservers.iter().map(|server| match server {
        resolv_conf::ScopedIp::V4(address) => SocketAddr::from((*address, DNS_PORT)),
        // A link-local address says on which link (RFC 4007 §11); by number or by name.
        resolv_conf::ScopedIp::V6(address, scope) => {
            let scope = scope.as_deref().map_or(0, scope_id);
            std::net::SocketAddrV6::new(*address, DNS_PORT, 0, scope).into()
        }
    });
    let usable = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_multicast(),
    };
    Ok(addresses.map(or_loopback).filter(usable).collect())
}

fn scope_id(scope: &str) -> u32 {
    scope
        .parse()
        .ok()
        .or_else(|| nix::net::if_::if_nametoindex(scope).ok())
        .unwrap_or(0)
}

/// The unspecified address stands for this machine in `resolv.conf`.
fn or_loopback(address: SocketAddr) -> SocketAddr {
    let loopback: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        _ => return address,
    };
    SocketAddr::new(loopback, address.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn server(text: &str, own: &[&str]) -> Result<SocketAddr, SystemServerError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        std::fs::write(&path, text).unwrap();
        let own: Vec<SocketAddr> = own.iter().map(|own| own.parse().unwrap()).collect();
        system_server(&path, &own)
    }

    #[test]
    fn the_first_server_is_taken() {
        let text = "search lan\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        assert_eq!(server(text, &[]).unwrap().to_string(), "192.0.2.1:53");
        let text = "nameserver 2001:db8::1\n";
        assert_eq!(server(text, &[]).unwrap().to_string(), "[2001:db8::1]:53");
        let text = "nameserver fe80::1%3\n";
        assert_eq!(server(text, &[]).unwrap().to_string(), "[fe80::1%3]:53");
    }

    #[test]
    fn we_do_not_ask_ourselves() {
        let text = "nameserver 127.0.0.1\nnameserver 192.0.2.1\n";
        assert_eq!(
            server(text, &["127.0.0.1:53"]).unwrap().to_string(),
            "192.0.2.1:53"
        );
        assert_eq!(
            server(text, &["127.0.0.1:5353"]).unwrap().to_string(),
            "127.0.0.1:53"
        );
        let error = server("nameserver 0.0.0.0\n", &["127.0.0.1:53"]).unwrap_err();
        assert!(
            matches!(error, SystemServerError::OnlyOurselves { .. }),
            "{error}"
        );
    }

    #[test]
    fn what_is_missing_is_told() {
        let error = server("# nothing\n", &[]).unwrap_err();
        assert!(
            matches!(error, SystemServerError::NoneNamed { .. }),
            "{error}"
        );
        let error = server("nameserver nobody\n", &[]).unwrap_err();
        assert!(
            matches!(error, SystemServerError::Malformed { .. }),
            "{error}"
        );
        let error = system_server(Path::new("/nonexistent"), &[]).unwrap_err();
        assert!(
            matches!(error, SystemServerError::Unreadable { .. }),
            "{error}"
        );
    }
}

//! Configuration that makes an unmodified server publish an identity and serve DNS over TLS with it.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use clap::ValueEnum;

use crate::identity::Identity;
use crate::identity_files::{CERTIFICATE, TLS_KEY};
use crate::master_file::write_zone;
use crate::pem;
use crate::publish::Published;
use crate::signed_zone::SignedZone;
use crate::zone::Publication;

mod bind;
mod kresd;
mod nsd;
mod unbound;

/// The servers there is an export for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Server {
    /// unbound 1.17 or newer.
    Unbound,
    /// Knot Resolver 5.
    KnotResolver,
    /// BIND 9.18 or newer.
    Bind,
    /// NSD 4.6 or newer, beside a resolver on another address.
    Nsd,
}

/// What an export is made of.
#[derive(Debug)]
pub struct Export<'a> {
    /// Whose it is.
    pub identity: &'a Identity,
    /// What is said about the service; the server listens on these addresses.
    pub publication: &'a Publication,
    /// The signed zones.
    pub published: &'a Published,
    /// The port of plain DNS.
    pub dns_port: u16,
    /// Who may ask, where the export is to say so.
    pub allow: &'a [Network],
    /// Where the files will stand when the server reads them.
    pub folder: &'a Path,
}

/// A file of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedFile {
    /// Its name within the folder.
    pub name: String,
    /// Its contents.
    pub contents: String,
    /// Its mode: 0600 where there is a secret in it.
    pub mode: u32,
}

/// A network in the form `ADDRESS/PREFIX`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Export<'_> {
    /// The files of this export for `server`; the configuration comes first.
    pub fn files(&self, server: Server) -> Vec<ExportedFile> {
        let mut files = match server {
            Server::Unbound => unbound::files(self),
            Server::KnotResolver => kresd::files(self),
            Server::Bind => bind::files(self),
            Server::Nsd => nsd::files(self),
        };
        files.extend(zone_files(self.published));
        let der = self.identity.certificate();
        files.push(public(CERTIFICATE, pem::encode(pem::CERTIFICATE, &der)));
        files.push(ExportedFile {
            name: TLS_KEY.to_owned(),
            contents: pem::encode(pem::PRIVATE_KEY, self.identity.tls_key().secret_der()),
            mode: 0o600,
        });
        files
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    fn zones(&self) -> [&SignedZone; 2] {
        [&self.published.name_zone, &self.published.anchor_zone]
    }

    /// The suffix when it is one made-up label such as `zz`: the rest of it exists nowhere and its
    /// questions stay on the machine. A suffix such as `example.net` belongs to somebody.
    fn own_suffix(&self) -> Option<String> {
        let suffix = self.identity.name().suffix();
        (suffix.num_labels() == 1).then(|| suffix.to_ascii())
    }

    /// The first lines of each configuration, `comment` being what comments start with.
    fn header(&self, comment: &str) -> String {
        format!(
            "{comment} Publishes the name {} and serves DNS over TLS with its certificate.\n\
             {comment} Made by zzdot-zonegen; make it anew once a day and reload the server: the\n\
             {comment} signatures last for a week. {TLS_KEY} must be readable to the server's user;\n\
             {comment} its owner and group stay when it is made anew.\n",
            self.identity.name()
        )
    }
}

/// Both zones as master files.
pub fn zone_files(published: &Published) -> Vec<ExportedFile> {
    [&published.name_zone, &published.anchor_zone]
        .map(|zone| public(&zone_file(zone), write_zone(zone)))
        .into()
}

/// What the file of a zone is called.
pub fn zone_file(zone: &SignedZone) -> String {
    format!("{}zone", zone.origin().to_ascii())
}

fn public(name: &str, contents: String) -> ExportedFile {
    ExportedFile {
        name: name.to_owned(),
        contents,
        mode: 0o644,
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is neither an address nor ADDRESS/PREFIX");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix.parse().map_err(|_| expected())?,
        };
        if prefix > longest {
            return Err(expected());
        }
        Ok(Self { address, prefix })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_a_prefix() {
        for text in ["192.0.2.0/24", "2001:db8::/32", "192.0.2.1/32"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        let host: Network = "::1".parse().unwrap();
        assert_eq!(host.to_string(), "::1/128");
        for text in ["192.0.2.0/33", "x", "192.0.2.0/", "/8", "192.0.2.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}

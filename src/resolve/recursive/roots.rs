//! Where recursion starts and what it trusts: the root's servers and the root's keys.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use hickory_resolver::proto::{
    dnssec::TrustAnchors,
    rr::{Name, RData, RecordSet},
    serialize::txt::Parser,
};

/// The root servers, A to M (root zone of August 2024; named by <https://www.iana.org/domains/root/servers>).
const ROOT_SERVERS: [&str; 26] = [
    "198.41.0.4",
    "170.247.170.2",
    "192.33.4.12",
    "199.7.91.13",
    "192.203.230.10",
    "192.5.5.241",
    "192.112.36.4",
    "198.97.190.53",
    "192.36.148.17",
    "192.58.128.30",
    "193.0.14.129",
    "199.7.83.42",
    "202.12.27.33",
    "2001:503:ba3e::2:30",
    "2801:1b8:10::b",
    "2001:500:2::c",
    "2001:500:2d::d",
    "2001:500:a8::e",
    "2001:500:2f::f",
    "2001:500:12::d0d",
    "2001:500:1::53",
    "2001:7fe::53",
    "2001:503:c27::2:30",
    "2001:7fd::1",
    "2001:500:9f::42",
    "2001:dc3::35",
];

/// Why a file with roots or anchors cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// It cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a master file.
    #[error("{}: not in master-file form: {detail}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        detail: String,
    },
    /// It names no address of a root server.
    #[error("{}: no A or AAAA record; allowed: root hints in master-file form", path.display())]
    NoAddress {
        /// The file.
        path: PathBuf,
    },
    /// It holds no key of the root.
    #[error("{}: no DNSKEY record of the root; allowed: DNSKEY records in master-file form", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
}

/// The addresses to start from.
pub(super) fn root_servers(hints: Option<&Path>) -> Result<Vec<IpAddr>, RootsError> {
    let Some(path) = hints else {
        return Ok(ROOT_SERVERS
            .iter()
            .map(|text| text.parse().expect("a constant address"))
            .collect());
    };
    let (_, sets) = Parser::new(read(path)?, Some(path.to_owned()), Some(Name::root()))
        .parse()
        .map_err(|error| malformed(path, error.to_string()))?;
    let mut addresses: Vec<IpAddr> = sets
        .values()
        .flat_map(RecordSet::records_without_rrsigs)
        .filter_map(|record| RData::ip_addr(&record.data))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(RootsError::NoAddress {
            path: path.to_owned(),
        });
    }
    Ok(addresses)
}

/// The keys that the root's own key set must be signed with.
pub(super) fn trust_anchors(anchor: Option<&Path>) -> Result<TrustAnchors, RootsError> {
    let Some(path) = anchor else {
        return Ok(TrustAnchors::default());
    };
    let anchors: TrustAnchors = read(path)?.parse().map_err(
        |error: hickory_resolver::proto::serialize::txt::ParseError| {
            malformed(path, error.to_string())
        },
    )?;
    if anchors.is_empty() {
        return Err(RootsError::NoKey {
            path: path.to_owned(),
        });
    }
    Ok(anchors)
}

fn read(path: &Path) -> Result<String, RootsError> {
    fs::read_to_string(path).map_err(|source| RootsError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn malformed(path: &Path, detail: String) -> RootsError {
    RootsError::Malformed {
        path: path.to_owned(),
        detail,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_public_roots_are_known_without_files() {
        assert_eq!(root_servers(None).unwrap().len(), 26);
        assert_eq!(trust_anchors(None).unwrap().len(), 2);
    }

    #[test]
    fn hints_are_read_in_the_form_that_everybody_ships() {
        let hints = file(
            "; formerly NS.INTERNIC.NET\n\
             .                        3600000      NS    A.ROOT-SERVERS.NET.\n\
             A.ROOT-SERVERS.NET.      3600000      A     198.41.0.4\n\
             A.ROOT-SERVERS.NET.      3600000      AAAA  2001:503:ba3e::2:30\n",
        );
        let servers = root_servers(Some(hints.path())).unwrap();
        assert_eq!(servers.len(), 2);
    }

    #[test]
    fn hints_without_an_address_are_refused() {
        let hints = file(". 3600000 IN NS a.root-servers.net.\n");
        let error = root_servers(Some(hints.path())).unwrap_err();
        assert!(matches!(error, RootsError::NoAddress { .. }), "{error}");
    }

    #[test]
    fn an_anchor_without_a_root_key_is_refused() {
        let anchor = file("; nothing here\n");
        assert!(matches!(
            trust_anchors(Some(anchor.path())),
            Err(RootsError::NoKey { .. })
        ));
        let anchor = file(". 3600 IN DS 20326 8 2 E06D44B8\n");
        assert!(trust_anchors(Some(anchor.path())).is_err());
    }
}

//! TLSA records (RFC 6698) and whether a TLS peer is the one that they name (RFC 7671).

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use ring::digest;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;

/// DANE-TA: the record names a certification authority of the peer's.
const USAGE_AUTHORITY: u8 = 2;
/// DANE-EE: the record names the peer itself.
const USAGE_PEER: u8 = 3;
/// The longest association data that is kept: a whole certificate (matching type 0).
const MAX_DATA_BYTES: usize = 8192;
/// The most certificates of a peer's chain that are looked at.
const MAX_CHAIN: usize = 6;

/// One TLSA record. Its text form is that of master files: `3 1 1 HEX`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tlsa {
    /// Certificate usage (RFC 6698 §2.1.1).
    pub usage: u8,
    /// 0: the whole certificate; 1: its public key (§2.1.2).
    pub selector: u8,
    /// 0: as it is; 1: SHA-256; 2: SHA-512 (§2.1.3).
    pub matching: u8,
    /// The association data.
    pub data: Vec<u8>,
}

/// The certificates that a TLS peer sent, its own first. The handshake that they come from was
/// completed: the peer proved that it holds the key of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificates(pub Vec<CertificateDer<'static>>);

/// Why no TLSA record names the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsaMismatch {
    /// No record has a usage, selector and matching type that can be used (RFC 7671 §4.1, §5).
    #[error("no TLSA record is of a usable kind")]
    NoneUsable,
    /// The peer sent no certificate, or one that cannot be read.
    #[error("the server's certificate cannot be read")]
    CertificateUnreadable,
    /// The peer's key or certificate is another than the records name.
    #[error("the server's key is not the one that the TLSA record names")]
    OtherKey,
    /// A certificate of the chain is the one named, but the chain from it does not hold, in names
    /// or dates or signatures.
    #[error("the server's certificate does not follow from the authority named: {0}")]
    Chain(String),
}

impl Tlsa {
    /// Reads the data of a TLSA record; none when it is too short or too long.
    #[must_use]
    pub fn from_rdata(rdata: &[u8]) -> Option<Self> {
        let [usage, selector, matching, data @ ..] = rdata else {
            return None;
        };
        (data.len() <= MAX_DATA_BYTES).then(|| Self {
            usage: *usage,
            selector: *selector,
            matching: *matching,
            data: data.to_vec(),
        })
    }

    /// Whether this record can be used at all: usage 2 or 3 (a resolver without a public name has
    /// no use for the public authorities of 0 and 1), with data as long as its digest.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let length_fits = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == digest::SHA256_OUTPUT_LEN,
            2 => self.data.len() == digest::SHA512_OUTPUT_LEN,
            _ => false,
        };
        matches!(self.usage, USAGE_AUTHORITY | USAGE_PEER) && self.selector <= 1 && length_fits
    }

    fn names(&self, certificate: &CertificateDer<'_>) -> bool {
        let spki;
        let selected = match self.selector {
            0 => certificate.as_ref(),
            _ => match EndEntityCert::try_from(certificate) {
                Ok(parsed) => {
                    spki = parsed.subject_public_key_info();
                    spki.as_ref()
                }
                Err(_) => return false,
            },
        };
        match self.matching {
            0 => selected == self.data,
            1 => digest::digest(&digest::SHA256, selected).as_ref() == self.data,
            2 => digest::digest(&digest::SHA512, selected).as_ref() == self.data,
            _ => false,
        }
    }
}

/// The first of `records` that names the peer of a finished handshake. Usage 3: its names and
/// dates are ignored (RFC 7671 §5.1). Usage 2: chain, names and dates are checked (§5.2).
///
/// # Errors
/// The reason that got nearest.
pub fn peer_named_by<'t>(
    records: &'t [Tlsa],
    peer: &PeerCertificates,
    name: &ResolverName,
    clock: UnixTime,
) -> Result<&'t Tlsa, TlsaMismatch> {
    let mut usable = records.iter().filter(|tlsa| tlsa.is_usable()).peekable();
    if usable.peek().is_none() {
        return Err(TlsaMismatch::NoneUsable);
    }
    let chain = peer
        .0
        .get(..peer.0.len().min(MAX_CHAIN))
        .unwrap_or_default();
    let own = chain.first().ok_or(TlsaMismatch::CertificateUnreadable)?;
    let parsed = EndEntityCert::try_from(own).ok();
    let mut failure = match parsed {
        Some(_) => TlsaMismatch::OtherKey,
        None => TlsaMismatch::CertificateUnreadable,
    };
    for tlsa in usable {
        if tlsa.usage == USAGE_PEER {
            if tlsa.names(own) {
                return Ok(tlsa);
            }
            continue;
        }
        let Some(parsed) = &parsed else { continue };
        match follows_from_authority(tlsa, parsed, chain, name, clock) {
            Ok(true) => return Ok(tlsa),
            Ok(false) => {}
            Err(error) => failure = TlsaMismatch::Chain(error.to_string()),
        }
    }
    Err(failure)
}

/// Whether `chain` holds the authority that `tlsa` names, and the peer's certificate follows from
/// it. An authority given in full need not be part of the chain (RFC 7671 §5.2.2).
fn follows_from_authority(
    tlsa: &Tlsa,
    own: &EndEntityCert<'_>,
    chain: &[CertificateDer<'static>],
    name: &ResolverName,
    clock: UnixTime,
) -> Result<bool, webpki::Error> {
    let given =
        (tlsa.selector == 0 && tlsa.matching == 0).then(|| CertificateDer::from(tlsa.data.clone()));
    let intermediates = chain.get(1..).unwrap_or_default();
    let candidates = intermediates
        .iter()
        .filter(|certificate| tlsa.names(certificate))
        .chain(&given);
    let mut failure = None;
    for authority in candidates {
        let anchor = anchor_from_trusted_cert(authority)?;
        match verify_chain(own, &anchor, intermediates, name, clock) {
            Ok(()) => return Ok(true),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(false), Err)
}

fn verify_chain(
    own: &EndEntityCert<'_>,
    anchor: &TrustAnchor<'_>,
    intermediates: &[CertificateDer<'static>],
    name: &ResolverName,
    clock: UnixTime,
) -> Result<(), webpki::Error> {
    let time =
        rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(clock.0));
    own.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        std::slice::from_ref(anchor),
        intermediates,
        time,
        KeyUsage::server_auth(),
        None,
        None,
    )?;
    let name = ServerName::try_from(name.to_string())
        .map_err(|_| webpki::Error::MalformedDnsIdentifier)?;
    own.verify_is_valid_for_subject_name(&name)
}

impl fmt::Display for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = HEXLOWER_PERMISSIVE.encode(&self.data);
        write!(
            f,
            "{} {} {} {data}",
            self.usage, self.selector, self.matching
        )
    }
}

impl fmt::Debug for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tlsa({self})")
    }
}

/// The text is not that of a TLSA record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a TLSA record such as `3 1 1 HEX`")]
pub struct TlsaTextError(String);

impl FromStr for Tlsa {
    type Err = TlsaTextError;

    fn from_str(text: &str) -> Result<Self, TlsaTextError> {
        let wrong = || TlsaTextError(text.chars().take(80).collect());
        let mut fields = text.split_ascii_whitespace();
        let mut number = || fields.next().and_then(|field| field.parse().ok());
        let (usage, selector, matching) = match (number(), number(), number()) {
            (Some(usage), Some(selector), Some(matching)) => (usage, selector, matching),
            _ => return Err(wrong()),
        };
        let hex = fields.next().unwrap_or_default();
        let data = HEXLOWER_PERMISSIVE.decode(hex.as_bytes());
        match (data, fields.next()) {
            (Ok(data), None) if data.len() <= MAX_DATA_BYTES => Ok(Self {
                usage,
                selector,
                matching,
                data,
            }),
            _ => Err(wrong()),
        }
    }
}

impl Serialize for Tlsa {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tlsa {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

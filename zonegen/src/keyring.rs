//! The keys of an identity, and which of them its zones show.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use hickory_proto::dnssec::PublicKey;
use hickory_proto::dnssec::rdata::DNSKEY;
use ring::digest::{SHA256, digest};
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::certificate::Certificate;
use crate::identity::ZoneKeys;
use crate::keys::ZoneKey;
use crate::rollover::{Key, Part, Phase, State};
use crate::succession::Statement;

/// A key together with its secret, if that is here.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// A certificate and its key.
    Tls {
        certificate: Certificate,
        key: Arc<PrivatePkcs8KeyDer<'static>>,
    },
    /// A key of a zone. Without its secret it can be shown, not used.
    Zone {
        dnskey: DNSKEY,
        key: Option<ZoneKey>,
    },
}

/// All keys by the names of their files.
pub(crate) type Shelf = BTreeMap<String, Held>;

/// What is published beside the keys in use.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The certificates that come next.
    pub(crate) spkis: Vec<[u8; 32]>,
    /// KSKs of `NAME` that come next; they sign along.
    pub(crate) name_ksks: Vec<ZoneKey>,
    /// ZSKs of `NAME` that come next, or whose signatures are in caches.
    pub(crate) name_zsks: Vec<DNSKEY>,
    /// Likewise of `resolver-name.arpa`.
    pub(crate) anchor_zsks: Vec<DNSKEY>,
    /// Former anchors, with the REVOKE bit; they sign along (RFC 5011 §2.1).
    pub(crate) revoked: Vec<ZoneKey>,
    /// What former anchors said.
    pub(crate) statements: Vec<Statement>,
}

/// The keys by their use.
#[derive(Debug)]
pub(crate) struct Keyring {
    pub(crate) certificate: Certificate,
    pub(crate) tls_key: Arc<PrivatePkcs8KeyDer<'static>>,
    pub(crate) name_keys: ZoneKeys,
    pub(crate) anchor_keys: ZoneKeys,
    pub(crate) standby: DNSKEY,
    pub(crate) standby_key: Option<ZoneKey>,
    pub(crate) beside: Beside,
}

impl Held {
    pub(crate) fn of(key: ZoneKey) -> Self {
        Self::Zone {
            dnskey: key.dnskey().clone(),
            key: Some(key),
        }
    }

    /// SHA-256 of the public half, as [`Key::sha256`] has it.
    pub(crate) fn sha256(&self) -> String {
        match self {
            Self::Tls { certificate, .. } => HEXLOWER.encode(&certificate.spki_sha256()),
            Self::Zone { dnskey, .. } => {
                let public = dnskey.public_key().public_bytes();
                HEXLOWER.encode(digest(&SHA256, public).as_ref())
            }
        }
    }

    fn zone_key(&self) -> Option<&ZoneKey> {
        match self {
            Self::Zone { key, .. } => key.as_ref(),
            Self::Tls { .. } => None,
        }
    }

    fn dnskey(&self) -> Option<&DNSKEY> {
        match self {
            Self::Zone { dnskey, .. } => Some(dnskey),
            Self::Tls { .. } => None,
        }
    }
}

impl Keyring {
    /// Sorts the keys by their use; `None` where one that is needed is not on the shelf.
    pub(crate) fn new(state: &State, shelf: &Shelf) -> Option<Self> {
        let held = |key: &Key| shelf.get(&key.stem);
        let all = |part, phase| state.keys(part, phase).map(held);
        let active = |part| all(part, Phase::Active).next()?;
        let signing = |part| active(part)?.zone_key().cloned();
        let shown = |part| -> Option<Vec<DNSKEY>> {
            all(part, Phase::Announced)
                .chain(all(part, Phase::Retired))
                .map(|held| held?.dnskey().cloned())
                .collect()
        };
        let Held::Tls { certificate, key } = active(Part::Certificate)? else {
            return None;
        };
        let standby = all(Part::AnchorKsk, Phase::Standby).next()??;
        let spki = |held: Option<&Held>| match held? {
            Held::Tls { certificate, .. } => Some(certificate.spki_sha256()),
            Held::Zone { .. } => None,
        };
        Some(Self {
            certificate: certificate.clone(),
            tls_key: Arc::clone(key),
            name_keys: ZoneKeys {
                ksk: signing(Part::NameKsk)?,
                zsk: signing(Part::NameZsk)?,
            },
            anchor_keys: ZoneKeys {
                ksk: signing(Part::AnchorKsk)?,
                zsk: signing(Part::AnchorZsk)?,
            },
            standby: standby.dnskey()?.clone(),
            standby_key: standby.zone_key().cloned(),
            beside: Beside {
                spkis: all(Part::Certificate, Phase::Announced)
                    .map(spki)
                    .collect::<Option<_>>()?,
                name_ksks: all(Part::NameKsk, Phase::Announced)
                    .map(|held| held?.zone_key().cloned())
                    .collect::<Option<_>>()?,
                name_zsks: shown(Part::NameZsk)?,
                anchor_zsks: shown(Part::AnchorZsk)?,
                revoked: all(Part::AnchorKsk, Phase::Revoked)
                    .map(|held| Some(held?.zone_key()?.revoked()))
                    .collect::<Option<_>>()?,
                statements: state.statements.clone(),
            },
        })
    }
}

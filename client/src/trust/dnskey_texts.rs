//! DNSKEYs in the form of master files, `257 3 13 BASE64`, for serde's `with`.

use data_encoding::BASE64;
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, PublicKey, PublicKeyBuf};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes them as texts.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(keys: &[DNSKEY], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(text))
}

/// One DNSKEY as text.
#[must_use]
pub fn text(key: &DNSKEY) -> String {
    let public = key.public_key();
    let encoded = BASE64.encode(public.public_bytes());
    format!(
        "{} 3 {} {encoded}",
        key.flags(),
        u8::from(public.algorithm())
    )
}

/// Reads them back.
///
/// # Errors
/// When a text is not that of a DNSKEY.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DNSKEY>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts
        .iter()
        .map(|text| {
            parse(text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a DNSKEY")))
        })
        .collect()
}

fn parse(text: &str) -> Option<DNSKEY> {
    let mut fields = text.split_ascii_whitespace();
    let flags: u16 = fields.next()?.parse().ok()?;
    let protocol = fields.next()?;
    let algorithm: u8 = fields.next()?.parse().ok()?;
    let public = BASE64.decode(fields.next()?.as_bytes()).ok()?;
    (protocol == "3" && fields.next().is_none()).then(|| {
        DNSKEY::with_flags(
            flags,
            PublicKeyBuf::new(public, Algorithm::from_u8(algorithm)),
        )
    })
}

/// One DNSKEY, for serde's `with`.
pub mod one {
    use hickory_proto::dnssec::rdata::DNSKEY;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes it as text.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(key: &DNSKEY, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::text(key))
    }

    /// Reads it back.
    ///
    /// # Errors
    /// When the text is not that of a DNSKEY.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DNSKEY, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a DNSKEY")))
    }
}

//! The verification URI: what a QR code tells of a resolver.
//!
//! ```text
//! dnstofu:1?n=NAME&ds=TAG-ALG-2-HEX[,TAG-ALG-2-HEX]&ip=ADDR[,ADDR]&c=CHECK
//! ```
//!
//! `n` is the resolver's name. `ds` are the DS (RFC 4034 §5.1, SHA-256) of keys of
//! `resolver-name.arpa`: first the one that signs today, then the stand-by, so that a printed code
//! outlives one roll-over. `ip` says where the resolver answers; it may be left out. `c` is the
//! check: the first 40 bits of SHA-256 over everything before `&c=`, in base32hex. It protects
//! nothing against people, it tells a code that was read or copied wrongly from one that lies.
//!
//! Each content has one text: the name in lower case, digests in upper case (of which a QR code holds
//! more), numbers and addresses in their shortest form. What is not that text is refused.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use data_encoding::{BASE32HEX_NOPAD, HEXUPPER};
use hickory_proto::dnssec::rdata::DS;
use hickory_proto::dnssec::{Algorithm, DigestType};
use ring::digest::{SHA256, digest};
use thiserror::Error;

use crate::name::{NameError, ResolverName};

/// The scheme, its colon included.
pub const SCHEME: &str = "dnstofu:";
/// The longest text that is looked at, in octets. The longest that can be written has 441.
pub const URI_BYTES_MAX: usize = 512;
/// Anchors told: the active one and the stand-by.
pub const ANCHORS_MAX: usize = 2;
/// Addresses told.
pub const ADDRESSES_MAX: usize = 4;

const VERSION: &str = "1";
const CHECK_MARK: &str = "&c=";
const CHECK_CHARS: usize = 8;
const CHECK_OCTETS: usize = 5;
const SHA256_OCTETS: usize = 32;

/// A resolver's name, its anchors and its addresses, as a QR code carries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationUri {
    name: ResolverName,
    anchors: Vec<DS>,
    addresses: Vec<IpAddr>,
}

/// Why a text is no verification URI.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// Longer than any.
    #[error("the text has {0} octets, a resolver's code has at most {URI_BYTES_MAX}")]
    TooLong(usize),
    /// Another kind of text altogether.
    #[error("this is not the code of a resolver: it does not start with \"{SCHEME}\"")]
    Scheme,
    /// The check is missing.
    #[error("the code is damaged: it ends before its check")]
    CutOff,
    /// The check does not fit.
    #[error("the code is damaged: its check does not fit")]
    Damaged,
    /// Made by a program of another time.
    #[error("the code is of version {0}, this program reads version {VERSION}")]
    Version(String),
    /// A parameter has to be there.
    #[error("the code has no {0}")]
    Missing(&'static str),
    /// A parameter that this version does not have, or one in another place than its own.
    #[error("the code has {0:?} where no such thing belongs")]
    Unexpected(String),
    /// `n` is no name of a resolver.
    #[error("the code names no resolver: {0}")]
    Name(#[from] NameError),
    /// One of `ds` is none.
    #[error("the code has {0:?} as an anchor, which is none")]
    Anchor(String),
    /// A digest that is not SHA-256.
    #[error("the code has an anchor of digest type {0}, this program reads type 2 (SHA-256)")]
    DigestType(u8),
    /// One of `ip` is none, or one at which nobody can be reached.
    #[error("the code has {0:?} as an address, which is none")]
    Address(String),
    /// More anchors or addresses than a code has room for.
    #[error("the code has more than {1} {0}")]
    TooMany(&'static str, usize),
    /// The same content has another text.
    #[error("the code is not written in the one form that it has")]
    NotCanonical,
}

impl VerificationUri {
    /// The URI of the resolver `name` with the active anchor and the stand-by, in this order, and
    /// with the first of its addresses.
    ///
    /// # Errors
    /// When there are no anchors or more than two, or one of them is not by SHA-256.
    pub fn new(
        name: ResolverName,
        anchors: Vec<DS>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Self, UriError> {
        if anchors.is_empty() {
            return Err(UriError::Missing("anchor"));
        }
        if anchors.len() > ANCHORS_MAX {
            return Err(UriError::TooMany("anchors", ANCHORS_MAX));
        }
        for anchor in &anchors {
            let digest_type = u8::from(anchor.digest_type());
            if digest_type != u8::from(DigestType::SHA256) {
                return Err(UriError::DigestType(digest_type));
            }
            if anchor.digest().len() != SHA256_OCTETS {
                return Err(UriError::Anchor(ds_text(anchor)));
            }
        }
        let uri = Self {
            name,
            anchors,
            addresses: Vec::new(),
        };
        Ok(uri.with_addresses(addresses))
    }

    /// The same resolver at these addresses, as many as there is room for.
    #[must_use]
    pub fn with_addresses(self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let reachable = addresses.into_iter().filter(is_reachable);
        Self {
            addresses: reachable.take(ADDRESSES_MAX).collect(),
            ..self
        }
    }

    /// The resolver's name.
    pub fn name(&self) -> &ResolverName {
        &self.name
    }

    /// One anchor or two: the one that signed when the code was made, and the stand-by.
    pub fn anchors(&self) -> &[DS] {
        &self.anchors
    }

    /// Where the resolver answered when the code was made.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }
}

impl fmt::Display for VerificationUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let anchors: Vec<String> = self.anchors.iter().map(ds_text).collect();
        let mut text = format!("{SCHEME}{VERSION}?n={}&ds={}", self.name, anchors.join(","));
        if !self.addresses.is_empty() {
            let addresses: Vec<String> = self.addresses.iter().map(IpAddr::to_string).collect();
            text.push_str("&ip=");
            text.push_str(&addresses.join(","));
        }
        write!(f, "{text}{CHECK_MARK}{}", check(&text))
    }
}

impl FromStr for VerificationUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.len() > URI_BYTES_MAX {
            return Err(UriError::TooLong(text.len()));
        }
        let checked = text.rsplit_once(CHECK_MARK);
        let checked = checked.filter(|(_, check)| check.len() == CHECK_CHARS);
        // Before anything else: what is damaged is told to be damaged, wherever it is.
        let content = match checked {
            Some((content, found)) if check(content) == found => content,
            Some(_) => return Err(UriError::Damaged),
            None if text.starts_with(SCHEME) => return Err(UriError::CutOff),
            None => return Err(UriError::Scheme),
        };
        let content = content.strip_prefix(SCHEME).ok_or(UriError::Scheme)?;
        let (version, parameters) = content.split_once('?').unwrap_or((content, ""));
        if version != VERSION {
            return Err(UriError::Version(version.to_owned()));
        }
        let uri = read(parameters)?;
        if uri.to_string() != text {
            return Err(UriError::NotCanonical);
        }
        Ok(uri)
    }
}

/// The check of a URI: over everything before `&c=`.
pub fn check(content: &str) -> String {
    let hash = digest(&SHA256, content.as_bytes());
    BASE32HEX_NOPAD
        .encode(&hash.as_ref()[..CHECK_OCTETS])
        .to_ascii_lowercase()
}

fn read(parameters: &str) -> Result<VerificationUri, UriError> {
    let mut parameters = parameters.split('&').peekable();
    let mut take = |key: &str| {
        let value = parameters.peek()?.strip_prefix(key)?.strip_prefix('=')?;
        parameters.next();
        Some(value)
    };
    let name: ResolverName = take("n").ok_or(UriError::Missing("name"))?.parse()?;
    let anchors = take("ds").ok_or(UriError::Missing("anchor"))?;
    let anchors = list(anchors, "anchors", ANCHORS_MAX, ds_of_text)?;
    let addresses = match take("ip") {
        Some(addresses) => list(addresses, "addresses", ADDRESSES_MAX, address_of_text)?,
        None => Vec::new(),
    };
    if let Some(other) = parameters.next() {
        return Err(UriError::Unexpected(other.to_owned()));
    }
    Ok(VerificationUri {
        name,
        anchors,
        addresses,
    })
}

fn list<T>(
    text: &str,
    what: &'static str,
    most: usize,
    read: impl Fn(&str) -> Result<T, UriError>,
) -> Result<Vec<T>, UriError> {
    let items: Vec<&str> = text.split(',').take(most + 1).collect();
    if items.len() > most {
        return Err(UriError::TooMany(what, most));
    }
    items.into_iter().map(read).collect()
}

fn ds_text(ds: &DS) -> String {
    format!(
        "{}-{}-{}-{}",
        ds.key_tag(),
        u8::from(ds.algorithm()),
        u8::from(ds.digest_type()),
        HEXUPPER.encode(ds.digest())
    )
}

fn ds_of_text(text: &str) -> Result<DS, UriError> {
    let wrong = || UriError::Anchor(text.to_owned());
    let fields: Vec<&str> = text.split('-').collect();
    let [tag, algorithm, digest_type, digest] = fields[..] else {
        return Err(wrong());
    };
    let tag = tag.parse().map_err(|_| wrong())?;
    let algorithm = algorithm.parse().map_err(|_| wrong())?;
    let digest_type: u8 = digest_type.parse().map_err(|_| wrong())?;
    if digest_type != u8::from(DigestType::SHA256) {
        return Err(UriError::DigestType(digest_type));
    }
    let digest = HEXUPPER.decode(digest.as_bytes()).map_err(|_| wrong())?;
    if digest.len() != SHA256_OCTETS {
        return Err(wrong());
    }
    let algorithm = Algorithm::from_u8(algorithm);
    Ok(DS::new(tag, algorithm, DigestType::SHA256, digest))
}

fn address_of_text(text: &str) -> Result<IpAddr, UriError> {
    let address = text.parse().ok().filter(is_reachable);
    address.ok_or_else(|| UriError::Address(text.to_owned()))
}

/// Whether one machine can have this address.
fn is_reachable(address: &IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anchor(tag: u16, fill: u8) -> DS {
        let algorithm = Algorithm::ECDSAP256SHA256;
        DS::new(tag, algorithm, DigestType::SHA256, vec![fill; 32])
    }

    fn example() -> VerificationUri {
        let name = "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap();
        let addresses = ["192.168.1.1", "fd00::1"].map(|text| text.parse().unwrap());
        VerificationUri::new(name, vec![anchor(4711, 0xab), anchor(5, 1)], addresses).unwrap()
    }

    /// A text with a check that fits it.
    fn sealed(content: &str) -> String {
        format!("{content}&c={}", check(content))
    }

    fn refusal(content: &str) -> UriError {
        sealed(content).parse::<VerificationUri>().unwrap_err()
    }

    #[test]
    fn a_resolver_has_this_text() {
        // The check was computed apart, with sha256sum and basenc.
        let expected = format!(
            "dnstofu:1?n=8g2l0qv7c4m1t5b9r3se.zz&ds=4711-13-2-{},5-13-2-{}\
             &ip=192.168.1.1,fd00::1&c=2c8gfig7",
            "AB".repeat(32),
            "01".repeat(32)
        );
        assert_eq!(example().to_string(), expected);
        assert_eq!(expected.parse(), Ok(example()));
    }

    #[test]
    fn every_changed_octet_is_refused_as_damage() {
        let text = example().to_string().into_bytes();
        let mark = text.len() - CHECK_CHARS - CHECK_MARK.len();
        for place in 0..text.len() {
            for octet in 0..=u8::MAX {
                let mut changed = text.clone();
                changed[place] = octet;
                // Nobody reads what is not UTF-8 as a text at all.
                let Ok(changed) = String::from_utf8(changed) else {
                    continue;
                };
                if octet == text[place] {
                    continue;
                }
                let error = changed.parse::<VerificationUri>().unwrap_err();
                let in_mark = (mark..mark + CHECK_MARK.len()).contains(&place);
                let told = match in_mark {
                    true => UriError::CutOff,
                    false => UriError::Damaged,
                };
                assert_eq!(error, told, "{place} {octet}");
            }
        }
    }

    #[test]
    fn every_cut_and_every_extension_is_refused() {
        let text = example().to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<VerificationUri>().is_err(), "{end}");
        }
        for more in [" ", "\n", "&", "a", "&x=1"] {
            assert!(format!("{text}{more}").parse::<VerificationUri>().is_err());
            assert!(format!("{more}{text}").parse::<VerificationUri>().is_err());
        }
    }

    #[test]
    fn what_is_well_sealed_and_wrong_is_refused_by_its_reason() {
        let name = "n=8g2l0qv7c4m1t5b9r3se.zz";
        let ds = format!("ds=1-13-2-{}", "AB".repeat(32));
        let start = format!("dnstofu:1?{name}&{ds}");
        let of = |rest: &str| refusal(&format!("dnstofu:1?{rest}"));
        assert_eq!(refusal("https://example.org/?n=1"), UriError::Scheme);
        assert_eq!(refusal("DNSTOFU:1?n=1"), UriError::Scheme);
        assert_eq!(
            refusal(&start.replace(":1", ":2")),
            UriError::Version("2".to_owned())
        );
        assert_eq!(refusal("dnstofu:1"), UriError::Missing("name"));
        assert_eq!(of(&ds), UriError::Missing("name"));
        assert_eq!(of(name), UriError::Missing("anchor"));
        assert!(matches!(of("n=fritz.box&ds=1"), UriError::Name(_)));
        assert!(matches!(
            of(&format!("{name}&ds=1-13-2")),
            UriError::Anchor(_)
        ));
        for wrong in [
            "1-13-2-AB",
            "65536-13-2-",
            "1-256-2-",
            "x-13-2-",
            "1-13-2-a-",
        ] {
            let wrong = format!("{name}&ds={wrong}{}", "AB".repeat(32));
            assert!(matches!(of(&wrong), UriError::Anchor(_)), "{wrong}");
        }
        assert_eq!(
            of(&format!("{name}&ds=1-13-4-{}", "AB".repeat(48))),
            UriError::DigestType(4)
        );
        let lower_case = format!("{name}&{}", ds.replace("AB", "ab"));
        assert!(matches!(of(&lower_case), UriError::Anchor(_)));
        let repeated = format!("{start},{0},{0}", &ds[3..]);
        assert_eq!(refusal(&repeated), UriError::TooMany("anchors", 2));
        for wrong in [
            "",
            "nowhere",
            "0.0.0.0",
            "224.0.0.1",
            "::",
            "ff02::1",
            "1.2.3.4:53",
        ] {
            let error = refusal(&format!("{start}&ip={wrong}"));
            assert_eq!(error, UriError::Address(wrong.to_owned()));
        }
        assert_eq!(
            refusal(&format!(
                "{start}&ip=1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1"
            )),
            UriError::TooMany("addresses", 4)
        );
        assert_eq!(
            refusal(&format!("{start}&x=1")),
            UriError::Unexpected("x=1".to_owned())
        );
        assert_eq!(
            refusal(&format!("{start}&{ds}")),
            UriError::Unexpected(ds.clone())
        );
        for other_form in [
            start.replace("zz&", "ZZ&"),
            start.replace("zz&", "zz.&"),
            start.replace("ds=1-", "ds=01-"),
            start.replace("ds=1-", "ds=+1-"),
            format!("{start}&ip=fd00:0::1"),
        ] {
            assert_eq!(refusal(&other_form), UriError::NotCanonical, "{other_form}");
        }
        assert_eq!(
            "x".repeat(513).parse::<VerificationUri>(),
            Err(UriError::TooLong(513))
        );
    }

    #[test]
    fn the_longest_resolver_fits() {
        let name = format!("8g2l0qv7c4m1t5b9r3se.{}.{}", "a".repeat(63), "b".repeat(13));
        let name: ResolverName = name.parse().unwrap();
        let address: IpAddr = "fd01:1111:2222:3333:4444:5555:6666:7777".parse().unwrap();
        let anchors = vec![
            DS::new(
                65535,
                Algorithm::Unknown(255),
                DigestType::SHA256,
                vec![255; 32]
            );
            2
        ];
        let uri = VerificationUri::new(name, anchors, [address; 9]).unwrap();
        assert_eq!(uri.addresses().len(), ADDRESSES_MAX);
        let text = uri.to_string();
        assert_eq!(text.len(), 441);
        assert_eq!(text.parse(), Ok(uri));
    }

    #[test]
    fn addresses_that_nobody_has_are_left_out() {
        let uri = example();
        let addresses = ["0.0.0.0", "224.0.0.1"].map(|text| text.parse().unwrap());
        let uri = VerificationUri::new(uri.name, uri.anchors, addresses).unwrap();
        assert!(!uri.to_string().contains("ip="));
        assert_eq!(uri.to_string().parse(), Ok(uri));
    }

    proptest! {
        #[test]
        fn any_text_is_the_one_form_or_refused(text in "(dnstofu:1\\?)?[a-z0-9=&,.:-]{0,200}") {
            let sealed = sealed(&text);
            for text in [text, sealed] {
                if let Ok(uri) = text.parse::<VerificationUri>() {
                    prop_assert_eq!(uri.to_string(), text);
                }
            }
        }
    }
}

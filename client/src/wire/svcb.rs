//! The data of SVCB records (RFC 9460 §2.2), as far as DNS servers use it (RFC 9461).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::NameView;

/// The most address hints of either kind that are looked at.
const MAX_HINTS: usize = 8;

const KEY_MANDATORY: u16 = 0;
const KEY_ALPN: u16 = 1;
const KEY_NO_DEFAULT_ALPN: u16 = 2;
const KEY_PORT: u16 = 3;
const KEY_IPV4_HINT: u16 = 4;
const KEY_IPV6_HINT: u16 = 6;

/// The data of one record, every known parameter already checked.
#[derive(Clone, Copy)]
pub struct Svcb<'a> {
    /// 0 is AliasMode; else the lowest is preferred (RFC 9460 §2.4.1).
    pub priority: u16,
    /// The host that serves, or, in AliasMode, where to look instead.
    pub target: NameView<'a>,
    /// The port, where one is named.
    pub port: Option<u16>,
    /// Whether the record lists a parameter as mandatory that is unknown here (RFC 9460 §8): it is of no use then.
    pub demands_unknown: bool,
    alpn: &'a [u8],
    ipv4_hints: &'a [u8],
    ipv6_hints: &'a [u8],
}

/// The data breaks the format, and with it the whole RRset is worth nothing (RFC 9460 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvcbError {
    /// It ends in the middle of a field.
    #[error("an SVCB record is cut short")]
    Cut,
    /// Its target is no name, or a compressed one.
    #[error("an SVCB record without a readable target")]
    Target,
    /// Its parameters do not come in rising order, or one comes twice.
    #[error("an SVCB record whose parameters are not in order")]
    Order,
    /// A parameter's value is not of the form that its key demands.
    #[error("an SVCB record with a malformed parameter {0}")]
    Parameter(u16),
}

impl<'a> Svcb<'a> {
    /// Reads the data of a record.
    ///
    /// # Errors
    /// [`SvcbError`].
    pub fn read(data: &'a [u8]) -> Result<Self, SvcbError> {
        let (priority, rest) = split_u16(data)?;
        let (target, length) = NameView::read_alone(rest).ok_or(SvcbError::Target)?;
        let mut record = Self {
            priority,
            target,
            port: None,
            demands_unknown: false,
            alpn: &[],
            ipv4_hints: &[],
            ipv6_hints: &[],
        };
        let mut mandatory: &[u8] = &[];
        // Keys met, as far as they can be mandatory.
        let mut met = Vec::new();
        let mut rest = rest.get(length..).ok_or(SvcbError::Cut)?;
        let mut last = None;
        while !rest.is_empty() {
            let (key, after) = split_u16(rest)?;
            let (length, after) = split_u16(after)?;
            let (value, after) = after
                .split_at_checked(usize::from(length))
                .ok_or(SvcbError::Cut)?;
            rest = after;
            if last.is_some_and(|last| key <= last) {
                return Err(SvcbError::Order);
            }
            last = Some(key);
            met.push(key);
            let well_formed = match key {
                KEY_MANDATORY => {
                    mandatory = value;
                    !value.is_empty() && value.len().is_multiple_of(2)
                }
                KEY_ALPN => {
                    record.alpn = value;
                    is_list_of_strings(value)
                }
                KEY_NO_DEFAULT_ALPN => value.is_empty(),
                KEY_PORT => {
                    let port = <[u8; 2]>::try_from(value).ok();
                    record.port = port.map(u16::from_be_bytes);
                    port.is_some()
                }
                KEY_IPV4_HINT => {
                    record.ipv4_hints = value;
                    !value.is_empty() && value.len().is_multiple_of(4)
                }
                KEY_IPV6_HINT => {
                    record.ipv6_hints = value;
                    !value.is_empty() && value.len().is_multiple_of(16)
                }
                _ => true,
            };
            if !well_formed {
                return Err(SvcbError::Parameter(key));
            }
        }
        record.demands_unknown = demands_unknown(mandatory, &met)?;
        Ok(record)
    }

    /// Whether it offers the protocol with this ALPN identifier. There is no default for DNS
    /// (RFC 9461 §4.1).
    #[must_use]
    pub fn offers(&self, alpn: &[u8]) -> bool {
        let mut rest = self.alpn;
        while let Some((length, after)) = rest.split_first() {
            let Some((offered, after)) = after.split_at_checked(usize::from(*length)) else {
                return false;
            };
            if offered == alpn {
                return true;
            }
            rest = after;
        }
        false
    }

    /// The address hints.
    pub fn hints(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.ipv4_hints.chunks_exact(4).take(MAX_HINTS);
        let v4 = v4.filter_map(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let v6 = self.ipv6_hints.chunks_exact(16).take(MAX_HINTS);
        let v6 = v6.filter_map(|bytes| <[u8; 16]>::try_from(bytes).ok());
        v4.map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)))
            .chain(v6.map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))))
    }
}

/// RFC 9460 §8: the list rises, does not name itself, and names only what is there.
fn demands_unknown(mandatory: &[u8], met: &[u16]) -> Result<bool, SvcbError> {
    let malformed = SvcbError::Parameter(KEY_MANDATORY);
    let (mut last, mut unknown) = (KEY_MANDATORY, false);
    for key in mandatory.chunks_exact(2) {
        let (key, _) = split_u16(key)?;
        if key <= last || !met.contains(&key) {
            return Err(malformed);
        }
        last = key;
        unknown |= !matches!(
            key,
            KEY_ALPN | KEY_NO_DEFAULT_ALPN | KEY_PORT | KEY_IPV4_HINT | KEY_IPV6_HINT
        );
    }
    Ok(unknown)
}

/// Character strings, at least one, none of them empty (RFC 9460 §7.1.1).
fn is_list_of_strings(mut value: &[u8]) -> bool {
    if value.is_empty() {
        return false;
    }
    while let Some((length, after)) = value.split_first() {
        match after.split_at_checked(usize::from(*length)) {
            Some((string, after)) if !string.is_empty() => value = after,
            _ => return false,
        }
    }
    true
}

fn split_u16(bytes: &[u8]) -> Result<(u16, &[u8]), SvcbError> {
    let (head, rest) = bytes.split_first_chunk::<2>().ok_or(SvcbError::Cut)?;
    Ok((u16::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn data(priority: u16, target: &[u8], params: &[(u16, &[u8])]) -> Vec<u8> {
        let mut data = priority.to_be_bytes().to_vec();
        data.extend_from_slice(target);
        for (key, value) in params {
            data.extend_from_slice(&key.to_be_bytes());
            data.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            data.extend_from_slice(value);
        }
        data
    }

    const TARGET: &[u8] = b"\x03dns\x07example\x00";

    #[test]
    fn a_record_of_a_dns_server_is_read() {
        let data = data(
            2,
            TARGET,
            &[
                (0, &[0, 1, 0, 3]),
                (1, b"\x02h2\x03dot"),
                (3, &[34, 185]),
                (4, &[192, 0, 2, 1, 192, 0, 2, 2]),
                (6, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
                (7, b"/dns-query{?dns}"),
            ],
        );
        let read = Svcb::read(&data).unwrap();
        assert_eq!(read.priority, 2);
        assert_eq!(read.target.to_name().to_ascii(), "dns.example.");
        assert_eq!(read.port, Some(8889));
        assert!(read.offers(b"dot") && read.offers(b"h2") && !read.offers(b"doq"));
        assert!(!read.demands_unknown);
        let hints: Vec<String> = read.hints().map(|hint| hint.to_string()).collect();
        assert_eq!(hints, ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    }

    #[test]
    fn each_broken_form_has_its_name() {
        let dot: (u16, &[u8]) = (1, b"\x03dot");
        let error = |data: Vec<u8>| Svcb::read(&data).err();
        assert_eq!(error(vec![0]), Some(SvcbError::Cut));
        assert_eq!(error(data(1, &[0xC0, 12], &[])), Some(SvcbError::Target));
        assert_eq!(error(data(1, b"\x03dns", &[])), Some(SvcbError::Target));
        let twice = data(1, TARGET, &[dot, dot]);
        assert_eq!(error(twice), Some(SvcbError::Order));
        let falling = data(1, TARGET, &[(3, &[3, 85]), dot]);
        assert_eq!(error(falling), Some(SvcbError::Order));
        let mut cut = data(1, TARGET, &[dot]);
        cut.pop();
        assert_eq!(error(cut), Some(SvcbError::Cut));
        for (key, value) in [
            (0, &b""[..]),
            (0, &[0]),
            (0, &[0, 0]),
            (0, &[0, 99]),
            (0, &[0, 1, 0, 1]),
            (1, b""),
            (1, b"\x00"),
            (1, b"\x04dot"),
            (2, b"x"),
            (3, &[1]),
            (4, &[1, 2, 3]),
            (4, b""),
            (6, &[1; 15]),
        ] {
            let mut params = vec![(key, value)];
            if key == 0 {
                params.push(dot);
            }
            let found = error(data(1, TARGET, &params));
            assert_eq!(found, Some(SvcbError::Parameter(key)), "{key} {value:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_passed_over_unless_it_is_mandatory() {
        let known = data(1, TARGET, &[(1, b"\x03dot"), (99, b"?")]);
        assert!(!Svcb::read(&known).unwrap().demands_unknown);
        let demanded = data(1, TARGET, &[(0, &[0, 99]), (1, b"\x03dot"), (99, b"?")]);
        assert!(Svcb::read(&demanded).unwrap().demands_unknown);
    }
}

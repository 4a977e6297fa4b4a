//! The data of a record: from words to its wire form, and by hickory's decoder to its type.
//!
//! Going through the wire form has every record judged by the same rules, whether it is written in
//! its type's own text or in the generic one.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};
use time::{Date, Month, Time, UtcDateTime};

use super::read::MasterFileError;
use super::tokens::{Token, unescape};
use super::words::{Words, parse_token};

/// Parses the data of a record of type `rtype`; all remaining words belong to it.
pub(super) fn parse(
    rtype: RecordType,
    words: &mut Words<'_, '_>,
    origin: Option<&Name>,
) -> Result<RData, MasterFileError> {
    let first = words.tokens.first().copied();
    let mut wire = Vec::new();
    if first.is_some_and(|token| token.text == "\\#" && !token.quoted) {
        generic(words, &mut wire)?;
    } else {
        typed(rtype, words, origin, &mut wire)?;
    }
    let too_long = || words.error_at(first, "record data of at most 65535 octets");
    let length = u16::try_from(wire.len()).map_err(|_| too_long())?;
    let malformed = || words.error_at(first, format!("well-formed {rtype} data"));
    RData::read(&mut BinDecoder::new(&wire), rtype, Restrict::new(length)).map_err(|_| malformed())
}

fn typed(
    rtype: RecordType,
    words: &mut Words<'_, '_>,
    origin: Option<&Name>,
    wire: &mut Vec<u8>,
) -> Result<(), MasterFileError> {
    match rtype {
        RecordType::A => {
            let address: Ipv4Addr = words.parse("an IPv4 address")?;
            wire.extend(address.octets());
        }
        RecordType::AAAA => {
            let address: Ipv6Addr = words.parse("an IPv6 address")?;
            wire.extend(address.octets());
        }
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => {
            words.push_name(origin, "a domain name", wire)?;
        }
        RecordType::MX => {
            words.push_u16("a preference from 0 to 65535", wire)?;
            words.push_name(origin, "a mail server's name", wire)?;
        }
        RecordType::SOA => {
            words.push_name(origin, "the primary server's name", wire)?;
            words.push_name(origin, "the responsible person's mailbox", wire)?;
            let serial: u32 = words.parse("a serial")?;
            wire.extend(serial.to_be_bytes());
            for _ in ["refresh", "retry", "expire", "minimum"] {
                wire.extend(words.ttl()?.to_be_bytes());
            }
        }
        RecordType::TXT => {
            words.push_string(wire)?;
            while !words.tokens.is_empty() {
                words.push_string(wire)?;
            }
        }
        RecordType::TLSA => {
            for what in ["a usage", "a selector", "a matching type"] {
                words.push_u8(&format!("{what} from 0 to 255"), wire)?;
            }
            words.push_hex(wire)?;
        }
        RecordType::DS | RecordType::CDS => {
            words.push_u16("a key tag from 0 to 65535", wire)?;
            words.push_algorithm(wire)?;
            words.push_u8("a digest type from 0 to 255", wire)?;
            words.push_hex(wire)?;
        }
        RecordType::DNSKEY | RecordType::KEY | RecordType::CDNSKEY => {
            words.push_u16("flags from 0 to 65535", wire)?;
            words.push_u8("a protocol from 0 to 255", wire)?;
            words.push_algorithm(wire)?;
            words.push_base64(wire)?;
        }
        RecordType::RRSIG => rrsig(words, origin, wire)?,
        RecordType::NSEC => nsec(words, origin, wire)?,
        RecordType::SVCB | RecordType::HTTPS => svcb(words, origin, wire)?,
        _ => {
            let expected =
                format!("\\# and octets in hexadecimal, as the text of {rtype} is not supported");
            return Err(words.error_here(expected));
        }
    }
    Ok(())
}

/// `\# LENGTH HEX` (RFC 3597 §5).
fn generic(words: &mut Words<'_, '_>, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
    words.next("\\#")?;
    let token = words.next("the number of octets")?;
    let length: usize = parse_token(&token, "the number of octets")?;
    if length > 0 {
        words.push_hex(wire)?;
    }
    if wire.len() == length {
        return Ok(());
    }
    let expected = format!("the number of octets behind it, {}", wire.len());
    Err(words.error_at(Some(token), expected))
}

/// RFC 4034 §3.2.
fn rrsig(
    words: &mut Words<'_, '_>,
    origin: Option<&Name>,
    wire: &mut Vec<u8>,
) -> Result<(), MasterFileError> {
    wire.extend(u16::from(words.record_type()?).to_be_bytes());
    words.push_algorithm(wire)?;
    words.push_u8("a number of labels from 0 to 255", wire)?;
    wire.extend(words.ttl()?.to_be_bytes());
    for what in ["expiration", "inception"] {
        let token = words.next(what)?;
        let expected = format!("an {what} as YYYYMMDDHHMMSS or in seconds");
        let seconds = wire_time(token.text).ok_or_else(|| words.error_at(Some(token), expected))?;
        wire.extend(seconds.to_be_bytes());
    }
    words.push_u16("a key tag from 0 to 65535", wire)?;
    words.push_name(origin, "the signer's name", wire)?;
    words.push_base64(wire)
}

/// RFC 4034 §4.1.2: types in windows of 256, each with a bit map as short as can be.
fn nsec(
    words: &mut Words<'_, '_>,
    origin: Option<&Name>,
    wire: &mut Vec<u8>,
) -> Result<(), MasterFileError> {
    words.push_name(origin, "the next owner name", wire)?;
    let mut codes = Vec::new();
    while !words.tokens.is_empty() {
        codes.push(u16::from(words.record_type()?));
    }
    codes.sort_unstable();
    codes.dedup();
    for window in codes.chunk_by(|a, b| a >> 8 == b >> 8) {
        let mut bits = Vec::new();
        for code in window {
            let [block, low] = code.to_be_bytes();
            if bits.is_empty() {
                wire.push(block);
            }
            bits.resize(usize::from(low / 8) + 1, 0_u8);
            bits[usize::from(low / 8)] |= 0x80 >> (low % 8);
        }
        // At the most 32 octets: one bit for each of 256 types.
        wire.push(bits.len() as u8);
        wire.extend(bits);
    }
    Ok(())
}

/// RFC 9460 §2.1, with the parameters that a DNS service has.
fn svcb(
    words: &mut Words<'_, '_>,
    origin: Option<&Name>,
    wire: &mut Vec<u8>,
) -> Result<(), MasterFileError> {
    words.push_u16("a priority from 0 to 65535", wire)?;
    words.push_name(origin, "a target name", wire)?;
    let mut params: Vec<(u16, Vec<u8>)> = Vec::new();
    while !words.tokens.is_empty() {
        let token = words.next("a parameter")?;
        let (key, value) = token.text.split_once('=').unwrap_or((token.text, ""));
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or(value);
        let (key, octets) = svc_param(&token, key, value)?;
        if params.iter().any(|(other, _)| *other == key) {
            return Err(words.error_at(Some(token), "each parameter once"));
        }
        params.push((key, octets));
    }
    params.sort();
    for (key, octets) in params {
        let length = u16::try_from(octets.len())
            .map_err(|_| words.error_here("a parameter of at most 65535 octets"))?;
        wire.extend(key.to_be_bytes());
        wire.extend(length.to_be_bytes());
        wire.extend(octets);
    }
    Ok(())
}

fn svc_param(token: &Token<'_>, key: &str, value: &str) -> Result<(u16, Vec<u8>), MasterFileError> {
    let expected = |what: &str| MasterFileError::new(token.line, token.text, what);
    let part = |text| Token { text, ..*token };
    let list = || value.split(',').map(part);
    let mut octets = Vec::new();
    let code = match key {
        "alpn" => {
            for id in list() {
                let id = unescape(&id)?;
                let length = u8::try_from(id.len()).ok().filter(|length| *length > 0);
                octets
                    .push(length.ok_or_else(|| expected("protocol names, each 1 to 255 octets"))?);
                octets.extend(id);
            }
            1
        }
        "port" => {
            let port: u16 = parse_token(&part(value), "a port from 0 to 65535")?;
            octets.extend(port.to_be_bytes());
            3
        }
        "ipv4hint" => {
            for address in list() {
                octets.extend(parse_token::<Ipv4Addr>(&address, "an IPv4 address")?.octets());
            }
            4
        }
        "ipv6hint" => {
            for address in list() {
                octets.extend(parse_token::<Ipv6Addr>(&address, "an IPv6 address")?.octets());
            }
            6
        }
        _ => {
            octets = unescape(&part(value))?;
            key.strip_prefix("key")
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| expected("alpn, port, ipv4hint, ipv6hint or keyNUMBER"))?
        }
    };
    Ok((code, octets))
}

/// Fourteen digits are a date, fewer are seconds (RFC 4034 §3.2).
fn wire_time(text: &str) -> Option<u32> {
    if text.len() != 14 {
        return text.parse().ok();
    }
    let field = |from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    let year: i32 = text.get(..4)?.parse().ok()?;
    let month = Month::try_from(field(4, 6)?).ok()?;
    let date = Date::from_calendar_date(year, month, field(6, 8)?).ok()?;
    let time = Time::from_hms(field(8, 10)?, field(10, 12)?, field(12, 14)?).ok()?;
    u32::try_from(UtcDateTime::new(date, time).unix_timestamp()).ok()
}

//! The data of a record: from words to its wire form, and by hickory's decoder to its type.
//!
//! Going through the wire form has every record judged by the same rules, whether it is written in
//! its type's own text or in the generic one.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, Restrict};
use time::{Date, Month, Time, UtcDateTime};

use super::read::{MasterFileError, duration, ttl_in_range, type_of};
use super::tokens::{Token, next_octet, unescape};

/// The words of an entry, read one after the other.
pub(super) struct Words<'t, 'a> {
    tokens: &'t [Token<'a>],
    /// Where an error is placed when a word is missing.
    line: usize,
}

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

impl<'t, 'a> Words<'t, 'a> {
    pub(super) fn new(tokens: &'t [Token<'a>], line: usize) -> Self {
        Self { tokens, line }
    }

    pub(super) fn next(&mut self, expected: &str) -> Result<Token<'a>, MasterFileError> {
        let (first, rest) = self
            .tokens
            .split_first()
            .ok_or_else(|| self.error_here(expected))?;
        self.tokens = rest;
        Ok(*first)
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), MasterFileError> {
        match self.tokens.first() {
            None => Ok(()),
            Some(token) => Err(self.error_at(Some(*token), "the end of the record")),
        }
    }

    pub(super) fn name(
        &mut self,
        origin: Option<&Name>,
        expected: &str,
    ) -> Result<Name, MasterFileError> {
        let token = self.next(expected)?;
        let mut wire = Vec::new();
        name_wire(&token, origin, expected, &mut wire)?;
        Name::from_bytes(&wire)
            .map_err(|_| self.error_at(Some(token), "a name of at most 255 octets"))
    }

    pub(super) fn ttl(&mut self) -> Result<u32, MasterFileError> {
        let expected = "a number of seconds, or one with units as in 1h30m";
        let token = self.next(expected)?;
        let seconds = duration(token.text).ok_or_else(|| self.error_at(Some(token), expected))?;
        ttl_in_range(&token, seconds)
    }

    pub(super) fn error_here(&self, expected: impl Into<String>) -> MasterFileError {
        self.error_at(self.tokens.first().copied(), expected)
    }

    fn error_at(&self, token: Option<Token<'_>>, expected: impl Into<String>) -> MasterFileError {
        match token {
            Some(token) => MasterFileError::new(token.line, token.text, expected),
            None => MasterFileError::new(self.line, "end of line", expected),
        }
    }

    fn record_type(&mut self) -> Result<RecordType, MasterFileError> {
        let token = self.next("a record type")?;
        type_of(token.text).ok_or_else(|| self.error_at(Some(token), "a record type"))
    }

    fn parse<T: std::str::FromStr>(&mut self, expected: &str) -> Result<T, MasterFileError> {
        parse_token(&self.next(expected)?, expected)
    }

    fn push_u8(&mut self, expected: &str, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
        wire.push(self.parse(expected)?);
        Ok(())
    }

    fn push_u16(&mut self, expected: &str, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
        wire.extend(self.parse::<u16>(expected)?.to_be_bytes());
        Ok(())
    }

    /// A number, or the mnemonic of the algorithms still in use (RFC 8624 §3.1).
    fn push_algorithm(&mut self, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
        let expected = "an algorithm such as 13 or ECDSAP256SHA256";
        let token = self.next(expected)?;
        wire.push(match token.text.to_ascii_uppercase().as_str() {
            "RSASHA256" => 8,
            "RSASHA512" => 10,
            "ECDSAP256SHA256" => 13,
            "ECDSAP384SHA384" => 14,
            "ED25519" => 15,
            "ED448" => 16,
            _ => parse_token(&token, expected)?,
        });
        Ok(())
    }

    fn push_name(
        &mut self,
        origin: Option<&Name>,
        expected: &str,
        wire: &mut Vec<u8>,
    ) -> Result<(), MasterFileError> {
        let token = self.next(expected)?;
        name_wire(&token, origin, expected, wire)
    }

    fn push_string(&mut self, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
        let token = self.next("a string")?;
        let string = unescape(&token)?;
        let length = u8::try_from(string.len())
            .map_err(|_| self.error_at(Some(token), "a string of at most 255 octets"))?;
        wire.push(length);
        wire.extend(string);
        Ok(())
    }

    /// All remaining words together, in hexadecimal.
    fn push_hex(&mut self, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
        let expected = "octets in hexadecimal";
        let (token, text) = self.rest(expected)?;
        let octets = HEXUPPER_PERMISSIVE
            .decode(text.as_bytes())
            .map_err(|_| self.error_at(Some(token), expected))?;
        wire.extend(octets);
        Ok(())
    }

    /// All remaining words together, in base64.
    fn push_base64(&mut self, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
        let expected = "octets in base64";
        let (token, text) = self.rest(expected)?;
        let octets = BASE64
            .decode(text.as_bytes())
            .map_err(|_| self.error_at(Some(token), expected))?;
        wire.extend(octets);
        Ok(())
    }

    fn rest(&mut self, expected: &str) -> Result<(Token<'a>, String), MasterFileError> {
        let first = self.next(expected)?;
        let mut text = first.text.to_owned();
        text.extend(self.tokens.iter().map(|token| token.text));
        self.tokens = &[];
        Ok((first, text))
    }
}

fn parse_token<T: std::str::FromStr>(
    token: &Token<'_>,
    expected: &str,
) -> Result<T, MasterFileError> {
    token
        .text
        .parse()
        .map_err(|_| MasterFileError::new(token.line, token.text, expected))
}

/// Appends a name in wire form; a relative one is completed by `origin`.
fn name_wire(
    token: &Token<'_>,
    origin: Option<&Name>,
    expected: &str,
    wire: &mut Vec<u8>,
) -> Result<(), MasterFileError> {
    let error = |expected: &str| MasterFileError::new(token.line, token.text, expected);
    let start = wire.len();
    let mut relative = true;
    match token.text {
        _ if token.quoted => return Err(error(expected)),
        "@" => {}
        "." => relative = false,
        text => {
            let mut label: Vec<u8> = Vec::new();
            let mut rest = text.as_bytes();
            relative = false;
            while let Some(((octet, escaped), after)) = next_octet(token, rest)? {
                rest = after;
                relative = escaped || octet != b'.';
                if relative {
                    label.push(octet);
                } else {
                    push_label(&mut label, wire).ok_or_else(|| error(LABELS))?;
                }
            }
            if relative {
                push_label(&mut label, wire).ok_or_else(|| error(LABELS))?;
            }
        }
    }
    if relative {
        let origin =
            origin.ok_or_else(|| error("a name with its final dot, as there is no $ORIGIN"))?;
        for label in origin.iter() {
            push_label(&mut label.to_vec(), wire).ok_or_else(|| error(LABELS))?;
        }
    }
    wire.push(0);
    if wire.len() - start > 255 {
        return Err(error("a name of at most 255 octets"));
    }
    Ok(())
}

const LABELS: &str = "a name with labels of 1 to 63 octets";

/// Moves a label to the wire; `None` when it is empty or too long (RFC 1035 §2.3.4).
fn push_label(label: &mut Vec<u8>, wire: &mut Vec<u8>) -> Option<()> {
    let length = u8::try_from(label.len())
        .ok()
        .filter(|length| (1..=63).contains(length))?;
    wire.push(length);
    wire.append(label);
    Some(())
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

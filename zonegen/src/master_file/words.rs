//! The words of an entry, and what each kind of word becomes on the wire.

use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::BinDecodable;

use super::read::{MasterFileError, duration, ttl_in_range, type_of};
use super::tokens::{Token, next_octet, unescape};

/// The words of an entry, read one after the other.
pub(super) struct Words<'t, 'a> {
    pub(super) tokens: &'t [Token<'a>],
    /// Where an error is placed when a word is missing.
    line: usize,
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

    pub(super) fn error_at(
        &self,
        token: Option<Token<'_>>,
        expected: impl Into<String>,
    ) -> MasterFileError {
        match token {
            Some(token) => MasterFileError::new(token.line, token.text, expected),
            None => MasterFileError::new(self.line, "end of line", expected),
        }
    }

    pub(super) fn record_type(&mut self) -> Result<RecordType, MasterFileError> {
        let token = self.next("a record type")?;
        type_of(token.text).ok_or_else(|| self.error_at(Some(token), "a record type"))
    }

    pub(super) fn parse<T: std::str::FromStr>(
        &mut self,
        expected: &str,
    ) -> Result<T, MasterFileError> {
        parse_token(&self.next(expected)?, expected)
    }

    pub(super) fn push_u8(
        &mut self,
        expected: &str,
        wire: &mut Vec<u8>,
    ) -> Result<(), MasterFileError> {
        wire.push(self.parse(expected)?);
        Ok(())
    }

    pub(super) fn push_u16(
        &mut self,
        expected: &str,
        wire: &mut Vec<u8>,
    ) -> Result<(), MasterFileError> {
        wire.extend(self.parse::<u16>(expected)?.to_be_bytes());
        Ok(())
    }

    /// A number, or the mnemonic of the algorithms still in use (RFC 8624 §3.1).
    pub(super) fn push_algorithm(&mut self, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
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

    pub(super) fn push_name(
        &mut self,
        origin: Option<&Name>,
        expected: &str,
        wire: &mut Vec<u8>,
    ) -> Result<(), MasterFileError> {
        let token = self.next(expected)?;
        name_wire(&token, origin, expected, wire)
    }

    pub(super) fn push_string(&mut self, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
        let token = self.next("a string")?;
        let string = unescape(&token)?;
        let length = u8::try_from(string.len())
            .map_err(|_| self.error_at(Some(token), "a string of at most 255 octets"))?;
        wire.push(length);
        wire.extend(string);
        Ok(())
    }

    /// All remaining words together, in hexadecimal.
    pub(super) fn push_hex(&mut self, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
        let expected = "octets in hexadecimal";
        let (token, text) = self.rest(expected)?;
        let octets = HEXUPPER_PERMISSIVE
            .decode(text.as_bytes())
            .map_err(|_| self.error_at(Some(token), expected))?;
        wire.extend(octets);
        Ok(())
    }

    /// All remaining words together, in base64.
    pub(super) fn push_base64(&mut self, wire: &mut Vec<u8>) -> Result<(), MasterFileError> {
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

pub(super) fn parse_token<T: std::str::FromStr>(
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

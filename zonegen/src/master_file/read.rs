//! Reads a master file into records.

use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use thiserror::Error;

use super::rdata;
use super::tokens::{Entries, Entry, Token};
use super::words::Words;

/// The largest time-to-live (RFC 2181 §8).
const MAX_TTL_SECS: u64 = (1 << 31) - 1;

/// Where a master file is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: found {found:?}, expected {expected}")]
pub struct MasterFileError {
    /// The line, counted from 1.
    pub line: usize,
    /// What stands there; `end of line` where something is missing.
    pub found: String,
    /// What should stand there.
    pub expected: String,
}

impl MasterFileError {
    pub(super) fn new(line: usize, found: &str, expected: impl Into<String>) -> Self {
        // A line of garbage is not repeated in full.
        const SHOWN_CHARS: usize = 60;
        let mut shown: String = found.chars().take(SHOWN_CHARS).collect();
        if shown.len() < found.len() {
            shown.push('…');
        }
        Self {
            line,
            found: shown,
            expected: expected.into(),
        }
    }
}

/// Reads all records of `text`. Relative names stand below `origin` until an `$ORIGIN` says
/// otherwise; without either they are an error. `$INCLUDE` is not supported.
pub fn read(text: &str, origin: Option<&Name>) -> Result<Vec<Record>, MasterFileError> {
    let mut reader = Reader {
        origin: origin.cloned(),
        default_ttl: None,
        last_ttl: None,
        last_owner: None,
    };
    let mut entries = Entries::new(text);
    let mut records = Vec::new();
    while let Some(entry) = entries.next()? {
        if let Some(record) = reader.entry(&entry)? {
            records.push(record);
        }
    }
    Ok(records)
}

struct Reader {
    origin: Option<Name>,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
    last_owner: Option<Name>,
}

impl Reader {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Option<Record>, MasterFileError> {
        let mut words = Words::new(&entry.tokens, entry.line);
        let first = entry.tokens.first().filter(|token| !token.quoted);
        match first.map(|token| token.text) {
            Some(text) if !entry.indented && text.starts_with('$') => {
                self.directive(&mut words)?;
                words.end()?;
                Ok(None)
            }
            _ => self.record(entry.indented, &mut words).map(Some),
        }
    }

    fn directive(&mut self, words: &mut Words<'_, '_>) -> Result<(), MasterFileError> {
        let directive = words.next("a directive")?;
        match directive.text.to_ascii_uppercase().as_str() {
            "$ORIGIN" => self.origin = Some(words.name(self.origin.as_ref(), "a domain name")?),
            "$TTL" => self.default_ttl = Some(words.ttl()?),
            _ => {
                return Err(MasterFileError::new(
                    directive.line,
                    directive.text,
                    "$ORIGIN or $TTL (others are not supported)",
                ));
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        indented: bool,
        words: &mut Words<'_, '_>,
    ) -> Result<Record, MasterFileError> {
        let owner = if indented {
            self.last_owner.clone().ok_or_else(|| {
                words.error_here("an owner name (the first record cannot leave it out)")
            })?
        } else {
            words.name(self.origin.as_ref(), "an owner name")?
        };
        // TTL and class stand in either order, each may be left out (RFC 1035 §5.1).
        let (mut ttl, mut class) = (None, None);
        let rtype = loop {
            let token = words.next("a record type")?;
            if ttl.is_none()
                && let Some(seconds) = duration(token.text)
            {
                ttl = Some(ttl_in_range(&token, seconds)?);
            } else if class.is_none()
                && let Some(found) = class_of(token.text)
            {
                class = Some(found);
            } else {
                break type_of(token.text).ok_or_else(|| {
                    MasterFileError::new(token.line, token.text, "a record type")
                })?;
            }
        };
        let ttl = ttl
            .or(self.default_ttl)
            .or(self.last_ttl)
            .ok_or_else(|| words.error_here("a time-to-live before the type, or a $TTL above"))?;
        let data = rdata::parse(rtype, words, self.origin.as_ref())?;
        words.end()?;
        self.last_ttl = Some(ttl);
        self.last_owner = Some(owner.clone());
        let mut record = Record::from_rdata(owner, ttl, data);
        record.dns_class = class.unwrap_or(DNSClass::IN);
        Ok(record)
    }
}

/// A type's name in either case, or `TYPE` and its number.
pub(super) fn type_of(text: &str) -> Option<RecordType> {
    let upper = text.to_ascii_uppercase();
    let generic = upper
        .strip_prefix("TYPE")
        .and_then(|number| number.parse::<u16>().ok())
        .map(RecordType::from);
    generic.or_else(|| upper.parse().ok())
}

/// Seconds, or a number with units as in `1h30m`.
pub(super) fn duration(text: &str) -> Option<u64> {
    if !text.starts_with(|character: char| character.is_ascii_digit()) {
        return None;
    }
    let mut total: u64 = 0;
    let mut number: Option<u64> = None;
    for character in text.chars() {
        if let Some(digit) = character.to_digit(10) {
            let so_far = number.unwrap_or(0);
            number = Some(so_far.checked_mul(10)?.checked_add(u64::from(digit))?);
            continue;
        }
        let unit_secs = match character.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit_secs)?)?;
    }
    total.checked_add(number.unwrap_or(0))
}

pub(super) fn ttl_in_range(token: &Token<'_>, seconds: u64) -> Result<u32, MasterFileError> {
    u32::try_from(seconds)
        .ok()
        .filter(|ttl| u64::from(*ttl) <= MAX_TTL_SECS)
        .ok_or_else(|| {
            MasterFileError::new(token.line, token.text, "a time-to-live up to 2147483647")
        })
}

fn class_of(text: &str) -> Option<DNSClass> {
    match text.to_ascii_uppercase().as_str() {
        "IN" | "CLASS1" => Some(DNSClass::IN),
        "CH" | "CLASS3" => Some(DNSClass::CH),
        "HS" | "CLASS4" => Some(DNSClass::HS),
        _ => None,
    }
}

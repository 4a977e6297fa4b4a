//! The OPT record (RFC 6891): read, put in, taken out, padded.

use std::ops::Range;

use super::name::pointer_target;
use super::view::{RecordView, Section, View, u16_at};
use super::{MAX_MESSAGE_BYTES, WireError, rtype};

/// The UDP payload size that this program offers and honours, in bytes: what crosses every
/// link without fragments (the value of DNS flag day 2020; RFC 9715).
pub const MAX_PAYLOAD_SIZE: u16 = 1232;

/// The number of the padding option (RFC 7830 §3).
pub const PADDING_OPTION: u16 = 12;

/// The number of the extended error option (RFC 8914 §2).
pub(super) const EXTENDED_ERROR_OPTION: u16 = 15;

const DNSSEC_OK: u32 = 0x8000;
/// Owner, type, class, TTL and length of an OPT record.
const OPT_FIXED_BYTES: usize = 11;
/// Code and length of an option.
const OPTION_FIXED_BYTES: usize = 4;

/// The content of an OPT record, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP payload in bytes that the sender takes.
    pub payload_size: u16,
    /// DO: the sender wants DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// Option codes and their contents, in order.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Edns {
    /// An OPT record without options that offers [`MAX_PAYLOAD_SIZE`].
    #[must_use]
    pub fn plain(dnssec_ok: bool) -> Self {
        Self {
            payload_size: MAX_PAYLOAD_SIZE,
            dnssec_ok,
            extended_rcode: 0,
            options: Vec::new(),
        }
    }

    /// Appends the record in wire form.
    pub(super) fn emit(&self, into: &mut Vec<u8>) -> Result<(), WireError> {
        let mut options = Vec::new();
        for (code, content) in &self.options {
            let length = u16::try_from(content.len()).map_err(|_| WireError::TooLong)?;
            options.extend_from_slice(&code.to_be_bytes());
            options.extend_from_slice(&length.to_be_bytes());
            options.extend_from_slice(content);
        }
        let flags = if self.dnssec_ok { DNSSEC_OK } else { 0 };
        // Only version 0 is ever spoken (RFC 6891 §6.1.3).
        emit_opt(
            self.payload_size,
            u32::from(self.extended_rcode) << 24 | flags,
            &options,
            into,
        )
    }
}

/// The OPT record of a message, read in place; its options were walked and are whole.
#[derive(Clone, Copy)]
pub struct EdnsView<'a> {
    /// The largest UDP payload in bytes that the sender takes; values below 512 mean 512.
    pub payload_size: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// The version; all but 0 is answered BADVERS.
    pub version: u8,
    /// DO.
    pub dnssec_ok: bool,
    options: &'a [u8],
}

impl<'a> EdnsView<'a> {
    /// Code and content of each option in order.
    pub fn options(&self) -> impl Iterator<Item = (u16, &'a [u8])> + Clone + use<'a> {
        let mut rest = self.options;
        std::iter::from_fn(move || {
            let (code, content, after) = split_option(rest)?;
            rest = after;
            Some((code, content))
        })
    }

    /// The content of the first option with this code.
    #[must_use]
    pub fn option(&self, code: u16) -> Option<&'a [u8]> {
        self.options()
            .find_map(|(found, content)| (found == code).then_some(content))
    }

    /// An owned copy.
    #[must_use]
    pub fn to_edns(&self) -> Edns {
        Edns {
            payload_size: self.payload_size,
            dnssec_ok: self.dnssec_ok,
            extended_rcode: self.extended_rcode,
            options: self
                .options()
                .map(|(code, content)| (code, content.to_vec()))
                .collect(),
        }
    }
}

impl<'a> View<'a> {
    /// The OPT record, if there is one. Walks the whole message.
    ///
    /// # Errors
    /// A broken record anywhere, or an OPT record that has to be answered FORMERR.
    pub fn edns(&self) -> Result<Option<EdnsView<'a>>, WireError> {
        locate_opt(self)?.as_ref().map(read_edns).transpose()
    }
}

fn read_edns<'a>(opt: &RecordView<'a>) -> Result<EdnsView<'a>, WireError> {
    let options = opt.data();
    let mut rest = options;
    while !rest.is_empty() {
        let (_, _, after) = split_option(rest).ok_or(WireError::OptionCut)?;
        rest = after;
    }
    Ok(EdnsView {
        payload_size: opt.class,
        extended_rcode: (opt.ttl >> 24) as u8,
        version: (opt.ttl >> 16) as u8,
        dnssec_ok: opt.ttl & DNSSEC_OK != 0,
        options,
    })
}

/// Whether `record` vouches for the whole `message` (RFC 8945, RFC 2931).
fn signs_message(message: &[u8], record: &RecordView<'_>) -> bool {
    record.section == Section::Additional
        && (record.rtype == rtype::TSIG
            || record.rtype == rtype::SIG && u16_at(message, record.rdata.start) == Some(0))
}

/// The end of a message, where whatever a hop adds and takes off stands.
#[derive(Clone)]
pub(crate) struct Tail<'a> {
    /// The OPT record.
    pub(crate) edns: Option<EdnsView<'a>>,
    /// Where it stands; empty, at the end of the records, where there is none.
    pub(crate) opt: Range<usize>,
    /// Offset of the first byte after the last record.
    pub(crate) end: usize,
    /// The message is signed as a whole: nothing may be changed.
    pub(crate) signed: bool,
}

impl Tail<'_> {
    /// Whether no record stands behind the OPT record, or behind where it would be put.
    pub(crate) fn is_plain(&self) -> bool {
        !self.signed && self.opt.end == self.end
    }
}

impl<'a> View<'a> {
    /// Reads all records once.
    ///
    /// # Errors
    /// As for [`View::edns`].
    pub(crate) fn tail(&self) -> Result<Tail<'a>, WireError> {
        let (opt, end, signed) = survey(self)?;
        Ok(Tail {
            edns: opt.as_ref().map(read_edns).transpose()?,
            opt: opt.map_or(end..end, |opt| opt.start..opt.end()),
            end,
            signed,
        })
    }
}

/// A copy of `message` whose OPT record is `edns`, or which has none. The new record stands last;
/// all other bytes stay as they are, but for compression pointers across a gap that closed.
///
/// # Errors
/// A broken message, one that is signed as a whole, or no room.
pub fn with_edns(message: &[u8], edns: Option<&Edns>) -> Result<Vec<u8>, WireError> {
    let mut changed = without_opt(message)?;
    if let Some(edns) = edns {
        edns.emit(&mut changed)?;
        count_additional_up(&mut changed)?;
    }
    fits(changed)
}

/// Pads `message` to a multiple of `block` bytes (RFC 7830, RFC 8467): its OPT record moves to
/// the end, or one is added; padding that was there is replaced. Where the next multiple is past
/// the longest message it is padded as far as that.
///
/// # Errors
/// A broken message, one that is signed as a whole, or no room. The message is then unchanged.
pub fn pad(message: &mut Vec<u8>, block: usize) -> Result<(), WireError> {
    let (class, ttl, mut options) = match locate_opt(&View::parse(message)?)? {
        Some(opt) => (opt.class, opt.ttl, without_padding(opt.data())?),
        None => (MAX_PAYLOAD_SIZE, 0, Vec::new()),
    };
    let mut padded = without_opt(message)?;
    let unpadded = padded.len() + OPT_FIXED_BYTES + options.len() + OPTION_FIXED_BYTES;
    let target = unpadded
        .checked_next_multiple_of(block.max(1))
        .unwrap_or(unpadded)
        .min(MAX_MESSAGE_BYTES);
    let zeros = target.checked_sub(unpadded).ok_or(WireError::TooLong)?;
    options.extend_from_slice(&PADDING_OPTION.to_be_bytes());
    options.extend_from_slice(&(zeros as u16).to_be_bytes());
    options.resize(options.len() + zeros, 0);
    emit_opt(class, ttl, &options, &mut padded)?;
    count_additional_up(&mut padded)?;
    *message = fits(padded)?;
    Ok(())
}

/// The one OPT record, wherever it stands in the additional section.
pub(super) fn locate_opt<'a>(view: &View<'a>) -> Result<Option<RecordView<'a>>, WireError> {
    survey(view).map(|(opt, ..)| opt)
}

/// The OPT record, where the last record ends, and whether one vouches for the message.
fn survey<'a>(view: &View<'a>) -> Result<(Option<RecordView<'a>>, usize, bool), WireError> {
    let (mut found, mut end, mut signed) = (None, view.records_start(), false);
    for record in view.records() {
        let record = record?;
        end = record.end();
        signed |= signs_message(view.bytes(), &record);
        if record.rtype != rtype::OPT {
            continue;
        }
        if record.section != Section::Additional {
            return Err(WireError::OptMisplaced);
        }
        if !record.owner.is_root() {
            return Err(WireError::OptOwner);
        }
        if found.is_some() {
            return Err(WireError::OptTwice);
        }
        found = Some(record);
    }
    Ok((found, end, signed))
}

/// The message without its OPT record and without bytes after the last record.
fn without_opt(message: &[u8]) -> Result<Vec<u8>, WireError> {
    let view = View::parse(message)?;
    let opt = locate_opt(&view)?;
    let mut end = view.records_start();
    let mut pointers = Vec::new();
    for record in view.records() {
        let record = record?;
        end = record.end();
        if signs_message(message, &record) {
            return Err(WireError::Signed);
        }
        if opt.as_ref().is_some_and(|opt| record.start >= opt.end()) {
            collect_pointers(&record, &mut pointers);
        }
    }
    let Some(opt) = opt else {
        return Ok(message.get(..end).unwrap_or(message).to_vec());
    };
    let (gap_start, gap_end) = (opt.start, opt.end());
    let mut changed = message.get(..gap_start).unwrap_or_default().to_vec();
    changed.extend_from_slice(message.get(gap_end..end).unwrap_or_default());
    for pointer in pointers {
        let (Some(&high), Some(&low)) = (message.get(pointer), message.get(pointer + 1)) else {
            continue;
        };
        let target = pointer_target(high, low);
        if target >= gap_end {
            let moved = (target - (gap_end - gap_start)) as u16 | 0xC000;
            write_u16(&mut changed, pointer - (gap_end - gap_start), moved);
        } else if target >= gap_start {
            return Err(WireError::Pointer);
        }
    }
    let additionals = view.counts().additionals.saturating_sub(1);
    write_u16(&mut changed, 10, additionals);
    Ok(changed)
}

/// Offsets of the compression pointers of a record, in its owner and in its data.
fn collect_pointers(record: &RecordView<'_>, into: &mut Vec<usize>) {
    into.extend(record.owner.pointer_offset());
    into.extend(
        record
            .names_in_data()
            .filter_map(|(name, _)| name.pointer_offset()),
    );
}

fn without_padding(options: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut kept = Vec::with_capacity(options.len());
    let mut rest = options;
    while !rest.is_empty() {
        let (code, _, after) = split_option(rest).ok_or(WireError::OptionCut)?;
        if code != PADDING_OPTION {
            kept.extend_from_slice(rest.get(..rest.len() - after.len()).unwrap_or_default());
        }
        rest = after;
    }
    Ok(kept)
}

fn split_option(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let code = u16_at(bytes, 0)?;
    let length = usize::from(u16_at(bytes, 2)?);
    let content = bytes.get(OPTION_FIXED_BYTES..OPTION_FIXED_BYTES + length)?;
    let rest = bytes.get(OPTION_FIXED_BYTES + length..)?;
    Some((code, content, rest))
}

fn emit_opt(class: u16, ttl: u32, options: &[u8], into: &mut Vec<u8>) -> Result<(), WireError> {
    let length = u16::try_from(options.len()).map_err(|_| WireError::TooLong)?;
    into.push(0);
    into.extend_from_slice(&rtype::OPT.to_be_bytes());
    into.extend_from_slice(&class.to_be_bytes());
    into.extend_from_slice(&ttl.to_be_bytes());
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(options);
    Ok(())
}

fn count_additional_up(message: &mut [u8]) -> Result<(), WireError> {
    let count = u16_at(message, 10).ok_or(WireError::TooShort)?;
    write_u16(message, 10, count.checked_add(1).ok_or(WireError::TooLong)?);
    Ok(())
}

fn fits(message: Vec<u8>) -> Result<Vec<u8>, WireError> {
    if message.len() > MAX_MESSAGE_BYTES {
        Err(WireError::TooLong)
    } else {
        Ok(message)
    }
}

pub(super) fn write_u16(message: &mut [u8], offset: usize, value: u16) {
    if let Some(slot) = message.get_mut(offset..offset + 2) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
}

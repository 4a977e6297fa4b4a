//! A message read in place.

use std::ops::Range;

use super::name::NameView;
use super::{HEADER_BYTES, MAX_MESSAGE_BYTES, WireError};

/// The second 16 bits of the header (RFC 1035 §4.1.1, RFC 4035 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// QR: this is a response.
    pub const RESPONSE: u16 = 0x8000;
    /// AA: authoritative answer.
    pub const AUTHORITATIVE: u16 = 0x0400;
    /// TC: truncated.
    pub const TRUNCATED: u16 = 0x0200;
    /// RD: recursion desired.
    pub const RECURSION_DESIRED: u16 = 0x0100;
    /// RA: recursion available.
    pub const RECURSION_AVAILABLE: u16 = 0x0080;
    /// AD: authentic data.
    pub const AUTHENTIC_DATA: u16 = 0x0020;
    /// CD: checking disabled.
    pub const CHECKING_DISABLED: u16 = 0x0010;
    /// The four bits of the opcode.
    pub const OPCODE: u16 = 0x7800;
    /// The four bits of the response code.
    pub const RCODE: u16 = 0x000F;

    /// Whether all bits of `mask` are set.
    #[must_use]
    pub fn has(self, mask: u16) -> bool {
        self.0 & mask == mask
    }
}

/// How many entries the header claims for each section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// QDCOUNT.
    pub questions: u16,
    /// ANCOUNT.
    pub answers: u16,
    /// NSCOUNT.
    pub authorities: u16,
    /// ARCOUNT.
    pub additionals: u16,
}

/// The part of a message in which a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The answer section.
    Answer,
    /// The authority section.
    Authority,
    /// The additional section.
    Additional,
}

/// A message whose header is whole and whose question, if there is one, is sound. Records are
/// walked, and judged, by [`View::records`].
#[derive(Clone, Copy)]
pub struct View<'a> {
    message: &'a [u8],
    question: Option<QuestionView<'a>>,
    records_start: usize,
}

impl<'a> View<'a> {
    /// Reads the header and the question.
    ///
    /// # Errors
    /// [`WireError`] when it is too short or too long, has more than one question or a broken one.
    pub fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        if message.len() < HEADER_BYTES {
            return Err(WireError::TooShort);
        }
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(WireError::TooLong);
        }
        match u16_at(message, 4).ok_or(WireError::TooShort)? {
            0 => Ok(Self {
                message,
                question: None,
                records_start: HEADER_BYTES,
            }),
            1 => {
                let (name, name_end) = NameView::read(message, HEADER_BYTES)?;
                // Nothing stands before the question that a pointer could lead to, so its name
                // is uncompressed: `read` refused anything else.
                let wire_name = message
                    .get(HEADER_BYTES..name_end)
                    .ok_or(WireError::QuestionCut)?;
                let qtype = u16_at(message, name_end).ok_or(WireError::QuestionCut)?;
                let qclass = u16_at(message, name_end + 2).ok_or(WireError::QuestionCut)?;
                Ok(Self {
                    message,
                    question: Some(QuestionView {
                        wire_name,
                        name,
                        qtype,
                        qclass,
                    }),
                    records_start: name_end + 4,
                })
            }
            _ => Err(WireError::ManyQuestions),
        }
    }

    /// The bytes that this is a view of.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.message
    }

    /// The message id.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.header_word(0)
    }

    /// The flag word of the header.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags(self.header_word(2))
    }

    /// The opcode, 0 to 15.
    #[must_use]
    pub fn opcode(&self) -> u8 {
        ((self.flags().0 & Flags::OPCODE) >> 11) as u8
    }

    /// The four bits of response code in the header; [`EdnsView::extended_rcode`] has the rest.
    ///
    /// [`EdnsView::extended_rcode`]: super::EdnsView::extended_rcode
    #[must_use]
    pub fn rcode(&self) -> u16 {
        self.flags().0 & Flags::RCODE
    }

    /// QR.
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.flags().has(Flags::RESPONSE)
    }

    /// TC.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.flags().has(Flags::TRUNCATED)
    }

    /// RD.
    #[must_use]
    pub fn recursion_desired(&self) -> bool {
        self.flags().has(Flags::RECURSION_DESIRED)
    }

    /// CD.
    #[must_use]
    pub fn checking_disabled(&self) -> bool {
        self.flags().has(Flags::CHECKING_DISABLED)
    }

    /// AD.
    #[must_use]
    pub fn authentic_data(&self) -> bool {
        self.flags().has(Flags::AUTHENTIC_DATA)
    }

    /// What the header claims of each section.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            questions: self.header_word(4),
            answers: self.header_word(6),
            authorities: self.header_word(8),
            additionals: self.header_word(10),
        }
    }

    /// The question; none where the header counts none.
    #[must_use]
    pub fn question(&self) -> Option<QuestionView<'a>> {
        self.question
    }

    /// The records of all three sections in order. The first broken one ends the walk with its
    /// error.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        let counts = self.counts();
        Records {
            message: self.message,
            position: self.records_start,
            answers: counts.answers,
            authorities: counts.authorities,
            additionals: counts.additionals,
            broken: false,
        }
    }

    /// Walks the whole message: each record is sound and nothing follows the last.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), WireError> {
        let mut records = self.records();
        for record in records.by_ref() {
            record?;
        }
        if records.position == self.message.len() {
            Ok(())
        } else {
            Err(WireError::TrailingBytes)
        }
    }

    /// Offset of the first byte after the question.
    #[must_use]
    pub fn records_start(&self) -> usize {
        self.records_start
    }

    fn header_word(&self, offset: usize) -> u16 {
        // `parse` made sure of a whole header.
        u16_at(self.message, offset).unwrap_or_default()
    }
}

/// What is asked.
#[derive(Clone, Copy)]
pub struct QuestionView<'a> {
    /// The name in uncompressed wire form, letters as they came.
    pub wire_name: &'a [u8],
    /// The same name, for its labels.
    pub name: NameView<'a>,
    /// QTYPE.
    pub qtype: u16,
    /// QCLASS.
    pub qclass: u16,
}

impl QuestionView<'_> {
    /// The same question, letters compared without case.
    #[must_use]
    pub fn eq_ignore_case(&self, other: &QuestionView<'_>) -> bool {
        // Length bytes are at most 63 and so no letters: folding the whole slice is safe.
        self.wire_name.eq_ignore_ascii_case(other.wire_name)
            && self.qtype == other.qtype
            && self.qclass == other.qclass
    }

    /// The same question to the letter.
    #[must_use]
    pub fn eq_exact(&self, other: &QuestionView<'_>) -> bool {
        self.wire_name == other.wire_name
            && self.qtype == other.qtype
            && self.qclass == other.qclass
    }
}

/// One resource record.
#[derive(Clone)]
pub struct RecordView<'a> {
    /// Where it stands.
    pub section: Section,
    /// Offset of its first byte.
    pub start: usize,
    /// Its owner.
    pub owner: NameView<'a>,
    /// Its type.
    pub rtype: u16,
    /// Its class; for OPT the payload size.
    pub class: u16,
    /// Its time to live in seconds; for OPT the extended code, version and flags.
    pub ttl: u32,
    /// Offset of the four bytes of the TTL.
    pub ttl_offset: usize,
    /// Offsets of its data.
    pub rdata: Range<usize>,
    message: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// The bytes of its data; names in them may be compressed.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.message.get(self.rdata.clone()).unwrap_or_default()
    }

    /// Offset of the first byte after the record.
    #[must_use]
    pub fn end(&self) -> usize {
        self.rdata.end
    }

    /// The name that starts `skip` bytes into the data, if it is one and ends inside of the data.
    #[must_use]
    pub fn name_in_data(&self, skip: usize) -> Option<NameView<'a>> {
        let (name, end) = NameView::read(self.message, self.rdata.start + skip).ok()?;
        (end <= self.rdata.end).then_some(name)
    }

    /// The names in the data of the types whose names may be compressed (RFC 3597 §4) or are
    /// folded for signing (RFC 4034 §6.2), each with its offsets in the message. None where the
    /// data is not what its type says.
    pub fn names_in_data(&self) -> impl Iterator<Item = (NameView<'a>, Range<usize>)> {
        let (skip, mut left) = self.names_layout();
        let (message, end) = (self.message, self.rdata.end);
        let mut position = self.rdata.start + skip;
        std::iter::from_fn(move || {
            left = u8::checked_sub(left, 1)?;
            let start = position;
            let (name, after) = NameView::read(message, start).ok()?;
            position = after;
            (after <= end).then_some((name, start..after))
        })
    }

    /// How many bytes stand before the first name in the data, and how many names follow one
    /// another from there.
    pub(crate) fn names_layout(&self) -> (usize, u8) {
        match self.rtype {
            // NS MD MF CNAME MB MG MR PTR NXT DNAME
            2..=5 | 7..=9 | 12 | 30 | 39 => (0, 1),
            // SOA MINFO RP
            6 | 14 | 17 => (0, 2),
            // MX AFSDB RT KX
            15 | 18 | 21 | 36 => (2, 1),
            // PX
            26 => (2, 2),
            // SRV
            33 => (6, 1),
            // SIG RRSIG
            24 | 46 => (18, 1),
            // NAPTR: order, preference, three character strings
            35 => {
                let data = self.data();
                let skip = (0..3).try_fold(4usize, |skip, _| {
                    Some(skip + 1 + usize::from(*data.get(skip)?))
                });
                skip.map_or((0, 0), |skip| (skip, 1))
            }
            _ => (0, 0),
        }
    }
}

/// The records of a [`View`].
#[derive(Clone)]
pub struct Records<'a> {
    message: &'a [u8],
    position: usize,
    answers: u16,
    authorities: u16,
    additionals: u16,
    broken: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let (section, left) = if self.answers > 0 {
            (Section::Answer, &mut self.answers)
        } else if self.authorities > 0 {
            (Section::Authority, &mut self.authorities)
        } else if self.additionals > 0 {
            (Section::Additional, &mut self.additionals)
        } else {
            return None;
        };
        *left -= 1;
        let record = read_record(self.message, self.position, section);
        match &record {
            Ok(record) => self.position = record.end(),
            Err(_) => self.broken = true,
        }
        Some(record)
    }
}

fn read_record(
    message: &[u8],
    start: usize,
    section: Section,
) -> Result<RecordView<'_>, WireError> {
    let (owner, fixed) = NameView::read(message, start)?;
    let rtype = u16_at(message, fixed).ok_or(WireError::RecordCut)?;
    let class = u16_at(message, fixed + 2).ok_or(WireError::RecordCut)?;
    let ttl_high = u16_at(message, fixed + 4).ok_or(WireError::RecordCut)?;
    let ttl_low = u16_at(message, fixed + 6).ok_or(WireError::RecordCut)?;
    let length = u16_at(message, fixed + 8).ok_or(WireError::RecordCut)?;
    let rdata = fixed + 10..fixed + 10 + usize::from(length);
    if rdata.end > message.len() {
        return Err(WireError::RecordCut);
    }
    Ok(RecordView {
        section,
        start,
        owner,
        rtype,
        class,
        ttl: u32::from(ttl_high) << 16 | u32::from(ttl_low),
        ttl_offset: fixed + 4,
        rdata,
        message,
    })
}

pub(super) fn u16_at(message: &[u8], offset: usize) -> Option<u16> {
    let bytes = message.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]))
}

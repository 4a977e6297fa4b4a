//! Raw DNS messages: read in place, changed in place, built small.
//!
//! What crosses this program is passed on byte for byte where that is possible (EDNS options,
//! DNSSEC bits and types that nobody knew when this was written stay intact), so messages are
//! looked at through [`View`] and never decoded and encoded again. Everything here takes bytes
//! from strangers: nothing panics, nothing loops, each failure has a name.

mod build;
mod chain;
mod edns;
mod join;
mod name;
mod svcb;
mod view;

pub use build::{
    QuestionFlags, discovery_question, error_reply, question, restore_case, set_id, truncate,
};
pub use chain::{ChainError, MAX_CHAIN_LINKS, answer_chain_ok};
pub use edns::{Edns, EdnsView, MAX_PAYLOAD_SIZE, PADDING_OPTION, pad, with_edns};
pub use join::join;
pub use name::{MAX_NAME_BYTES, MAX_POINTERS, NameView};
pub use svcb::{Svcb, SvcbError};
pub use view::{Counts, Flags, QuestionView, RecordView, Records, Section, View};

/// Length of the fixed header in bytes (RFC 1035 §4.1.1).
pub const HEADER_BYTES: usize = 12;

/// The longest message there is: the length prefix of TCP has 16 bits (RFC 1035 §4.2.2).
pub const MAX_MESSAGE_BYTES: usize = 65_535;

/// Numbers of the record types that this module has to know.
mod rtype {
    pub(super) const NS: u16 = 2;
    pub(super) const CNAME: u16 = 5;
    pub(super) const SOA: u16 = 6;
    pub(super) const PTR: u16 = 12;
    pub(super) const SIG: u16 = 24;
    pub(super) const DNAME: u16 = 39;
    pub(super) const OPT: u16 = 41;
    pub(super) const RRSIG: u16 = 46;
    pub(super) const TSIG: u16 = 250;
    pub(super) const ANY: u16 = 255;
}

/// Why bytes are not a DNS message that can be worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Fewer bytes than a header.
    #[error("shorter than a DNS header")]
    TooShort,
    /// More than 65,535 bytes, or no room left for what was to be added.
    #[error("longer than a DNS message can be")]
    TooLong,
    /// A name runs past the end of the message.
    #[error("a name runs past the end of the message")]
    NameCut,
    /// A name is longer than 255 bytes (RFC 1035 §2.3.4).
    #[error("a name is longer than 255 bytes")]
    NameTooLong,
    /// A label starts with the reserved bits 01 or 10.
    #[error("a label of an unknown kind")]
    LabelKind,
    /// A compression pointer that does not point backwards, points into the header, or one too many.
    #[error("a compression pointer that does not lead back to a name")]
    Pointer,
    /// There is no question.
    #[error("there is no question")]
    NoQuestion,
    /// More than one question (RFC 9619).
    #[error("more than one question")]
    ManyQuestions,
    /// The question ends before its type and class.
    #[error("the question is cut short")]
    QuestionCut,
    /// A record's header or data runs past the end of the message.
    #[error("a record runs past the end of the message")]
    RecordCut,
    /// Bytes follow the last record that the header counts.
    #[error("bytes after the last record")]
    TrailingBytes,
    /// More than one OPT record (RFC 6891 §6.1.1).
    #[error("more than one OPT record")]
    OptTwice,
    /// An OPT record outside of the additional section.
    #[error("an OPT record outside of the additional section")]
    OptMisplaced,
    /// An OPT record whose owner is not the root (RFC 6891 §6.1.2).
    #[error("an OPT record that is not at the root")]
    OptOwner,
    /// An EDNS option whose length runs past the OPT record.
    #[error("an EDNS option runs past its record")]
    OptionCut,
    /// The last record signs the message (TSIG, SIG(0)): it cannot be changed.
    #[error("the message is signed and cannot be changed")]
    Signed,
}

/// Whether `response` answers `query`: QR, id, opcode and question match, the question's letters
/// compared without case (RFC 5452 §9.1).
#[must_use]
pub fn answers(query: &View<'_>, response: &View<'_>) -> bool {
    header_answers(query, response)
        && match (query.question(), response.question()) {
            (Some(asked), Some(echoed)) => asked.eq_ignore_case(&echoed),
            _ => false,
        }
}

/// As [`answers`], with the letters of the question compared exactly: for questions sent with
/// random letter case.
#[must_use]
pub fn answers_exactly(query: &View<'_>, response: &View<'_>) -> bool {
    header_answers(query, response)
        && match (query.question(), response.question()) {
            (Some(asked), Some(echoed)) => asked.eq_exact(&echoed),
            _ => false,
        }
}

fn header_answers(query: &View<'_>, response: &View<'_>) -> bool {
    !query.is_response()
        && response.is_response()
        && query.id() == response.id()
        && query.opcode() == response.opcode()
}

#[cfg(test)]
mod tests;

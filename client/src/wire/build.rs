//! Messages made here: questions, refusals, truncated answers; and small changes in place.

use hickory_proto::rr::{Name, RecordType};

use super::edns::{EXTENDED_ERROR_OPTION, locate_opt, write_u16};
use super::view::{Flags, QuestionView, View, u16_at};
use super::{Edns, HEADER_BYTES, MAX_PAYLOAD_SIZE, WireError, rtype};

/// Class IN.
const CLASS_IN: u16 = 1;

/// The flags of a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuestionFlags {
    /// RD.
    pub rd: bool,
    /// CD.
    pub cd: bool,
    /// AD: the asker understands AD in the answer (RFC 6840 §5.7).
    pub ad: bool,
}

/// A query with one question of class IN.
#[must_use]
pub fn question(
    id: u16,
    name: &Name,
    qtype: RecordType,
    flags: QuestionFlags,
    edns: Option<&Edns>,
) -> Vec<u8> {
    let mut word = 0;
    for (set, mask) in [
        (flags.rd, Flags::RECURSION_DESIRED),
        (flags.cd, Flags::CHECKING_DISABLED),
        (flags.ad, Flags::AUTHENTIC_DATA),
    ] {
        if set {
            word |= mask;
        }
    }
    let mut message = header(id, word, 1);
    for label in name.iter() {
        // The type `Name` holds labels of at the most 63 bytes.
        message.push(label.len() as u8);
        message.extend_from_slice(label);
    }
    message.push(0);
    message.extend_from_slice(&u16::from(qtype).to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    if let Some(edns) = edns {
        append_opt(&mut message, edns);
    }
    message
}

/// The refusal to `query`: its header and question echoed with `rcode` (up to 4095) and, where
/// the query had an OPT record, one that carries the upper bits and `ede` (RFC 8914 info-code and
/// text). None where nothing may be answered: too short for a header, or itself a response.
#[must_use]
pub fn error_reply(query: &[u8], rcode: u16, ede: Option<(u16, &str)>) -> Option<Vec<u8>> {
    let id = u16_at(query, 0)?;
    let asked = u16_at(query, 2)?;
    if query.len() < HEADER_BYTES || Flags(asked).has(Flags::RESPONSE) {
        return None;
    }
    let echoed = Flags::OPCODE | Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED;
    let word = asked & echoed | Flags::RESPONSE | Flags::RECURSION_AVAILABLE | rcode & Flags::RCODE;
    let Ok(view) = View::parse(query) else {
        return Some(header(id, word, 0));
    };
    let mut reply = header(id, word, u16::from(view.question().is_some()));
    reply.extend_from_slice(query.get(HEADER_BYTES..view.records_start())?);
    // A broken OPT record still says that the asker speaks EDNS.
    let opt = view
        .records()
        .map_while(Result::ok)
        .find(|record| record.rtype == rtype::OPT);
    if let Some(opt) = opt {
        let mut edns = Edns::plain(opt.ttl & 0x8000 != 0);
        edns.extended_rcode = (rcode >> 4) as u8;
        if let Some((code, text)) = ede {
            let mut content = code.to_be_bytes().to_vec();
            content.extend_from_slice(text.as_bytes());
            content.truncate(usize::from(MAX_PAYLOAD_SIZE) / 2);
            edns.options.push((EXTENDED_ERROR_OPTION, content));
        }
        append_opt(&mut reply, &edns);
    }
    Some(reply)
}

/// What of `response` fits into `limit` bytes of UDP: all of it when it does; else header,
/// question and OPT record with TC set (RFC 2181 §9), the OPT record bare where its options are
/// too long.
#[must_use]
pub fn truncate(response: &[u8], limit: usize) -> Vec<u8> {
    if response.len() <= limit {
        return response.to_vec();
    }
    let id = u16_at(response, 0).unwrap_or_default();
    let word = u16_at(response, 2).unwrap_or_default() | Flags::TRUNCATED;
    let Ok(view) = View::parse(response) else {
        return header(id, word, 0);
    };
    let mut cut = header(id, word, u16::from(view.question().is_some()));
    cut.extend_from_slice(
        response
            .get(HEADER_BYTES..view.records_start())
            .unwrap_or_default(),
    );
    if let Ok(Some(opt)) = locate_opt(&view) {
        let whole = response.get(opt.start..opt.end()).unwrap_or_default();
        let mut record = whole.to_vec();
        if cut.len() + record.len() > limit {
            record.truncate(9);
            record.extend_from_slice(&[0, 0]);
        }
        cut.extend_from_slice(&record);
        write_u16(&mut cut, 10, 1);
    }
    cut
}

/// A question about a resolver's island. DO so that signatures come along; CD so that a validating server on the way, which
/// does not know the island's anchor, does not stand in it; RD since only such questions are passed on.
#[must_use]
pub fn discovery_question(id: u16, name: &Name, qtype: RecordType) -> Vec<u8> {
    let flags = QuestionFlags {
        rd: true,
        cd: true,
        ad: false,
    };
    question(id, name, qtype, flags, Some(&Edns::plain(true)))
}

/// Writes `id` over the message's own; nothing where there is no header.
pub fn set_id(message: &mut [u8], id: u16) {
    write_u16(message, 0, id);
}

/// Gives the question of `response` the letters in which `asked` came. True when the questions
/// are the same but for the case of letters, which is when it was done.
pub fn restore_case(response: &mut [u8], asked: &QuestionView<'_>) -> bool {
    let same = View::parse(response)
        .ok()
        .and_then(|view| view.question())
        .is_some_and(|echoed| echoed.eq_ignore_case(asked));
    if same && let Some(slot) = response.get_mut(HEADER_BYTES..HEADER_BYTES + asked.wire_name.len())
    {
        slot.copy_from_slice(asked.wire_name);
    }
    same
}

fn header(id: u16, word: u16, questions: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(128);
    for field in [id, word, questions, 0, 0, 0] {
        message.extend_from_slice(&field.to_be_bytes());
    }
    message
}

/// Appends the first additional record of a message made here.
fn append_opt(message: &mut Vec<u8>, edns: &Edns) {
    let before = message.len();
    match edns.emit(message) {
        Ok(()) => write_u16(message, 10, 1),
        // Options longer than any message: go without.
        Err(WireError::TooLong) | Err(_) => message.truncate(before),
    }
}

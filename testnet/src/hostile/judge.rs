//! Is this a right answer to what was sent, however broken that was?

use std::fmt;

use thiserror::Error;

use super::{
    truth::{Question, Truth, rtype},
    wire::{Response, read_question, word},
};

/// The longest answer over UDP (docs/protocol.md, DoT service and sizes).
const MAX_UDP_BYTES: usize = 1232;
/// The longest answer over UDP to somebody who does not speak EDNS (RFC 1035 §4.2.1).
const MAX_PLAIN_UDP_BYTES: usize = 512;
const QR: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TC: u16 = 0x0200;
const NOERROR: u16 = 0;
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
/// What may be said: RFC 1035 §4.1.1, NOTAUTH, BADVERS and BADCOOKIE.
const RCODES: [u16; 9] = [NOERROR, 1, SERVFAIL, NXDOMAIN, 4, 5, 9, 16, 23];

/// How a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// Two bytes of length in front of it.
    Tcp,
    /// The same inside TLS.
    Tls,
}

/// A response that should not have been.
#[derive(Debug, Error)]
#[error("{offence}\n    sent     {}\n    received {}", Hex(.sent), Hex(.received))]
pub struct Wrong {
    /// What is wrong with it.
    pub offence: Offence,
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// What can be wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Offence {
    /// Nothing was sent under its id.
    #[error("a response to nothing")]
    Unasked,
    /// Responses and scraps must not be answered: two servers would never stop.
    #[error("a response to what must not be answered")]
    Unanswerable,
    /// It does not parse.
    #[error("a response that is not a DNS message")]
    Malformed,
    /// QR is clear.
    #[error("a response that says it is a query")]
    NotAResponse,
    /// Another opcode.
    #[error("a response to another opcode")]
    Opcode,
    /// Longer than the asker can take.
    #[error("a response that is too long for the transport")]
    TooLong,
    /// Another question.
    #[error("a response to another question")]
    OtherQuestion,
    /// An OPT record for somebody who sent none (RFC 6891 §6.1.1).
    #[error("an OPT record that was not asked for")]
    UnaskedOpt,
    /// A response code that has no place here.
    #[error("a response code that has no place here: {0}")]
    Rcode(u16),
    /// Answers beside an error, or without a question.
    #[error("answers beside an error")]
    AnswersBesideError,
    /// Not what the zone holds.
    #[error("not what the zone holds")]
    Untrue,
    /// A sound question about the zone was refused.
    #[error("a sound question was refused: {0}")]
    Refused(u16),
}

/// What a right response was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The response code, all twelve bits.
    pub rcode: u16,
    /// It has to be asked for over TCP.
    pub truncated: bool,
}

/// Judges what came back for `sent`, whatever that was.
///
/// # Errors
/// What is wrong with it.
pub fn judge(sent: &[u8], received: &[u8], transport: Transport) -> Result<Judged, Wrong> {
    judge_parts(sent, received, transport).map_err(|offence| Wrong::new(offence, sent, received))
}

/// Judges what came back for `query`, made of `question`: nothing but the truth will do.
///
/// # Errors
/// What is wrong with it.
pub fn judge_good(
    question: &Question,
    query: &[u8],
    received: &[u8],
    transport: Transport,
) -> Result<Judged, Wrong> {
    let judged = judge(query, received, transport)?;
    let expected = match question.truth() {
        Some(Truth::NoName) => NXDOMAIN,
        Some(Truth::Silence) => SERVFAIL,
        Some(Truth::Records(_) | Truth::NoData) | None => NOERROR,
    };
    if judged.rcode == expected {
        Ok(judged)
    } else {
        Err(Wrong::new(Offence::Refused(judged.rcode), query, received))
    }
}

/// Whether `received` is nothing but an error code as far as its header tells.
#[must_use]
pub fn as_error(received: &[u8]) -> Option<Judged> {
    let flags = word(received, 2)?;
    let rcode = flags & 0x0f;
    let is_error = flags & QR != 0 && rcode != NOERROR && rcode != NXDOMAIN;
    is_error.then_some(Judged {
        rcode,
        truncated: false,
    })
}

impl Wrong {
    /// `received` came back for `sent`.
    #[must_use]
    pub fn new(offence: Offence, sent: &[u8], received: &[u8]) -> Self {
        Self {
            offence,
            sent: sent.to_vec(),
            received: received.to_vec(),
        }
    }
}

fn judge_parts(sent: &[u8], received: &[u8], transport: Transport) -> Result<Judged, Offence> {
    let sent_flags = word(sent, 2).unwrap_or(QR);
    if sent.len() < 12 || sent_flags & QR != 0 {
        return Err(Offence::Unanswerable);
    }
    let response = Response::read(received).ok_or(Offence::Malformed)?;
    if word(sent, 0) != word(received, 0) {
        return Err(Offence::Unasked);
    }
    if response.flags & QR == 0 {
        return Err(Offence::NotAResponse);
    }
    if (response.flags ^ sent_flags) & OPCODE != 0 {
        return Err(Offence::Opcode);
    }
    // Without the bytes of its type there is no OPT record, sound or broken.
    let edns = sent[12..]
        .windows(2)
        .any(|bytes| bytes == rtype::OPT.to_be_bytes());
    if response.has_opt && !edns {
        return Err(Offence::UnaskedOpt);
    }
    let limit = match (transport, edns) {
        (Transport::Udp, true) => MAX_UDP_BYTES,
        (Transport::Udp, false) => MAX_PLAIN_UDP_BYTES,
        _ => usize::from(u16::MAX),
    };
    if received.len() > limit {
        return Err(Offence::TooLong);
    }
    let rcode = response.rcode();
    if !RCODES.contains(&rcode) {
        return Err(Offence::Rcode(rcode));
    }
    judge_content(sent, &response)?;
    Ok(Judged {
        rcode,
        truncated: response.flags & TC != 0,
    })
}

fn judge_content(sent: &[u8], response: &Response) -> Result<(), Offence> {
    let Some(echoed) = &response.question else {
        return if response.answers.is_empty() {
            Ok(())
        } else {
            Err(Offence::AnswersBesideError)
        };
    };
    let mut end = 12;
    let asked = read_question(sent, &mut end);
    if asked.as_ref() != Some(echoed) {
        return Err(Offence::OtherQuestion);
    }
    let rcode = response.rcode();
    if rcode != NOERROR && !response.answers.is_empty() {
        return Err(Offence::AnswersBesideError);
    }
    if !matches!(rcode, NOERROR | NXDOMAIN) {
        return Ok(());
    }
    let question = Question {
        name: echoed.name.clone(),
        rtype: echoed.rtype,
    };
    let standard = response.flags & OPCODE == 0 && echoed.class == 1;
    let cut = response.flags & TC != 0;
    match question.truth() {
        None => Ok(()),
        // Other classes hold nothing at all.
        Some(_) if !standard && response.answers.is_empty() => Ok(()),
        Some(_) if !standard => Err(Offence::Untrue),
        Some(_) if cut && rcode == NOERROR && response.answers.is_empty() => Ok(()),
        Some(truth) if matches(&truth, &question, response) => Ok(()),
        Some(_) => Err(Offence::Untrue),
    }
}

fn matches(truth: &Truth, question: &Question, response: &Response) -> bool {
    let expected = match truth {
        Truth::Records(records) => records.as_slice(),
        Truth::NoData => &[],
        Truth::NoName => return response.rcode() == NXDOMAIN,
        Truth::Silence => return false,
    };
    let mut data: Vec<_> = response.answers.iter().map(|record| &record.data).collect();
    data.sort();
    let mut expected: Vec<_> = expected.iter().collect();
    expected.sort();
    let owned = response.answers.iter().all(|record| {
        record.owner.eq_ignore_ascii_case(&question.name)
            && record.rtype == question.rtype
            && record.class == 1
    });
    response.rcode() == NOERROR && owned && data == expected
}

/// Bytes to read in a failure; long ones are cut.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(160) {
            write!(f, "{byte:02x}")?;
        }
        write!(f, " ({} bytes)", self.0.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked() -> (Question, Vec<u8>) {
        let question = Question::new("w1.truth.example", rtype::A);
        let query = question.query(77);
        (question, query)
    }

    /// The right answer, as a zone's server would write it.
    fn right() -> Vec<u8> {
        let (question, query) = asked();
        super::super::upstream::answer(&query).unwrap_or_else(|| panic!("{question:?}"))
    }

    fn offence(query: &[u8], received: &[u8]) -> Offence {
        let question = asked().0;
        judge_good(&question, query, received, Transport::Udp)
            .unwrap_err()
            .offence
    }

    #[test]
    fn the_right_answer_passes() {
        let (question, query) = asked();
        judge_good(&question, &query, &right(), Transport::Udp).unwrap();
    }

    #[test]
    fn each_single_changed_bit_of_the_right_answer_is_seen_where_it_means_something() {
        let (question, query) = asked();
        let right = right();
        let ttl = right.len() - 10..right.len() - 6;
        for bit in 0..right.len() * 8 {
            let mut wrong = right.clone();
            wrong[bit / 8] ^= 0x80 >> (bit % 8);
            let judged = judge_good(&question, &query, &wrong, Transport::Udp);
            // AA, TC, RD, RA, Z, AD and CD are the sender's to choose, as is the time to live.
            let free = matches!(bit, 21..=27) || ttl.contains(&(bit / 8));
            // The owner's pointer may lead into the same name in other ways only if letters differ in case.
            assert!(judged.is_err() || free, "bit {bit}: {judged:?}");
        }
    }

    #[test]
    fn an_altered_truth_is_a_wrong_answer() {
        let (_, query) = asked();
        let other = Question::new("w2.truth.example", rtype::A).query(77);
        let mut swapped = right();
        let at = swapped.len() - 4;
        swapped.splice(
            at..,
            super::super::upstream::answer(&other).unwrap()[at..].to_vec(),
        );
        assert_eq!(offence(&query, &swapped), Offence::Untrue);
        let mut emptied = right()[..at - 12].to_vec();
        emptied[7] = 0;
        assert_eq!(offence(&query, &emptied), Offence::Untrue);
    }

    #[test]
    fn refusals_of_a_good_question_and_answers_to_scraps_are_offences() {
        let (_, query) = asked();
        let mut refused = query.clone();
        refused[2] |= 0x80;
        refused[3] = 5;
        assert_eq!(offence(&query, &refused), Offence::Refused(5));
        assert_eq!(offence(&query[..11], &right()), Offence::Unanswerable);
        assert_eq!(offence(&right(), &right()), Offence::Unanswerable);
        let mut swollen = right();
        swollen.extend_from_slice(&[0]);
        assert_eq!(offence(&query, &swollen), Offence::Malformed);
    }
}

//! What belongs to one hop only: padding, keepalive and cookies are between two neighbours, so
//! they are taken off a question and put back on as this hop needs them; and the same backwards.

use std::time::Duration;

use crate::wire::{self, Edns, EdnsView, MAX_MESSAGE_BYTES, View, WireError};

use super::DotError;

const COOKIE_OPTION: u16 = 10;
const KEEPALIVE_OPTION: u16 = 11;
/// The unit of edns-tcp-keepalive (RFC 7828 §3.1).
const KEEPALIVE_UNIT: Duration = Duration::from_millis(100);
const SERVFAIL: u8 = 2;
const OPT: u16 = 41;
/// Owner, type, class, TTL and length of an OPT record; its TTL and its length in it; code and
/// length of an option.
const OPT_FIXED_BYTES: usize = 11;
const OPT_TTL: usize = 5;
const OPT_LENGTH: usize = 9;
const OPTION_FIXED_BYTES: usize = 4;
const ADDITIONALS: usize = 10;
const DNSSEC_OK: u32 = 0x8000;

/// A question as it is sent, and how to undo what was done to it.
#[derive(Debug)]
pub(super) struct Outbound {
    message: Vec<u8>,
    asked_id: u16,
    asked_with_edns: bool,
}

/// An answer as it is passed on, and what it says to this hop.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inbound {
    pub(super) message: Vec<u8>,
    /// How long the server keeps an idle connection, where it said so.
    pub(super) keepalive: Option<Duration>,
}

/// The same, of an answer that was changed where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Restored {
    /// How many bytes are left of it.
    pub(super) length: usize,
    /// How long the server keeps an idle connection, where it said so.
    pub(super) keepalive: Option<Duration>,
}

impl Outbound {
    /// Makes `query` ready for an encrypted hop: padded, asking for keepalive.
    pub(super) fn new(query: &[u8], padding: usize) -> Result<Self, DotError> {
        let mut message = Vec::new();
        let (asked_id, asked_with_edns) = push_outbound(query, padding, &mut message)?;
        Ok(Self {
            message,
            asked_id,
            asked_with_edns,
        })
    }

    /// The message to send, whose id is still the asker's.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Gives `answer` the asker's id and takes off what was for this hop.
    pub(super) fn restore(&self, mut answer: Vec<u8>) -> Result<Inbound, WireError> {
        let restored = restore(self.asked_id, self.asked_with_edns, &mut answer)?;
        answer.truncate(restored.length);
        Ok(Inbound {
            message: answer,
            keepalive: restored.keepalive,
        })
    }
}

/// Appends `query` to `into` as it goes over an encrypted hop: padded, asking for keepalive. Tells
/// its id, and whether it came with EDNS. Appends nothing when it fails; allocates nothing where
/// `into` has room and the OPT record, if there is one, stands last.
pub(super) fn push_outbound(
    query: &[u8],
    padding: usize,
    into: &mut Vec<u8>,
) -> Result<(u16, bool), DotError> {
    let view = View::parse(query).map_err(DotError::NotAQuery)?;
    if view.is_response() || view.question().is_none() {
        return Err(DotError::NoQuestion);
    }
    let tail = view.tail().map_err(DotError::NotAQuery)?;
    let asked = (view.id(), tail.edns.is_some());
    if tail.signed {
        // By the asker (TSIG): it goes as it is or not at all.
        into.extend_from_slice(query);
    } else if tail.is_plain() {
        let (body, _) = query.split_at(tail.opt.start);
        push_padded(body, tail.edns.as_ref(), padding, into).map_err(DotError::NotAQuery)?;
    } else {
        let message = rebuilt(query, tail.edns.as_ref(), padding).map_err(DotError::NotAQuery)?;
        into.extend_from_slice(&message);
    }
    Ok(asked)
}

/// Appends `body`, which ends where the OPT record belongs, and that record.
fn push_padded(
    body: &[u8],
    edns: Option<&EdnsView<'_>>,
    padding: usize,
    into: &mut Vec<u8>,
) -> Result<(), WireError> {
    let kept = edns.into_iter().flat_map(EdnsView::options);
    let kept = kept.filter(|(code, _)| !is_hop_by_hop(*code));
    let kept_bytes: usize = kept
        .clone()
        .map(|(_, content)| OPTION_FIXED_BYTES + content.len())
        .sum();
    let options = kept_bytes + 2 * OPTION_FIXED_BYTES;
    let unpadded = body.len() + OPT_FIXED_BYTES + options;
    let target = unpadded
        .checked_next_multiple_of(padding.max(1))
        .unwrap_or(unpadded)
        .min(MAX_MESSAGE_BYTES);
    let zeros = target.checked_sub(unpadded).ok_or(WireError::TooLong)?;
    let start = into.len();
    into.extend_from_slice(body);
    if edns.is_none() {
        let count = word(body, ADDITIONALS);
        let more = count.checked_add(1).ok_or(WireError::TooLong);
        let more = more.inspect_err(|_| into.truncate(start))?;
        set_word(into, start + ADDITIONALS, more);
    }
    let ttl = edns.map_or(0, opt_ttl);
    into.push(0);
    push_word(OPT, into);
    push_word(wire::MAX_PAYLOAD_SIZE, into);
    into.extend_from_slice(&ttl.to_be_bytes());
    // No longer than the longest message, and so each fits into 16 bits.
    push_word((options + zeros) as u16, into);
    for (code, content) in kept {
        push_word(code, into);
        push_word(content.len() as u16, into);
        into.extend_from_slice(content);
    }
    push_word(KEEPALIVE_OPTION, into);
    push_word(0, into);
    push_word(wire::PADDING_OPTION, into);
    push_word(zeros as u16, into);
    into.resize(start + target, 0);
    Ok(())
}

/// The same for a query whose OPT record is followed by others.
fn rebuilt(
    query: &[u8],
    edns: Option<&EdnsView<'_>>,
    padding: usize,
) -> Result<Vec<u8>, WireError> {
    let mut edns = edns.map_or_else(|| Edns::plain(false), EdnsView::to_edns);
    edns.payload_size = wire::MAX_PAYLOAD_SIZE;
    edns.options.retain(|(code, _)| !is_hop_by_hop(*code));
    edns.options.push((KEEPALIVE_OPTION, Vec::new()));
    let mut message = wire::with_edns(query, Some(&edns))?;
    wire::pad(&mut message, padding)?;
    Ok(message)
}

/// Gives `answer` the asker's id and takes off, where it stands, what was for this hop. Allocates
/// nothing where the OPT record, if there is one, stands last. On an error only the id was changed.
pub(super) fn restore(
    asked_id: u16,
    asked_with_edns: bool,
    answer: &mut [u8],
) -> Result<Restored, WireError> {
    wire::set_id(answer, asked_id);
    let whole = answer.len();
    let view = View::parse(answer)?;
    let tail = view.tail()?;
    let Some(edns) = tail.edns else {
        let (length, keepalive) = (whole, None);
        return Ok(Restored { length, keepalive });
    };
    let keepalive = edns.option(KEEPALIVE_OPTION).and_then(keepalive);
    let in_place = tail.is_plain();
    let (opt, additionals) = (tail.opt.clone(), view.counts().additionals);
    let length = if asked_with_edns {
        if !edns.options().any(|(code, _)| is_hop_by_hop(code)) {
            whole
        } else if in_place {
            let ttl = opt_ttl(&edns);
            without_hop_options_in_place(answer, opt.start, opt.end, ttl)
        } else {
            let mut kept = edns.to_edns();
            kept.options.retain(|(code, _)| !is_hop_by_hop(*code));
            let kept = unless_signed(answer, Some(&kept))?;
            replace(answer, &kept)
        }
    } else {
        let extended = edns.extended_rcode != 0;
        let length = if in_place {
            set_word(answer, ADDITIONALS, additionals.saturating_sub(1));
            opt.start
        } else {
            let bare = unless_signed(answer, None)?;
            replace(answer, &bare)
        };
        // Twelve bits of response code do not fit without OPT (RFC 6891 §6.1.3).
        if extended && let Some(byte) = answer.get_mut(3) {
            *byte = *byte & 0xF0 | SERVFAIL;
        }
        length
    };
    Ok(Restored { length, keepalive })
}

/// Moves the options that stay together; the new end of the message.
fn without_hop_options_in_place(answer: &mut [u8], start: usize, end: usize, ttl: u32) -> usize {
    if let Some(slot) = answer.get_mut(start + OPT_TTL..start + OPT_LENGTH) {
        slot.copy_from_slice(&ttl.to_be_bytes());
    }
    let first = start + OPT_FIXED_BYTES;
    let (mut from, mut to) = (first, first);
    while from + OPTION_FIXED_BYTES <= end {
        let (code, length) = (word(answer, from), word(answer, from + 2));
        let next = from + OPTION_FIXED_BYTES + usize::from(length);
        if !is_hop_by_hop(code) {
            answer.copy_within(from..next.min(end), to);
            to += next.min(end) - from;
        }
        from = next;
    }
    set_word(answer, start + OPT_LENGTH, (to - first) as u16);
    to
}

/// What is left of a message when something was taken out is never longer than it was.
fn replace(answer: &mut [u8], by: &[u8]) -> usize {
    let length = by.len().min(answer.len());
    let (front, by) = (answer.get_mut(..length), by.get(..length));
    if let (Some(front), Some(by)) = (front, by) {
        front.copy_from_slice(by);
    }
    length
}

/// As it is made anew: version 0, and no flag but DO.
fn opt_ttl(edns: &EdnsView<'_>) -> u32 {
    let flags = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
    u32::from(edns.extended_rcode) << 24 | flags
}

fn word(message: &[u8], at: usize) -> u16 {
    let bytes = message.get(at..at + 2).and_then(<[u8]>::first_chunk);
    bytes.copied().map_or(0, u16::from_be_bytes)
}

fn set_word(message: &mut [u8], at: usize, value: u16) {
    if let Some(slot) = message.get_mut(at..at + 2) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
}

fn push_word(value: u16, into: &mut Vec<u8>) {
    into.extend_from_slice(&value.to_be_bytes());
}

/// `message` without what belongs to one hop only, for a hop in cleartext; untouched where there is
/// nothing to take off.
///
/// # Errors
/// When its records or its options cannot be read.
pub fn without_hop_options(message: &[u8]) -> Result<Vec<u8>, WireError> {
    let Some(edns) = View::parse(message)?.edns()? else {
        return Ok(message.to_vec());
    };
    if !edns.options().any(|(code, _)| is_hop_by_hop(code)) {
        return Ok(message.to_vec());
    }
    let mut kept = edns.to_edns();
    kept.options.retain(|(code, _)| !is_hop_by_hop(*code));
    unless_signed(message, Some(&kept))
}

fn unless_signed(answer: &[u8], edns: Option<&Edns>) -> Result<Vec<u8>, WireError> {
    match wire::with_edns(answer, edns) {
        Err(WireError::Signed) => Ok(answer.to_vec()),
        other => other,
    }
}

/// Whether an EDNS option is between two neighbours.
pub(crate) fn is_hop_by_hop(code: u16) -> bool {
    matches!(
        code,
        COOKIE_OPTION | KEEPALIVE_OPTION | wire::PADDING_OPTION
    )
}

fn keepalive(content: &[u8]) -> Option<Duration> {
    let units = u16::from_be_bytes(content.try_into().ok()?);
    Some(KEEPALIVE_UNIT * u32::from(units))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wire::{QuestionFlags, question};
    use hickory_proto::rr::{Name, RecordType};
    use std::str::FromStr;

    const CLIENT_SUBNET: u16 = 8;

    fn query(edns: Option<&Edns>) -> Vec<u8> {
        let name = Name::from_str("wWw.Example.").unwrap();
        question(77, &name, RecordType::A, QuestionFlags::default(), edns)
    }

    fn with_options(options: &[(u16, &[u8])]) -> Edns {
        let mut edns = Edns::plain(true);
        edns.options = options
            .iter()
            .map(|(code, content)| (*code, content.to_vec()))
            .collect();
        edns
    }

    fn answer(edns: Option<&Edns>) -> Vec<u8> {
        let mut answer = query(edns);
        answer[2] |= 0x80;
        answer
    }

    #[test]
    fn questions_are_padded_and_keep_what_is_end_to_end() {
        let asked = with_options(&[
            (COOKIE_OPTION, &[1; 8]),
            (CLIENT_SUBNET, &[0, 1, 0, 0]),
            (wire::PADDING_OPTION, &[0; 3]),
            (65_001, b"unknown"),
        ]);
        let outbound = Outbound::new(&query(Some(&asked)), 128).unwrap();
        assert_eq!(outbound.message().len() % 128, 0);
        let view = View::parse(outbound.message()).unwrap();
        let edns = view.edns().unwrap().unwrap();
        assert!(edns.dnssec_ok);
        let codes: Vec<u16> = edns.options().map(|(code, _)| code).collect();
        assert_eq!(
            codes,
            [
                CLIENT_SUBNET,
                65_001,
                KEEPALIVE_OPTION,
                wire::PADDING_OPTION
            ]
        );
    }

    #[test]
    fn an_asker_without_edns_gets_an_answer_without_edns() {
        let outbound = Outbound::new(&query(None), 128).unwrap();
        assert_eq!(outbound.message().len(), 128);
        let served = with_options(&[
            (KEEPALIVE_OPTION, &[1, 44]),
            (wire::PADDING_OPTION, &[0; 99]),
        ]);
        let inbound = outbound.restore(answer(Some(&served))).unwrap();
        assert_eq!(inbound.message, answer(None));
        assert_eq!(inbound.keepalive, Some(Duration::from_secs(30)));
    }

    #[test]
    fn an_answer_keeps_its_own_options_and_loses_those_of_the_hop() {
        let outbound = Outbound::new(&query(Some(&Edns::plain(true))), 128).unwrap();
        let served = with_options(&[
            (15, &[0, 22]),
            (COOKIE_OPTION, &[2; 16]),
            (wire::PADDING_OPTION, &[0; 9]),
        ]);
        let inbound = outbound.restore(answer(Some(&served))).unwrap();
        assert_eq!(
            inbound.message,
            answer(Some(&with_options(&[(15, &[0, 22])])))
        );
        let clean = answer(Some(&with_options(&[(15, &[0, 22])])));
        assert_eq!(outbound.restore(clean.clone()).unwrap().message, clean);
    }

    #[test]
    fn a_code_that_needs_edns_becomes_a_failure_without_it() {
        let outbound = Outbound::new(&query(None), 128).unwrap();
        let mut served = Edns::plain(false);
        served.extended_rcode = 1;
        let inbound = outbound.restore(answer(Some(&served))).unwrap();
        assert_eq!(
            View::parse(&inbound.message).unwrap().rcode(),
            u16::from(SERVFAIL)
        );
    }

    #[test]
    fn a_keepalive_of_the_wrong_length_is_no_keepalive() {
        let outbound = Outbound::new(&query(None), 128).unwrap();
        let served = with_options(&[(KEEPALIVE_OPTION, &[1])]);
        assert_eq!(
            outbound.restore(answer(Some(&served))).unwrap().keepalive,
            None
        );
    }

    #[test]
    fn what_is_no_question_is_refused() {
        assert!(matches!(
            Outbound::new(&answer(None), 128),
            Err(DotError::NoQuestion)
        ));
        assert!(matches!(
            Outbound::new(&[0; 5], 128),
            Err(DotError::NotAQuery(_))
        ));
    }

    /// A message with some options of its own, hop by hop and not.
    fn any_edns() -> impl proptest::strategy::Strategy<Value = Option<Edns>> {
        use proptest::prelude::*;
        let content = proptest::collection::vec(any::<u8>(), 0..20);
        let code = prop_oneof![
            Just(COOKIE_OPTION),
            Just(KEEPALIVE_OPTION),
            Just(12),
            Just(15),
            any::<u16>()
        ];
        let options = proptest::collection::vec((code, content), 0..5);
        let edns = (any::<u16>(), any::<bool>(), any::<u8>(), options);
        proptest::option::of(
            edns.prop_map(|(payload_size, dnssec_ok, extended_rcode, options)| Edns {
                payload_size,
                dnssec_ok,
                extended_rcode,
                options,
            }),
        )
    }

    proptest::proptest! {
        #[test]
        fn a_message_changed_in_place_is_the_one_that_is_built_anew(
            asked in any_edns(),
            served in any_edns(),
            padding in 0..300_usize,
        ) {
            let query = query(asked.as_ref());
            let asked = View::parse(&query).unwrap().edns().unwrap();
            let mut pushed = b"before".to_vec();
            push_outbound(&query, padding, &mut pushed).unwrap();
            assert_eq!(pushed[6..], rebuilt(&query, asked.as_ref(), padding).unwrap());

            let answer = answer(served.as_ref());
            let kept = served.map(|mut edns| {
                edns.options.retain(|(code, _)| !is_hop_by_hop(*code));
                edns
            });
            for with_edns in [false, true] {
                let mut expected = wire::with_edns(&answer, kept.as_ref().filter(|_| with_edns)).unwrap();
                let extended = kept.as_ref().is_some_and(|edns| edns.extended_rcode != 0);
                if extended && !with_edns {
                    expected[3] = expected[3] & 0xF0 | SERVFAIL;
                }
                let mut restored = answer.clone();
                let length = restore(77, with_edns, &mut restored).unwrap().length;
                assert_eq!(restored[..length], expected);
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(
            tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            counts in proptest::prelude::any::<[u8; 6]>(),
        ) {
            for edns in [None, Some(Edns::plain(true))] {
                let outbound = Outbound::new(&query(edns.as_ref()), 128).unwrap();
                let mut answer = answer(None);
                answer[6..12].copy_from_slice(&counts.map(|count| count % 3));
                answer.extend_from_slice(&tail);
                if let Ok(inbound) = outbound.restore(answer) {
                    assert_eq!(View::parse(&inbound.message).unwrap().id(), 77);
                }
            }
        }
    }
}

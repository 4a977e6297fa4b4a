//! What belongs to one hop only: padding, keepalive and cookies are between two neighbours, so
//! they are taken off a question and put back on as this hop needs them; and the same backwards.

use std::time::Duration;

use crate::wire::{self, Edns, View, WireError};

use super::DotError;

const COOKIE_OPTION: u16 = 10;
const KEEPALIVE_OPTION: u16 = 11;
/// The unit of edns-tcp-keepalive (RFC 7828 §3.1).
const KEEPALIVE_UNIT: Duration = Duration::from_millis(100);
const SERVFAIL: u8 = 2;

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

impl Outbound {
    /// Makes `query` ready for an encrypted hop: padded, asking for keepalive.
    pub(super) fn new(query: &[u8], padding: usize) -> Result<Self, DotError> {
        let view = View::parse(query).map_err(DotError::NotAQuery)?;
        if view.is_response() || view.question().is_none() {
            return Err(DotError::NoQuestion);
        }
        let asked = view.edns().map_err(DotError::NotAQuery)?;
        let mut edns = asked.map_or_else(|| Edns::plain(false), |asked| asked.to_edns());
        edns.payload_size = wire::MAX_PAYLOAD_SIZE;
        edns.options.retain(|(code, _)| !is_hop_by_hop(*code));
        edns.options.push((KEEPALIVE_OPTION, Vec::new()));
        let message = match wire::with_edns(query, Some(&edns)) {
            Ok(mut message) => {
                wire::pad(&mut message, padding).map_err(DotError::NotAQuery)?;
                message
            }
            // Signed by the asker (TSIG): it goes as it is or not at all.
            Err(WireError::Signed) => query.to_vec(),
            Err(error) => return Err(DotError::NotAQuery(error)),
        };
        Ok(Self {
            message,
            asked_id: view.id(),
            asked_with_edns: asked.is_some(),
        })
    }

    /// The message to send, whose id is still the asker's.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Gives `answer` the asker's id and takes off what was for this hop.
    pub(super) fn restore(&self, mut answer: Vec<u8>) -> Result<Inbound, WireError> {
        wire::set_id(&mut answer, self.asked_id);
        let view = View::parse(&answer)?;
        let edns = view.edns()?;
        let keepalive = edns.and_then(|edns| keepalive(edns.option(KEEPALIVE_OPTION)?));
        let message = match edns {
            None => answer,
            Some(edns) if self.asked_with_edns => {
                if edns.options().any(|(code, _)| is_hop_by_hop(code)) {
                    let mut kept = edns.to_edns();
                    kept.options.retain(|(code, _)| !is_hop_by_hop(*code));
                    unless_signed(&answer, Some(&kept))?
                } else {
                    answer
                }
            }
            Some(edns) => {
                let extended = edns.extended_rcode != 0;
                let mut bare = unless_signed(&answer, None)?;
                // Twelve bits of response code do not fit without OPT (RFC 6891 §6.1.3).
                if extended && let Some(byte) = bare.get_mut(3) {
                    *byte = *byte & 0xF0 | SERVFAIL;
                }
                bare
            }
        };
        Ok(Inbound { message, keepalive })
    }
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

fn is_hop_by_hop(code: u16) -> bool {
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

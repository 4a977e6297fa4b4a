//! Which messages are questions that can be passed on, and what the others are told.

use crate::wire::{self, View, WireError};

const FORMERR: u16 = 1;
const NOTIMP: u16 = 4;
const BADVERS: u16 = 16;
const OPCODE_QUERY: u8 = 0;
/// QR, in the third byte.
const RESPONSE_BIT: u8 = 0x80;
const QTYPE_IXFR: u16 = 251;
const QTYPE_AXFR: u16 = 252;
/// Smallest datagram that everybody takes (RFC 1035 §4.2.1), and the largest that is sent.
const UDP_BYTES_MIN: usize = 512;
const UDP_BYTES_MAX: usize = 4096;

/// What becomes of a message from an asker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Screened {
    /// A question: pass it on. Its asker takes datagrams of this many bytes.
    Pass { udp_bytes: usize },
    /// A bad question, and what its asker is told.
    Reply(Vec<u8>),
    /// Nothing that may be answered.
    Drop,
}

/// Judges a message from an asker.
pub(super) fn screen(message: &[u8]) -> Screened {
    if message.get(2).is_none_or(|byte| byte & RESPONSE_BIT != 0) {
        return Screened::Drop;
    }
    match judge(message) {
        Ok(udp_bytes) => Screened::Pass { udp_bytes },
        Err(rcode) => {
            wire::error_reply(message, rcode, None).map_or(Screened::Drop, Screened::Reply)
        }
    }
}

fn judge(message: &[u8]) -> Result<usize, u16> {
    // Other opcodes have other sections; nothing but the header may be looked at before this.
    let opcode = message.get(2).map_or(OPCODE_QUERY, |byte| byte >> 3 & 0x0F);
    if opcode != OPCODE_QUERY {
        return Err(NOTIMP);
    }
    let formerr = |_: WireError| FORMERR;
    let view = View::parse(message).map_err(formerr)?;
    let question = view.question().ok_or(FORMERR)?;
    view.check().map_err(formerr)?;
    let edns = view.edns().map_err(formerr)?;
    if edns.is_some_and(|edns| edns.version != 0) {
        return Err(BADVERS);
    }
    // A transfer is many messages under one id; nobody needs one through a stub.
    if matches!(question.qtype, QTYPE_AXFR | QTYPE_IXFR) {
        return Err(NOTIMP);
    }
    let asked = edns.map_or(0, |edns| usize::from(edns.payload_size));
    Ok(asked.clamp(UDP_BYTES_MIN, UDP_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wire::{Edns, QuestionFlags, question};
    use hickory_proto::rr::{Name, RecordType};
    use std::str::FromStr;

    fn query(qtype: RecordType, edns: Option<&Edns>) -> Vec<u8> {
        let name = Name::from_str("www.example.").unwrap();
        question(7, &name, qtype, QuestionFlags::default(), edns)
    }

    fn rcode(message: &[u8]) -> u16 {
        match screen(message) {
            Screened::Reply(reply) => {
                let view = View::parse(&reply).unwrap();
                assert!(view.is_response());
                let upper = view.edns().unwrap().map_or(0, |edns| edns.extended_rcode);
                u16::from(upper) << 4 | view.rcode()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn questions_pass_with_the_size_that_their_asker_takes() {
        let size = |payload: Option<u16>| {
            let edns = payload.map(|payload| Edns {
                payload_size: payload,
                ..Edns::plain(true)
            });
            match screen(&query(RecordType::A, edns.as_ref())) {
                Screened::Pass { udp_bytes } => udp_bytes,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(size(None), 512);
        assert_eq!(size(Some(100)), 512);
        assert_eq!(size(Some(1232)), 1232);
        assert_eq!(size(Some(65535)), 4096);
        let unknown = query(RecordType::Unknown(65_280), None);
        assert!(matches!(screen(&unknown), Screened::Pass { .. }));
    }

    #[test]
    fn what_may_not_be_answered_is_dropped() {
        let mut answer = query(RecordType::A, None);
        answer[2] |= 0x80;
        assert_eq!(screen(&answer), Screened::Drop);
        assert_eq!(screen(&answer[..5]), Screened::Drop);
        assert_eq!(screen(b""), Screened::Drop);
    }

    #[test]
    fn bad_questions_are_told_why() {
        let good = query(RecordType::A, Some(&Edns::plain(false)));
        assert_eq!(rcode(&good[..good.len() - 1]), FORMERR, "cut");
        let mut trailing = good.clone();
        trailing.push(0);
        assert_eq!(rcode(&trailing), FORMERR, "bytes after the end");
        let mut none = good.clone();
        none.truncate(12);
        none[5] = 0;
        none[11] = 0;
        assert_eq!(rcode(&none), FORMERR, "no question");
        let mut two = good.clone();
        two[5] = 2;
        assert_eq!(rcode(&two), FORMERR, "two questions");
        let mut notify = good.clone();
        notify[2] |= 4 << 3;
        assert_eq!(rcode(&notify), NOTIMP, "another opcode");
        assert_eq!(rcode(&query(RecordType::AXFR, None)), NOTIMP, "a transfer");
        let mut version = good.clone();
        let at = good.len() - 11 + 1 + 2 + 2 + 1;
        version[at] = 1;
        assert_eq!(rcode(&version), BADVERS, "EDNS of the future");
    }

    #[test]
    fn no_prefix_and_no_flipped_bit_of_a_question_panics() {
        let good = query(RecordType::A, Some(&Edns::plain(false)));
        for cut in 0..good.len() {
            screen(&good[..cut]);
        }
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            screen(&flipped);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_comes_in_panics_and_replies_are_responses(
            message in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600),
        ) {
            if let Screened::Reply(reply) = screen(&message) {
                assert!(View::parse(&reply).unwrap().is_response());
                assert_eq!(reply[..2], message[..2]);
            }
        }
    }
}

//! Which queries are not answered, and what is said instead.

use zzdot_client::wire::{QuestionView, Section, View};

use crate::counters::Event;

/// Response codes (RFC 6895 §2.3).
pub(super) mod rcode {
    pub(in crate::answer) const FORMERR: u16 = 1;
    pub(in crate::answer) const SERVFAIL: u16 = 2;
    pub(in crate::answer) const NOTIMP: u16 = 4;
    pub(in crate::answer) const REFUSED: u16 = 5;
    pub(in crate::answer) const NOTAUTH: u16 = 9;
    pub(in crate::answer) const BADVERS: u16 = 16;
    pub(in crate::answer) const BADCOOKIE: u16 = 23;
}

/// Info-codes of extended errors (RFC 8914 §4).
pub(super) mod ede {
    pub(in crate::answer) const OTHER: u16 = 0;
    pub(in crate::answer) const NOT_READY: u16 = 14;
    pub(in crate::answer) const NOT_AUTHORITATIVE: u16 = 20;
    pub(in crate::answer) const NOT_SUPPORTED: u16 = 21;
    pub(in crate::answer) const PROHIBITED: u16 = 18;
    pub(in crate::answer) const INVALID_DATA: u16 = 24;
}

/// A query that is answered with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) event: Event,
    pub(super) rcode: u16,
    pub(super) ede: Option<(u16, &'static str)>,
}

impl Refusal {
    pub(super) const fn new(event: Event, rcode: u16) -> Self {
        Self {
            event,
            rcode,
            ede: None,
        }
    }

    pub(super) const fn because(self, code: u16, text: &'static str) -> Self {
        Self {
            ede: Some((code, text)),
            ..self
        }
    }
}

pub(super) const MALFORMED: Refusal = Refusal::new(Event::Malformed, rcode::FORMERR);
pub(super) const BAD_EDNS: Refusal = Refusal::new(Event::BadEdns, rcode::FORMERR);
pub(super) const BAD_COOKIE_LENGTH: Refusal = Refusal::new(Event::BadCookieLength, rcode::FORMERR);
/// RFC 6891 §6.1.3.
pub(super) const BAD_VERSION: Refusal = Refusal::new(Event::BadVersion, rcode::BADVERS);
pub(super) const OTHER_OPCODE: Refusal = Refusal::new(Event::OtherOpcode, rcode::NOTIMP);
/// RFC 7873 §5.2.3.
pub(super) const COOKIE_REQUIRED: Refusal = Refusal::new(Event::CookieRequired, rcode::BADCOOKIE);
/// RFC 8945 §5.2.1.
pub(super) const UNKNOWN_TSIG: Refusal = Refusal::new(Event::UnknownTsig, rcode::NOTAUTH);
/// RFC 1034 §4.3.1: who does not want recursion gets what is known here, which is nothing.
pub(super) const NOT_RECURSIVE: Refusal = Refusal::new(Event::NotRecursive, rcode::REFUSED)
    .because(
        ede::NOT_AUTHORITATIVE,
        "not one of this server's own zones, and recursion was not asked for",
    );
/// RFC 8914 §4.15.
pub(super) const NOT_READY: Refusal = Refusal::new(Event::NotReady, rcode::SERVFAIL)
    .because(ede::NOT_READY, "this server's own zones are not signed yet");
/// As much as there is to say, and no lie.
pub(super) const NOT_SO: Refusal = Refusal::new(Event::NotReady, rcode::SERVFAIL).because(
    ede::NOT_READY,
    "whom this server asks has changed, and its zone could not be signed anew",
);
const TRANSFER: Refusal =
    Refusal::new(Event::Transfer, rcode::REFUSED).because(ede::PROHIBITED, "no zone transfers");
const CHAOS: Refusal = Refusal::new(Event::OtherClass, rcode::REFUSED)
    .because(ede::PROHIBITED, "only class IN is answered");
const OTHER_CLASS: Refusal = Refusal::new(Event::OtherClass, rcode::NOTIMP)
    .because(ede::NOT_SUPPORTED, "only class IN is answered");
const META_TYPE: Refusal = Refusal::new(Event::OtherType, rcode::FORMERR);
const OBSOLETE_TYPE: Refusal = Refusal::new(Event::OtherType, rcode::NOTIMP)
    .because(ede::NOT_SUPPORTED, "a query type that is not answered");

mod class {
    pub(super) const IN: u16 = 1;
    pub(super) const CHAOS: u16 = 3;
    pub(super) const HESIOD: u16 = 4;
}

mod qtype {
    pub(super) const RESERVED: u16 = 0;
    pub(super) const OPT: u16 = 41;
    pub(super) const TKEY: u16 = 249;
    pub(super) const TSIG: u16 = 250;
    pub(super) const IXFR: u16 = 251;
    pub(super) const AXFR: u16 = 252;
    pub(super) const MAILB: u16 = 253;
    pub(super) const MAILA: u16 = 254;
}

/// Whether this can be asked here at all.
pub(super) fn judge_question(question: &QuestionView<'_>) -> Result<(), Refusal> {
    match question.qclass {
        class::IN => {}
        // What servers tell about themselves (RFC 4892) is nobody's business.
        class::CHAOS | class::HESIOD => return Err(CHAOS),
        _ => return Err(OTHER_CLASS),
    }
    match question.qtype {
        qtype::AXFR | qtype::IXFR => Err(TRANSFER),
        // Not types that records have in a zone (RFC 6895 §3.1).
        qtype::RESERVED | qtype::OPT | qtype::TSIG => Err(META_TYPE),
        qtype::TKEY | qtype::MAILA | qtype::MAILB => Err(OBSOLETE_TYPE),
        _ => Ok(()),
    }
}

/// Whether the sections behind the question hold what a query may hold: nothing but, in the
/// additional section, EDNS and signatures. IXFR alone has an authority section (RFC 1995 §3).
pub(super) fn judge_sections(query: &View<'_>) -> Result<(), Refusal> {
    let counts = query.counts();
    let ixfr = query
        .question()
        .is_some_and(|question| question.qtype == qtype::IXFR);
    if counts.answers != 0 || counts.authorities != 0 && !ixfr {
        return Err(MALFORMED);
    }
    let mut records = query.records().filter_map(Result::ok);
    let signed =
        records.any(|record| record.section == Section::Additional && record.rtype == qtype::TSIG);
    if signed { Err(UNKNOWN_TSIG) } else { Ok(()) }
}

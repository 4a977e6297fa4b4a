//! What the asker's header and OPT record ask of the response, whoever gives it.

use std::time::Duration;

use zzdot_client::{
    cache::{Answer, KeyBits},
    wire::{self, Edns, EdnsView, Flags, View},
};

use super::{
    Asker, Transport,
    cookie::{COOKIE_LEN, Judged},
};

/// Options of EDNS that are spoken here; all others are ignored (RFC 6891 §6.1.2).
pub(super) mod option {
    /// RFC 7873.
    pub(in crate::answer) const COOKIE: u16 = 10;
    /// RFC 7828.
    pub(in crate::answer) const TCP_KEEPALIVE: u16 = 11;
    /// RFC 7830.
    pub(in crate::answer) const PADDING: u16 = zzdot_client::wire::PADDING_OPTION;
    /// RFC 8914.
    pub(in crate::answer) const EXTENDED_ERROR: u16 = 15;
}

/// The longest response over UDP, in octets: no fragments on any path worth having (RFC 9715).
const MAX_UDP_BYTES: usize = wire::MAX_PAYLOAD_SIZE as usize;
/// The longest response over UDP to an asker without EDNS, in octets (RFC 1035 §4.2.1).
const MAX_PLAIN_UDP_BYTES: usize = 512;
/// Encrypted responses to padded queries come in multiples of this, in octets (RFC 8467 §4.1).
const PADDING_BLOCK_BYTES: usize = 468;
/// The flags that a response keeps as its source set them.
const KEPT_FLAGS: u16 = Flags::AUTHORITATIVE | Flags::TRUNCATED | Flags::RCODE;
/// An OPT record without options, in octets.
const OPT_BYTES: usize = 11;
/// An option without content, in octets.
const OPTION_BYTES: usize = 4;
/// DO, in the TTL of an OPT record (RFC 3225 §3).
const DNSSEC_OK: u32 = 0x8000;

/// How the response to one query has to look. The question itself is told apart, since it stands in
/// the query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    id: u16,
    /// RD and CD as they came: echoed (RFC 1035 §4.1.1, RFC 4035 §3.2.2).
    echoed_flags: u16,
    /// The asker knows what AD means (RFC 6840 §5.7).
    understands_ad: bool,
    /// The longest response in octets.
    limit: usize,
    edns: Option<EdnsTerms>,
}

#[derive(Debug, Clone, Copy)]
struct EdnsTerms {
    dnssec_ok: bool,
    cookie: Option<[u8; COOKIE_LEN]>,
    /// What to promise, where the asker wants to know, in units of 100 ms (RFC 7828 §3.1).
    keepalive: Option<u16>,
    padded: bool,
}

/// An extended error (RFC 8914): info-code and text.
pub(super) type Ede<'a> = (u16, &'a str);

/// Whether a response went out whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sealed {
    Whole,
    /// It did not fit, and says so.
    Truncated,
}

/// A message that cannot take an OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Terms {
    /// Reads the terms of `query`.
    pub(super) fn read(
        query: &View<'_>,
        edns: Option<&EdnsView<'_>>,
        cookie: Option<&Judged>,
        asker: &Asker,
    ) -> Self {
        let flags = query.flags();
        let dnssec_ok = edns.is_some_and(|edns| edns.dnssec_ok);
        Self {
            id: query.id(),
            echoed_flags: flags.0 & (Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED),
            understands_ad: dnssec_ok || flags.has(Flags::AUTHENTIC_DATA),
            limit: limit(asker.transport, edns),
            edns: edns.map(|edns| EdnsTerms {
                dnssec_ok,
                cookie: cookie.map(|cookie| cookie.reply),
                // Over UDP there is no connection to keep: ignored (RFC 7828 §3.2.1).
                keepalive: asker
                    .idle
                    .filter(|_| edns.option(option::TCP_KEEPALIVE).is_some())
                    .map(keepalive_units),
                // On cleartext padding hides nothing and only costs (RFC 7830 §6).
                padded: asker.transport == Transport::Tls && edns.option(option::PADDING).is_some(),
            }),
        }
    }

    pub(super) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    pub(super) fn recursion_desired(&self) -> bool {
        Flags(self.echoed_flags).has(Flags::RECURSION_DESIRED)
    }

    /// The same for one who does not understand AD, or shall not be told.
    pub(super) fn without_ad(self) -> Self {
        Self {
            understands_ad: false,
            ..self
        }
    }

    /// What of this makes a difference to the answer.
    pub(super) fn key_bits(&self) -> KeyBits {
        KeyBits {
            edns: self.edns.is_some(),
            dnssec_ok: self.dnssec_ok(),
            checking_disabled: Flags(self.echoed_flags).has(Flags::CHECKING_DISABLED),
        }
    }

    /// The query to hand on: the question, RD, CD, and DO. AD is always set, so that the answer is
    /// good for those who understand it and for the others. What belongs to this hop alone (id,
    /// cookie, keepalive, padding, payload size) and what nobody asked to be told upstream (client
    /// subnet) stays behind.
    pub(super) fn onward_query(&self, question: &[u8]) -> Vec<u8> {
        let flags = self.echoed_flags | Flags::RECURSION_DESIRED | Flags::AUTHENTIC_DATA;
        let mut bare = Vec::with_capacity(wire::HEADER_BYTES + question.len() + OPT_BYTES);
        push_header(&mut bare, 0, flags, question);
        match &self.edns {
            None => bare,
            Some(edns) => wire::with_edns(&bare, Some(&Edns::plain(edns.dnssec_ok)))
                .expect("a header, a question that was parsed, and an OPT record always fit"),
        }
    }

    /// Appends a response without records.
    pub(super) fn bare(
        &self,
        question: &[u8],
        rcode: u16,
        ede: Option<Ede<'_>>,
        out: &mut Vec<u8>,
    ) -> Sealed {
        let start = out.len();
        let flags = Flags::RESPONSE | rcode & Flags::RCODE;
        push_header(out, self.id, flags, question);
        self.close(out, start, question, (rcode >> 4) as u8, &[], ede)
            .expect("a header and a question that was parsed take an OPT record")
    }

    /// Appends `answer`, made fit for the asker of `question`: id, flags, letter case, OPT record,
    /// and the size that the asker can take. `ede` goes behind the extended errors of the answer.
    /// Nothing is appended where the message cannot take an OPT record.
    pub(super) fn seal(
        &self,
        question: &[u8],
        answer: &Answer<'_>,
        ede: Option<Ede<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<Sealed, NoRoom> {
        let start = out.len();
        answer.append_to(question, out);
        self.close(out, start, question, 0, answer.extended_errors(), ede)
            .inspect_err(|NoRoom| out.truncate(start))
    }

    /// Makes the message at `start`, which has no OPT record, fit for the asker.
    fn close(
        &self,
        out: &mut Vec<u8>,
        start: usize,
        question: &[u8],
        extended_rcode: u8,
        errors: &[u8],
        ede: Option<Ede<'_>>,
    ) -> Result<Sealed, NoRoom> {
        self.set_header(out, start);
        let len = out.len() - start;
        let bare = wire::HEADER_BYTES + question.len();
        let Some(edns) = &self.edns else {
            let truncated = len > self.limit;
            if truncated {
                cut(out, start, bare);
            }
            return Ok(Sealed::of(truncated));
        };
        let unpadded =
            edns.options_len() + errors.len() + ede.map_or(0, |(_, text)| 6 + text.len());
        let padding = edns
            .padded
            .then(|| padding(len + OPT_BYTES + unpadded))
            .flatten();
        let options = unpadded + padding.map_or(0, |zeros| OPTION_BYTES + usize::from(zeros));
        let whole = len + OPT_BYTES + options;
        let options_len = u16::try_from(options).map_err(|_| NoRoom)?;
        if whole > wire::MAX_MESSAGE_BYTES || word(out, start + 10) == u16::MAX {
            return Err(NoRoom);
        }
        let truncated = whole > self.limit;
        if truncated {
            cut(out, start, bare);
        }
        // Where the options are too long for the limit, they stay behind too.
        let with_options = !truncated || bare + OPT_BYTES + options <= self.limit;
        let flags = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
        out.push(0);
        push_words(out, &[41, wire::MAX_PAYLOAD_SIZE]);
        // Only version 0 is ever spoken (RFC 6891 §6.1.3).
        out.extend_from_slice(&(u32::from(extended_rcode) << 24 | flags).to_be_bytes());
        push_words(out, &[if with_options { options_len } else { 0 }]);
        if with_options {
            edns.push_options(out);
            out.extend_from_slice(errors);
            if let Some((code, text)) = ede {
                push_words(out, &[option::EXTENDED_ERROR, 2 + text.len() as u16, code]);
                out.extend_from_slice(text.as_bytes());
            }
            if let Some(zeros) = padding {
                push_words(out, &[option::PADDING, zeros]);
                out.resize(out.len() + usize::from(zeros), 0);
            }
        }
        let additionals = word(out, start + 10) + 1;
        set_word(out, start + 10, additionals);
        Ok(Sealed::of(truncated))
    }

    fn set_header(&self, out: &mut [u8], start: usize) {
        set_word(out, start, self.id);
        let flags = word(out, start + 2);
        let mut kept = flags & KEPT_FLAGS;
        kept |= Flags::RESPONSE | Flags::RECURSION_AVAILABLE | self.echoed_flags;
        if self.understands_ad {
            kept |= flags & Flags::AUTHENTIC_DATA;
        }
        set_word(out, start + 2, kept);
    }
}

impl EdnsTerms {
    /// Octets of the options that are the asker's own.
    fn options_len(&self) -> usize {
        let cookie = self.cookie.map_or(0, |cookie| OPTION_BYTES + cookie.len());
        let keepalive = self.keepalive.map_or(0, |_| OPTION_BYTES + 2);
        cookie + keepalive
    }

    fn push_options(&self, out: &mut Vec<u8>) {
        if let Some(cookie) = &self.cookie {
            push_words(out, &[option::COOKIE, COOKIE_LEN as u16]);
            out.extend_from_slice(cookie);
        }
        if let Some(units) = self.keepalive {
            push_words(out, &[option::TCP_KEEPALIVE, 2, units]);
        }
    }
}

impl Sealed {
    fn of(truncated: bool) -> Self {
        if truncated {
            Self::Truncated
        } else {
            Self::Whole
        }
    }
}

/// Zeros that fill a message of so many octets to a whole block, the option itself counted; none
/// where there is no room for an option: then there is no length left to hide.
fn padding(unpadded: usize) -> Option<u16> {
    let with_option = unpadded + OPTION_BYTES;
    let target = with_option
        .next_multiple_of(PADDING_BLOCK_BYTES)
        .min(wire::MAX_MESSAGE_BYTES);
    u16::try_from(target.checked_sub(with_option)?).ok()
}

/// Leaves of a message its header and question, and says so (RFC 2181 §9).
fn cut(out: &mut Vec<u8>, start: usize, bare: usize) {
    out.truncate(start + bare);
    let flags = word(out, start + 2);
    set_word(out, start + 2, flags | Flags::TRUNCATED);
    for count in [6, 8, 10] {
        set_word(out, start + count, 0);
    }
}

fn keepalive_units(idle: Duration) -> u16 {
    u16::try_from(idle.as_millis() / 100).unwrap_or(u16::MAX)
}

fn limit(transport: Transport, edns: Option<&EdnsView<'_>>) -> usize {
    match (transport, edns) {
        (Transport::Udp, None) => MAX_PLAIN_UDP_BYTES,
        // Values below 512 mean 512 (RFC 6891 §6.2.3).
        (Transport::Udp, Some(edns)) => {
            usize::from(edns.payload_size).clamp(MAX_PLAIN_UDP_BYTES, MAX_UDP_BYTES)
        }
        (Transport::Tcp | Transport::Tls, _) => wire::MAX_MESSAGE_BYTES,
    }
}

/// Appends a header and at the most one question.
fn push_header(out: &mut Vec<u8>, id: u16, flags: u16, question: &[u8]) {
    push_words(out, &[id, flags, u16::from(!question.is_empty()), 0, 0, 0]);
    out.extend_from_slice(question);
}

fn push_words(out: &mut Vec<u8>, words: &[u16]) {
    for word in words {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

fn word(out: &[u8], offset: usize) -> u16 {
    out.get(offset..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |octets| u16::from_be_bytes(*octets))
}

fn set_word(out: &mut [u8], offset: usize, word: u16) {
    if let Some(slot) = out.get_mut(offset..offset + 2) {
        slot.copy_from_slice(&word.to_be_bytes());
    }
}

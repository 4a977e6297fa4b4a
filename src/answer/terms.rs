//! What the asker's header and OPT record ask of the response, whoever gives it.

use std::time::Duration;

use zzdot_client::wire::{self, Edns, EdnsView, Flags, View};

use super::{Asker, Transport, cookie::Judged};

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

/// How the response to one query has to look.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    id: u16,
    /// RD and CD as they came: echoed (RFC 1035 §4.1.1, RFC 4035 §3.2.2).
    echoed_flags: u16,
    /// The asker knows what AD means (RFC 6840 §5.7).
    understands_ad: bool,
    /// The question as it came, letter case included; empty where there was none.
    question: Box<[u8]>,
    /// The longest response in octets.
    limit: usize,
    edns: Option<EdnsTerms>,
}

#[derive(Debug, Clone)]
struct EdnsTerms {
    dnssec_ok: bool,
    cookie: Option<Judged>,
    /// What to promise, where the asker wants to know (RFC 7828).
    keepalive: Option<Duration>,
    padded: bool,
}

impl Terms {
    /// Reads the terms of `query`.
    pub(super) fn read(
        query: &View<'_>,
        edns: Option<&EdnsView<'_>>,
        cookie: Option<Judged>,
        asker: &Asker,
    ) -> Self {
        let flags = query.flags();
        let dnssec_ok = edns.is_some_and(|edns| edns.dnssec_ok);
        Self {
            id: query.id(),
            echoed_flags: flags.0 & (Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED),
            understands_ad: dnssec_ok || flags.has(Flags::AUTHENTIC_DATA),
            question: query
                .bytes()
                .get(wire::HEADER_BYTES..query.records_start())
                .unwrap_or_default()
                .into(),
            limit: limit(asker.transport, edns),
            edns: edns.map(|edns| EdnsTerms {
                dnssec_ok,
                cookie,
                // Over UDP there is no connection to keep: ignored (RFC 7828 §3.2.1).
                keepalive: asker
                    .idle
                    .filter(|_| edns.option(option::TCP_KEEPALIVE).is_some()),
                // On cleartext padding hides nothing and only costs (RFC 7830 §6).
                padded: asker.transport == Transport::Tls && edns.option(option::PADDING).is_some(),
            }),
        }
    }

    pub(super) fn dnssec_ok(&self) -> bool {
        self.edns.as_ref().is_some_and(|edns| edns.dnssec_ok)
    }

    /// The question section as it came.
    pub(super) fn question(&self) -> &[u8] {
        &self.question
    }

    /// The query to hand on: the question, RD, CD, the asker's understanding of AD, and DO. What
    /// belongs to this hop alone (id, cookie, keepalive, padding, payload size) and what nobody
    /// asked to be told upstream (client subnet) stays behind.
    pub(super) fn onward_query(&self) -> Vec<u8> {
        let mut flags = self.echoed_flags | Flags::RECURSION_DESIRED;
        if self.understands_ad {
            flags |= Flags::AUTHENTIC_DATA;
        }
        let bare = message(0, flags, &self.question);
        match &self.edns {
            None => bare,
            Some(edns) => wire::with_edns(&bare, Some(&Edns::plain(edns.dnssec_ok)))
                .expect("a header, a question that was parsed, and an OPT record always fit"),
        }
    }

    /// A response without records.
    pub(super) fn bare(&self, rcode: u16, ede: Option<(u16, &str)>) -> Sealed {
        let ede = ede.map(|(code, text)| {
            let mut content = code.to_be_bytes().to_vec();
            content.extend_from_slice(text.as_bytes());
            content
        });
        let message = message(
            self.id,
            Flags::RESPONSE | rcode & Flags::RCODE,
            &self.question,
        );
        self.seal(message, (rcode >> 4) as u8, ede.into_iter().collect())
            .expect("a header and a question that was parsed take an OPT record")
    }

    /// Makes a whole `message`, an answer to this question, into the response: id, flags, letter
    /// case, OPT record, and the size that the asker can take. `extended_errors` are the contents
    /// of EDE options. None when the message cannot take an OPT record.
    pub(super) fn seal(
        &self,
        mut message: Vec<u8>,
        extended_rcode: u8,
        extended_errors: Vec<Vec<u8>>,
    ) -> Option<Sealed> {
        self.set_header(&mut message);
        if let Some(question) =
            message.get_mut(wire::HEADER_BYTES..wire::HEADER_BYTES + self.question.len())
        {
            question.copy_from_slice(&self.question);
        }
        let edns = self.edns.as_ref().map(|asked| Edns {
            extended_rcode,
            options: self.options(asked, extended_errors),
            ..Edns::plain(asked.dnssec_ok)
        });
        let mut message = wire::with_edns(&message, edns.as_ref()).ok()?;
        if self.edns.as_ref().is_some_and(|edns| edns.padded) {
            // Without room for padding there is no length left to hide.
            let _ = wire::pad(&mut message, PADDING_BLOCK_BYTES);
        }
        let truncated = message.len() > self.limit;
        if truncated {
            message = wire::truncate(&message, self.limit);
        }
        Some(Sealed { message, truncated })
    }

    fn set_header(&self, message: &mut [u8]) {
        wire::set_id(message, self.id);
        if let Some([high, low]) = message.get_mut(2..4) {
            let mut flags = u16::from_be_bytes([*high, *low]);
            let authentic = flags & Flags::AUTHENTIC_DATA;
            flags &= KEPT_FLAGS;
            flags |= Flags::RESPONSE | Flags::RECURSION_AVAILABLE | self.echoed_flags;
            if self.understands_ad {
                flags |= authentic;
            }
            [*high, *low] = flags.to_be_bytes();
        }
    }

    fn options(&self, asked: &EdnsTerms, extended_errors: Vec<Vec<u8>>) -> Vec<(u16, Vec<u8>)> {
        let mut options = Vec::new();
        if let Some(cookie) = &asked.cookie {
            options.push((option::COOKIE, cookie.reply.to_vec()));
        }
        if let Some(idle) = asked.keepalive {
            // In units of 100 ms (RFC 7828 §3.1).
            let units = u16::try_from(idle.as_millis() / 100).unwrap_or(u16::MAX);
            options.push((option::TCP_KEEPALIVE, units.to_be_bytes().to_vec()));
        }
        let errors = extended_errors.into_iter();
        options.extend(errors.map(|content| (option::EXTENDED_ERROR, content)));
        options
    }
}

/// A response that is ready to go.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) message: Vec<u8>,
    /// It did not fit, and says so.
    pub(super) truncated: bool,
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

/// A message of a header and at the most one question.
fn message(id: u16, flags: u16, question: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(wire::HEADER_BYTES + question.len());
    let questions = u16::from(!question.is_empty());
    for word in [id, flags, questions, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(question);
    message
}

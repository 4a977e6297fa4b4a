//! A response in the form in which it is kept.

use crate::wire::{self, Flags, View, WireError};

use super::{STALE_TTL_SECS, key, lifetime, lifetime::Lifetime};

/// The number of the extended error option (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;

/// Why a response cannot be copied to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// It is not a sound message, or one that cannot be changed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// There is no question in it.
    #[error("a response without a question")]
    NoQuestion,
    /// It has an extended response code: those (BADVERS, BADCOOKIE) are between a server and whom
    /// it spoke to.
    #[error("a response code that is for its hop only")]
    ExtendedCode,
}

/// A response without what belongs to a hop: its id is 0, its question in lower case, its OPT record
/// gone but for the extended errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The message, then two octets for each TTL that says where it stands, then EDE options.
    octets: Vec<u8>,
    shape: Shape,
    lifetime: Lifetime,
    failure: bool,
}

/// How the octets of an image are divided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) message_len: u16,
    pub(super) ttls: u16,
}

impl Image {
    /// Makes the image of a response. `clock` is Unix time in seconds, for signatures to expire.
    ///
    /// # Errors
    /// Where the response cannot be copied to anybody.
    pub fn read(response: &[u8], clock: u64) -> Result<Self, ImageError> {
        let view = View::parse(response)?;
        view.check()?;
        if view.question().is_none() {
            return Err(ImageError::NoQuestion);
        }
        let edns = view.edns()?;
        if edns.is_some_and(|edns| edns.extended_rcode != 0) {
            return Err(ImageError::ExtendedCode);
        }
        let mut octets = wire::with_edns(response, None)?;
        make_plain(&mut octets, view.records_start());
        let bare = View::parse(&octets)?;
        let judged = lifetime::judge(&bare, (clock & u64::from(u32::MAX)) as u32);
        let ttls: Vec<_> = bare
            .records()
            .map(|record| record.map(|record| (record.ttl_offset, record.ttl)))
            .collect::<Result<_, _>>()?;
        let shape = Shape {
            // No message is longer than its length has bits for; each record has a TTL.
            message_len: octets.len() as u16,
            ttls: ttls.len() as u16,
        };
        let failure = lifetime::is_failure(bare.rcode());
        octets.reserve_exact(2 * ttls.len());
        for (offset, ttl) in ttls {
            octets.extend_from_slice(&(offset as u16).to_be_bytes());
            if let Some(slot) = octets.get_mut(offset..offset + 4) {
                slot.copy_from_slice(&ttl.min(judged.longest_ttl).to_be_bytes());
            }
        }
        for (code, content) in edns.iter().flat_map(wire::EdnsView::options) {
            if code == EXTENDED_ERROR {
                push_option(&mut octets, content);
            }
        }
        Ok(Self {
            octets,
            shape,
            lifetime: judged.lifetime,
            failure,
        })
    }

    /// The image of an authoritative answer, which has no OPT record: as long as its view is there,
    /// it is good, and its TTLs do not count down.
    ///
    /// # Errors
    /// Where it is not a message with a question.
    pub fn authoritative(mut response: Vec<u8>) -> Result<Self, ImageError> {
        let view = View::parse(&response)?;
        let question = view.question().ok_or(ImageError::NoQuestion)?;
        // Which RRset is given for ANY (RFC 8482) is decided anew each time.
        let lifetime = match question.qtype {
            255 => Lifetime::Once,
            _ => Lifetime::View,
        };
        let records_start = view.records_start();
        make_plain(&mut response, records_start);
        Ok(Self {
            shape: Shape {
                message_len: response.len() as u16,
                ttls: 0,
            },
            octets: response,
            lifetime,
            failure: false,
        })
    }

    /// The image of a failure: a code and why, in place of an answer to `question`. Kept for
    /// [`FAILURE_SECS`](super::FAILURE_SECS) where `keep` says so.
    #[must_use]
    pub fn failure(question: &[u8], rcode: u16, ede: Option<(u16, &str)>, keep: bool) -> Self {
        let text_len = ede.map_or(0, |(_, text)| text.len());
        let mut octets = Vec::with_capacity(wire::HEADER_BYTES + question.len() + 6 + text_len);
        for word in [0, Flags::RESPONSE | rcode & Flags::RCODE, 1, 0, 0, 0] {
            octets.extend_from_slice(&word.to_be_bytes());
        }
        octets.extend_from_slice(question);
        let message_len = octets.len();
        make_plain(&mut octets, message_len);
        if let Some((code, text)) = ede {
            let content = [&code.to_be_bytes()[..], text.as_bytes()].concat();
            push_option(&mut octets, &content);
        }
        Self {
            octets,
            shape: Shape {
                message_len: message_len as u16,
                ttls: 0,
            },
            lifetime: match keep {
                true => Lifetime::Seconds(lifetime::FAILURE_SECS),
                false => Lifetime::Once,
            },
            failure: true,
        }
    }

    /// What to copy to the one who asked for it.
    #[must_use]
    pub fn answer(&self) -> Answer<'_> {
        Answer::of(&self.octets, self.shape, Time::Passed(0))
    }

    /// For how long it may be kept.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Whether it says nothing about the name: neither records nor their absence.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.failure
    }

    pub(super) fn into_parts(self) -> (Box<[u8]>, Shape) {
        (self.octets.into(), self.shape)
    }

    pub(super) fn len(&self) -> usize {
        self.octets.len()
    }
}

/// What is copied to an asker, and what may be added.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The message; its TTLs as they were when it came.
    message: &'a [u8],
    ttl_offsets: &'a [u8],
    extended_errors: &'a [u8],
    time: Time,
}

/// What has become of the TTLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// So many seconds have gone.
    Passed(u32),
    /// All of them.
    Over,
}

impl<'a> Answer<'a> {
    pub(super) fn of(octets: &'a [u8], shape: Shape, time: Time) -> Self {
        let (message, rest) = octets
            .split_at_checked(usize::from(shape.message_len))
            .unwrap_or_default();
        let (ttl_offsets, extended_errors) = rest
            .split_at_checked(2 * usize::from(shape.ttls))
            .unwrap_or_default();
        Self {
            message,
            ttl_offsets,
            extended_errors,
            time,
        }
    }

    /// Appends the message, with the letters of `question` (the same question) in its question, and
    /// TTLs as they are now. It has no OPT record; its id is 0.
    pub fn append_to(&self, question: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.message);
        let Some(message) = out.get_mut(start..) else {
            return;
        };
        if let Some(slot) = message.get_mut(wire::HEADER_BYTES..wire::HEADER_BYTES + question.len())
        {
            slot.copy_from_slice(question);
        }
        if self.time == Time::Passed(0) {
            return;
        }
        for offset in self.ttl_offsets.chunks_exact(2) {
            let offset = usize::from(u16::from_be_bytes([offset[0], offset[1]]));
            if let Some(ttl) = message
                .get_mut(offset..)
                .and_then(<[u8]>::first_chunk_mut::<4>)
            {
                *ttl = match self.time {
                    Time::Passed(secs) => u32::from_be_bytes(*ttl).saturating_sub(secs),
                    Time::Over => STALE_TTL_SECS,
                }
                .to_be_bytes();
            }
        }
    }

    /// The extended errors (RFC 8914) that came with it: whole options, as they stand in an OPT
    /// record.
    #[must_use]
    pub fn extended_errors(&self) -> &'a [u8] {
        self.extended_errors
    }

    /// The info-codes of the extended errors.
    pub fn error_codes(&self) -> impl Iterator<Item = u16> + use<'a> {
        let mut rest = self.extended_errors;
        std::iter::from_fn(move || {
            let (head, after) = rest.split_first_chunk::<4>()?;
            let (content, after) =
                after.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
            rest = after;
            // An option without a code says nothing.
            Some(
                content
                    .first_chunk()
                    .map_or(0, |code| u16::from_be_bytes(*code)),
            )
        })
    }

    /// The four bits of response code in the header.
    #[must_use]
    pub fn rcode(&self) -> u16 {
        self.message.get(3).map_or(0, |low| u16::from(low & 0x0F))
    }

    /// Length of the message in octets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.message.len()
    }

    /// Whether there is no message, which no image has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.message.is_empty()
    }
}

/// Takes out of a message what makes two answers to the same question differ.
fn make_plain(message: &mut [u8], question_end: usize) {
    wire::set_id(message, 0);
    if let Some(question) = message.get_mut(wire::HEADER_BYTES..question_end) {
        key::fold(question);
    }
}

/// Appends an extended error in the form of an option.
fn push_option(octets: &mut Vec<u8>, content: &[u8]) {
    let Ok(length) = u16::try_from(content.len()) else {
        return;
    };
    octets.extend_from_slice(&EXTENDED_ERROR.to_be_bytes());
    octets.extend_from_slice(&length.to_be_bytes());
    octets.extend_from_slice(content);
}

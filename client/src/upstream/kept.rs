//! Answers that are kept for a while, where the configuration gives them room.
//!
//! Only questions on the short way look here, so only those of a strict session, or of a proof that is configured, whose
//! connection is open. What is kept came over the same pool, and so from the identity that would be asked now: another
//! identity has another pool, and what was kept under the one before is not found any more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ring::rand::{SecureRandom, SystemRandom};
use zzdot_zonegen::clock::UnixTime;

use crate::cache::{Cache, Freshness, Image, Key, KeyBits, Limits, ViewId};
use crate::dot::Terms;
use crate::wire::{self, Flags, HEADER_BYTES, View};

const CLASS_IN: u16 = 1;
const NOERROR: u16 = 0;
const NXDOMAIN: u16 = 3;
const EXTENDED_ERROR: u16 = 15;
const OPT: u16 = 41;
const DNSSEC_OK: u32 = 0x8000;

/// The answers that are kept.
pub(super) struct Kept {
    cache: Cache,
    hits: AtomicU64,
}

impl Kept {
    /// None where there is no room for any, or no random number to hide them behind.
    pub(super) fn new(bytes: usize, now: Instant) -> Option<Self> {
        if bytes == 0 {
            return None;
        }
        let limits = Limits {
            octets: bytes,
            // Where the resolver does not answer, there is nobody whose answer it would be.
            stale: std::time::Duration::ZERO,
        };
        let mut seed = [0; 16];
        SystemRandom::new().fill(&mut seed).ok()?;
        Some(Self {
            cache: Cache::new(limits, seed, now),
            hits: AtomicU64::new(0),
        })
    }

    /// Answers given from here.
    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Appends the answer to `query` that holds under `terms`, if there is one. None too where it is time to ask again.
    pub(super) fn find(&self, query: &[u8], terms: Terms, now: Instant, out: &mut Vec<u8>) -> bool {
        let Some(question) = question(query) else {
            return false;
        };
        let Some(key) = Key::new(question, terms.bits) else {
            return false;
        };
        let start = out.len();
        let found = self.cache.find(&key, &[terms.view], now, |found| {
            if found.freshness != (Freshness::Fresh { refresh: false }) {
                return false;
            }
            found.answer.append_to(question, out);
            let answer = out.get_mut(start..).unwrap_or_default();
            if let (Some(id), Some(asked)) = (answer.get_mut(..2), query.get(..2)) {
                id.copy_from_slice(asked);
            }
            if terms.bits.edns {
                push_opt(terms.bits, found.answer.extended_errors(), start, out);
            }
            true
        });
        let found = found.unwrap_or(false);
        self.hits.fetch_add(found.into(), Ordering::Relaxed);
        found
    }

    /// Keeps `answer`, as far as it may be kept.
    pub(super) fn keep(&self, answer: &[u8], terms: Terms, now: Instant) {
        let Some(key) = question(answer).and_then(|question| Key::new(question, terms.bits)) else {
            return;
        };
        if !may_be_kept(answer) {
            return;
        }
        if let Ok(image) = Image::read(answer, UnixTime::now().0) {
            self.cache.store(&key, terms.view, image, now);
        }
    }
}

/// The terms under which answers to `query` hold that come over the pool of this number; none where each has to be
/// asked for.
pub(super) fn terms(query: &[u8], pool: u32) -> Option<Terms> {
    let view = View::parse(query).ok()?;
    let tail = view.tail().ok()?;
    let changing = Flags::AUTHENTIC_DATA | Flags::CHECKING_DISABLED;
    let plain = view.flags().0 & !changing == Flags::RECURSION_DESIRED
        && view.question()?.qclass == CLASS_IN
        && tail.is_plain()
        && view.records_start() == tail.opt.start;
    let edns = tail.edns;
    let bare = edns.is_none_or(|edns| {
        edns.options()
            .all(|(code, _)| crate::dot::is_hop_by_hop(code))
    });
    let understood = u32::from(view.flags().has(Flags::AUTHENTIC_DATA));
    (plain && bare).then_some(Terms {
        bits: KeyBits {
            edns: edns.is_some(),
            dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
            checking_disabled: view.checking_disabled(),
        },
        // Who does not understand AD is not told (RFC 6840 §5.7).
        view: ViewId(pool << 1 | understood),
    })
}

/// Whether all that is in `answer` would come back with it.
fn may_be_kept(answer: &[u8]) -> bool {
    let Ok(view) = View::parse(answer) else {
        return false;
    };
    let Ok(edns) = view.edns() else {
        return false;
    };
    let plain = matches!(view.rcode(), NOERROR | NXDOMAIN) && !view.truncated();
    plain && edns.is_none_or(|edns| edns.options().all(|(code, _)| code == EXTENDED_ERROR))
}

fn question(message: &[u8]) -> Option<&[u8]> {
    let view = View::parse(message).ok()?;
    view.question()?;
    message.get(HEADER_BYTES..view.records_start())
}

fn push_opt(bits: KeyBits, errors: &[u8], start: usize, out: &mut Vec<u8>) {
    let flags = if bits.dnssec_ok { DNSSEC_OK } else { 0 };
    out.push(0);
    for word in [OPT, wire::MAX_PAYLOAD_SIZE] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(&flags.to_be_bytes());
    // They stood in an OPT record before.
    out.extend_from_slice(&(errors.len() as u16).to_be_bytes());
    out.extend_from_slice(errors);
    // The last of the header's counts: there is one record more, of far fewer than there could be.
    if let Some(count) = out.get_mut(start + 10..start + 12)
        && let Ok(word) = <[u8; 2]>::try_from(&*count)
    {
        count.copy_from_slice(&(u16::from_be_bytes(word).saturating_add(1)).to_be_bytes());
    }
}

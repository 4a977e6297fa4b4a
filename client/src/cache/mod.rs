//! A cache of ready answers in wire format, bounded in octets.
//!
//! What is kept is the response itself, made fit to be copied: its question in lower case, without
//! OPT record, with the places of its TTLs and its extended errors (RFC 8914) behind it. Whoever
//! answers copies it under the lock of one shard of many, and puts in what belongs to the asker:
//! id, flags, letter case, OPT record. A hit allocates nothing.
//!
//! ```
//! # use std::{net::Ipv4Addr, time::{Duration, Instant}};
//! # use zzdot_client::{cache::{Cache, Image, Key, KeyBits, Limits, ViewId}, wire};
//! # let start = Instant::now();
//! # let query = wire::question(7, &"Example.".parse()?, hickory_proto::rr::RecordType::A, Default::default(), None);
//! # let mut response = query.clone();
//! # response[2] |= 0x80;
//! # response[7] = 1;
//! # response.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
//! let cache = Cache::new(Limits { octets: 1 << 20, ..Limits::default() }, [7; 16], start);
//! let view = ViewId(0);
//! let question = &query[wire::HEADER_BYTES..];
//! let key = Key::new(question, KeyBits::default()).expect("a question");
//!
//! // When a response has come:
//! let unix_time = 1_800_000_000;
//! let image = Image::read(&response, unix_time)?;
//! cache.store(&key, view, image, start);
//!
//! // When somebody asks:
//! let now = start + Duration::from_secs(10);
//! let mut out = Vec::new();
//! cache.find(&key, &[view], now, |found| found.answer.append_to(question, &mut out));
//! wire::set_id(&mut out, 7);
//! assert_eq!(out.len(), response.len());
//! assert_eq!(out[out.len() - 7], 50, "the TTL is ten seconds less");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Which entries stay is decided by S3-FIFO (Yang et al., SOSP 2023): new ones pass through a small
//! queue, and only those that are asked for while there, or soon after they fell out, get into the
//! large one. Names that are asked for once, however many, push out each other.

mod image;
mod key;
mod lifetime;
mod shard;
#[cfg(test)]
mod tests;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hickory_proto::rr::Name;
use siphasher::sip::SipHasher13;

use shard::Shard;

pub use image::{Answer, Image, ImageError};
pub use key::{Key, KeyBits};
pub use lifetime::{FAILURE_SECS, Lifetime, MAX_NEGATIVE_TTL_SECS, MAX_TTL_SECS};

/// The TTL of stale answers in seconds (RFC 8767 §4).
pub const STALE_TTL_SECS: u32 = 30;

/// For how many seconds nobody is asked again after a failure, where there is a stale answer (the
/// failure recheck timer of RFC 8767 §5).
pub const RECHECK_SECS: u32 = 30;

/// Locks at the most: many more than there are processors to wait for each other.
const MAX_SHARDS: usize = 64;
/// Octets below which a shard is not worth its lock.
const MIN_SHARD_OCTETS: usize = 64 * 1024;

/// What a cache may cost and how long answers serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of memory, everything that belongs to an entry counted.
    pub octets: usize,
    /// How long an answer may still serve as a stale one after its time (RFC 8767); zero: not.
    pub stale: Duration,
}

impl Default for Limits {
    /// 8 MiB, which is some 40,000 addresses of names; a day.
    fn default() -> Self {
        Self {
            octets: 8 << 20,
            stale: Duration::from_secs(86_400),
        }
    }
}

/// Where an answer holds. Answers are found only by those who name the view under which they were
/// stored: sources that may differ have views that do, and an answer is forgotten by not naming
/// its view any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewId(pub u32);

/// An answer that was found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// What to copy.
    pub answer: Answer<'a>,
    /// The view under which it was stored.
    pub view: ViewId,
    /// Whether it is still good.
    pub freshness: Freshness,
}

/// Whether an answer is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    Fresh {
        /// It has been asked for often and is about to end: time to ask again. Said once of each
        /// answer.
        refresh: bool,
    },
    /// Its time has passed, but it may serve where there is nothing better.
    Stale {
        /// Asking again has just failed: no use in trying (RFC 8767 §5, failure recheck timer).
        asked_lately: bool,
    },
}

/// What is in a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Answers.
    pub entries: usize,
    /// Octets that they take, everything counted.
    pub octets: usize,
}

/// The cache.
#[derive(Debug)]
pub struct Cache {
    shards: Box<[Aligned]>,
    hasher: SipHasher13,
    limits: Limits,
    stale_secs: u32,
    epoch: Instant,
}

/// Each lock has a cache line, and the one that is fetched with it, for itself.
#[derive(Debug)]
#[repr(align(128))]
struct Aligned(Mutex<Shard>);

impl Cache {
    /// An empty cache. `seed` is random: whoever knew it could make names that fall on each other.
    /// No time before `epoch` will be told to it.
    #[must_use]
    pub fn new(limits: Limits, seed: [u8; 16], epoch: Instant) -> Self {
        let shards = (limits.octets / MIN_SHARD_OCTETS).clamp(1, MAX_SHARDS);
        // The largest power of two that is not more.
        let shards = 1 << shards.ilog2();
        Self {
            shards: (0..shards)
                .map(|_| Aligned(Mutex::new(Shard::new(limits.octets / shards))))
                .collect(),
            hasher: SipHasher13::new_with_key(&seed),
            limits,
            stale_secs: u32::try_from(limits.stale.as_secs()).unwrap_or(u32::MAX),
            epoch,
        }
    }

    /// What it may cost.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Shows `with` the answer to `key`, if there is one in one of `views` that may still serve.
    /// The lock of its shard is held meanwhile.
    pub fn find<R>(
        &self,
        key: &Key,
        views: &[ViewId],
        now: Instant,
        with: impl FnOnce(Found<'_>) -> R,
    ) -> Option<R> {
        let hash = self.hash(key);
        let now = self.seconds(now);
        let mut shard = self.shard(hash);
        shard.find(key, hash, views, now, self.stale_secs).map(with)
    }

    /// Keeps `image` as the answer to `key`, as far as it may be kept; what was there goes. Whether
    /// it was kept.
    pub fn store(&self, key: &Key, view: ViewId, image: Image, now: Instant) -> bool {
        let hash = self.hash(key);
        let now = self.seconds(now);
        self.shard(hash)
            .store(key, hash, view, image, now, self.stale_secs)
    }

    /// Notes that asking for `key` has failed. Whether there is an answer in one of `views` that
    /// may serve meanwhile.
    pub fn failed(&self, key: &Key, views: &[ViewId], now: Instant) -> bool {
        let hash = self.hash(key);
        let now = self.seconds(now);
        self.shard(hash)
            .failed(key, hash, views, now, self.stale_secs)
    }

    /// Forgets every answer to questions about `name`; how many there were.
    pub fn forget(&self, name: &Name) -> usize {
        let mut wire = Vec::new();
        for label in name.iter() {
            // The type `Name` holds labels of at the most 63 octets.
            wire.push(label.len() as u8);
            wire.extend_from_slice(label);
        }
        wire.push(0);
        wire.make_ascii_lowercase();
        self.shards().map(|mut shard| shard.forget(&wire)).sum()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for mut shard in self.shards() {
            shard.clear();
        }
    }

    /// What is in it.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.shards().fold(Usage::default(), |sum, shard| {
            let usage = shard.usage();
            Usage {
                entries: sum.entries + usage.entries,
                octets: sum.octets + usage.octets,
            }
        })
    }

    fn hash(&self, key: &Key) -> u64 {
        self.hasher.hash(key.octets())
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // Bits that neither the table in the shard nor its ghosts use; a power of two of shards.
        let place = (hash >> 44) as usize & (self.shards.len() - 1);
        lock(&self.shards[place])
    }

    fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }

    /// Whole seconds since the beginning; 136 years of them.
    fn seconds(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.epoch).as_secs();
        u32::try_from(since).unwrap_or(u32::MAX)
    }
}

fn lock(shard: &Aligned) -> MutexGuard<'_, Shard> {
    // Nothing in a shard panics half way.
    shard.0.lock().unwrap_or_else(PoisonError::into_inner)
}

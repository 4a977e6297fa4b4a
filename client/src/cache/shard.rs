//! One of the parts of a cache: entries found by hash, and three queues that decide who stays.
//!
//! S3-FIFO: a small queue that everything new passes, a large one for what was asked for again
//! meanwhile, and the ghosts of those that were not: who comes back while remembered goes to the
//! large one at once. Nothing moves on a hit but a counter of two bits.

mod room;

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::{
    Found, Freshness, Image, Key, Lifetime, RECHECK_SECS, Usage, ViewId,
    image::{Answer, Shape, Time},
};
use crate::wire;

/// The part of the octets, as a divisor, that is for what is new.
const SMALL_PART: usize = 10;
/// The part of the octets, as a divisor, that one entry may take: a giant does not push out many.
const ENTRY_PART: usize = 16;
/// No entry is larger than this, in octets.
const MAX_ENTRY_OCTETS: usize = 16 * 1024;
/// Hits while in the small queue that lead to the large one.
const PROMOTED_BY: u8 = 2;
/// Hits that are counted.
const MAX_FREQUENCY: u8 = 3;
/// Octets of memory for each ghost: as many are remembered as small answers would fit.
const OCTETS_A_GHOST: usize = 256;
/// Hits after which an answer that is about to end is worth asking for again.
const POPULAR: u8 = 3;
/// The part of its lifetime, as a divisor, in which an answer is about to end.
const LAST_PART: u32 = 10;
/// What belongs to an entry beside its octets: its slot, its place in the table (hash and index,
/// with the room that a table leaves), and what the allocator adds.
const OVERHEAD: usize = size_of::<Slot>() + 2 * (size_of::<(u64, u32)>() + 1) + 16;
/// Slots by which memory for them grows: no doubling, since most of it is never used.
const SLOTS_AT_ONCE: usize = 16;
/// No slot.
const NONE: u32 = u32::MAX;

/// One part of a cache.
#[derive(Debug)]
pub(super) struct Shard {
    /// Octets for entries: what the ghosts leave.
    limit: usize,
    ghost_places: usize,
    places: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    slots: Vec<Slot>,
    /// The first of the slots that are free.
    free: u32,
    small: Queue,
    large: Queue,
    ghosts: Vec<u32>,
}

/// An entry, or room for one.
#[derive(Debug)]
struct Slot {
    octets: Box<[u8]>,
    hash: u64,
    view: ViewId,
    stored: u32,
    /// [`u32::MAX`]: as long as the view.
    lifetime: u32,
    /// Until then it may serve as a stale one without anybody being asked.
    recheck: u32,
    /// The next in its queue, or the next that is free.
    next: u32,
    shape: Shape,
    bits: u8,
    frequency: u8,
    hits: u8,
    flags: u8,
}

/// Asking again has been said.
const REFRESHED: u8 = 1;
/// Not an answer: of no use once its time has passed.
const FAILURE: u8 = 2;

#[derive(Debug)]
struct Queue {
    head: u32,
    tail: u32,
    octets: usize,
}

impl Shard {
    /// An empty one of so many octets.
    pub(super) fn new(limit: usize) -> Self {
        // Memory that is not touched before the first entry falls out.
        let ghost_places = (limit / OCTETS_A_GHOST).next_power_of_two();
        Self {
            limit: limit.saturating_sub(ghost_places * size_of::<u32>()),
            ghost_places,
            places: HashMap::default(),
            slots: Vec::new(),
            free: NONE,
            small: Queue::EMPTY,
            large: Queue::EMPTY,
            ghosts: Vec::new(),
        }
    }

    pub(super) fn find(
        &mut self,
        key: &Key,
        hash: u64,
        views: &[ViewId],
        now: u32,
        stale: u32,
    ) -> Option<Found<'_>> {
        let place = self.place(key, hash)?;
        let slot = self.slots.get_mut(place as usize)?;
        let (freshness, time) = slot.state(views, now, stale)?;
        slot.frequency = slot.frequency.saturating_add(1).min(MAX_FREQUENCY);
        slot.hits = slot.hits.saturating_add(1);
        if freshness == (Freshness::Fresh { refresh: true }) {
            slot.flags |= REFRESHED;
        }
        Some(Found {
            answer: Answer::of(&slot.octets, slot.shape, time),
            view: slot.view,
            freshness,
        })
    }

    pub(super) fn store(
        &mut self,
        key: &Key,
        hash: u64,
        view: ViewId,
        image: Image,
        now: u32,
        stale: u32,
    ) -> bool {
        let lifetime = match image.lifetime() {
            Lifetime::Once => return false,
            Lifetime::Seconds(seconds) => seconds,
            Lifetime::View => u32::MAX,
        };
        let weight = weight(image.len());
        if weight > MAX_ENTRY_OCTETS.min(self.limit / ENTRY_PART) {
            return false;
        }
        let flags = if image.is_failure() { FAILURE } else { 0 };
        let known = self.place(key, hash);
        self.make_room(weight, now, stale);
        // What was there may have been what made room.
        let known = known.and_then(|_| self.place(key, hash));
        let (octets, shape) = image.into_parts();
        let fresh = Slot {
            octets,
            hash,
            view,
            stored: now,
            lifetime,
            recheck: 0,
            next: NONE,
            shape,
            bits: key.bits(),
            frequency: 0,
            hits: 0,
            flags,
        };
        match known.and_then(|place| self.slots.get_mut(place as usize)) {
            Some(slot) => {
                let before = slot.weight();
                let (next, frequency, large) = (slot.next, slot.frequency, slot.is_large());
                *slot = fresh;
                slot.next = next;
                slot.frequency = frequency;
                slot.set_large(large);
                let queue = if large {
                    &mut self.large
                } else {
                    &mut self.small
                };
                queue.octets = queue.octets + weight - before;
            }
            None => {
                let place = self.take_slot(fresh);
                // Another key with the same hash, which nobody can arrange, is let go.
                if let Some(other) = self.places.insert(hash, place) {
                    self.abandon(other);
                }
                if self.forget_ghost(hash) {
                    self.push_large(place);
                } else {
                    push(&mut self.slots, &mut self.small, place);
                }
            }
        }
        true
    }

    pub(super) fn failed(
        &mut self,
        key: &Key,
        hash: u64,
        views: &[ViewId],
        now: u32,
        stale: u32,
    ) -> bool {
        let slot = self
            .place(key, hash)
            .and_then(|place| self.slots.get_mut(place as usize));
        let Some(slot) = slot else {
            return false;
        };
        if slot.flags & FAILURE != 0 || slot.state(views, now, stale).is_none() {
            return false;
        }
        slot.recheck = now.saturating_add(RECHECK_SECS);
        true
    }

    /// Lets go of the answers about a name in lower case.
    pub(super) fn forget(&mut self, name: &[u8]) -> usize {
        let about: Vec<u32> = self
            .places
            .values()
            .copied()
            .filter(|place| {
                let slot = self.slots.get(*place as usize);
                slot.is_some_and(|slot| {
                    slot.octets
                        .get(wire::HEADER_BYTES..)
                        .is_some_and(|question| question.starts_with(name))
                })
            })
            .collect();
        for place in &about {
            if let Some(slot) = self.slots.get(*place as usize) {
                self.places.remove(&slot.hash);
            }
            self.abandon(*place);
        }
        about.len()
    }

    pub(super) fn clear(&mut self) {
        self.places = HashMap::default();
        self.slots = Vec::new();
        self.free = NONE;
        self.small = Queue::EMPTY;
        self.large = Queue::EMPTY;
        self.ghosts = Vec::new();
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            entries: self.places.len(),
            octets: self.small.octets + self.large.octets + size_of_val(&self.ghosts[..]),
        }
    }

    /// Where the entry for `key` is.
    fn place(&self, key: &Key, hash: u64) -> Option<u32> {
        let place = *self.places.get(&hash)?;
        self.slots.get(place as usize)?.is_for(key).then_some(place)
    }
}

impl Slot {
    fn is_for(&self, key: &Key) -> bool {
        let question = key.question();
        let end = wire::HEADER_BYTES + question.len();
        self.bits == key.bits() && self.octets.get(wire::HEADER_BYTES..end) == Some(question)
    }

    /// Whether and how it may serve.
    fn state(&self, views: &[ViewId], now: u32, stale: u32) -> Option<(Freshness, Time)> {
        if !views.contains(&self.view) {
            return None;
        }
        if self.lifetime == u32::MAX {
            return Some((Freshness::Fresh { refresh: false }, Time::Passed(0)));
        }
        let age = now.saturating_sub(self.stored);
        if age < self.lifetime {
            let refresh = self.flags & (REFRESHED | FAILURE) == 0
                && self.hits >= POPULAR
                && self.lifetime - age <= self.lifetime / LAST_PART;
            return Some((Freshness::Fresh { refresh }, Time::Passed(age)));
        }
        if self.is_over(now, stale) {
            return None;
        }
        let asked_lately = now < self.recheck;
        Some((Freshness::Stale { asked_lately }, Time::Over))
    }

    /// Whether it is of no use any more.
    fn is_over(&self, now: u32, stale: u32) -> bool {
        let more = if self.flags & FAILURE == 0 { stale } else { 0 };
        let age = now.saturating_sub(self.stored);
        self.octets.is_empty() || age >= self.lifetime.saturating_add(more)
    }

    fn is_large(&self) -> bool {
        self.flags & LARGE != 0
    }

    fn set_large(&mut self, large: bool) {
        self.flags = self.flags & !LARGE | if large { LARGE } else { 0 };
    }

    fn weight(&self) -> usize {
        weight(self.octets.len())
    }
}

/// It is in the large queue.
const LARGE: u8 = 4;

impl Queue {
    const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
        octets: 0,
    };
}

/// Puts an entry behind the last.
fn push(slots: &mut [Slot], queue: &mut Queue, place: u32) {
    let Some(slot) = slots.get_mut(place as usize) else {
        return;
    };
    slot.next = NONE;
    queue.octets += slot.weight();
    match slots.get_mut(queue.tail as usize) {
        Some(last) => last.next = place,
        None => queue.head = place,
    }
    queue.tail = place;
}

/// Takes the first.
fn pop(slots: &mut [Slot], queue: &mut Queue) -> Option<u32> {
    let place = queue.head;
    let slot = slots.get_mut(place as usize)?;
    queue.head = slot.next;
    queue.octets -= slot.weight();
    if queue.head == NONE {
        queue.tail = NONE;
    }
    Some(place)
}

/// Octets that an entry takes with everything.
fn weight(octets: usize) -> usize {
    OVERHEAD + octets.next_multiple_of(16)
}

/// The keys of the table are hashes already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        // Only numbers are hashed.
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

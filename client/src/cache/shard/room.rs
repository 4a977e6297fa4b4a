//! Who goes when there is no room, and who is remembered of those that went.

use super::*;

impl Shard {
    /// Makes room for so many octets, as far as there is anything to let go.
    pub(super) fn make_room(&mut self, octets: usize, now: u32, stale: u32) {
        let room = self.limit.saturating_sub(octets);
        while self.small.octets + self.large.octets > room {
            let small = self.small.octets > self.limit / SMALL_PART;
            let gone = if small || self.large.head == NONE {
                self.shorten_small(now, stale)
            } else {
                self.shorten_large(now, stale)
            };
            if !gone {
                return;
            }
        }
    }

    /// Takes the oldest entry out of the small queue; false where there is none.
    fn shorten_small(&mut self, now: u32, stale: u32) -> bool {
        let Some(place) = pop(&mut self.slots, &mut self.small) else {
            return false;
        };
        let Some(slot) = self.slots.get_mut(place as usize) else {
            return false;
        };
        if slot.is_over(now, stale) {
            self.release(place);
        } else if slot.frequency >= PROMOTED_BY {
            slot.frequency = 0;
            self.push_large(place);
        } else {
            let hash = slot.hash;
            self.remember_ghost(hash);
            self.release(place);
        }
        true
    }

    /// Takes the oldest entry out of the large queue, or gives it another round; false where there
    /// is none.
    fn shorten_large(&mut self, now: u32, stale: u32) -> bool {
        let Some(place) = pop(&mut self.slots, &mut self.large) else {
            return false;
        };
        let Some(slot) = self.slots.get_mut(place as usize) else {
            return false;
        };
        if slot.frequency == 0 || slot.is_over(now, stale) {
            self.release(place);
        } else {
            slot.frequency -= 1;
            self.push_large(place);
        }
        true
    }

    pub(super) fn push_large(&mut self, place: u32) {
        if let Some(slot) = self.slots.get_mut(place as usize) {
            slot.set_large(true);
        }
        push(&mut self.slots, &mut self.large, place);
    }

    pub(super) fn take_slot(&mut self, slot: Slot) -> u32 {
        if let Some(room) = self.slots.get_mut(self.free as usize) {
            let place = self.free;
            self.free = room.next;
            *room = slot;
            return place;
        }
        if self.slots.len() == self.slots.capacity() {
            self.slots
                .reserve_exact(SLOTS_AT_ONCE.max(self.slots.len() / 8));
        }
        self.slots.push(slot);
        // Each takes more octets than it would take to run out of numbers.
        (self.slots.len() - 1) as u32
    }

    /// Gives back an entry that is in no queue.
    fn release(&mut self, place: u32) {
        let Some(slot) = self.slots.get_mut(place as usize) else {
            return;
        };
        let hash = slot.hash;
        slot.octets = Box::default();
        slot.next = self.free;
        self.free = place;
        // After an abandoned one the table may lead to another.
        if self.places.get(&hash) == Some(&place) {
            self.places.remove(&hash);
        }
    }

    /// Empties an entry to which the table no longer leads; its slot stays in its queue until its
    /// turn.
    pub(super) fn abandon(&mut self, place: u32) {
        let Some(slot) = self.slots.get_mut(place as usize) else {
            return;
        };
        let before = slot.weight();
        slot.octets = Box::default();
        slot.shape = Shape::default();
        slot.frequency = 0;
        let after = slot.weight();
        let queue = if slot.is_large() {
            &mut self.large
        } else {
            &mut self.small
        };
        queue.octets -= before - after;
    }

    fn remember_ghost(&mut self, hash: u64) {
        if self.ghosts.is_empty() {
            self.ghosts = vec![0; self.ghost_places];
        }
        let (place, ghost) = self.ghost(hash);
        if let Some(slot) = self.ghosts.get_mut(place) {
            *slot = ghost;
        }
    }

    /// Whether `hash` was remembered; it is no longer.
    pub(super) fn forget_ghost(&mut self, hash: u64) -> bool {
        let (place, ghost) = self.ghost(hash);
        match self.ghosts.get_mut(place) {
            Some(slot) if *slot == ghost => {
                *slot = 0;
                true
            }
            _ => false,
        }
    }

    fn ghost(&self, hash: u64) -> (usize, u32) {
        let place = (hash >> 28) as usize & self.ghosts.len().wrapping_sub(1);
        // Zero is nobody's.
        (place, hash as u32 | 1)
    }
}

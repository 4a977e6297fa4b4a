//! Which of the answers in the cache still hold.

use std::sync::atomic::{AtomicU32, Ordering};

use zzdot_client::cache::ViewId;

/// Numbers between one generation and the next: one for each kind of view.
const KINDS: u32 = 4;

/// What answers come from, in generations: with each change, those of before are found no longer.
///
/// An answer is stored under the generation that was read before it was made. So what is made out of
/// the old while the new takes its place is stored under the old.
#[derive(Debug, Default)]
pub(super) struct Views {
    upstream: AtomicU32,
    own: AtomicU32,
}

/// The views of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Current {
    /// The source of answers.
    pub(super) upstream: ViewId,
    /// Our own zones.
    pub(super) zones: ViewId,
    /// The special names, which give way to zones.
    pub(super) special: ViewId,
}

impl Views {
    pub(super) fn current(&self) -> Current {
        let upstream = self.upstream.load(Ordering::Acquire);
        let own = self.own.load(Ordering::Acquire);
        Current {
            upstream: ViewId(upstream),
            zones: ViewId(own.wrapping_add(1)),
            special: ViewId(own.wrapping_add(2)),
        }
    }

    /// To be called after another source took its place.
    pub(super) fn upstream_changed(&self) {
        self.upstream.fetch_add(KINDS, Ordering::AcqRel);
    }

    /// To be called after other zones or special names took their place.
    pub(super) fn own_changed(&self) {
        self.own.fetch_add(KINDS, Ordering::AcqRel);
    }
}

impl Current {
    pub(super) fn all(&self) -> [ViewId; 3] {
        [self.upstream, self.zones, self.special]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_view_is_ever_another_and_a_change_makes_new_ones() {
        let views = Views::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..4 {
            seen.extend(views.current().all());
            views.upstream_changed();
            views.own_changed();
        }
        assert_eq!(seen.len(), 12);
        let before = views.current();
        views.own_changed();
        assert_eq!(views.current().upstream, before.upstream);
        assert_ne!(views.current().zones, before.zones);
        assert_ne!(views.current().special, before.special);
    }
}

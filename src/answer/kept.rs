//! Answers out of the cache, and into it.

use std::time::Instant;

use zzdot_client::cache::{Found, Freshness, Image, Lifetime};

use super::{
    Responder,
    onward::Onward,
    terms::{Ede, NoRoom, Sealed, Terms},
    views::Current,
};
use crate::counters::Event;

/// What the cache has for somebody who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// The answer, which was appended.
    Answered {
        /// It is popular and about to end.
        refresh: bool,
    },
    /// An answer whose time has passed: the source is asked first.
    Stale,
    /// Nothing for this asker.
    Unfit,
}

impl Responder {
    /// Copies what was found to who asks, unless it is stale and the source has not been asked.
    pub(super) fn copy(
        &self,
        found: &Found<'_>,
        question: &[u8],
        terms: &Terms,
        views: Current,
        out: &mut Vec<u8>,
    ) -> Kept {
        let upstream = found.view == views.upstream;
        // What others have asked for is told only to who could ask for it too.
        if upstream && !terms.recursion_desired() {
            return Kept::Unfit;
        }
        let refresh = match found.freshness {
            Freshness::Fresh { refresh } => refresh,
            Freshness::Stale { asked_lately: true } => false,
            Freshness::Stale {
                asked_lately: false,
            } => return Kept::Stale,
        };
        let Ok((sealed, event)) = seal_found(terms, question, found, out) else {
            return Kept::Unfit;
        };
        self.count_sealed(sealed);
        self.counters.count(match upstream {
            true => event,
            false if found.view == views.zones => Event::AnsweredFromZone,
            false => Event::AnsweredSpecial,
        });
        Kept::Answered { refresh }
    }

    /// What the cache has for a question that was handed on, stale or not.
    pub(super) fn copy_again(
        &self,
        onward: &Onward,
        terms: &Terms,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let cache = self.cache.load();
        let mut out = Vec::new();
        let found = cache
            .as_ref()?
            .find(&onward.key()?, &[onward.view], now, |found| {
                seal_found(terms, onward.question(), &found, &mut out)
            })?;
        let (sealed, event) = found.ok()?;
        self.counters.count(event);
        self.count_sealed(sealed);
        Some(out)
    }

    /// Whether `image` is a failure, and there is an answer in the cache that may serve instead.
    pub(super) fn has_better(
        &self,
        onward: &Onward,
        image: &Image,
        failure: Option<Event>,
        now: Instant,
    ) -> bool {
        if !image.is_failure() || image.answer().error_codes().any(is_meant) {
            return false;
        }
        let cache = self.cache.load();
        let (Some(cache), Some(key)) = (&*cache, onward.key()) else {
            return false;
        };
        let views = [onward.view];
        if failure.is_some() && image.lifetime() == Lifetime::Once {
            // Nobody was asked, for want of room here: the next one may have more luck.
            return cache.find(&key, &views, now, |_| ()).is_some();
        }
        cache.failed(&key, &views, now)
    }

    /// Keeps what came, as far as it may be kept.
    pub(super) fn keep(&self, onward: &Onward, image: Image, now: Instant) {
        // After a change of sources there is nobody left to whom it would be shown.
        if onward.view != self.views.current().upstream {
            return;
        }
        if let (Some(cache), Some(key)) = (&*self.cache.load(), onward.key()) {
            cache.store(&key, onward.view, image, now);
        }
    }
}

/// Appends an answer out of the cache; how it went out, and as what it is counted.
fn seal_found(
    terms: &Terms,
    question: &[u8],
    found: &Found<'_>,
    out: &mut Vec<u8>,
) -> Result<(Sealed, Event), NoRoom> {
    match found.freshness {
        Freshness::Fresh { .. } => {
            let sealed = terms.seal(question, &found.answer, None, out)?;
            Ok((sealed, Event::CacheHit))
        }
        Freshness::Stale { .. } => {
            // Its signatures may have expired too.
            let terms = terms.without_ad();
            let ede = Some(stale_ede(found.answer.rcode()));
            let sealed = terms.seal(question, &found.answer, ede, out)?;
            Ok((sealed, Event::CacheStale))
        }
    }
}

/// RFC 8914 §4.4 and §4.20.
fn stale_ede(rcode: u16) -> Ede<'static> {
    const NXDOMAIN: u16 = 3;
    let code = if rcode == NXDOMAIN { 19 } else { 3 };
    (code, "no fresh answer could be had in time")
}

/// Whether an extended error tells of a decision rather than of a mishap: what does not validate
/// (RFC 8914 §4.7 to §4.13), what is blocked or forbidden (§4.16 to §4.19).
fn is_meant(code: u16) -> bool {
    matches!(code, 6..=12 | 15..=18)
}

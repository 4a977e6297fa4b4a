//! Several at the same time.

use std::{panic::resume_unwind, thread};

/// Does the same with all of them at the same time; what came of each, in their order.
///
/// # Panics
/// When one of them does.
pub(super) fn all_at_once<T: Send, R: Send>(
    them: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let working: Vec<_> = them
            .into_iter()
            .map(|one| scope.spawn(move || work(one)))
            .collect();
        working
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

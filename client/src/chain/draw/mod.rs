//! A chain for people and programs: as JSON, as text and as a picture.
//!
//! [`Trace`] is what the daemon tells and what `zzdot-client trace --json` prints; text and picture are made of it, so
//! that they say nothing else.

mod json;
#[cfg(test)]
pub(crate) mod samples;
mod servers;
mod svg;
mod text;

pub use json::{Circumstances, Trace, TraceError, TracedHop, TracedNode, TracedWeakness};
pub use servers::{Chosen, TracedDomain, TracedServer};
pub use svg::svg;
pub use text::{Paint, text, text_of_all};

/// The most of a text of others that is shown.
const LETTERS: usize = 300;

/// A text that others had a hand in, without anything that a terminal or a reader of XML takes for an order.
fn tame(text: &str) -> String {
    let tame = |letter: char| match letter {
        ' '..='~' | '…' => letter,
        _ => '?',
    };
    text.chars().take(LETTERS).map(tame).collect()
}

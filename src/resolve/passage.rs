//! Questions for one given upstream: what stands below `q` in our own zone (protocol.md §3).

use std::sync::Arc;

use tokio::time::Instant;
use zzdot_zonegen::upstream::UpstreamId;

use super::Resolution;

/// Through which upstream a question goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Through {
    /// Whichever is preferred now.
    Preferred,
    /// This one and no other.
    Upstream(UpstreamId),
}

/// A way to ask one given upstream.
pub trait Passage: Send + Sync {
    /// Asks one upstream, by the transport that it is published with or a better one.
    ///
    /// `query` is a well-formed query for a name of discovery, with RD and CD set and an OPT record. It
    /// is asked of nobody else: not of another upstream when this one fails, and not of a cache. The
    /// response is as that of [`Source::resolve`](super::Source::resolve). An upstream that is not, or
    /// no longer, among those that are published is [`ResolveError::NoUpstream`](super::ResolveError).
    fn pass(&self, through: &Through, query: Arc<[u8]>, deadline: Instant) -> Resolution<'_>;
}

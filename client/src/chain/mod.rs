//! Whom does the configured resolver ask, and is every hop encrypted? (Protocol, "What a forwarder adds".)
//!
//! [`Chain`] is the answer: a directed graph, from this computer to the resolvers that ask no others. [`Survey`] is the
//! state machine that finds it out: answers, TLS outcomes and the clock go in; questions, connections and the chain come
//! out. [`driver`] carries them between the survey and sockets.
//!
//! What a malicious graph can cost is bounded by the constants here.

mod action;
mod claim;
mod conclude;
mod course;
mod cure;
mod direct;
pub mod draw;
pub mod driver;
mod edges;
mod fault;
mod flight;
mod model;
mod reading;
mod site;
mod surroundings;
mod survey;
mod ways;
mod why;

pub use action::{Action, Ask, AskId, Connect, ConnectId, Step, Trust, Via};
pub use model::{Behind, Chain, Hop, Label, Node, NodeId, Reached, Weakness, Who};
pub use surroundings::OwnAddresses;
pub use survey::{Nearest, SURVEY_TIMEOUT, Survey, SurveyInput};
pub use why::{Limit, Why};

/// The most resolvers looked at, those without a name included.
pub const MAX_NODES: usize = 64;

/// The most hops looked at. [`MAX_QUESTIONS`] ends a survey before, as long as a hop takes eight.
pub const MAX_HOPS: usize = 256;

/// The most hops between this computer and a resolver.
pub const MAX_DEPTH: u8 = 8;

/// The most upstreams of one resolver.
pub const MAX_UPSTREAMS: usize = 16;

/// The most questions of one survey.
pub const MAX_QUESTIONS: usize = 600;

/// The most questions that wait for an answer at a time.
pub const MAX_IN_FLIGHT: usize = 64;

/// The most octets of answers that wait to be judged.
pub const MAX_OCTETS: usize = 1 << 20;

/// The most attempts at TLS.
pub const MAX_CONNECTS: usize = 64;

/// The most attempts at TLS with one resolver, whoever vouches for it.
pub const MAX_CONNECTS_PER_NODE: usize = 4;

/// The most octets of keys or of TLSA records that are kept of one resolver, or of what one says about another. Who
/// publishes more says nothing (zonegen publishes no more).
pub const MAX_SET_OCTETS: usize = 4096;

/// The same of the keys of a zone and the signatures over them.
pub const MAX_ZONE_KEY_OCTETS: usize = 4 * MAX_SET_OCTETS;

/// The most octets of certificates that are kept of one peer.
pub const MAX_PEER_OCTETS: usize = 1 << 14;

/// The most attempts at TLS with one address, whoever is said to be there: nobody can be made a target by many names.
pub const MAX_CONNECTS_PER_ADDRESS: usize = 4;

/// How often a resolver is read again that changes meanwhile.
pub const MAX_REREADS: u8 = 2;

/// The shortest time, in seconds, after which a chain is looked at again: who publishes records that may not be kept
/// at all is not asked all the time for that.
pub const MIN_TTL: u32 = 30;

/// The longest time, in seconds, after which a chain is looked at again.
pub const MAX_TTL: u32 = 3600;

/// The same for a chain that is not known to its ends.
pub const MAX_TTL_INCOMPLETE: u32 = 60;

#[cfg(test)]
pub(crate) mod tests;

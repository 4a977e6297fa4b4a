//! Whom does the configured resolver ask, and is every hop encrypted? (Protocol, "What a forwarder adds".)
//!
//! [`Chain`] is the answer: a directed graph, from this computer to the resolvers that ask no others.

mod action;
mod model;
mod why;

pub use action::{Action, Ask, AskId, Connect, ConnectId, Step, Trust, Via};
pub use model::{Behind, Chain, Hop, Label, Node, NodeId, Reached, Weakness, Who};
pub use why::{Limit, Why};

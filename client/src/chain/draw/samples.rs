//! Chains to draw.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::upstream::{Proof, ServerKind, Transport};

use super::json::{Circumstances, Trace};
use crate::chain::{Behind, Chain, Hop, Label, Node, NodeId, Reached, Who, Why};

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn named(letters: &str, kind: ServerKind, address: &str, behind: Behind) -> Node {
    let name = match letters.len() {
        1 => format!("{}.zz", letters.repeat(20)),
        _ => format!("{letters}.zz"),
    };
    let address = at(address);
    Node {
        who: Who::Named {
            name: name.parse().unwrap(),
        },
        server_type: kind,
        addresses: vec![address.ip()],
        tlsa: vec![format!("3 1 1 {}", "ab".repeat(32)).parse().unwrap()],
        reached: Some(Reached::Direct { address }),
        behind,
    }
}

fn client() -> Node {
    Node {
        who: Who::Client,
        server_type: ServerKind::Forwarder,
        addresses: Vec::new(),
        tlsa: Vec::new(),
        reached: None,
        behind: Behind::Forwards,
    }
}

fn proven(from: usize, to: usize, address: &str) -> Hop {
    Hop {
        from: NodeId(from),
        to: NodeId(to),
        label: Label::Proven,
        transport: Some(Transport::Dot),
        proof: Some(Proof::Dane),
        why: Why::Met {
            address: at(address),
        },
    }
}

fn claimed(from: usize, to: usize) -> Hop {
    Hop {
        label: Label::Claimed,
        why: Why::NotMet {
            detail: "timed out".to_owned(),
        },
        ..proven(from, to, "192.0.2.3:853")
    }
}

fn trace(chain: &Chain) -> Trace {
    let circumstances = Circumstances {
        server: at("192.168.1.1:53"),
        looked_at: UnixTime(1_800_000_000),
        route: Some("nearest"),
        asks: Some(1),
        asks_why: None,
    };
    Trace::of(chain, &circumstances)
}

/// This computer asks a forwarder, that two others and somebody without a name; both ask the same resolver, which
/// cannot be met.
pub(crate) fn diamond_chain() -> Chain {
    let end = Node {
        reached: Some(Reached::Through { node: NodeId(2) }),
        ..named("c", ServerKind::Resolver, "192.0.2.3:853", Behind::Resolves)
    };
    let unnamed = Node {
        who: Who::Unnamed {
            address: at("192.0.2.9:853"),
        },
        server_type: ServerKind::Unknown,
        addresses: vec![at("192.0.2.9:853").ip()],
        tlsa: Vec::new(),
        reached: None,
        behind: Behind::Unknown {
            why: Why::SaysNothing,
        },
    };
    Chain {
        nodes: vec![
            client(),
            named(
                "8g2l0qv7c4m1t5b9r3se",
                ServerKind::Forwarder,
                "192.168.1.1:853",
                Behind::Forwards,
            ),
            named(
                "a",
                ServerKind::Forwarder,
                "192.0.2.1:853",
                Behind::Forwards,
            ),
            unnamed,
            named(
                "b",
                ServerKind::Forwarder,
                "192.0.2.2:853",
                Behind::Forwards,
            ),
            end,
        ],
        hops: vec![
            proven(0, 1, "192.168.1.1:853"),
            proven(1, 2, "192.0.2.1:853"),
            Hop {
                proof: Some(Proof::Pkix("dns.example".to_owned())),
                why: Why::NoName,
                ..claimed(1, 3)
            },
            Hop {
                label: Label::Cleartext,
                transport: Some(Transport::Plain),
                proof: Some(Proof::None),
                why: Why::SaysPlain,
                ..claimed(1, 4)
            },
            claimed(2, 5),
            claimed(4, 5),
        ],
        complete: false,
        ttl: 60,
        nearest: NodeId(1),
        ends: vec![NodeId(3), NodeId(5)],
    }
}

pub(crate) fn diamond() -> Trace {
    trace(&diamond_chain())
}

/// This computer asks a forwarder, that a resolver; all of it was met.
pub(crate) fn line_chain() -> Chain {
    Chain {
        nodes: vec![
            client(),
            named(
                "8g2l0qv7c4m1t5b9r3se",
                ServerKind::Forwarder,
                "192.168.1.1:853",
                Behind::Forwards,
            ),
            named("a", ServerKind::Resolver, "192.0.2.1:853", Behind::Resolves),
        ],
        hops: vec![
            proven(0, 1, "192.168.1.1:853"),
            proven(1, 2, "192.0.2.1:853"),
        ],
        complete: true,
        ttl: 60,
        nearest: NodeId(1),
        ends: vec![NodeId(2)],
    }
}

pub(crate) fn line() -> Trace {
    trace(&line_chain())
}

/// Two forwarders that ask each other.
pub(crate) fn cycle_chain() -> Chain {
    let mut chain = line_chain();
    chain.nodes[2].server_type = ServerKind::Forwarder;
    chain.nodes[2].behind = Behind::Forwards;
    chain.hops.push(proven(2, 1, "192.168.1.1:853"));
    chain.ends.clear();
    chain
}

pub(crate) fn cycle() -> Trace {
    trace(&cycle_chain())
}

//! The graph of resolvers behind the configured one, as far as it can be seen.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize, Serializer};
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::upstream::{Proof, ServerKind, Transport, UnnamedLabel};

use super::why::Why;
use crate::discover::Tlsa;

/// Who asks whom, from this computer to the servers that ask no other resolver. The order is that of the distance, and
/// among upstreams of one resolver that of its records; it does not depend on which answer comes first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Chain {
    /// This computer first; each of the others is behind at least one that stands before it.
    pub nodes: Vec<Node>,
    /// In the order of the nodes that they start from.
    pub hops: Vec<Hop>,
    /// Whether all of the graph was read: false as soon as of one node it is not known whom it asks.
    pub complete: bool,
    /// For how many seconds this may be relied on.
    pub ttl: u32,
    /// The resolver that this computer asks.
    pub nearest: NodeId,
    /// The nodes from which no hop is known.
    pub ends: Vec<NodeId>,
}

/// A node of one chain: its place in [`Chain::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NodeId(pub usize);

/// Somebody who asks or answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Node {
    /// Who.
    pub who: Who,
    /// What it does with a question, by its own zone where that was read.
    pub server_type: ServerKind,
    /// Where it is, by its own zone where that was read; else as those say who ask it.
    pub addresses: Vec<IpAddr>,
    /// What its own zone says about its TLS service; empty where it was not read.
    pub tlsa: Vec<Tlsa>,
    /// How its own zone was read; none where it was not.
    pub reached: Option<Reached>,
    /// What is known of whom it asks.
    pub behind: Behind,
}

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Who {
    /// This computer.
    Client,
    /// A resolver with a name, which is the same one wherever it is met.
    Named {
        /// The name.
        name: ResolverName,
    },
    /// A server without a name. Two of one address are two: behind a NAT addresses come again.
    Unnamed {
        /// Its address, for whoever asks it.
        address: SocketAddr,
    },
}

/// How the zone of a node was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "how",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Reached {
    /// From itself, over TLS with the key that its zone names.
    Direct {
        /// Where.
        address: SocketAddr,
    },
    /// By questions that another one passes on.
    Through {
        /// Which.
        node: NodeId,
    },
}

/// What is known of whom a node asks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Behind {
    /// It asks the authoritative servers itself, by its own word.
    Resolves,
    /// It asks those to whom the hops lead.
    Forwards,
    /// It is not known, or not all of it.
    Unknown {
        /// Why.
        why: Why,
    },
}

/// One asks the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hop {
    /// Who asks.
    pub from: NodeId,
    /// Who is asked.
    pub to: NodeId,
    /// What to make of it.
    pub label: Label,
    /// How, by the word of who asks; none where that could not be read.
    pub transport: Option<Transport>,
    /// How who asks knows whom it asks, by its word; none where that could not be read.
    #[serde(serialize_with = "proof_text")]
    pub proof: Option<Proof>,
    /// The reason for the label.
    pub why: Why,
}

/// What to make of a hop (protocol, "What a forwarder adds").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// Encrypted, and this client met the far end itself: over TLS, with the key that its zone names, under the zone
    /// key that the near end vouches for; and what the near end says about it is what it says itself. That the near
    /// end really uses this way is its word.
    Proven,
    /// Encrypted, by the word of the near end, which nothing contradicts.
    Claimed,
    /// It cannot be read, or is contradicted.
    Opaque,
    /// In cleartext.
    Cleartext,
}

/// Where a chain is not encrypted to the end, or may not be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Weakness {
    /// Who asks in the first such hop, or of whom it is not known whom it asks.
    pub from: Who,
    /// Who is asked; none where that is not known.
    pub to: Option<Who>,
    /// What is the matter.
    pub label: Label,
    /// Why.
    pub why: Why,
}

impl Chain {
    /// A chain of which only the server is known that this computer asks.
    #[must_use]
    pub fn of_one(
        server: SocketAddr,
        transport: Transport,
        proof: Proof,
        behind: Why,
        ttl: u32,
    ) -> Self {
        let (label, why) = match (transport, &proof) {
            (Transport::Plain, _) => (Label::Cleartext, Why::SaysPlain),
            (Transport::Opportunistic, _) | (_, Proof::None) => {
                (Label::Claimed, Why::NotAuthenticated)
            }
            _ => (Label::Proven, Why::Met { address: server }),
        };
        let node = Node {
            who: Who::Unnamed { address: server },
            server_type: ServerKind::Unknown,
            addresses: vec![server.ip()],
            tlsa: Vec::new(),
            reached: None,
            behind: Behind::Unknown { why: behind },
        };
        let (client, nearest) = (NodeId(0), NodeId(1));
        Self {
            nodes: vec![Node::client(), node],
            hops: vec![Hop {
                from: client,
                to: nearest,
                label,
                transport: Some(transport),
                proof: Some(proof),
                why,
            }],
            complete: false,
            ttl,
            nearest,
            ends: vec![nearest],
        }
    }

    /// The node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0)
    }

    /// Whom this node asks.
    pub fn hops_from(&self, id: NodeId) -> impl Iterator<Item = &Hop> {
        self.hops.iter().filter(move |hop| hop.from == id)
    }

    /// The first place, seen from this computer, where the chain is not encrypted between two ends that know each other,
    /// or not known to be. None where it is all the way, on every way.
    ///
    /// What this rests on are the words of the resolvers in it: one that lies about whom it asks can only be found out
    /// where another one contradicts it.
    #[must_use]
    pub fn weakness(&self) -> Option<Weakness> {
        let mut seen = BTreeSet::from([NodeId(0)]);
        let mut next = vec![NodeId(0)];
        while !next.is_empty() {
            let mut behind = Vec::new();
            for from in next {
                let node = self.node(from)?;
                for hop in self.hops_from(from) {
                    if let Some(weakness) = self.weakness_of(hop) {
                        return Some(weakness);
                    }
                    if seen.insert(hop.to) {
                        behind.push(hop.to);
                    }
                }
                if let Behind::Unknown { why } = &node.behind {
                    return Some(Weakness {
                        from: node.who.clone(),
                        to: None,
                        label: Label::Opaque,
                        why: why.clone(),
                    });
                }
            }
            next = behind;
        }
        None
    }

    fn weakness_of(&self, hop: &Hop) -> Option<Weakness> {
        let authenticated = !matches!(
            hop.transport,
            None | Some(Transport::Plain | Transport::Opportunistic)
        ) && !matches!(hop.proof, None | Some(Proof::None));
        let why = match hop.label {
            Label::Proven => return None,
            Label::Claimed if authenticated => return None,
            Label::Claimed => Why::NotAuthenticated,
            Label::Opaque | Label::Cleartext => hop.why.clone(),
        };
        Some(Weakness {
            from: self.node(hop.from)?.who.clone(),
            to: Some(self.node(hop.to)?.who.clone()),
            label: hop.label,
            why,
        })
    }
}

impl Node {
    /// Whether it is not known, or not in full, whom it asks.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        matches!(self.behind, Behind::Unknown { .. })
    }

    /// This computer.
    pub(super) fn client() -> Self {
        Self {
            who: Who::Client,
            server_type: ServerKind::Forwarder,
            addresses: Vec::new(),
            tlsa: Vec::new(),
            reached: None,
            behind: Behind::Forwards,
        }
    }
}

impl Label {
    /// A stable name in kebab-case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Claimed => "claimed",
            Self::Opaque => "opaque",
            Self::Cleartext => "cleartext",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("this computer"),
            Self::Named { name } => name.fmt(f),
            Self::Unnamed { address } => address.fmt(f),
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            to,
            label,
            why,
        } = self;
        match to {
            Some(to) => write!(f, "{from} asks {to}, {label}: {why}"),
            None => write!(f, "whom {from} asks is not known: {why}"),
        }
    }
}

impl From<UnnamedLabel> for Who {
    fn from(label: UnnamedLabel) -> Self {
        Self::Unnamed {
            address: label.address(),
        }
    }
}

fn proof_text<S: Serializer>(proof: &Option<Proof>, serializer: S) -> Result<S::Ok, S::Error> {
    match proof {
        Some(proof) => serializer.collect_str(proof),
        None => serializer.serialize_none(),
    }
}

//! A chain as JSON. The fields are documented in `docs/json.md`, and stay.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::upstream::{ServerKind, Transport};

use super::servers::Chosen;
use crate::chain::{Behind, Chain, Label, Node, Reached, Weakness, Who};

/// The most nodes and hops that are read: more than any survey looks at.
const NODES_MAX: usize = 1024;
const HOPS_MAX: usize = 4096;

/// A chain as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trace {
    /// The server that this computer was told to ask.
    pub server: SocketAddr,
    /// What the configuration says about whom to ask; none where no daemon was asked.
    pub route: Option<String>,
    /// The node that questions go to now; none where they go nowhere, and where no daemon was asked.
    pub asks: Option<usize>,
    /// Why there and not where the configuration says, in a sentence without a full stop; none where there is nothing
    /// to explain.
    #[serde(default)]
    pub asks_why: Option<String>,
    /// What is asked of the server, and why of this one; none where no daemon was asked.
    #[serde(default)]
    pub chosen: Option<Chosen>,
    /// When it was looked at.
    pub looked_at: String,
    /// For how many seconds it may be relied on.
    pub ttl: u32,
    /// Whether every hop is encrypted between two ends that know each other, and the whole chain was read.
    pub encrypted_to_end: bool,
    /// Why not, in a sentence without a full stop.
    pub fault: Option<String>,
    /// The first place where that is not so, seen from this computer.
    pub weakness: Option<TracedWeakness>,
    /// Whether it is known of each node whom it asks.
    pub complete: bool,
    /// The node that this computer was told to ask.
    pub nearest: usize,
    /// The nodes from which no hop is known.
    pub ends: Vec<usize>,
    /// Who there is; each stands at the place of its number.
    pub nodes: Vec<TracedNode>,
    /// Who asks whom.
    pub hops: Vec<TracedHop>,
}

/// Somebody who asks or answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TracedNode {
    /// Its number.
    pub id: usize,
    /// `client`, `named` or `unnamed`.
    pub kind: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The address that it is asked at, where it has no name.
    pub address: Option<SocketAddr>,
    /// What it does with a question; none for this computer.
    pub server_type: Option<ServerKind>,
    /// Where it is.
    pub addresses: Vec<IpAddr>,
    /// `direct` or `through`: how its own zone was read; none where it was not.
    pub reached: Option<String>,
    /// Where it was met, if it was.
    pub met_at: Option<SocketAddr>,
    /// The node that passed the questions on, where one did.
    pub through: Option<usize>,
    /// `resolves`, `forwards` or `unknown`: what is known of whom it asks.
    pub behind: String,
    /// The name of the reason why that is not known.
    pub reason: Option<String>,
    /// The same in a sentence without a full stop.
    pub cause: Option<String>,
    /// What helps, in one; none where nothing does.
    #[serde(default)]
    pub cure: Option<String>,
}

/// One asks the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TracedHop {
    /// The node that asks.
    pub from: usize,
    /// The node that is asked.
    pub to: usize,
    /// What to make of it.
    pub label: Label,
    /// How it asks, by its own word.
    pub transport: Option<Transport>,
    /// How it knows whom it asks, by its own word: `none`, `dane`, `pin` or `pkix NAME`.
    pub proof: Option<String>,
    /// The name of the reason for the label.
    pub reason: String,
    /// The same in a sentence without a full stop.
    pub cause: String,
    /// What helps, in one; none where nothing has to, or nothing does.
    #[serde(default)]
    pub cure: Option<String>,
}

/// The first place where a chain is not known to be encrypted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TracedWeakness {
    /// Who asks there.
    pub from: String,
    /// Who is asked; none where that is not known.
    pub to: Option<String>,
    /// `cleartext`, `opaque`, or `claimed` where nobody at the near end would notice another one at the far end.
    pub label: Label,
    /// The name of the reason.
    pub reason: String,
    /// The same in a sentence without a full stop.
    pub cause: String,
    /// What helps, in one; none where nothing has to, or nothing does.
    #[serde(default)]
    pub cure: Option<String>,
}

/// What goes with a chain that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Circumstances {
    /// The server that this computer was told to ask.
    pub server: SocketAddr,
    /// When it was looked at.
    pub looked_at: UnixTime,
    /// What the configuration says about whom to ask.
    pub route: Option<&'static str>,
    /// The node that questions go to now.
    pub asks: Option<usize>,
    /// Why there, where that is to be explained.
    pub asks_why: Option<String>,
}

/// Something that is no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a trace: {0}")]
pub struct TraceError(String);

impl TraceError {
    pub(super) fn new(what: String) -> Self {
        Self(what)
    }
}

impl Trace {
    /// Tells `chain`.
    #[must_use]
    pub fn of(chain: &Chain, circumstances: &Circumstances) -> Self {
        let (fault, weakness) = (chain.fault(), chain.weakness());
        Self {
            server: circumstances.server,
            route: circumstances.route.map(str::to_owned),
            asks: circumstances.asks,
            asks_why: circumstances.asks_why.clone(),
            chosen: None,
            looked_at: circumstances.looked_at.to_string(),
            ttl: chain.ttl,
            encrypted_to_end: fault.is_none(),
            fault: fault.map(|fault| fault.cause()),
            weakness: weakness.as_ref().map(traced_weakness),
            complete: chain.complete,
            nearest: chain.nearest.0,
            ends: chain.ends.iter().map(|end| end.0).collect(),
            nodes: chain.nodes.iter().enumerate().map(traced_node).collect(),
            hops: chain
                .hops
                .iter()
                .map(|hop| TracedHop {
                    from: hop.from.0,
                    to: hop.to.0,
                    label: hop.label,
                    transport: hop.transport,
                    proof: hop.proof.as_ref().map(ToString::to_string),
                    reason: hop.why.name().to_owned(),
                    cause: hop.why.to_string(),
                    cure: chain
                        .node(hop.from)
                        .zip(chain.node(hop.to))
                        .and_then(|(from, to)| hop.why.cure_of_hop(&from.who, &to.who)),
                })
                .collect(),
        }
    }

    /// Reads what a daemon told, which may be of another version.
    ///
    /// # Errors
    /// [`TraceError`], also where a hop leads to a node that is not there.
    pub fn read(told: serde_json::Value) -> Result<Self, TraceError> {
        let trace = serde_json::from_value(told).map_err(|error| TraceError(error.to_string()));
        trace.and_then(Self::checked)
    }

    /// The same, if it speaks of no node that is not there.
    pub(super) fn checked(self) -> Result<Self, TraceError> {
        let trace = self;
        let ends = trace.hops.iter().flat_map(|hop| [hop.from, hop.to]);
        let mentioned = ends
            .chain(trace.ends.iter().copied())
            .chain(trace.asks)
            .chain([0, trace.nearest]);
        if trace.nodes.len() > NODES_MAX || trace.hops.len() > HOPS_MAX {
            return Err(TraceError("it is too large".to_owned()));
        }
        match mentioned.max().filter(|last| *last >= trace.nodes.len()) {
            Some(last) => Err(TraceError(format!("there is no node {last}"))),
            None => Ok(trace),
        }
    }

    /// What helps, each once: what is wrong nearest to this computer comes first.
    pub(super) fn cures(&self) -> Vec<&str> {
        let weakness = self.weakness.iter().map(|weakness| &weakness.cure);
        let hops = self.hops.iter().map(|hop| &hop.cure);
        // Where something is wrong with the way to somebody, mending that comes first.
        let reached = |node: &&TracedNode| {
            let mut hops = self.hops.iter();
            !hops.any(|hop| hop.to == node.id && hop.cure.is_some())
        };
        let nodes = self.nodes.iter().filter(reached).map(|node| &node.cure);
        let mut cures = Vec::new();
        for cure in weakness.chain(hops).chain(nodes).flatten() {
            if !cures.contains(&cure.as_str()) {
                cures.push(cure);
            }
        }
        cures
    }

    /// Where questions go now; none where no daemon was asked.
    pub(super) fn destination(&self) -> Option<String> {
        let route = self.route.as_ref()?;
        let whom = match self.asks.and_then(|node| self.nodes.get(node)) {
            Some(node) => format!("questions go to {}", node.title()),
            None => "questions go nowhere".to_owned(),
        };
        Some(match &self.asks_why {
            Some(why) => format!("{whom} (route = \"{route}\"): {why}"),
            None => format!("{whom} (route = \"{route}\")"),
        })
    }

    /// When it was looked at.
    pub(super) fn freshness(&self) -> String {
        let Self { looked_at, ttl, .. } = self;
        format!("looked at {looked_at}, to be relied on for {ttl} seconds")
    }

    /// The hops that start at `node`, in their order.
    pub(super) fn hops_from(&self, node: usize) -> impl Iterator<Item = &TracedHop> {
        self.hops.iter().filter(move |hop| hop.from == node)
    }
}

impl TracedNode {
    /// As people are told who it is.
    #[must_use]
    pub fn title(&self) -> String {
        match (&self.name, &self.address) {
            (Some(name), _) => name.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "this computer".to_owned(),
        }
    }

    /// What it is, in two or three words.
    pub(super) fn occupation(&self) -> &'static str {
        match (self.kind.as_str(), self.server_type) {
            ("client", _) => "",
            (_, Some(ServerKind::Resolver)) => "resolver",
            (_, Some(ServerKind::Forwarder)) => "forwarder",
            _ => "of unknown kind",
        }
    }
}

impl TracedHop {
    /// How it is asked, and how it is known who that is.
    pub(super) fn manner(&self) -> String {
        let transport = match self.transport {
            None => "nobody knows how",
            Some(Transport::Plain) => "plain DNS",
            Some(Transport::Opportunistic) => "TLS, unchecked",
            Some(Transport::Dot) => "DoT",
            Some(Transport::Doh) => "DoH",
            Some(Transport::Doq) => "DoQ",
        };
        match (self.transport, self.proof.as_deref()) {
            (Some(Transport::Dot | Transport::Doh | Transport::Doq), Some(proof)) => {
                match proof.split_once(' ') {
                    Some((kind, name)) => format!("{transport}, {} {name}", kind.to_uppercase()),
                    None if proof == "dane" => format!("{transport}, DANE"),
                    None => format!("{transport}, {proof}"),
                }
            }
            _ => transport.to_owned(),
        }
    }
}

/// What a label means, for whoever sees one for the first time.
pub(super) fn meaning(label: Label) -> &'static str {
    match label {
        Label::Proven => "encrypted, and met by this computer",
        Label::Claimed => "encrypted, by the word of who asks",
        Label::Opaque => "cannot be read, or is contradicted",
        Label::Cleartext => "anybody on the way can read it",
    }
}

fn traced_weakness(weakness: &Weakness) -> TracedWeakness {
    TracedWeakness {
        from: weakness.from.to_string(),
        to: weakness.to.as_ref().map(ToString::to_string),
        label: weakness.label,
        reason: weakness.why.name().to_owned(),
        cause: weakness.why.to_string(),
        cure: match &weakness.to {
            Some(to) => weakness.why.cure_of_hop(&weakness.from, to),
            None => weakness.why.cure_of_node(&weakness.from),
        },
    }
}

fn traced_node((id, node): (usize, &Node)) -> TracedNode {
    let (kind, name, address) = match &node.who {
        Who::Client => ("client", None, None),
        Who::Named { name } => ("named", Some(name.to_string()), None),
        Who::Unnamed { address } => ("unnamed", None, Some(*address)),
    };
    let (reached, met_at, through) = match &node.reached {
        None => (None, None, None),
        Some(Reached::Direct { address }) => (Some("direct"), Some(*address), None),
        Some(Reached::Through { node }) => (Some("through"), None, Some(node.0)),
    };
    let (behind, why) = match &node.behind {
        Behind::Resolves => ("resolves", None),
        Behind::Forwards => ("forwards", None),
        Behind::Unknown { why } => ("unknown", Some(why)),
    };
    TracedNode {
        id,
        kind: kind.to_owned(),
        name,
        address,
        server_type: (node.who != Who::Client).then_some(node.server_type),
        addresses: node.addresses.clone(),
        reached: reached.map(str::to_owned),
        met_at,
        through,
        behind: behind.to_owned(),
        reason: why.map(|why| why.name().to_owned()),
        cause: why.map(ToString::to_string),
        cure: why.and_then(|why| why.cure_of_node(&node.who)),
    }
}

//! Whether a chain is good enough for questions that have to be encrypted to the end.

use zzdot_zonegen::upstream::ServerKind;

use super::{Behind, Chain, Node, NodeId, Who};
use crate::discover::Refusal;

impl Chain {
    /// Why a question may not go into this chain where all of it has to be encrypted: the first hop at fault. Whatever
    /// is not known to be right is taken for wrong.
    #[must_use]
    pub fn fault(&self) -> Option<Refusal> {
        let refusal = |hop, why| Some(Refusal::ChainNotEncrypted { hop, why });
        if let Some(weakness) = self.weakness() {
            let hop = match &weakness.to {
                Some(to) => format!("{} asks {to}, {}", weakness.from, weakness.label),
                None => format!("whom {} asks is not known", weakness.from),
            };
            return refusal(Some(hop), weakness.why.to_string());
        }
        let none = |why: &str| refusal(None, why.to_owned());
        if !self.complete {
            return none("not all of it could be read");
        }
        let is = |id: NodeId, what: fn(&Node) -> bool| self.node(id).is_some_and(what);
        let resolves = |node: &Node| {
            node.server_type == ServerKind::Resolver && node.behind == Behind::Resolves
        };
        if self.ends.is_empty() && self.hops.len() > 1 {
            return none("those in it ask each other in a circle, and nobody finds out the answer");
        }
        if self.ends.is_empty() || !self.ends.iter().all(|end| is(*end, resolves)) {
            return none("it does not end with resolvers");
        }
        let ours = |node: &Node| node.who == Who::Client;
        let mut hops = self.hops.iter();
        if !hops.any(|hop| is(hop.from, ours) && hop.to == self.nearest) {
            return none("it does not begin at this computer");
        }
        // A node from which no hop leads and that is not among the ends would go unseen above.
        let mut nodes = (0..self.nodes.len()).map(NodeId);
        if nodes.any(|id| self.hops_from(id).next().is_none() && !self.ends.contains(&id)) {
            return none("it breaks off");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use zzdot_zonegen::upstream::{Proof, Transport};

    use super::*;
    use crate::chain::draw::samples::{cycle_chain, diamond_chain, line_chain};
    use crate::chain::{Label, Why};

    fn fault(chain: &Chain) -> Option<&'static str> {
        chain.fault().as_ref().map(Refusal::name)
    }

    #[test]
    fn whatever_is_not_known_to_be_right_is_wrong() {
        type Spoil = fn(&mut Chain);
        assert_eq!(fault(&line_chain()), None);
        let spoils: [(&str, Spoil); 12] = [
            ("a node that asks nobody and is no end", |chain| {
                chain.nodes.push(chain.nodes[2].clone());
            }),
            ("not all of it was read", |chain| chain.complete = false),
            ("it has no end", |chain| chain.ends.clear()),
            ("an end that is not there", |chain| {
                chain.ends.push(NodeId(9))
            }),
            ("the end is a forwarder", |chain| {
                chain.nodes[2].server_type = ServerKind::Forwarder;
            }),
            ("the end says nothing", |chain| {
                chain.nodes[2].behind = Behind::Unknown {
                    why: Why::SaysNothing,
                };
            }),
            ("the end forwards to nobody", |chain| {
                chain.nodes[2].behind = Behind::Forwards;
            }),
            ("the first hop is missing", |chain| {
                drop(chain.hops.remove(0))
            }),
            ("a hop is in cleartext", |chain| {
                chain.hops[1].label = Label::Cleartext;
            }),
            ("a hop is opaque", |chain| {
                chain.hops[1].label = Label::Opaque;
            }),
            ("a hop is claimed, with nobody known", |chain| {
                chain.hops[1].label = Label::Claimed;
                chain.hops[1].proof = Some(Proof::None);
            }),
            ("a hop is claimed, to anybody", |chain| {
                chain.hops[1].label = Label::Claimed;
                chain.hops[1].transport = Some(Transport::Opportunistic);
            }),
        ];
        for (what, spoil) in spoils {
            let mut chain = line_chain();
            spoil(&mut chain);
            assert_eq!(fault(&chain), Some("chain-not-encrypted"), "{what}");
        }
        let mut claimed = line_chain();
        claimed.hops[1].label = Label::Claimed;
        assert_eq!(fault(&claimed), None, "claimed, and each knows the other");
    }

    #[test]
    fn a_chain_that_leads_to_no_resolver_is_not_encrypted_to_the_end() {
        assert_eq!(fault(&cycle_chain()), Some("chain-not-encrypted"));
    }

    #[test]
    fn the_first_hop_at_fault_is_named() {
        let told = diamond_chain().fault().map(|fault| fault.cause());
        let told = told.unwrap_or_default();
        assert!(told.contains("8g2l0qv7c4m1t5b9r3se.zz asks"), "{told}");
    }
}

//! What we say about those whom we ask (protocol §3): no more than what is so now, and no less.

use std::{collections::BTreeSet, net::SocketAddr};

use hickory_proto::rr::rdata::{
    TLSA,
    tlsa::{CertUsage, Matching, Selector},
};
use zzdot_client::{
    discover::{Discovered, Tlsa},
    ladder::Rung,
    upstream::Standing,
};
use zzdot_zonegen::{
    keys::key_tag,
    upstream::{
        Proof as PublishedProof, PublishedTls, PublishedUpstream, ServerKind, Transport,
        UnnamedLabel, UpstreamId,
    },
};

use super::{Forward, Proof, Reach, Server};

impl Forward {
    /// The upstreams that questions go to now, in the order of the configuration, each once. One of which nobody knows
    /// how questions would go there is left out: none does.
    pub fn published(&self) -> Vec<PublishedUpstream> {
        let mut told = BTreeSet::new();
        let servers = self.shared.servers.iter();
        let all = servers.filter_map(Server::published);
        all.filter(|upstream| told.insert(upstream.id.clone()))
            .collect()
    }
}

/// Who a server is to be called, before anything is made of it.
enum Said<'a> {
    Named(&'a Discovered),
    Unnamed(Transport, PublishedProof),
}

impl Server {
    /// Under which of those that are published this one is; none while it is not. It costs no more than that: every
    /// question that is passed on wants to know it of every server.
    pub(super) fn id(&self) -> Option<UpstreamId> {
        self.say(|said| match said {
            Said::Named(found) => UpstreamId::of(&found.name, self.address),
            Said::Unnamed(..) => UpstreamId::Unnamed(UnnamedLabel::new(self.address)),
        })
    }

    /// What is said about it; none while no question goes there.
    pub(super) fn published(&self) -> Option<PublishedUpstream> {
        self.say(|said| match said {
            Said::Named(found) => named(self.address, found),
            Said::Unnamed(transport, proof) => unnamed(self.address, transport, proof),
        })
    }

    fn say<T>(&self, spell: impl FnOnce(Said<'_>) -> T) -> Option<T> {
        let said = match &self.reach {
            Reach::Plain => Said::Unnamed(Transport::Plain, PublishedProof::None),
            Reach::Tls { proof, .. } => Said::Unnamed(Transport::Dot, proof.published()),
            Reach::Streamed { server, proof } => {
                Said::Unnamed(server.transport(), proof.published())
            }
            Reach::Discovered(discovered) if discovered.is_us() => return None,
            Reach::Discovered(discovered) if discovered.goes_by_a_wrong_clock() => {
                Said::Unnamed(Transport::Plain, PublishedProof::None)
            }
            Reach::Discovered(discovered) => {
                let standing = discovered.borrow_standing();
                return of_standing(self.address, &standing).map(spell);
            }
        };
        Some(spell(said))
    }
}

impl Proof {
    fn published(&self) -> PublishedProof {
        match self {
            Self::Pkix(name) => PublishedProof::Pkix(name.clone()),
            Self::Pin => PublishedProof::Pin,
        }
    }
}

fn of_standing(address: SocketAddr, standing: &Standing) -> Option<Said<'_>> {
    Some(match (standing, standing.rung()?) {
        (
            Standing::Upgraded {
                found: Some(found), ..
            },
            _,
        ) => Said::Named(found),
        // Known from before this process, and what it says now cannot be believed; questions go to the key that is known.
        (Standing::Upgraded { fault: Some(_), .. }, _) => {
            Said::Unnamed(Transport::Dot, PublishedProof::Dane)
        }
        // It is being met again: by its address it would be somebody without a name until then.
        (Standing::Upgraded { .. }, _) => return None,
        (Standing::Legacy { .. }, Rung::Designated) => {
            // What is certified is the address (RFC 9462 §4.2). The name of whom it designates is the server's own word.
            let certified = address.ip().to_canonical().to_string();
            Said::Unnamed(Transport::Dot, PublishedProof::Pkix(certified))
        }
        (_, Rung::Opportunistic) => Said::Unnamed(Transport::Opportunistic, PublishedProof::None),
        (_, Rung::Cleartext) => Said::Unnamed(Transport::Plain, PublishedProof::None),
        _ => return None,
    })
}

fn unnamed(address: SocketAddr, transport: Transport, proof: PublishedProof) -> PublishedUpstream {
    PublishedUpstream {
        id: UpstreamId::Unnamed(UnnamedLabel::new(address)),
        kind: ServerKind::Unknown,
        transport,
        proof,
        addresses: vec![address.ip().to_canonical()],
        ksks: Vec::new(),
        tls: None,
    }
}

/// In an order of its own: that of answers changes from one to the next, and the zone is signed anew when it changes.
fn named(address: SocketAddr, found: &Discovered) -> PublishedUpstream {
    let mut addresses = found.addresses.clone();
    addresses.sort_unstable();
    let mut ksks = found.name_keys.clone();
    ksks.sort_by_key(key_tag);
    let mut tlsa = found.tlsa.clone();
    tlsa.sort_unstable();
    PublishedUpstream {
        id: UpstreamId::of(&found.name, address),
        kind: found.server_type.into(),
        transport: Transport::Dot,
        proof: PublishedProof::Dane,
        addresses,
        ksks,
        tls: Some(PublishedTls {
            port: found.endpoint.port(),
            tlsa: tlsa.iter().map(record).collect(),
        }),
    }
}

fn record(tlsa: &Tlsa) -> TLSA {
    TLSA::new(
        CertUsage::from(tlsa.usage),
        Selector::from(tlsa.selector),
        Matching::from(tlsa.matching),
        tlsa.data.clone(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The server chooses freely whom it designates, and nobody checked that the certificate is for that name.
    #[test]
    fn of_a_designated_resolver_is_said_what_was_certified_and_not_what_the_server_calls_it() {
        let standing = Standing::Legacy {
            rung: Some(Rung::Designated),
            designated: Some("dns.bank.example".to_owned()),
        };
        for (address, proof) in [
            ("192.0.2.1:53", "pkix 192.0.2.1"),
            ("[2001:db8::1]:5353", "pkix 2001:db8::1"),
            ("[::ffff:192.0.2.1]:53", "pkix 192.0.2.1"),
        ] {
            let said = of_standing(address.parse().unwrap(), &standing);
            let Some(Said::Unnamed(Transport::Dot, certified)) = said else {
                panic!("{address}");
            };
            assert_eq!(certified.to_string(), proof);
            assert_eq!(proof.parse::<PublishedProof>().unwrap(), certified);
        }
    }
}

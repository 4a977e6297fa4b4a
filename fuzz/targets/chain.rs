//! A survey of a forwarder and the resolver that it asks, while whoever is in between changes what he likes: what
//! is told is the truth, or less than that.
#![no_main]

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RecordType,
        rdata::{
            TLSA,
            tlsa::{CertUsage, Matching, Selector},
        },
    },
};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use zzdot_client::{
    chain::{Action, Label, MAX_QUESTIONS, Nearest, OwnAddresses, Survey, SurveyInput, Via, Who},
    discover::{PeerCertificates, TlsFailure},
};
use zzdot_fuzz::{Damage, now};
use zzdot_zonegen::{
    identity::Identity,
    publication::Stamp,
    publish::{Published, publish},
    upstream::{Proof, PublishedTls, PublishedUpstream, Transport, UpstreamId},
    zone::{Publication, ServerType},
};

/// The forwarder and the resolver.
static BOTH: LazyLock<[(Identity, Published); 2]> = LazyLock::new(|| {
    let suffix = "zz.".parse().expect("a name");
    let invent =
        || Identity::invent(&suffix, &ring::rand::SystemRandom::new()).expect("an identity");
    let (near, far) = (invent(), invent());
    let spki = far.spki_sha256().to_vec();
    let told = PublishedUpstream {
        id: UpstreamId::Named(far.name().clone()),
        kind: ServerType::Resolver.into(),
        transport: Transport::Dot,
        proof: Proof::Dane,
        addresses: vec![address(1)],
        ksks: vec![far.name_keys().ksk.dnskey().clone()],
        tls: Some(PublishedTls {
            port: 853,
            tlsa: vec![TLSA::new(
                CertUsage::DaneEe,
                Selector::Spki,
                Matching::Sha256,
                spki,
            )],
        }),
    };
    let zones = |identity: &Identity, server_type, place, upstreams| {
        let publication = Publication {
            server_type,
            addresses: vec![address(place)],
            dot_port: 853,
            upstreams,
        };
        let stamp = Stamp::next(None, now()).expect("a clock that is right");
        publish(identity, &publication, &stamp).expect("zones")
    };
    let near_zones = zones(&near, ServerType::Forwarder, 0, vec![told]);
    let far_zones = zones(&far, ServerType::Resolver, 1, Vec::new());
    [(near, near_zones), (far, far_zones)]
});

fn address(place: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, 1 + place])
}

/// What one of the two says; the forwarder passes on what is for the other.
fn answer(place: usize, name: &Name, qtype: RecordType) -> Message {
    let zones = &BOTH[place].1;
    let mut response = Message::response(0, hickory_proto::op::OpCode::Query);
    let found = zones.anchor_zone.lookup(name, qtype);
    let Some(found) = found.or_else(|| zones.name_zone.lookup(name, qtype)) else {
        response.metadata.response_code = ResponseCode::Refused;
        return response;
    };
    response.metadata.response_code = found.rcode;
    response.answers = found.answers;
    response.authorities = found.authorities;
    if let Some(redirected) = found.redirected {
        let further = answer(1, &redirected.target, qtype);
        response.metadata.response_code = further.metadata.response_code;
        response.answers.extend(further.answers);
        response.authorities.extend(further.authorities);
    }
    response
}

/// Who is at the address of the resolver.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Peer {
    Itself,
    Other,
    Nobody,
    Silent,
}

#[derive(Arbitrary, Debug)]
struct Input {
    peer: Peer,
    /// The last question is answered first.
    backwards: bool,
    /// In place of the first the answer to the second question comes, as if it were for the first.
    swaps: Vec<(u8, u8)>,
    damage: Damage,
}

fuzz_target!(|input: Input| {
    let start = Instant::now();
    let [(near, _), (far, _)] = &*BOTH;
    let mut survey = Survey::new(SurveyInput {
        nearest: Nearest {
            name: near.name().clone(),
            anchor: near.trust_anchor(),
            endpoint: SocketAddr::new(address(0), 853),
        },
        own_addresses: OwnAddresses::Known(BTreeSet::new()),
        now: start,
        timeout: Duration::from_secs(20),
        clock: now(),
    });
    let mut waiting = Vec::new();
    let mut said: Vec<Message> = Vec::new();
    let mut asked = 0u8;
    let chain = 'over: loop {
        while let Some(action) = survey.next_action() {
            match action {
                Action::Event(_) => {}
                Action::Ask(ask) => waiting.push(ask),
                Action::Trust(trust) => {
                    assert_eq!(&trust.name, far.name());
                    assert_eq!(input.peer, Peer::Itself);
                }
                Action::Connect(connect) => {
                    let shown =
                        |identity: &Identity| PeerCertificates(vec![identity.certificate()]);
                    let outcome = match input.peer {
                        Peer::Itself => Ok(shown(far)),
                        Peer::Other => Ok(shown(near)),
                        Peer::Nobody => Err(TlsFailure::NoConnection {
                            detail: String::new(),
                        }),
                        Peer::Silent => continue,
                    };
                    survey.on_tls(now(), connect.attempt, outcome);
                }
                Action::Done(chain) => break 'over chain,
            }
        }
        let ask = if input.backwards {
            waiting.pop()
        } else if waiting.is_empty() {
            None
        } else {
            Some(waiting.remove(0))
        };
        let Some(ask) = ask else {
            survey.on_timeout(start + Duration::from_secs(3600));
            continue;
        };
        assert!(said.len() < MAX_QUESTIONS, "a survey ends");
        let place = match ask.via {
            Via::Nearest => 0,
            Via::Direct(_) => 1,
        };
        let queries = Message::from_vec(&ask.message(7))
            .expect("our own question")
            .queries;
        said.push(answer(place, &ask.name, ask.qtype));
        let mut message = said.last().cloned().expect("it was pushed");
        for (_, other) in input.swaps.iter().filter(|(place, _)| *place == asked) {
            message = said[usize::from(*other) % said.len()].clone();
        }
        message.queries = queries;
        let reply = message.to_vec().expect("a message");
        let (arrived, clock) = input.damage.done_to(asked, reply);
        asked = asked.saturating_add(1);
        match arrived {
            Some(reply) => survey.on_message(clock, ask.id, &reply),
            None => survey.on_no_answer(clock, ask.id),
        }
    };
    assert!(survey.next_action().is_none() && survey.next_timeout().is_none());
    // Nobody is in it but those two, and what is said about each was signed by it.
    for node in &chain.nodes {
        let Who::Named { name } = &node.who else {
            assert_eq!(node.who, Who::Client);
            continue;
        };
        let place = u8::from(name != near.name());
        let identity = &BOTH[usize::from(place)].0;
        assert_eq!(name, identity.name());
        assert!(node.addresses.iter().all(|it| *it == address(place)));
        assert!(node.tlsa.iter().all(|it| it.data == identity.spki_sha256()));
    }
    for hop in chain.hops.iter().skip(1) {
        assert_eq!(
            (hop.from, chain.node(hop.to).map(|node| &node.who)),
            (
                chain.nearest,
                Some(&Who::Named {
                    name: far.name().clone()
                })
            )
        );
        assert_ne!(hop.label, Label::Cleartext);
        assert!(hop.label != Label::Proven || input.peer == Peer::Itself);
    }
    if input.swaps.is_empty() && input.damage.is_none() && input.peer == Peer::Itself {
        assert!(chain.complete && chain.weakness().is_none());
    }
});

//! Forwarders that lie about whom they ask, and one that changes its mind. They run in this process: zones signed by
//! their own keys, and TLS with the key that these name, so that nothing but what they say gives them away.

use std::sync::{Mutex, PoisonError};

use hickory_proto::{
    op::{Message, Query},
    rr::{
        Name, RData, RecordType,
        rdata::{
            TLSA,
            tlsa::{CertUsage, Matching, Selector},
        },
    },
};
use ring::rand::SystemRandom;
use zzdot_zonegen::{
    clock::UnixTime,
    identity::Identity,
    publication::Stamp,
    publish::publish,
    upstream::{
        Proof, PublishedTls, PublishedUpstream, ServerKind, Transport, UnnamedLabel, UpstreamId,
    },
    zone::{Publication, ServerType},
};

use super::{
    super::{Failure, Scene, Teller, Told, scene::ISP},
    flat::{MACHINES, dane},
    ground::{self, find},
    truth::{Traced, Truth},
};
use crate::attacker::{Answerer, Attacker, Dns, Dot, Impostor, Manner, Said, answers};

const ADDRESS: &str = "10.53.0.73";
const NAME: &str = "liar";
/// Somebody else's address, and somebody else's key.
const ELSEWHERE: &str = "203.0.113.66";
const OTHER_DIGEST: [u8; 32] = [0x5a; 32];
/// More versions than the survey reads.
const VERSIONS: usize = 12;

/// A lie about an upstream, and the reason for which it is found out.
struct Lie {
    about: &'static str,
    reason: &'static str,
    tell: fn(&mut PublishedUpstream, &Identity),
}

const LIES: &[Lie] = &[
    Lie {
        about: "the key of its zone",
        reason: "other-key",
        tell: |upstream, liar| upstream.ksks = vec![liar.name_keys().ksk.dnskey().clone()],
    },
    Lie {
        about: "its type",
        reason: "other-server-type",
        tell: |upstream, _| upstream.kind = ServerKind::Forwarder,
    },
    Lie {
        about: "its addresses",
        reason: "other-addresses",
        tell: |upstream, _| {
            upstream.addresses = vec![ELSEWHERE.parse().expect("a constant is an address")];
        },
    },
    Lie {
        about: "its TLS key",
        reason: "other-tlsa",
        tell: |upstream, _| {
            if let Some(tls) = &mut upstream.tls {
                tls.tlsa = vec![tlsa(OTHER_DIGEST)];
            }
        },
    },
];

/// Who lies, and what it would say if it did not.
struct Liar {
    identity: Identity,
    attacker: Attacker,
    honest: PublishedUpstream,
    stamp: Stamp,
}

pub(super) fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let mut names = ground::names(scene, MACHINES)?;
    let mut liar = Liar::start(scene)?;
    names.insert(liar.identity.name().to_string(), NAME.to_owned());
    let laptop = scene.laptop.clone();
    let trace = || Traced::from(&laptop, ADDRESS, &names);

    let honest = liar.honest.clone();
    let zones = liar.zones(vec![honest.clone()])?;
    liar.say(zones)?;
    let met = &[NAME, "end"];
    trace()?.is(&[dane("laptop", NAME), dane(NAME, "end")], Some(met))?;
    for lie in LIES {
        let mut told = honest.clone();
        (lie.tell)(&mut told, &liar.identity);
        let zones = liar.zones(vec![told])?;
        liar.say(zones)?;
        let traced = trace()?;
        let opaque = Truth(NAME, "end", "opaque", "dot", "dane");
        traced.is(&[dane("laptop", NAME), opaque], None)?;
        traced.gives(NAME, lie.reason)?;
        teller.tell(format!(
            "a lie about {} is found out: {}",
            lie.about, lie.reason
        ));
    }
    let zones = liar.zones(Vec::new())?;
    liar.say(zones)?;
    let traced = trace()?;
    traced.is(&[dane("laptop", NAME)], Some(&[NAME]))?;
    traced.leaves_open(NAME, "names-nobody")?;
    teller.tell("a forwarder that names nobody leaves the chain open");

    let plain = unnamed("10.53.0.53")?;
    let before = liar.zones(vec![plain.clone()])?;
    let after = liar.zones(vec![honest.clone()])?;
    liar.change_its_mind(vec![before, after])?;
    trace()?.is(&[dane("laptop", NAME), dane(NAME, "end")], Some(met))?;
    teller.tell("an upstream that is upgraded during the walk is seen as it is in the end");

    let mut versions = Vec::new();
    for number in 0..VERSIONS {
        let upstream = if number % 2 == 0 { &plain } else { &honest };
        versions.push(liar.zones(vec![upstream.clone()])?);
    }
    liar.change_its_mind(versions)?;
    let traced = trace()?;
    traced.leaves_open(NAME, "changing")?;
    teller.tell("one that says something else each time leaves the chain open");
    Ok(())
}

impl Liar {
    fn start(scene: &mut Scene) -> Result<Self, Failure> {
        let end = find(MACHINES, "end")?;
        let identity = ground::host(scene, end.name)?
            .folder()
            .join(format!("{}-state/identity", end.name));
        let honest = upgraded(&Identity::load(&identity)?, end);
        let host = scene.neighbour(NAME, [ADDRESS, "fd00:53::73"])?;
        Ok(Self {
            identity: Identity::invent(&Name::from_ascii("zz.")?, &SystemRandom::new())?,
            attacker: Attacker::start(&host, ISP, end.ip())?,
            honest,
            stamp: Stamp::next_above(UnixTime(0), None, UnixTime::now())?,
        })
    }

    /// Zones of a newer version, with these upstreams.
    fn zones(&mut self, upstreams: Vec<PublishedUpstream>) -> Result<Answerer, Failure> {
        self.stamp = Stamp::next_above(UnixTime(0), Some(&self.stamp), UnixTime::now())?;
        let publication = Publication {
            server_type: ServerType::Forwarder,
            addresses: vec![ADDRESS.parse()?],
            dot_port: 853,
            upstreams,
        };
        Ok(answers::zones(publish(
            &self.identity,
            &publication,
            &self.stamp,
        )?))
    }

    fn say(&self, zones: Answerer) -> Told {
        self.say_by_and_by(zones.clone(), zones)
    }

    /// The first version until somebody looks behind it, and then, during that, the others one after the other.
    fn change_its_mind(&self, versions: Vec<Answerer>) -> Told {
        let first = versions.first().cloned();
        let first = first.ok_or_else(|| Failure::new("no version"))?;
        self.say_by_and_by(first, one_after_the_other(versions))
    }

    fn say_by_and_by(&self, in_cleartext: Answerer, over_tls: Answerer) -> Told {
        let [dns, dot] =
            [in_cleartext, over_tls].map(|zones| passing_on(zones).for_the_walk(answers::relay()));
        let impostor = Impostor::with_key_of(&self.identity)?;
        self.attacker.turn(Manner {
            dns: Dns::Answer(dns),
            dot: Dot::Impostor(impostor, dot),
        })?;
        Ok(())
    }
}

/// What is asked through the liar is what the upstream says, as with any other forwarder.
fn passing_on(zones: Answerer) -> Answerer {
    Answerer::new(move |query, genuine| {
        let Said::Message(said) = zones.say(query, genuine) else {
            return Said::Nothing;
        };
        let Ok(mut said) = Message::from_vec(&said) else {
            return Said::Nothing;
        };
        let target = said.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) => Some(target.0.clone()),
            _ => None,
        });
        let rtype = said.queries.first().map(Query::query_type);
        if let (Some(target), Some(rtype)) = (target, rtype) {
            let beyond = genuine.ask(&answers::query(&target, rtype));
            let Some(Ok(beyond)) = beyond.map(|beyond| Message::from_vec(&beyond)) else {
                return Said::Nothing;
            };
            said.metadata.response_code = beyond.metadata.response_code;
            said.answers.extend(beyond.answers);
            said.authorities = beyond.authorities;
        }
        said.to_vec().ok().into()
    })
}

/// The next version after each question about the version.
fn one_after_the_other(versions: Vec<Answerer>) -> Answerer {
    let now = Mutex::new(0);
    Answerer::new(move |query, genuine| {
        let asked = Message::from_vec(query).ok();
        let about_version = asked.is_some_and(|message| {
            let mut asked = message.queries.iter();
            asked.any(|query| query.query_type() == RecordType::SOA)
        });
        let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
        let version = versions.get(*now);
        let said = version.map_or(Said::Nothing, |version| version.say(query, genuine));
        if about_version {
            *now = (*now + 1).min(versions.len().saturating_sub(1));
        }
        said
    })
}

/// What an honest forwarder says about a resolver with this identity.
fn upgraded(identity: &Identity, machine: &ground::Machine) -> PublishedUpstream {
    PublishedUpstream {
        id: UpstreamId::Named(identity.name().clone()),
        kind: ServerKind::Resolver,
        transport: Transport::Dot,
        proof: Proof::Dane,
        addresses: vec![machine.ip()],
        ksks: vec![identity.name_keys().ksk.dnskey().clone()],
        tls: Some(PublishedTls {
            port: 853,
            tlsa: vec![tlsa(identity.spki_sha256())],
        }),
    }
}

/// What an honest forwarder says about a server that says nothing.
fn unnamed(address: &str) -> Result<PublishedUpstream, Failure> {
    let address: std::net::IpAddr = address.parse()?;
    Ok(PublishedUpstream {
        id: UpstreamId::Unnamed(UnnamedLabel::new((address, 53).into())),
        kind: ServerKind::Unknown,
        transport: Transport::Plain,
        proof: Proof::None,
        addresses: vec![address],
        ksks: Vec::new(),
        tls: None,
    })
}

fn tlsa(digest: [u8; 32]) -> TLSA {
    TLSA::new(
        CertUsage::DaneEe,
        Selector::Spki,
        Matching::Sha256,
        digest.to_vec(),
    )
}

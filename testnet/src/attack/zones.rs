//! Attacks with zones: forged, changed, replayed, relayed. The attacker's own TLS key is on 853 each time, since without
//! one nothing is gained.

use hickory_proto::rr::{Name, RData, RecordType, rdata::TLSA};
use ring::rand::SystemRandom;
use zzdot_zonegen::{
    clock::UnixTime,
    identity::Identity,
    publication::Stamp,
    publish::publish,
    zone::{Publication, ServerType},
};

use super::{ALONE, Attack, Branch, Stage, ground::RESOLVER, refused};
use crate::{
    attacker::{Answerer, Dns, Dot, Impostor, Manner, answers},
    story::{Failure, Told},
};

const NOBODY_ELSE: &str = "nobody else is taken for it";
const VALIDATED: &str = "every record is validated";

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        test: "relaying_the_genuine_zones_before_another_key_wins_no_question",
        promise: NOBODY_ELSE,
        words: "the genuine zones relayed, another key on 853",
        stage: Stage::Known,
        play: |branch| with_zones(branch, answers::relay()),
        product: refused(&["certificate-mismatch"]),
        ..ALONE
    },
    Attack {
        test: "replaying_older_zones_wins_no_question",
        promise: NOBODY_ELSE,
        words: "zones recorded before the resolver signed anew, still valid, another key on 853",
        stage: Stage::Known,
        play: |branch| {
            let replay = branch.old_zones.replay();
            with_zones(branch, replay)
        },
        product: refused(&["rolled-back", "certificate-mismatch"]),
        ..ALONE
    },
    Attack {
        test: "another_identity_in_its_place_wins_no_question",
        promise: NOBODY_ELSE,
        words: "a whole identity of the attacker's own, its zones and its TLS",
        stage: Stage::Known,
        play: |branch| {
            let own = Identity::invent(&Name::from_ascii("zz.")?, &SystemRandom::new())?;
            let zones = own_zones(&own, UnixTime::now())?;
            with(branch, zones, Impostor::with_key_of(&own)?)
        },
        product: refused(&["name-changed", "anchor-changed"]),
        ..ALONE
    },
    Attack {
        test: "a_tlsa_record_for_another_key_wins_no_question",
        promise: VALIDATED,
        words: "the genuine zones, with the TLSA record changed to name the attacker's key",
        stage: Stage::Known,
        play: |branch| {
            let own = Identity::invent(&Name::from_ascii("zz.")?, &SystemRandom::new())?;
            let pin = own.spki_sha256();
            let changed = answers::relay().changed(move |message| {
                for record in &mut message.answers {
                    if let RData::TLSA(tlsa) = &record.data {
                        record.data = RData::TLSA(TLSA::new(
                            tlsa.cert_usage,
                            tlsa.selector,
                            tlsa.matching,
                            pin.to_vec(),
                        ));
                    }
                }
            });
            with(branch, changed, Impostor::with_key_of(&own)?)
        },
        product: refused(&["signature-wrong"]),
        ..ALONE
    },
    Attack {
        test: "zones_without_their_tlsa_record_win_no_question",
        promise: VALIDATED,
        words: "the genuine zones, with an empty answer instead of TLSA, another key on 853",
        stage: Stage::Known,
        play: |branch| {
            let changed = answers::relay().changed(|message| {
                if asks_for(message, RecordType::TLSA) {
                    message.answers.clear();
                }
            });
            with_zones(branch, changed)
        },
        product: refused(&["denial-missing"]),
        ..ALONE
    },
];

/// TLS of another key that says the same name, behind these zones.
fn with_zones(branch: &mut Branch, zones: Answerer) -> Told {
    let impostor = Impostor::calling_itself(branch.identity.name().as_name())?;
    with(branch, zones, impostor)
}

fn with(branch: &mut Branch, zones: Answerer, impostor: Impostor) -> Told {
    branch.attacker.turn(Manner {
        dns: Dns::Answer(zones.for_the_walk(answers::lie())),
        dot: Dot::Impostor(impostor, answers::lie()),
    })?;
    branch.ask(2);
    branch.restart_product()?;
    branch.ask(1);
    Ok(())
}

/// Zones of an identity, signed at `now`, which say that it is where the resolver is.
pub(super) fn own_zones(identity: &Identity, now: UnixTime) -> Result<Answerer, Failure> {
    let publication = Publication {
        server_type: ServerType::Resolver,
        addresses: vec![RESOLVER.into()],
        dot_port: 853,
        upstreams: Vec::new(),
    };
    zones_of(identity, &publication, now)
}

/// Zones of an identity, signed at `now`, which say whatever they say.
pub(super) fn zones_of(
    identity: &Identity,
    publication: &Publication,
    now: UnixTime,
) -> Result<Answerer, Failure> {
    let stamp = Stamp::next_above(UnixTime(0), None, now)?;
    Ok(answers::zones(publish(identity, publication, &stamp)?))
}

fn asks_for(message: &hickory_proto::op::Message, rtype: RecordType) -> bool {
    message
        .queries
        .first()
        .is_some_and(|query| query.query_type() == rtype)
}

//! Attacks with keys that were the resolver's, and were replaced when their theft was noticed.

use std::{thread, time::Duration};

use hickory_proto::rr::RecordType;
use zzdot_zonegen::{
    clock::UnixTime,
    owners::anchor_zone,
    zone::{Publication, ServerType},
};

use super::{ALONE, Attack, Branch, Expected, Outcome, Stage, refused, zones::zones_of};
use crate::{
    attacker::{Answerer, Dns, Dot, Impostor, Manner, Said, answers},
    products,
    story::{Failure, Told},
};

const REPLACED: &str = "what was replaced is worth nothing";

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        test: "a_stolen_certificate_that_was_replaced_wins_no_question",
        promise: REPLACED,
        words: "the TLS key from before `zzdot rotate --what certificate --compromised`, behind the zones of that time",
        play: |branch| {
            replaced(branch)?;
            let stolen = Impostor::with_key_of(&branch.identity)?;
            let zones = branch.old_zones.replay();
            branch.attacker.turn(Manner {
                dns: Dns::Answer(zones.for_the_walk(answers::lie())),
                dot: Dot::Impostor(stolen, answers::lie()),
            })?;
            branch.ask(2);
            branch.restart_product()?;
            branch.ask(1);
            Ok(())
        },
        product: refused(&["rolled-back", "certificate-mismatch"]),
        ..ALONE
    },
    Attack {
        test: "a_stolen_certificate_behind_zones_that_pose_as_out_of_a_cache_wins_no_question",
        promise: REPLACED,
        words: "the same, a moment after the client has learned of the new key, with times to live as if the zones came out of a cache",
        play: |branch| {
            replaced(branch)?;
            let stolen = Impostor::with_key_of(&branch.identity)?;
            let zones = branch.old_zones.replay().changed(|message| {
                for section in [&mut message.answers, &mut message.authorities] {
                    for record in section.iter_mut() {
                        record.ttl = 0;
                    }
                }
            });
            branch.attacker.turn(Manner {
                dns: Dns::Answer(zones.for_the_walk(answers::lie())),
                dot: Dot::Impostor(stolen, answers::lie()),
            })?;
            branch.ask(2);
            branch.restart_product()?;
            branch.ask(1);
            Ok(())
        },
        product: refused(&["rolled-back", "certificate-mismatch"]),
        ..ALONE
    },
    Attack {
        test: "a_stolen_zone_signing_key_serves_its_thief_until_the_keys_above_it_are_replaced_too",
        promise: "none: a key of a zone lasts as long as the signature above it, fourteen days at the most",
        words: "TLS key and ZSK from before both were replaced with `--compromised`; the genuine anchor zone relayed, the DNSKEY records of that time, all else signed anew",
        // Whoever was believed can lay the versions so high that the genuine ones look rolled back: this does not end well.
        stage: Stage::First,
        play: |branch| {
            branch.start_victims()?;
            branch.all_is_well()?;
            thread::sleep(Duration::from_millis(1100));
            rotate(branch, "zsk")?;
            rotate(branch, "certificate")?;
            branch.restart_product()?;
            branch.comes_back()?;
            thieves_zones(branch)
        },
        product: Expected {
            outcome: Outcome::Believed,
            reasons: &[],
        },
        ..ALONE
    },
    Attack {
        test: "a_stolen_zone_signing_key_is_worth_nothing_when_the_keys_above_it_are_replaced",
        promise: REPLACED,
        words: "the same, with the KSK of the name replaced, too",
        play: |branch| {
            thread::sleep(Duration::from_millis(1100));
            rotate(branch, "ksk")?;
            rotate(branch, "zsk")?;
            rotate(branch, "certificate")?;
            branch.restart_product()?;
            branch.comes_back()?;
            thieves_zones(branch)
        },
        product: refused(&["signature-wrong", "key-not-trusted", "not-signed-by-anchor"]),
        ..ALONE
    },
];

/// What somebody can publish who has the TLS key and the ZSKs of another time, but no KSK.
fn thieves_zones(branch: &mut Branch) -> Told {
    let publication = Publication {
        server_type: ServerType::Resolver,
        addresses: vec![branch.resolver.into()],
        dot_port: 853,
        upstreams: Vec::new(),
    };
    // A serial is what a thief says it is.
    let ahead = UnixTime::now().plus(Duration::from_secs(60));
    let signed = zones_of(&branch.identity, &publication, ahead)?;
    let (old, relay) = (branch.old_zones.replay(), answers::relay());
    let zones = Answerer::new(move |query, genuine| {
        let (name, rtype) = match answers::question(query) {
            Some(question) => question,
            None => return Said::Nothing,
        };
        if anchor_zone().zone_of(&name) {
            relay.say(query, genuine)
        } else if rtype == RecordType::DNSKEY {
            old.say(query, genuine)
        } else {
            signed.say(query, genuine)
        }
    });
    branch.attacker.turn(Manner {
        dns: Dns::Answer(zones.for_the_walk(answers::lie())),
        dot: Dot::Impostor(Impostor::with_key_of(&branch.identity)?, answers::lie()),
    })?;
    branch.ask(2);
    branch.restart_product()?;
    branch.ask(1);
    Ok(())
}

/// The owner replaces the certificate, and the client meets the new one.
fn replaced(branch: &mut Branch) -> Told {
    // Times in signatures are whole seconds: within one of them nothing is older than anything.
    thread::sleep(Duration::from_millis(1100));
    rotate(branch, "certificate")?;
    branch.restart_product()?;
    branch.comes_back()
}

/// The resolver's owner notices the theft.
fn rotate(branch: &Branch, what: &str) -> Told {
    let config = branch.resolver_config.to_string_lossy();
    let output = products::run(
        &branch.resolver_host,
        "zzdot",
        &[
            "rotate",
            "--config",
            &config,
            "--what",
            what,
            "--compromised",
        ],
    )?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "zzdot rotate: {}",
        String::from_utf8_lossy(&output.stderr)
    )))
}

//! Random roll-overs over virtual years: run late, interrupted, with the server off for months. Whoever watches never
//! finds a gap.
//!
//! Three watch: a cache, which may put together what was served at different times within a life of a record; a validator
//! after RFC 5011 that was given one key and looks in daily; and clients that come back after up to thirteen months.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use hickory_proto::dnssec::Verifier;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::identity::Identity;
use zzdot_zonegen::keys::{REVOKE, dnskey_of_key, key_tag};
use zzdot_zonegen::owners::{key_owner, succession_owner, tlsa_owner};
use zzdot_zonegen::publication::Stamp;
use zzdot_zonegen::publish::{Published, publish};
use zzdot_zonegen::rollover::{Intervals, Rotation, What};
use zzdot_zonegen::signed_zone::{SignedZone, rrsig_of};
use zzdot_zonegen::succession::{KeyDigest, Statement, descendants};
use zzdot_zonegen::verify::verify;
use zzdot_zonegen::zone::{Publication, ServerType, TTL_SECS};

const DAY: u64 = 24 * 3600;
const HOLD_DOWN: u64 = 30 * DAY;
const AWAY: u64 = 390 * DAY;

/// What happens next in a schedule.
#[derive(Clone, Debug)]
enum Event {
    /// The server looks at its keys after so many seconds.
    Look(u64),
    /// So many days pass, with a look every few hours.
    Days(u64),
    /// The server is off for so many days.
    Off(u64),
    /// It looks, takes its steps, and ends before anything is served.
    Crash(u64),
    /// Somebody asks for a roll-over.
    Rotate(What),
}

fn event() -> impl Strategy<Value = Event> {
    let what = prop::sample::select(What::ALL.as_slice());
    prop_oneof![
        4 => prop::sample::select(&[1_u64, 30, 59, 60, 61, 119, 120, 600, 3600][..]).prop_map(Event::Look),
        4 => (1_u64..30).prop_map(Event::Days),
        1 => (1_u64..150).prop_map(Event::Off),
        2 => prop::sample::select(&[1_u64, 60, 121, DAY][..]).prop_map(Event::Crash),
        3 => what.prop_map(Event::Rotate),
    ]
}

/// What was served until some moment.
struct Version {
    published: Published,
    /// The keys that sign the DNSKEYs of `resolver-name.arpa`.
    signers: Vec<DNSKEY>,
    spki: [u8; 32],
    until: Option<UnixTime>,
}

/// A validator after RFC 5011: when it first saw each key, and whether it trusts it.
struct Validator(Vec<(DNSKEY, UnixTime, bool)>);

/// A client that went away, and the anchors it knew.
struct Traveller {
    left: UnixTime,
    anchors: Vec<DNSKEY>,
}

struct World {
    identity: Identity,
    now: UnixTime,
    intervals: Intervals,
    versions: Vec<Version>,
    validator: Option<Validator>,
    seen: UnixTime,
    travellers: Vec<Traveller>,
    /// Steps of the anchor so far; at the last departure; and how many came back by a succession.
    rolled: usize,
    departed: usize,
    led: usize,
}

impl World {
    fn new(intervals: Intervals) -> Self {
        let suffix = Name::from_ascii("zz.").unwrap();
        let mut world = Self {
            identity: Identity::invent(&suffix, &SystemRandom::new()).unwrap(),
            now: UnixTime(4_000_000_000),
            intervals,
            versions: Vec::new(),
            validator: None,
            seen: UnixTime(0),
            travellers: Vec::new(),
            rolled: 0,
            departed: usize::MAX,
            led: 0,
        };
        world.look();
        world
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Look(secs) => self.wait(*secs, true),
            Event::Days(days) => (0..days * 2).for_each(|_| self.wait(DAY / 2, true)),
            Event::Off(days) => {
                self.stop();
                self.wait(days * DAY, true);
            }
            Event::Crash(secs) => {
                self.stop();
                self.wait(*secs, false);
            }
            Event::Rotate(what) => {
                let rotation = Rotation {
                    what: *what,
                    compromised: false,
                    standby_key: None,
                };
                // One that is under way already is refused, and goes on.
                if let Ok(next) = self
                    .identity
                    .rotated(&rotation, self.now, &SystemRandom::new())
                {
                    self.identity = next;
                }
            }
        }
    }

    fn wait(&mut self, secs: u64, serve: bool) {
        self.now = self.now.plus(Duration::from_secs(secs));
        match serve {
            true => self.look(),
            false => {
                self.step();
            }
        }
    }

    /// The server is not there any more; caches have what it served.
    fn stop(&mut self) {
        if let Some(last) = self.versions.last_mut() {
            last.until.get_or_insert(self.now);
        }
    }

    fn step(&mut self) -> bool {
        self.identity = self.identity.aired(self.now);
        let mut stepped = false;
        while let Some((next, step)) = self
            .identity
            .stepped(self.now, &self.intervals, &SystemRandom::new())
            .unwrap()
        {
            self.rolled += usize::from(step.what() == What::Anchor);
            self.identity = next;
            stepped = true;
        }
        stepped
    }

    fn look(&mut self) {
        let stepped = self.step();
        let running = self
            .versions
            .last()
            .is_some_and(|last| last.until.is_none());
        if stepped || !running {
            self.stop();
            self.serve();
        }
        if self.now >= self.seen.plus(Duration::from_secs(DAY)) {
            self.seen = self.now;
            self.watch();
        }
    }

    fn serve(&mut self) {
        let publication = Publication {
            server_type: ServerType::Forwarder,
            addresses: vec!["192.0.2.1".parse().unwrap()],
            dot_port: 853,
            upstreams: Vec::new(),
        };
        let stamp = Stamp::next_above(UnixTime(0), None, self.now).unwrap();
        let published = publish(&self.identity, &publication, &stamp).unwrap();
        let name_ksk = [self.identity.name_keys().ksk.dnskey().clone()];
        verify(&published.name_zone, &name_ksk, self.now).unwrap();
        verify(
            &published.anchor_zone,
            &self.identity.trust_anchor(),
            self.now,
        )
        .unwrap();
        let dnskeys = published
            .anchor_zone
            .lookup(published.anchor_zone.origin(), RecordType::DNSKEY);
        let mut answer = Message::response(0, OpCode::Query);
        answer.answers = dnskeys.unwrap().answers;
        // Room for the question and EDNS is left in an answer over UDP.
        assert!(answer.to_vec().unwrap().len() < 1232 - 64);
        self.versions.push(Version {
            signers: signers(&published.anchor_zone),
            published,
            spki: self.identity.spki_sha256(),
            until: None,
        });
        self.identity = self.identity.served(self.now);
        let ttl = Duration::from_secs(TTL_SECS.into());
        let now = self.now;
        self.versions
            .retain(|version| version.until.is_none_or(|until| until.plus(ttl) > now));
        self.check_caches();
    }

    /// Any part of what was served within a life of a record goes with any other part.
    fn check_caches(&self) {
        let name = self.identity.name();
        for one in &self.versions {
            for other in &self.versions {
                let tlsa = one
                    .published
                    .name_zone
                    .rrset(&tlsa_owner(name, 853), RecordType::TLSA);
                // The certificate that is served now, by whatever records.
                let spki = self.versions.last().unwrap().spki;
                let named =
                    |data: &RData| matches!(data, RData::TLSA(tlsa) if tlsa.cert_data == spki);
                assert!(
                    tlsa.unwrap()
                        .records
                        .iter()
                        .any(|record| named(&record.data)),
                    "TLSA"
                );
                let keys = one
                    .published
                    .anchor_zone
                    .rrset(&key_owner(name), RecordType::KEY)
                    .unwrap();
                let anchors: Vec<DNSKEY> = keys
                    .records
                    .iter()
                    .filter_map(|record| match &record.data {
                        RData::DNSSEC(DNSSECRData::KEY(key)) => dnskey_of_key(key).ok(),
                        _ => None,
                    })
                    .collect();
                let zone = &other.published.name_zone;
                assert!(
                    signers(zone).iter().any(|key| anchors.contains(key)),
                    "KEY and DNSKEY"
                );
                for (zone, other) in [
                    (&one.published.name_zone, &other.published.name_zone),
                    (&one.published.anchor_zone, &other.published.anchor_zone),
                ] {
                    let dnskeys = dnskeys(zone);
                    let soa = other.rrset(other.origin(), RecordType::SOA).unwrap();
                    let tag = rrsig_of(&soa.signatures[0]).unwrap().input().key_tag;
                    assert!(dnskeys.iter().any(|key| key_tag(key) == tag), "ZSK");
                }
            }
        }
    }

    fn watch(&mut self) {
        let version = self.versions.last().unwrap();
        let zone = &version.published.anchor_zone;
        let (shown, signers, now) = (dnskeys(zone), &version.signers, self.now);
        let first = || Validator(vec![(signers[0].clone(), now, true)]);
        let validator = self.validator.get_or_insert_with(first);
        validator.observe(&shown, signers, now);
        // Some leave; those who left come back for a look after each roll-over.
        if self.departed == self.rolled {
            return;
        }
        self.departed = self.rolled;
        let statements: Vec<Statement> = zone
            .rrset(&succession_owner(), RecordType::TXT)
            .into_iter()
            .flat_map(|rrset| &rrset.records)
            .filter_map(|record| match &record.data {
                RData::TXT(txt) => {
                    Some(Statement::from_txt(txt.txt_data.iter().map(AsRef::as_ref)).unwrap())
                }
                _ => None,
            })
            .collect();
        self.travellers
            .retain(|traveller| now.0 - traveller.left.0 <= AWAY);
        for traveller in &self.travellers {
            let known = |key: &DNSKEY| traveller.anchors.contains(key);
            if signers.iter().any(known) {
                continue;
            }
            let name = self.identity.name();
            let led = descendants(name, &traveller.anchors, &[], &statements, &shown, now);
            let found = signers.iter().any(|key| led.contains(key));
            assert!(found, "away since {}, now {now}", traveller.left);
            self.led += 1;
        }
        self.travellers.push(Traveller {
            left: now,
            anchors: self.identity.trust_anchor(),
        });
    }
}

impl Validator {
    fn observe(&mut self, shown: &[DNSKEY], signers: &[DNSKEY], now: UnixTime) {
        let revoked: Vec<KeyDigest> = signers
            .iter()
            .filter(|key| key.flags() & REVOKE != 0)
            .map(KeyDigest::of)
            .collect();
        self.0
            .retain(|(key, ..)| !revoked.contains(&KeyDigest::of(key)));
        let vouched =
            |(key, _, trusted): &(DNSKEY, UnixTime, bool)| *trusted && signers.contains(key);
        assert!(
            self.0.iter().any(vouched),
            "nothing that is trusted signs at {now}"
        );
        self.0
            .retain(|(key, _, trusted)| *trusted || shown.contains(key));
        for (_, since, trusted) in &mut self.0 {
            *trusted |= now.0 - since.0 >= HOLD_DOWN;
        }
        for key in shown.iter().filter(|key| key.flags() == 257) {
            if !self.0.iter().any(|(held, ..)| held == key) {
                self.0.push((key.clone(), now, false));
            }
        }
    }
}

fn dnskeys(zone: &SignedZone) -> Vec<DNSKEY> {
    let rrset = zone.rrset(zone.origin(), RecordType::DNSKEY).unwrap();
    let keys = rrset
        .records
        .iter()
        .filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key.clone()),
            _ => None,
        });
    keys.collect()
}

/// The keys whose signature over the DNSKEY RRset holds.
fn signers(zone: &SignedZone) -> Vec<DNSKEY> {
    let rrset = zone.rrset(zone.origin(), RecordType::DNSKEY).unwrap();
    let rrsigs = rrset.signatures.iter().filter_map(rrsig_of);
    let keys = dnskeys(zone);
    rrsigs
        .filter_map(|rrsig| {
            let signed = |key: &&DNSKEY| {
                key_tag(key) == rrsig.input().key_tag
                    && key
                        .verify_rrsig(zone.origin(), DNSClass::IN, rrsig, rrset.records.iter())
                        .is_ok()
            };
            keys.iter().find(signed).cloned()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn whoever_watches_finds_no_gap_whatever_happens_to_the_publisher(
        events in prop::collection::vec(event(), 40..80),
        by_itself in any::<bool>(),
    ) {
        let every = |days| by_itself.then(|| Duration::from_secs(days * DAY));
        let mut world = World::new(Intervals {
            certificate: every(40),
            zsk: every(20),
            ksk: every(60),
            anchor: every(90),
        });
        for event in &events {
            world.happen(event);
        }
    }
}

#[test]
fn a_year_of_roll_overs_rolls_the_anchor_again_and_again() {
    let every = |days| Some(Duration::from_secs(days * DAY));
    let mut world = World::new(Intervals {
        certificate: every(30),
        zsk: every(10),
        ksk: every(30),
        anchor: every(36),
    });
    world.happen(&Event::Days(800));
    assert!(world.rolled >= 20, "{}", world.rolled);
    // Nobody of these had a key left that signs.
    assert!(world.led >= 20, "{}", world.led);
}

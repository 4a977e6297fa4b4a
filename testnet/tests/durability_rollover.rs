//! A roll-over is done or not done, whatever happens while it is: the identity stays whole, what was acknowledged stays,
//! and it goes on from there.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use hickory_proto::rr::Name;
use ring::rand::SystemRandom;
use tempfile::TempDir;
use zzdot_testnet::faults::{self, Fault, Kind, Outcome, Traced, example, walk};
use zzdot_zonegen::{
    clock::UnixTime,
    identity::Identity,
    publication::Stamp,
    publish::publish,
    rollover::{Intervals, Keeper, Phase, Rotation, STATE_FILE, What},
    verify::verify,
    zone::{Publication, ServerType},
};

/// How many roll-overs the program does.
const ROTATIONS: usize = 2;

struct Lab {
    _folder: TempDir,
    path: PathBuf,
    dir: PathBuf,
}

impl Lab {
    /// An identity that has been served.
    fn new() -> Self {
        let folder = faults::folder().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let lab = Self {
            _folder: folder,
            dir: path.join("identity"),
            path,
        };
        let suffix = Name::from_ascii("zz.").unwrap();
        Identity::create(&lab.dir, &suffix, &SystemRandom::new()).unwrap();
        Keeper::open(&lab.dir)
            .unwrap()
            .served(UnixTime::now())
            .unwrap();
        lab
    }

    fn run(&self, fault: Option<Fault>) -> Outcome {
        Traced::new(&example("rollover_walk").unwrap(), &self.path)
            .arg(&self.dir)
            .run(fault)
            .unwrap()
    }

    fn files(&self) -> usize {
        fs::read_dir(&self.dir).unwrap().count()
    }
}

/// The tags of the anchor and of the ZSK of its zone.
fn signers(identity: &Identity) -> (u16, u16) {
    let keys = identity.anchor_keys();
    (keys.ksk.tag(), keys.zsk.tag())
}

/// The signers that a run acknowledged.
fn acknowledged(outcome: &Outcome) -> Vec<(u16, u16)> {
    let pair = |line: &str| {
        let (ksk, zsk) = line.split_once(' ').unwrap();
        (ksk.parse().unwrap(), zsk.parse().unwrap())
    };
    outcome.stdout.lines().map(pair).collect()
}

/// The zones of the identity are what its anchors vouch for.
fn check_zones(identity: &Identity, context: &str) {
    let now = UnixTime::now();
    let stamp = Stamp::next_above(UnixTime(0), None, now).unwrap();
    let publication = Publication {
        server_type: ServerType::Forwarder,
        addresses: vec!["192.0.2.1".parse().unwrap()],
        dot_port: 853,
        upstreams: Vec::new(),
    };
    let published = publish(identity, &publication, &stamp).unwrap();
    let anchor = identity.trust_anchor();
    verify(&published.anchor_zone, &anchor, now)
        .unwrap_or_else(|bogus| panic!("{context}: {bogus}"));
}

fn walk_through(kind: Kind) -> usize {
    walk(kind, |fault| {
        let lab = Lab::new();
        let before = Identity::load(&lab.dir).unwrap();
        let outcome = lab.run(Some(fault));
        let said = acknowledged(&outcome);
        let context = format!(
            "{fault:?} at {:?}: {said:?}, {}",
            outcome.hit, outcome.stderr
        );
        let mut keeper =
            Keeper::open(&lab.dir).unwrap_or_else(|error| panic!("{context}: {error}"));
        let kept = keeper.identity();
        assert_eq!(kept.name(), before.name(), "{context}");
        check_zones(kept, &context);
        // What was acknowledged, or the one after it.
        let (ksk, zsk) = signers(kept);
        let standby = before.standby_key().unwrap().tag();
        let rolled = usize::from(ksk == standby);
        assert!(rolled == 1 || ksk == signers(&before).0, "{context}: {ksk}");
        let done = rolled + usize::from(zsk != signers(&before).1);
        assert!(
            done == said.len() || done == said.len() + 1,
            "{context}: {done} done"
        );
        if let Some(last) = said.last().filter(|_| done == said.len()) {
            assert_eq!(*last, (ksk, zsk), "{context}");
        }
        // The old anchor is never lost: it must be shown as revoked.
        let revoked = kept
            .state()
            .keys
            .iter()
            .filter(|key| key.phase == Phase::Revoked);
        assert_eq!(revoked.count(), rolled, "{context}");
        if outcome.hit.is_some() && kind.is_error() && said.len() < ROTATIONS {
            assert!(outcome.stderr.contains("identity"), "{context}");
        }
        let rotation = Rotation {
            what: What::Zsk,
            compromised: true,
            standby_key: None,
        };
        let now = UnixTime::now();
        keeper.rotate(&rotation, now).unwrap();
        keeper.served(now).unwrap();
        assert_eq!(keeper.tick(now, &Intervals::default()).unwrap(), []);
        // Name and state, and two files a key: nothing is left over.
        assert_eq!(
            lab.files(),
            2 + 2 * keeper.identity().state().keys.len(),
            "{context}"
        );
        outcome
    })
}

#[test]
fn a_kill_at_any_call_leaves_a_roll_over_done_or_not_done() {
    let points = walk_through(Kind::Kill) + walk_through(Kind::Torn);
    println!("{points} points");
    assert!(points >= ROTATIONS * 40, "{points}");
}

#[test]
fn a_full_disk_at_any_call_leaves_a_roll_over_done_or_not_done() {
    let points = walk_through(Kind::NoSpace);
    println!("{points} points");
    assert!(points >= ROTATIONS * 15, "{points}");
}

#[test]
fn a_failing_disk_at_any_call_leaves_a_roll_over_done_or_not_done() {
    let points = walk_through(Kind::BadSector);
    println!("{points} points");
    assert!(points >= ROTATIONS * 60, "{points}");
}

#[test]
fn no_octet_of_the_state_can_change_unnoticed() {
    let lab = Lab::new();
    let file = lab.dir.join(STATE_FILE);
    let own = fs::read(&file).unwrap();
    let state = Identity::load(&lab.dir).unwrap().state().clone();
    for position in 0..own.len() {
        // One bit at each place, another one at the next.
        let mut octets = own.clone();
        octets[position] ^= 1 << (position % 8);
        fs::write(&file, &octets).unwrap();
        match Identity::load(&lab.dir) {
            Err(error) => assert!(error.is_damage(), "{error}"),
            // White space may be another white space.
            Ok(identity) => assert_eq!(*identity.state(), state),
        }
    }
    fs::write(&file, &own[..own.len() / 2]).unwrap();
    assert!(Identity::load(&lab.dir).unwrap_err().is_damage());
}

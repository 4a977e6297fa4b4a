#![allow(clippy::unwrap_used)]
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use tempfile::TempDir;

use super::*;
use crate::keys::{REVOKE, key_tag};
use crate::owners::succession_owner;
use crate::publication::Stamp;
use crate::publish::{Published, publish};
use crate::rollover::{CACHES, Phase, REVOKED_SHOWN, STANDBY_SEEN, Wait, What};
use crate::verify::verify;
use crate::zone::{Publication, ServerType};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A publisher with a clock of its own.
struct Lab {
    _folder: TempDir,
    dir: PathBuf,
    keeper: Keeper,
    now: UnixTime,
    intervals: Intervals,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("identity");
        let suffix = Name::from_ascii("zz.").unwrap();
        Identity::create(&dir, &suffix, &SystemRandom::new()).unwrap();
        let mut lab = Self {
            _folder: folder,
            keeper: Keeper::open(&dir).unwrap(),
            dir,
            now: UnixTime(4_000_000_000),
            intervals: Intervals {
                zsk: None,
                ..Intervals::default()
            },
        };
        lab.serve();
        lab
    }

    /// A look at the clock: steps, zones, and the word that they are served.
    fn serve(&mut self) -> Vec<Step> {
        let taken = self.keeper.tick(self.now, &self.intervals).unwrap();
        if !taken.is_empty() {
            self.published();
        }
        self.keeper.served(self.now).unwrap();
        taken
    }

    fn published(&self) -> Published {
        let stamp = Stamp::next_above(UnixTime(0), None, self.now).unwrap();
        let publication = Publication {
            server_type: ServerType::Forwarder,
            addresses: vec!["192.0.2.1".parse().unwrap()],
            dot_port: 853,
            upstreams: Vec::new(),
        };
        let identity = self.keeper.identity();
        let published = publish(identity, &publication, &stamp).unwrap();
        let name_ksk = [identity.name_keys().ksk.dnskey().clone()];
        verify(&published.name_zone, &name_ksk, self.now).unwrap();
        verify(&published.anchor_zone, &identity.trust_anchor(), self.now).unwrap();
        published
    }

    /// Lets days pass, and returns the steps taken.
    fn pass(&mut self, days: u32) -> Vec<Step> {
        let mut taken = Vec::new();
        for _ in 0..days {
            self.now = self.now.plus(DAY);
            taken.extend(self.serve());
        }
        taken
    }

    fn rotate(&mut self, what: What, compromised: bool) -> Result<(), KeeperError> {
        let rotation = Rotation {
            what,
            compromised,
            standby_key: None,
        };
        self.keeper.rotate(&rotation, self.now)
    }

    fn restart(&mut self) {
        self.keeper = Keeper::open(&self.dir).unwrap();
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).unwrap();
        let mut files: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    }

    fn tags(&self, phase: Phase) -> Vec<u16> {
        let identity = self.keeper.identity();
        let published = self.published().anchor_zone;
        let rrset = published.rrset(published.origin(), RecordType::DNSKEY);
        let _ = rrset.unwrap();
        match phase {
            Phase::Active => vec![identity.anchor_keys().ksk.tag()],
            Phase::Standby => vec![key_tag(identity.standby())],
            Phase::Revoked => identity
                .beside()
                .revoked
                .iter()
                .map(|key| key.tag())
                .collect(),
            _ => Vec::new(),
        }
    }
}

#[test]
fn a_certificate_is_announced_for_two_lives_of_a_record_and_then_served() {
    let mut lab = Lab::new();
    let old = lab.keeper.identity().spki_sha256();
    lab.rotate(What::Certificate, false).unwrap();
    assert!(matches!(
        lab.rotate(What::Certificate, false),
        Err(KeeperError::Rotate(RotateError::UnderWay(
            What::Certificate
        )))
    ));
    assert_eq!(lab.serve(), [Step::Announce(What::Certificate)]);
    assert_eq!(lab.keeper.identity().spki_sha256(), old);
    assert_eq!(lab.keeper.identity().beside().spkis.len(), 1);
    lab.now = lab.now.plus(CACHES - Duration::from_secs(1));
    assert_eq!(lab.serve(), []);
    lab.restart();
    lab.now = lab.now.plus(Duration::from_secs(1));
    assert_eq!(lab.serve(), [Step::Switch(What::Certificate)]);
    assert_ne!(lab.keeper.identity().spki_sha256(), old);
    assert!(!lab.files().contains(&"tls-key.pem".to_owned()));
    lab.restart();
    assert_ne!(lab.keeper.identity().spki_sha256(), old);
}

#[test]
fn what_was_announced_and_never_served_is_not_relied_upon() {
    let mut lab = Lab::new();
    lab.rotate(What::Certificate, false).unwrap();
    lab.keeper.tick(lab.now, &lab.intervals).unwrap();
    // The process ended before the zones were served, and starts months later.
    lab.restart();
    lab.now = lab.now.plus(DAY * 100);
    assert_eq!(lab.serve(), []);
    lab.now = lab.now.plus(CACHES);
    assert_eq!(lab.serve(), [Step::Switch(What::Certificate)]);
}

#[test]
fn zone_signing_keys_are_announced_used_and_withdrawn() {
    let mut lab = Lab::new();
    let old = lab.keeper.identity().name_keys().zsk.tag();
    lab.rotate(What::Zsk, false).unwrap();
    lab.serve();
    assert_eq!(lab.keeper.identity().name_keys().zsk.tag(), old);
    assert_eq!(
        lab.pass(3),
        [Step::Switch(What::Zsk), Step::Withdraw(What::Zsk)]
    );
    assert_ne!(lab.keeper.identity().name_keys().zsk.tag(), old);
    assert!(lab.keeper.identity().beside().name_zsks.is_empty());
}

#[test]
fn the_stand_by_becomes_the_anchor_only_after_it_was_seen_for_long() {
    let mut lab = Lab::new();
    let [old, next] = [Phase::Active, Phase::Standby].map(|phase| lab.tags(phase)[0]);
    lab.rotate(What::Anchor, false).unwrap();
    let days = u32::try_from(STANDBY_SEEN.as_secs() / DAY.as_secs()).unwrap();
    assert_eq!(lab.pass(days - 1), []);
    // Three months of darkness are no three months of being seen.
    lab.restart();
    lab.now = lab.now.plus(DAY * 90);
    assert_eq!(lab.pass(1), [Step::RollAnchor]);
    assert_eq!(lab.tags(Phase::Active), [next]);
    assert_eq!(lab.tags(Phase::Revoked), [old.wrapping_add(REVOKE)]);
    let zone = lab.published().anchor_zone;
    assert!(zone.rrset(&succession_owner(), RecordType::TXT).is_some());
    let dnskeys = zone.rrset(zone.origin(), RecordType::DNSKEY).unwrap();
    assert_eq!((dnskeys.records.len(), dnskeys.signatures.len()), (4, 2));
    let files = lab.files();
    assert!(!files.contains(&"anchor-ksk.pem".to_owned()), "{files:?}");
    lab.restart();
    let days = u32::try_from(REVOKED_SHOWN.as_secs() / DAY.as_secs()).unwrap();
    let taken = lab.pass(days + 1);
    assert_eq!(taken.len(), 2, "{taken:?}");
    assert!(taken.contains(&Step::DropStatements));
    assert!(lab.tags(Phase::Revoked).is_empty());
    assert_eq!(lab.files().len(), 14, "{:?}", lab.files());
}

#[test]
fn what_is_compromised_is_replaced_at_once_and_says_nothing() {
    for what in What::ALL {
        let mut lab = Lab::new();
        let essence = |identity: &Identity| {
            let [name, anchor] = [identity.name_keys(), identity.anchor_keys()];
            (
                identity.spki_sha256(),
                [name.zsk.tag(), anchor.zsk.tag()],
                name.ksk.tag(),
                anchor.ksk.tag(),
            )
        };
        // In the middle of an ordinary one, too.
        lab.rotate(what, false).unwrap();
        lab.serve();
        let old = essence(lab.keeper.identity());
        lab.rotate(what, true).unwrap();
        let new = essence(lab.keeper.identity());
        let same = [
            old.0 == new.0,
            old.1 == new.1,
            old.2 == new.2,
            old.3 == new.3,
        ];
        let expected = What::ALL.map(|other| other != what);
        assert_eq!(same, expected, "{what}");
        let beside = lab.keeper.identity().beside();
        assert!(beside.statements.is_empty() && beside.spkis.is_empty());
        assert!(beside.name_ksks.is_empty() && beside.name_zsks.is_empty());
        assert_eq!(beside.revoked.len(), usize::from(what == What::Anchor));
        lab.published();
        assert!(lab.keeper.identity().state().orders.is_empty());
    }
}

#[test]
fn a_stand_by_kept_elsewhere_is_asked_for_and_no_other_key_will_do() {
    let mut lab = Lab::new();
    let key = lab.keeper.identity().standby_key().unwrap().clone();
    fs::remove_file(lab.dir.join("anchor-standby.pem")).unwrap();
    lab.restart();
    for compromised in [false, true] {
        assert!(matches!(
            lab.rotate(What::Anchor, compromised),
            Err(KeeperError::Rotate(RotateError::StandbyElsewhere(_)))
        ));
    }
    lab.intervals.anchor = Some(DAY);
    lab.pass(40);
    let plan = lab.keeper.plan(lab.now, &lab.intervals);
    assert!(plan.iter().any(|planned| planned.wait == Wait::StandbyKey));
    let mut rotation = Rotation {
        what: What::Anchor,
        compromised: true,
        standby_key: Some(lab.keeper.identity().anchor_keys().ksk.clone()),
    };
    assert!(matches!(
        lab.keeper.rotate(&rotation, lab.now),
        Err(KeeperError::Rotate(RotateError::OtherKey { .. }))
    ));
    rotation.standby_key = Some(key.clone());
    lab.keeper.rotate(&rotation, lab.now).unwrap();
    assert_eq!(lab.tags(Phase::Active), [key.tag()]);
    lab.restart();
    lab.published();
}

#[test]
fn an_identity_that_lost_its_state_is_refused_once_keys_have_changed() {
    let mut lab = Lab::new();
    lab.rotate(What::Zsk, false).unwrap();
    lab.serve();
    let state = fs::read(lab.dir.join(STATE_FILE)).unwrap();
    fs::remove_file(lab.dir.join(STATE_FILE)).unwrap();
    assert!(matches!(
        Keeper::open(&lab.dir),
        Err(KeeperError::Identity(IdentityError::Missing(path))) if path.ends_with(STATE_FILE)
    ));
    replace(&lab.dir.join(STATE_FILE), &state, 0o600).unwrap();
    lab.restart();
    // A key of another roll-over under the name of this one.
    let stem = |lab: &Lab| {
        lab.keeper
            .identity()
            .state()
            .keys
            .last()
            .unwrap()
            .stem
            .clone()
    };
    let other = Lab::new();
    for file in file_names(&stem(&lab)) {
        let foreign = file_names("anchor-zsk")[usize::from(file.ends_with(".pem"))].clone();
        fs::copy(other.dir.join(foreign), lab.dir.join(file)).unwrap();
    }
    assert!(matches!(
        Keeper::open(&lab.dir),
        Err(KeeperError::Identity(IdentityError::Mismatch { .. }))
    ));
}

#[test]
fn leftovers_of_interruptions_go_and_what_people_put_there_stays() {
    let mut lab = Lab::new();
    let left = [
        "name-zsk-4711.pem",
        "tls-key-00aa11ff.pem",
        ".zzdot-abc.new",
    ];
    let theirs = [
        "anchor-ksk-backup.pem",
        "name-zsk.pem.old",
        "notes",
        "certificate-.pem",
    ];
    for file in left.iter().chain(&theirs) {
        replace(&lab.dir.join(file), b"x", 0o600).unwrap();
    }
    lab.rotate(What::Zsk, false).unwrap();
    let files = lab.files();
    assert!(
        theirs
            .iter()
            .all(|file| files.iter().any(|found| found == file)),
        "{files:?}"
    );
    assert!(
        !left
            .iter()
            .any(|file| files.iter().any(|found| found == file)),
        "{files:?}"
    );
}

#[test]
fn from_a_copy_older_than_a_roll_over_the_stand_by_that_clients_know_is_brought_back() {
    let mut lab = Lab::new();
    let copy: Vec<(String, Vec<u8>)> = lab
        .files()
        .into_iter()
        .map(|file| (file.clone(), fs::read(lab.dir.join(file)).unwrap()))
        .collect();
    lab.rotate(What::Anchor, false).unwrap();
    assert_eq!(lab.pass(40), [Step::RollAnchor]);
    let known = lab.tags(Phase::Active);
    for file in lab.files() {
        fs::remove_file(lab.dir.join(file)).unwrap();
    }
    for (file, contents) in copy {
        replace(&lab.dir.join(file), &contents, 0o600).unwrap();
    }
    lab.restart();
    assert_eq!(lab.tags(Phase::Standby), known);
    lab.rotate(What::Anchor, true).unwrap();
    assert_eq!(lab.tags(Phase::Active), known);
    lab.published();
}

#[test]
fn another_process_that_took_a_step_is_noticed() {
    let mut lab = Lab::new();
    let mut other = Keeper::open(&lab.dir).unwrap();
    lab.rotate(What::Zsk, false).unwrap();
    let rotation = Rotation {
        what: What::Ksk,
        compromised: false,
        standby_key: None,
    };
    assert!(matches!(
        other.rotate(&rotation, lab.now),
        Err(KeeperError::Changed(_))
    ));
}

#[test]
fn with_intervals_everything_is_rolled_by_itself() {
    let mut lab = Lab::new();
    lab.intervals = Intervals {
        certificate: Some(DAY * 30),
        zsk: Some(DAY * 30),
        ksk: Some(DAY * 30),
        anchor: Some(DAY * 60),
    };
    let taken = lab.pass(130);
    for step in [
        Step::Switch(What::Certificate),
        Step::Withdraw(What::Zsk),
        Step::Switch(What::Ksk),
        Step::RollAnchor,
    ] {
        let times = taken.iter().filter(|taken| **taken == step).count();
        assert!(times >= 2, "{step:?}: {times}");
    }
}

//! Who this server is, and the signed zones that say so, over time.
//!
//! The identity is made on the first start and never again. The zones are signed at each start,
//! daily, when what they say changes, and when the clock jumped so far that little validity is
//! left. While the clock is behind the last publication nothing is signed: zones that are still
//! served stay as they are, and a server that just started publishes nothing until the clock is
//! right, though it answers everything else.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hickory_proto::rr::Name;
use ring::rand::SystemRandom;
use zzdot_zonegen::{
    clock::UnixTime,
    durable,
    exit::{Exit, Failure},
    identity::Identity,
    publication::Stamp,
    publish::{JITTER, LIFETIME, Published, publish},
    rollover::{Intervals, Keeper, Phase, Planned, Rotation},
    zone::Publication,
};

/// How old signatures get.
const SIGN_AGAIN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Signatures that end sooner than this are made anew, whenever they were made: half of a
/// lifetime, so that a forwarder's cache never holds what is about to expire.
const LEAST_REMAINING: Duration = Duration::from_secs(LIFETIME.as_secs() / 2);

/// Loads the identity in `dir`; makes one when there is none at all. Says whether it was made.
pub fn identity(dir: &Path, suffix: &Name) -> Result<(Keeper, bool), Failure> {
    if Identity::exists(dir)? {
        return Ok((Keeper::open(dir)?, false));
    }
    if let Some(parent) = dir.parent() {
        durable::create_folders(parent).map_err(|error| {
            Failure::new(Exit::CannotRun, format!("{}: {error}", parent.display())).with_hint(
                "name another folder with --state-dir, or run as a user who may write there",
            )
        })?;
    }
    Identity::create(dir, suffix, &SystemRandom::new())?;
    Ok((Keeper::open(dir)?, true))
}

/// Why the zones are due to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// They never were since the start.
    Start,
    /// What they say has changed.
    Changed,
    /// A day has passed.
    Daily,
    /// The clock jumped.
    ShortValidity,
    /// There are other keys.
    RollOver,
}

/// Keeps the zones of one identity signed, and replaces its keys when their time has come.
#[derive(Debug)]
pub struct Publisher {
    keeper: Keeper,
    dir: PathBuf,
    intervals: Intervals,
    current: Option<(Publication, Stamp)>,
    /// The keys are others than those that the zones were signed with.
    rolled: bool,
    /// Why the last attempt failed.
    trouble: Option<Failure>,
}

impl Publisher {
    /// Publishes the identity of `keeper`, whose files are in `dir`.
    pub fn new(keeper: Keeper, dir: PathBuf, intervals: Intervals) -> Self {
        Self {
            keeper,
            dir,
            intervals,
            current: None,
            rolled: false,
            trouble: None,
        }
    }

    /// Who is published.
    pub fn identity(&self) -> &Identity {
        self.keeper.identity()
    }

    /// The last stamp under which was published, if anything was since the start.
    pub fn stamp(&self) -> Option<&Stamp> {
        self.current.as_ref().map(|(_, stamp)| stamp)
    }

    /// Why nothing is published or renewed at the moment, and what helps.
    pub fn trouble(&self) -> Option<&Failure> {
        self.trouble.as_ref()
    }

    /// Whether what was signed last says whom `publication` asks. What was never signed says nothing that is not so.
    pub fn tells_whom_it_asks(&self, publication: &Publication) -> bool {
        self.current.as_ref().is_none_or(|(told, _)| {
            told.server_type == publication.server_type && told.upstreams == publication.upstreams
        })
    }

    /// How often keys are to be replaced from now on.
    pub fn replace_intervals(&mut self, intervals: Intervals) {
        self.intervals = intervals;
    }

    /// What happens to the keys next, the soonest first.
    pub fn plan(&self, now: UnixTime) -> Vec<Planned> {
        self.keeper.plan(now, &self.intervals)
    }

    /// Begins a roll-over that somebody asks for. What is compromised is replaced here and now, the zones with the next
    /// [`Publisher::renew`].
    ///
    /// # Errors
    /// Why not.
    pub fn rotate(&mut self, rotation: &Rotation, now: UnixTime) -> Result<(), Failure> {
        self.keeper.rotate(rotation, now)?;
        let (what, compromised) = (rotation.what, rotation.compromised);
        tracing::info!(%what, compromised, "roll-over asked for");
        self.rolled |= compromised;
        Ok(())
    }

    /// Takes the steps of roll-overs that are due, and signs the zones when that is. `None` means that those of before
    /// stay.
    pub fn renew(&mut self, publication: &Publication, now: UnixTime) -> Option<Published> {
        let stepped = self.step(now);
        let due = match self.rolled {
            true => Some(Due::RollOver),
            false => due(self.current.as_ref(), publication, now),
        };
        let Some(due) = due else {
            self.tell(stepped.err()?);
            return None;
        };
        match self.sign(publication, now) {
            Ok((published, stamp)) => {
                tracing::info!(
                    serial = stamp.serial,
                    reason = ?due,
                    name = %self.identity().name(),
                    "zones signed"
                );
                self.current = Some((publication.clone(), stamp));
                self.rolled = false;
                self.trouble = None;
                if let Err(failure) = stepped {
                    self.tell(failure);
                }
                Some(published)
            }
            Err(failure) => {
                self.tell(failure);
                None
            }
        }
    }

    /// To be called when what [`Publisher::renew`] returned, and the certificate, are served: what waits for that waits
    /// from now on.
    pub fn served(&mut self, now: UnixTime) {
        if self.rolled || self.current.is_none() {
            return;
        }
        if let Err(error) = self.keeper.served(now) {
            self.tell(error.into());
        }
    }

    /// Nothing is done by a clock that is behind: what it did could not be signed.
    fn step(&mut self, now: UnixTime) -> Result<(), Failure> {
        let last = match self.stamp() {
            Some(stamp) => Some(stamp.clone()),
            None => Stamp::load(&self.dir)?,
        };
        let behind = last.as_ref().is_some_and(|last| now < last.made);
        if behind || Stamp::next(last.as_ref(), now).is_err() {
            return Ok(());
        }
        let before = self.keys();
        let taken = self.keeper.tick(now, &self.intervals);
        self.rolled |= self.keys() != before;
        for step in taken? {
            tracing::info!(what = %step.what(), "roll-over: {}", step.describe());
        }
        Ok(())
    }

    /// What of the state shows in the zones.
    fn keys(&self) -> (Vec<(String, Phase)>, usize) {
        let state = self.identity().state();
        let keys = state.keys.iter().map(|key| (key.stem.clone(), key.phase));
        (keys.collect(), state.statements.len())
    }

    fn tell(&mut self, failure: Failure) {
        // The text may have the time in it; what helps changes with what is wrong.
        let told = self.trouble.as_ref();
        if told.is_none_or(|told| told.hint != failure.hint) {
            tracing::error!(
                error = %failure,
                hint = failure.hint.as_deref().unwrap_or_default(),
                "zones not signed, or keys not replaced; trying again soon"
            );
        }
        self.trouble = Some(failure);
    }

    fn sign(
        &self,
        publication: &Publication,
        now: UnixTime,
    ) -> Result<(Published, Stamp), Failure> {
        let stamp = Stamp::advance(&self.dir, now)?;
        let published = publish(self.identity(), publication, &stamp)?;
        Ok((published, stamp))
    }
}

/// Whether, and why, the zones have to be signed.
fn due(
    current: Option<&(Publication, Stamp)>,
    publication: &Publication,
    now: UnixTime,
) -> Option<Due> {
    let Some((published, stamp)) = current else {
        return Some(Due::Start);
    };
    if published != publication {
        return Some(Due::Changed);
    }
    if now >= stamp.made.plus(SIGN_AGAIN_AFTER) {
        let shortest = stamp.inception.plus(LIFETIME).minus(JITTER);
        let jumped = now.plus(LEAST_REMAINING) > shortest;
        return Some(if jumped {
            Due::ShortValidity
        } else {
            Due::Daily
        });
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use zzdot_zonegen::zone::ServerType;

    use super::*;

    fn publication() -> Publication {
        Publication {
            server_type: ServerType::Forwarder,
            addresses: vec!["192.0.2.1".parse().unwrap()],
            dot_port: 853,
            upstreams: Vec::new(),
        }
    }

    fn zz() -> Name {
        Name::from_ascii("zz.").unwrap()
    }

    /// Later than any build of this.
    const NOW: UnixTime = UnixTime(4_000_000_000);

    #[test]
    fn zones_are_signed_at_start_daily_after_a_change_and_after_a_jump() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("identity");
        let (identity, made) = identity(&dir, &zz()).unwrap();
        assert!(made);
        let mut publisher = Publisher::new(identity, dir, Intervals::default());
        let mut what = publication();
        assert!(publisher.renew(&what, NOW).is_some());
        let first = publisher.stamp().unwrap().serial;
        assert!(
            publisher
                .renew(&what, NOW.plus(Duration::from_secs(60)))
                .is_none()
        );
        what.addresses = vec!["192.0.2.2".parse().unwrap()];
        assert!(
            publisher
                .renew(&what, NOW.plus(Duration::from_secs(120)))
                .is_some()
        );
        let second = publisher.stamp().unwrap().serial;
        assert!(second > first);
        let day = NOW.plus(Duration::from_secs(25 * 3600));
        let current = publisher.current.clone();
        assert_eq!(due(current.as_ref(), &what, day), Some(Due::Daily));
        let jump = NOW.plus(Duration::from_secs(6 * 86_400));
        assert_eq!(due(current.as_ref(), &what, jump), Some(Due::ShortValidity));
    }

    #[test]
    fn a_clock_that_fell_back_signs_nothing_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("identity");
        let (made, _) = identity(&dir, &zz()).unwrap();
        let mut publisher = Publisher::new(made, dir.clone(), Intervals::default());
        assert!(publisher.renew(&publication(), NOW).is_some());
        // The same files after a restart, the clock a day behind.
        let (again, made) = identity(&dir, &zz()).unwrap();
        assert!(!made);
        let mut publisher = Publisher::new(again, dir, Intervals::default());
        let behind = NOW.minus(Duration::from_secs(86_400));
        assert!(publisher.renew(&publication(), behind).is_none());
        let trouble = publisher.trouble().unwrap();
        assert!(trouble.message.contains("the clock says"), "{trouble}");
        assert!(trouble.hint.as_ref().unwrap().starts_with("set the clock"));
        assert!(publisher.renew(&publication(), NOW).is_some());
        assert_eq!(publisher.trouble(), None);
        // By a few minutes, as a time server sets it: what is so now is said all the same.
        let mut other = publication();
        other.server_type = ServerType::Resolver;
        assert!(!publisher.tells_whom_it_asks(&other));
        let set_back = NOW.minus(Duration::from_secs(600));
        assert!(publisher.renew(&other, set_back).is_some());
        assert!(publisher.tells_whom_it_asks(&other) && publisher.trouble().is_none());
        assert_eq!(publisher.stamp().unwrap().made, NOW);
    }

    #[test]
    fn serials_rise_across_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("identity");
        let mut last = 0;
        for _ in 0..3 {
            let (identity, _) = identity(&dir, &zz()).unwrap();
            let mut publisher = Publisher::new(identity, dir.clone(), Intervals::default());
            publisher.renew(&publication(), NOW).unwrap();
            let serial = publisher.stamp().unwrap().serial;
            assert!(serial > last);
            last = serial;
        }
    }

    #[test]
    fn a_damaged_identity_is_refused_by_name_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("identity");
        let (first, _) = identity(&dir, &zz()).unwrap();
        drop(first);
        let victim = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().contains("key"))
            .unwrap();
        std::fs::remove_file(&victim).unwrap();
        let failure = identity(&dir, &zz()).unwrap_err();
        assert_eq!(failure.exit, Exit::CannotRun);
        assert!(
            failure.message.contains(&*victim.to_string_lossy()),
            "{failure}"
        );
        assert!(!victim.exists(), "nothing new is put in its place");
    }
}

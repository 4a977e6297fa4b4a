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
    zone::Publication,
};

/// How old signatures get.
const SIGN_AGAIN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Signatures that end sooner than this are made anew, whenever they were made: half of a
/// lifetime, so that a forwarder's cache never holds what is about to expire.
const LEAST_REMAINING: Duration = Duration::from_secs(LIFETIME.as_secs() / 2);

/// Loads the identity in `dir`; makes one when there is none at all. Says whether it was made.
pub fn identity(dir: &Path, suffix: &Name) -> Result<(Identity, bool), Failure> {
    if Identity::exists(dir)? {
        return Ok((Identity::load(dir)?, false));
    }
    if let Some(parent) = dir.parent() {
        durable::create_folders(parent).map_err(|error| {
            Failure::new(Exit::CannotRun, format!("{}: {error}", parent.display())).with_hint(
                "name another folder with --state-dir, or run as a user who may write there",
            )
        })?;
    }
    let made = Identity::create(dir, suffix, &SystemRandom::new())?;
    Ok((made, true))
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
}

/// Keeps the zones of one identity signed.
#[derive(Debug)]
pub struct Publisher {
    identity: Identity,
    dir: PathBuf,
    current: Option<(Publication, Stamp)>,
    /// Why the last attempt failed.
    trouble: Option<Failure>,
}

impl Publisher {
    /// Publishes `identity`, whose files are in `dir`.
    pub fn new(identity: Identity, dir: PathBuf) -> Self {
        Self {
            identity,
            dir,
            current: None,
            trouble: None,
        }
    }

    /// Who is published.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last stamp under which was published, if anything was since the start.
    pub fn stamp(&self) -> Option<&Stamp> {
        self.current.as_ref().map(|(_, stamp)| stamp)
    }

    /// Why nothing is published or renewed at the moment, and what helps.
    pub fn trouble(&self) -> Option<&Failure> {
        self.trouble.as_ref()
    }

    /// Signs the zones when that is due. `None` means that those of before stay.
    pub fn renew(&mut self, publication: &Publication, now: UnixTime) -> Option<Published> {
        let due = due(self.current.as_ref(), publication, now)?;
        match self.sign(publication, now) {
            Ok((published, stamp)) => {
                tracing::info!(
                    serial = stamp.serial,
                    reason = ?due,
                    name = %self.identity.name(),
                    "zones signed"
                );
                self.current = Some((publication.clone(), stamp));
                self.trouble = None;
                Some(published)
            }
            Err(failure) => {
                // The text may have the time in it; what helps changes with what is wrong.
                let told = self.trouble.as_ref();
                if told.is_none_or(|told| told.hint != failure.hint) {
                    tracing::error!(
                        error = %failure,
                        hint = failure.hint.as_deref().unwrap_or_default(),
                        "zones not signed; trying again every minute"
                    );
                }
                self.trouble = Some(failure);
                None
            }
        }
    }

    fn sign(
        &self,
        publication: &Publication,
        now: UnixTime,
    ) -> Result<(Published, Stamp), Failure> {
        let stamp = Stamp::advance(&self.dir, now)?;
        let published = publish(&self.identity, publication, &stamp)?;
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
        let mut publisher = Publisher::new(identity, dir);
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
        let mut publisher = Publisher::new(made, dir.clone());
        assert!(publisher.renew(&publication(), NOW).is_some());
        // The same files after a restart, the clock a day behind.
        let (again, made) = identity(&dir, &zz()).unwrap();
        assert!(!made);
        let mut publisher = Publisher::new(again, dir);
        let behind = NOW.minus(Duration::from_secs(86_400));
        assert!(publisher.renew(&publication(), behind).is_none());
        let trouble = publisher.trouble().unwrap();
        assert!(trouble.message.contains("the clock says"), "{trouble}");
        assert!(trouble.hint.as_ref().unwrap().starts_with("set the clock"));
        assert!(publisher.renew(&publication(), NOW).is_some());
        assert_eq!(publisher.trouble(), None);
    }

    #[test]
    fn serials_rise_across_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("identity");
        let mut last = 0;
        for _ in 0..3 {
            let (identity, _) = identity(&dir, &zz()).unwrap();
            let mut publisher = Publisher::new(identity, dir.clone());
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

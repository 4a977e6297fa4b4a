//! What must only ever rise from one publication to the next, kept across restarts.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use nix::fcntl::Flock;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::{UnixTime, build_date};
use crate::durable;
use crate::exit::{Exit, Failure};

/// How far signatures are back-dated, for clients whose clock is behind.
pub const BACK_DATED: Duration = Duration::from_secs(3600);

const ONE_SECOND: Duration = Duration::from_secs(1);

/// How long a turn is waited for: far longer than a stamp takes to be made and saved.
pub const TURN: Duration = Duration::from_secs(2);

/// How often it is looked whether the turn has come.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The file's name within the identity's folder.
pub const STATE_FILE: &str = "publication.state";

/// Serial, inception and jitter of one publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stamp {
    /// The SOA serial of both zones: the time, or one more than the last where that is higher.
    pub serial: u32,
    /// The inception of every signature: back-dated, and later than the last. A record set carries no serial, so of two that
    /// were published within one second nothing else says which is the older.
    pub inception: UnixTime,
    /// When this stamp was made, by a clock that does not go back: the next is made no earlier than [`BACK_DATED`] before.
    pub made: UnixTime,
    /// What the jitter of lifetimes is derived from.
    pub jitter_seed: u64,
}

/// What the file holds. A digit that another took the place of would be a stamp as well; it would
/// be believed, and clients would see the next one as a roll-back.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    stamp: Stamp,
    /// SHA-256 of the stamp's canonical form: the fields in order, no white space.
    sha256: String,
}

/// Nothing is signed while the clock is behind what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the clock says {now}, which is before {floor}, the newest of build date and last publication"
)]
pub struct ClockBelowFloor {
    /// What the clock says.
    pub now: UnixTime,
    /// The least that is believed.
    pub floor: UnixTime,
}

/// Why the state cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{}: is not the state of a publication: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The file cannot be written.
    #[error("{}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process makes a stamp of the same identity, and does not end.
    #[error("{}: another process is publishing the identity", folder.display())]
    InUse {
        /// The identity's folder.
        folder: PathBuf,
    },
    /// The clock cannot be right.
    #[error(transparent)]
    Clock(#[from] ClockBelowFloor),
}

impl StateError {
    /// What the operator can do about it.
    pub fn cure(&self) -> String {
        match self {
            Self::Clock(_) => {
                format!("set the clock; where it was ahead by mistake, remove {STATE_FILE}")
            }
            Self::Malformed { path, .. } => format!(
                "with the clock right, remove {}: serials follow the time",
                path.display()
            ),
            Self::Unreadable { path, .. } => {
                format!("let the user who serves read {}", path.display())
            }
            Self::Unwritable { path, .. } => format!(
                "make room, and let the user who serves write to {}",
                durable::parent(path).display()
            ),
            Self::InUse { .. } => "try again when the other process has ended".to_owned(),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        // None of these is a matter of trust: the identity is whole.
        Self::new(Exit::CannotRun, error.to_string()).with_hint(error.cure())
    }
}

impl Stamp {
    /// The stamp of the publication after `previous`. A clock that was set back a little, as time servers do at a start,
    /// keeps nobody from saying what is so now: signatures are back-dated, and still begin after those of before and
    /// before the present.
    pub fn next(previous: Option<&Self>, now: UnixTime) -> Result<Self, ClockBelowFloor> {
        Self::next_above(build_date(), previous, now)
    }

    /// As [`Stamp::next`], for a program built at `build_date`.
    pub fn next_above(
        build_date: UnixTime,
        previous: Option<&Self>,
        now: UnixTime,
    ) -> Result<Self, ClockBelowFloor> {
        let floor = previous.map_or(build_date, |previous| previous.made.max(build_date));
        let begins_by_now =
            previous.is_none_or(|previous| previous.inception.plus(ONE_SECOND) <= now);
        if now < build_date || (now < floor && !begins_by_now) {
            return Err(ClockBelowFloor { now, floor });
        }
        let back_dated = now.minus(BACK_DATED);
        let (serial, inception) = match previous {
            None => (now.wire(), back_dated),
            Some(previous) => (
                later_serial(previous.serial, now.wire()),
                // Thousands within a second would reach the present; no signature begins after it.
                back_dated.max(previous.inception.plus(ONE_SECOND).min(now)),
            ),
        };
        Ok(Self {
            serial,
            inception,
            made: now.max(floor),
            jitter_seed: u64::from(serial),
        })
    }

    /// Makes the next stamp of the identity in `dir` and saves it. Saved first, used after: a
    /// crash in between skips a serial and never repeats one. Two processes take turns: one that
    /// has to wait longer than [`TURN`] gives up.
    pub fn advance(dir: &Path, now: UnixTime) -> Result<Self, StateError> {
        let _turn = take_turn(dir)?;
        let previous = Self::load(dir)?;
        let next = Self::next(previous.as_ref(), now)?;
        next.save(dir)?;
        Ok(next)
    }

    /// The last stamp saved; `None` when nothing was published yet.
    pub fn load(dir: &Path) -> Result<Option<Self>, StateError> {
        let path = dir.join(STATE_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Unreadable { path, source }),
        };
        let malformed = |what: String| StateError::Malformed {
            path: path.clone(),
            what,
        };
        let file: StateFile =
            serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if file.sha256 != file.stamp.checksum() {
            return Err(malformed("its checksum does not match".to_owned()));
        }
        Ok(Some(file.stamp))
    }

    /// Saves the stamp durably.
    pub fn save(&self, dir: &Path) -> Result<(), StateError> {
        let path = dir.join(STATE_FILE);
        let file = StateFile {
            stamp: self.clone(),
            sha256: self.checksum(),
        };
        let mut text = serde_json::to_string(&file).expect("numbers and text become JSON");
        text.push('\n');
        durable::replace(&path, text.as_bytes(), 0o600)
            .map_err(|source| StateError::Unwritable { path, source })
    }

    fn checksum(&self) -> String {
        let text = serde_json::to_vec(self).expect("numbers become JSON");
        HEXLOWER.encode(digest(&SHA256, &text).as_ref())
    }
}

/// Waits until no other process makes a stamp of the identity in `dir`.
pub(crate) fn take_turn(dir: &Path) -> Result<Flock<File>, StateError> {
    let started = Instant::now();
    loop {
        match durable::lock_folder(dir) {
            Ok(turn) => return Ok(turn),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(StateError::Unreadable {
                    path: dir.join(STATE_FILE),
                    source: error,
                });
            }
            Err(_) if started.elapsed() >= TURN => {
                return Err(StateError::InUse {
                    folder: dir.to_owned(),
                });
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// `now` where it is later than `previous` in serial arithmetic (RFC 1982), else one more.
fn later_serial(previous: u32, now: u32) -> u32 {
    if now.wrapping_sub(previous).cast_signed() > 0 {
        now
    } else {
        previous.wrapping_add(1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BUILT: UnixTime = UnixTime(1_000_000);

    #[test]
    fn serial_and_inception_rise_with_every_publication() {
        let mut stamp = Stamp::next_above(BUILT, None, UnixTime(1_000_000)).unwrap();
        for now in [1_000_000, 1_000_000, 1_000_001, 1_000_001, 1_086_400] {
            let next = Stamp::next_above(BUILT, Some(&stamp), UnixTime(now)).unwrap();
            assert!(next.serial > stamp.serial);
            assert!(next.inception > stamp.inception);
            stamp = next;
        }
        assert_eq!(stamp.serial, 1_086_400);
        assert_eq!(stamp.inception, UnixTime(1_082_800));
    }

    #[test]
    fn no_signature_begins_in_the_future_however_many_are_published_within_a_second() {
        let now = UnixTime(2_000_000);
        let mut stamp = Stamp::next_above(BUILT, None, now).unwrap();
        for _ in 0..5000 {
            let next = Stamp::next_above(BUILT, Some(&stamp), now).unwrap();
            assert!(next.inception > stamp.inception || next.inception == now);
            assert!(next.inception <= now && next.serial > stamp.serial);
            stamp = next;
        }
    }

    #[test]
    fn a_clock_behind_the_build_or_the_last_publication_is_refused() {
        let now = UnixTime(999_999);
        assert_eq!(
            Stamp::next_above(BUILT, None, now),
            Err(ClockBelowFloor { now, floor: BUILT })
        );
        let floor = UnixTime(2_000_000);
        let stamp = Stamp::next_above(BUILT, None, floor).unwrap();
        let now = floor.minus(BACK_DATED);
        assert_eq!(
            Stamp::next_above(BUILT, Some(&stamp), now),
            Err(ClockBelowFloor { now, floor })
        );
        // Built later than the last publication, in the hour that would be borne.
        let now = UnixTime(1_999_000);
        assert_eq!(
            Stamp::next_above(UnixTime(1_999_500), Some(&stamp), now),
            Err(ClockBelowFloor { now, floor })
        );
    }

    #[test]
    fn a_clock_that_is_set_back_by_less_than_signatures_are_back_dated_goes_on() {
        let first = UnixTime(2_000_000);
        let mut stamp = Stamp::next_above(BUILT, None, first).unwrap();
        for now in [1_999_999, 1_998_200, 1_996_403, 1_998_200, 2_000_001] {
            let now = UnixTime(now);
            let next = Stamp::next_above(BUILT, Some(&stamp), now).unwrap();
            assert!(next.serial > stamp.serial && next.inception > stamp.inception);
            assert!(next.inception <= now, "no signature begins in the future");
            assert!(next.made >= stamp.made, "the floor stays");
            stamp = next;
        }
        // However often that happens, it leads no further back.
        let now = UnixTime(1_996_403);
        assert!(Stamp::next_above(BUILT, Some(&stamp), now).is_err());
    }

    #[test]
    fn the_serial_rises_across_its_turn() {
        assert_eq!(later_serial(u32::MAX, 0), 0);
        assert_eq!(later_serial(u32::MAX, u32::MAX), 0);
        assert_eq!(later_serial(5, 3), 6);
        assert_eq!(later_serial(3, 5), 5);
    }

    #[test]
    fn stamps_made_at_the_same_moment_never_share_a_serial() {
        let folder = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(8);
        let mut serials: Vec<u32> = thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        let now = UnixTime(4_000_000_000);
                        [(); 5].map(|()| Stamp::advance(folder.path(), now).unwrap().serial)
                    })
                })
                .collect();
            let made = makers.into_iter().flat_map(|maker| maker.join().unwrap());
            made.collect()
        });
        serials.sort_unstable();
        serials.dedup();
        assert_eq!(serials.len(), 40);
    }

    #[test]
    fn whoever_holds_the_folder_for_long_is_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let held = durable::lock_folder(folder.path()).unwrap();
        let now = UnixTime(4_000_000_000);
        assert!(matches!(
            Stamp::advance(folder.path(), now),
            Err(StateError::InUse { .. })
        ));
        assert!(Stamp::load(folder.path()).unwrap().is_none());
        drop(held);
        Stamp::advance(folder.path(), now).unwrap();
    }

    #[test]
    fn the_state_survives_a_restart_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Stamp::load(folder.path()).unwrap(), None);
        let now = UnixTime::now();
        let first = Stamp::advance(folder.path(), now).unwrap();
        assert_eq!(Stamp::load(folder.path()).unwrap(), Some(first.clone()));
        let second = Stamp::advance(folder.path(), now).unwrap();
        assert_eq!(second.serial, first.serial.wrapping_add(1));
        fs::write(folder.path().join(STATE_FILE), "{\"serial\": 1}").unwrap();
        assert!(matches!(
            Stamp::advance(folder.path(), now),
            Err(StateError::Malformed { .. })
        ));
    }
}

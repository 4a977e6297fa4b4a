//! Damages a file of a client's store at one place after the other, and says what the store makes of each:
//! `store_damage TEMPLATE SCRATCH FILE flip|cut FROM END STEP`.
//!
//! sled's threads may be gone after they met with damage, and every later opening in this process would fail. So a
//! refusal counts only where an undamaged copy opens afterwards, be it after some more refusals: threads that are gone
//! do not come back, and were there all the time. Else this process ends, and the caller goes on from there in a new
//! one, where the first refusal needs nobody to vouch for it.
#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    fs::{self, DirBuilder},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use zzdot_client::store::{Found, Store};
use zzdot_testnet::faults::memory::Memory;
use zzdot_zonegen::exit::Exit;

/// Whoever takes longer has left a thread behind.
const QUICK: Duration = Duration::from_secs(1);
/// Refusals that one undamaged copy vouches for.
const MOST_REFUSALS: usize = 64;
const REFUSED: &str = "refused";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [template, scratch, file, manner, from, end, step] = arguments.as_slice() else {
        eprintln!("usage: store_damage TEMPLATE SCRATCH FILE flip|cut FROM END STEP");
        return Exit::Usage.into();
    };
    let places = (from.parse(), end.parse(), step.parse());
    let (Ok(from), Ok(end), Ok(step)) = places else {
        eprintln!("store_damage: FROM, END and STEP are numbers");
        return Exit::Usage.into();
    };
    let places = (from..end).step_by(step);
    match walk(
        Path::new(template),
        Path::new(scratch),
        file,
        manner == "flip",
        places,
    ) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            eprintln!("store_damage: {error}");
            Exit::CannotRun.into()
        }
    }
}

fn walk(
    template: &Path,
    scratch: &Path,
    file: &str,
    flip: bool,
    places: impl Iterator<Item = usize>,
) -> Result<(), Box<dyn Error>> {
    let whole = fs::read(template.join(file))?;
    // Each opening has a folder of its own: sled may still be at work in the one before.
    let control = scratch.join("control");
    copy(template, &control)?;
    let (_, expected) = open(&control)?;
    let healthy = |place: usize| -> io::Result<bool> {
        let control = scratch.join(format!("{place}-control"));
        copy(template, &control)?;
        let healthy = open(&control).is_ok_and(|(_, memory)| memory == expected);
        fs::remove_dir_all(&control)?;
        Ok(healthy)
    };
    let mut verdicts = Verdicts::default();
    let mut last = 0;
    for place in places {
        let mut octets = whole.clone();
        if flip {
            octets[place] ^= 1 << (place % 8);
        } else {
            octets.truncate(place);
        }
        let folder = scratch.join(place.to_string());
        copy(template, &folder)?;
        fs::write(folder.join(file), octets)?;
        let begun = Instant::now();
        let outcome = open(&folder);
        let quick = begun.elapsed() < QUICK;
        fs::remove_dir_all(&folder)?;
        verdicts.add(place, verdict(outcome, &expected));
        last = place;
        if !quick {
            break;
        }
        if verdicts.are_due() && !verdicts.say(|| healthy(place))? {
            return Ok(());
        }
    }
    verdicts.say(|| healthy(last))?;
    Ok(())
}

fn verdict(outcome: Result<(Found, Memory), Box<dyn Error>>, expected: &Memory) -> &'static str {
    match outcome {
        Ok((Found::Nothing, _)) => "first-use",
        Ok((_, memory)) if memory != *expected => "changed",
        Ok((Found::Whole, _)) => "whole",
        Ok((Found::Migrated, _)) => "migrated",
        Ok((Found::Mended { .. }, _)) => "mended",
        Err(_) => REFUSED,
    }
}

/// Verdicts that are not said yet, in the order of their places.
#[derive(Default)]
struct Verdicts {
    unsaid: Vec<(usize, &'static str)>,
    refusals: usize,
    /// Something was said before: this process is not new any more.
    begun: bool,
    /// How many refusals somebody vouched for at once.
    vouched: usize,
}

impl Verdicts {
    fn add(&mut self, place: usize, verdict: &'static str) {
        self.unsaid.push((place, verdict));
        self.refusals += usize::from(verdict == REFUSED);
    }

    /// Without refusals at once; with them later each time, and never so late that most work was in vain.
    fn are_due(&self) -> bool {
        self.refusals == 0 || self.refusals >= (2 * self.vouched).clamp(1, MOST_REFUSALS)
    }

    /// Says them, if an undamaged copy opens where there are refusals, or as far as nobody need vouch for them. Returns
    /// whether this process may go on.
    fn say(&mut self, healthy: impl FnOnce() -> io::Result<bool>) -> io::Result<bool> {
        let sound = self.refusals == 0 || healthy()?;
        let mut end = self.unsaid.len();
        if !sound {
            let first = self.unsaid.iter().position(|(_, said)| *said == REFUSED);
            end = first.unwrap_or(end);
            if end == 0 && !self.begun {
                end = 1;
            }
        }
        let mut stdout = io::stdout();
        for (place, verdict) in self.unsaid.drain(..end) {
            writeln!(stdout, "{place} {verdict}")?;
            self.begun = true;
        }
        stdout.flush()?;
        if self.refusals > 0 {
            self.vouched = self.refusals;
            self.refusals = 0;
        }
        Ok(sound)
    }
}

fn open(folder: &Path) -> Result<(Found, Memory), Box<dyn Error>> {
    let (store, found) = Store::open(folder)?;
    Ok((found, Memory::of(&store)))
}

fn copy(from: &Path, to: &PathBuf) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

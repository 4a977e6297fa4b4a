//! Damages a file of a client's store at one place after the other, and says what the store makes of each:
//! `store_damage TEMPLATE SCRATCH FILE flip|cut FROM END STEP`.
//!
//! sled's threads may be gone after they met with damage, and every later opening in this process would fail. So a
//! refusal counts only where an undamaged copy opens afterwards; else this process ends, and the caller goes on from
//! there in a new one.
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
    for (index, place) in places.enumerate() {
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
        let verdict = match outcome {
            Ok((Found::Nothing, _)) => "first-use",
            Ok((_, memory)) if memory != expected => "changed",
            Ok((Found::Whole, _)) => "whole",
            Ok((Found::Migrated, _)) => "migrated",
            Ok((Found::Mended { .. }, _)) => "mended",
            Err(_) => {
                let control = scratch.join(format!("{place}-control"));
                copy(template, &control)?;
                let healthy = open(&control).is_ok_and(|(_, memory)| memory == expected);
                fs::remove_dir_all(&control)?;
                if !healthy && index > 0 {
                    return Ok(());
                }
                "refused"
            }
        };
        let mut stdout = io::stdout();
        writeln!(stdout, "{place} {verdict}")?;
        stdout.flush()?;
        if !quick {
            return Ok(());
        }
    }
    Ok(())
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

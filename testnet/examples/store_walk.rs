//! Lives through the life of a client's store and says each step once the store has acknowledged it:
//! `store_walk FOLDER FIRST END TRIES`. What [`zzdot_testnet::faults`] walks through.
//! At the end it says what is remembered, as JSON.
#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use zzdot_client::store::{Found, Store, StoreError};
use zzdot_testnet::faults::memory::{Memory, life};
use zzdot_zonegen::exit::Exit;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let number = |position: usize| arguments.get(position)?.to_str()?.parse::<usize>().ok();
    let (Some(folder), Some(first), Some(end), Some(tries)) = (
        arguments.first().map(PathBuf::from),
        number(1),
        number(2),
        number(3),
    ) else {
        eprintln!("usage: store_walk FOLDER FIRST END TRIES");
        return Exit::Usage.into();
    };
    match walk(&folder, first, end, tries) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            eprintln!("store_walk: {error}");
            Exit::CannotRun.into()
        }
    }
}

fn walk(folder: &Path, first: usize, end: usize, tries: usize) -> Result<(), StoreError> {
    let (store, found) = again(tries, || Store::open(folder))?;
    match found {
        Found::Nothing => say("nothing"),
        Found::Whole => say("whole"),
        Found::Migrated => say("migrated"),
        Found::Mended { what } => say(&format!("mended: {what}")),
    }
    for (index, step) in life().iter().enumerate().take(end).skip(first) {
        again(tries, || step.apply(&store))?;
        say(&format!("done {index}"));
    }
    let memory = serde_json::to_string(&Memory::of(&store)).expect("text and numbers become JSON");
    say(&memory);
    Ok(())
}

fn again<T>(
    tries: usize,
    mut attempt: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    for _ in 1..tries {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => eprintln!("store_walk: {error}; trying again"),
        }
    }
    attempt()
}

fn say(text: &str) {
    let mut stdout = io::stdout();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .expect("the test reads what is said");
}

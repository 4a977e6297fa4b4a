//! Replaces the anchor and the zone-signing keys of an identity at once, and says who signs after each:
//! `rollover_walk IDENTITY`. What [`zzdot_testnet::faults`] walks through.
#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use zzdot_zonegen::{
    clock::UnixTime,
    exit::Exit,
    rollover::{Keeper, Rotation, What},
};

fn main() -> ExitCode {
    let Some(dir) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: rollover_walk IDENTITY");
        return Exit::Usage.into();
    };
    match walk(&dir) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            eprintln!("rollover_walk: {error}");
            Exit::CannotRun.into()
        }
    }
}

fn walk(dir: &Path) -> Result<(), String> {
    let mut keeper = Keeper::open(dir).map_err(|error| error.to_string())?;
    for what in [What::Anchor, What::Zsk] {
        let rotation = Rotation {
            what,
            compromised: true,
            standby_key: None,
        };
        keeper
            .rotate(&rotation, UnixTime::now())
            .map_err(|error| error.to_string())?;
        let keys = keeper.identity().anchor_keys();
        let mut stdout = io::stdout();
        writeln!(stdout, "{} {}", keys.ksk.tag(), keys.zsk.tag())
            .and_then(|()| stdout.flush())
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

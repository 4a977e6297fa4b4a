//! Advances the state of a publication a few times and says each stamp once it may be used:
//! `stamp_walk FOLDER TIMES`. What [`zzdot_testnet::faults`] walks through.
#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use zzdot_zonegen::{clock::UnixTime, exit::Exit, publication::Stamp};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let folder = arguments.next().map(PathBuf::from);
    let times = arguments
        .next()
        .and_then(|times| times.to_str()?.parse::<u32>().ok());
    let (Some(folder), Some(times)) = (folder, times) else {
        eprintln!("usage: stamp_walk FOLDER TIMES");
        return Exit::Usage.into();
    };
    for _ in 0..times {
        let told = Stamp::advance(&folder, UnixTime::now())
            .map_err(|error| error.to_string())
            .and_then(|stamp| {
                let mut stdout = io::stdout();
                writeln!(stdout, "{} {}", stamp.serial, stamp.inception.0)
                    .and_then(|()| stdout.flush())
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = told {
            eprintln!("stamp_walk: {error}");
            return Exit::CannotRun.into();
        }
    }
    Exit::Done.into()
}

//! `zzdot-zonegen`: identities and signed zones from the command line.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use clap::Parser;
use ring::rand::SystemRandom;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::command::{Cli, Env};
use zzdot_zonegen::exit::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            // Nothing is left to tell when the terminal is gone.
            let _ = error.print();
            return code.into();
        }
    };
    let mut env = Env {
        now: UnixTime::now(),
        rng: &SystemRandom::new(),
        out: &mut io::stdout().lock(),
    };
    match cli.run(&mut env) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => failure.report("zzdot-zonegen"),
    }
}

//! `zzdot-testnet`: see [`zzdot_testnet::command`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use zzdot_testnet::command;

fn main() -> ExitCode {
    command::main(command::Arguments::parse())
}

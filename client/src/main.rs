//! The client of resolvers that name themselves.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    zzdot_client::command::main()
}

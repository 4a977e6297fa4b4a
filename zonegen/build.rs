//! Records the build's date: no clock that runs behind the program's own birth is to be believed.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let seconds = match env::var("SOURCE_DATE_EPOCH") {
        // https://reproducible-builds.org/specs/source-date-epoch/
        Ok(text) => text.trim().parse::<u64>().unwrap_or_else(|_| {
            panic!("SOURCE_DATE_EPOCH is {text:?}: a number of seconds is expected")
        }),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock of the build machine is before 1970")
            .as_secs(),
    };
    println!("cargo::rustc-env=ZZDOT_BUILD_DATE={seconds}");
}

//! Messages of the programs, to standard error.

use std::io;

use tracing_subscriber::{
    filter::{ParseError, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};
use zzdot_zonegen::exit::{Exit, Failure};

use crate::command::style::is_terminal;

/// The variable that says what is logged.
const VARIABLE: &str = "ZZDOT_LOG";

/// Logs what `ZZDOT_LOG` asks for, or else `default`: a level (`info`), or levels of parts (`warn,zzdot_client::dot=trace`).
///
/// The filter knows levels and targets and nothing else: one that matches fields, too, brings a regex engine along.
///
/// # Errors
/// `ZZDOT_LOG` makes no sense.
pub fn start(default: &str) -> Result<(), Failure> {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let filter = filter(&wanted, default).map_err(|error| {
        Failure::new(Exit::Usage, format!("{VARIABLE}: {wanted:?}: {error}"))
            .with_hint("allowed: \"error\", \"warn\", \"info\", \"debug\" or \"trace\"")
    })?;
    let messages = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(is_terminal(&io::stderr()))
        .with_target(false);
    tracing_subscriber::registry()
        .with(messages)
        .with(filter)
        .init();
    Ok(())
}

fn filter(wanted: &str, default: &str) -> Result<Targets, ParseError> {
    if wanted.is_empty() { default } else { wanted }.parse()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn what_is_wanted_comes_before_the_default() {
        let error = filter("", "error").unwrap();
        assert!(error.would_enable("zzdot", &Level::ERROR));
        assert!(!error.would_enable("zzdot", &Level::WARN));
        let debug = filter("debug", "error").unwrap();
        assert!(debug.would_enable("zzdot", &Level::DEBUG));
    }

    #[test]
    fn parts_of_a_program_have_levels_of_their_own() {
        let filter = filter("warn,zzdot_client::dot=trace", "info").unwrap();
        assert!(filter.would_enable("zzdot_client::dot::pool", &Level::TRACE));
        assert!(!filter.would_enable("zzdot_client::upstream", &Level::INFO));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(filter("no=such=level", "info").is_err());
        assert!(filter("zzdot=loud", "info").is_err());
    }
}

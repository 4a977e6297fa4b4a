//! `zzdot-client agent`: notifications for the user of a desktop, about whom to decide, and where to log in.

use clap::Args;
use zzdot_zonegen::exit::{Exit, Failure};

use super::cannot_run;
use super::daemon::Place;
use crate::agent;
use crate::control::Request;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let ask = |known: Option<String>| async {
        let mut request = Request::new("news");
        if let Some(known) = known {
            request = request.with("known", known);
        }
        arguments.place.ask(&request).await
    };
    agent::run(ask).await.map_err(|error| {
        cannot_run(error.to_string()).with_hint(
            "it is meant for the user of a desktop: systemctl --user start zzdot-client-agent",
        )
    })?;
    Ok(Exit::Done)
}

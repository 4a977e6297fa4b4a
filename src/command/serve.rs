//! `zzdot serve`

use zzdot_zonegen::exit::Failure;

use super::Place;
use crate::run::{self, Options};

/// Serves until SIGTERM or SIGINT.
pub async fn run(place: Place) -> Result<(), Failure> {
    run::serve(Options {
        config: place.config,
        state_dir: place.state_dir,
    })
    .await
}

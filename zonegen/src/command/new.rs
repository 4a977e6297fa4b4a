//! `zzdot-zonegen new`

use std::path::PathBuf;

use clap::Args;
use hickory_proto::rr::Name;

use super::{Env, print};
use crate::exit::{Exit, Failure};
use crate::identity::{Identity, IdentityError};
use crate::owners::DEFAULT_SUFFIX;

#[derive(Debug, Args)]
pub(super) struct New {
    /// The folder of the identity
    dir: PathBuf,
    /// What the name stands below
    #[arg(long, value_name = "DOMAIN", default_value = DEFAULT_SUFFIX)]
    suffix: String,
}

impl New {
    pub(super) fn run(&self, env: &mut Env<'_>) -> Result<(), Failure> {
        let suffix = Name::from_ascii(&self.suffix)
            .map_err(|_| Failure::new(Exit::Usage, format!("{:?} is not a domain", self.suffix)))?;
        let identity = Identity::create(&self.dir, &suffix, env.rng).map_err(|error| {
            let exists = matches!(error, IdentityError::Exists(_));
            let failure = Failure::from(error);
            match exists {
                true => failure.with_hint("an identity is never replaced; choose another folder"),
                false => failure,
            }
        })?;
        print(env, &format!("{}\n", identity.name()))
    }
}

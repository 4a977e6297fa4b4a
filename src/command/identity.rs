//! `zzdot identity`

use clap::Args;
use zzdot_client::control::Request;
use zzdot_zonegen::{
    exit::{Exit, Failure},
    identity::{Identity, IdentityError},
    publication::Stamp,
    summary::Summary,
};

use super::{Place, code, daemon, print};
use crate::{
    config::{Environment, IDENTITY_FOLDER, Paths},
    error,
};

/// The arguments of `zzdot identity`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long, conflicts_with = "trust_anchor")]
    json: bool,
    /// Print the trust anchor as DNSKEY and DS records in master-file form
    #[arg(long)]
    trust_anchor: bool,
    #[command(flatten)]
    code: code::Arguments,
}

/// Reads the identity, or asks the running zzdot for it where its files cannot be read. What is
/// printed is what `zzdot-zonegen show` prints.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let summary = look(&arguments.place).await?;
    if arguments.code.any() {
        return arguments.code.show(&summary, &arguments.place);
    }
    print(&if arguments.json {
        summary.json()
    } else if arguments.trust_anchor {
        summary.trust_anchor_text
    } else {
        summary.to_string()
    })
}

async fn look(place: &Place) -> Result<Summary, Failure> {
    let paths = Paths::load(
        place.config.as_deref(),
        place.state_dir.as_deref(),
        &Environment::of_process(),
    )
    .map_err(error::of_config)?;
    let dir = paths.state_dir.join(IDENTITY_FOLDER);
    let none = || {
        Failure::new(
            Exit::CannotRun,
            format!("{}: there is no identity", dir.display()),
        )
        .with_hint("\"zzdot serve\" makes one on its first start")
    };
    let loaded = match Identity::exists(&dir) {
        Ok(true) => Identity::load(&dir),
        // The service may keep its state elsewhere, and can be asked.
        Ok(false) => {
            return ask(place).await.map_err(|_| none());
        }
        Err(error) => Err(error),
    };
    match loaded {
        Ok(identity) => Ok(Summary::new(&identity, Stamp::load(&dir)?.as_ref())),
        Err(error) => {
            if is_private_to_others(&error)
                && let Ok(said) = ask(place).await
            {
                return Ok(said);
            }
            Err(error.into())
        }
    }
}

async fn ask(place: &Place) -> Result<Summary, Failure> {
    let said = daemon::ask(place, &Request::new("identity")).await?;
    serde_json::from_value(said).map_err(|error| {
        Failure::new(
            Exit::CannotRun,
            format!("the running zzdot answers otherwise than this one would: {error}"),
        )
        .with_hint("restart it, so that both are of one version")
    })
}

fn is_private_to_others(error: &IdentityError) -> bool {
    match error {
        IdentityError::Unreadable { source, .. } => {
            source.kind() == std::io::ErrorKind::PermissionDenied
        }
        IdentityError::Privacy(_) => true,
        _ => false,
    }
}

//! `zzdot identity`

use clap::Args;
use data_encoding::BASE64;
use serde_json::{Value, json};
use zzdot_client::control::Request;
use zzdot_zonegen::{
    exit::{Exit, Failure},
    identity::{Identity, IdentityError},
    keys::{ds, key_tag},
    owners,
    trust_anchor::trust_anchor_text,
};

use super::{Place, daemon, print, print_json};
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
}

/// Reads the identity, or asks the running zzdot for it where its files cannot be read.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let said = look(&arguments.place).await?;
    if arguments.json {
        return print_json(&said);
    }
    if arguments.trust_anchor {
        return print(said["trust-anchor-text"].as_str().unwrap_or_default());
    }
    let mut text = format!(
        "name        {}\npin         {}\n",
        said["name"].as_str().unwrap_or_default(),
        said["pin"].as_str().unwrap_or_default(),
    );
    for anchor in said["trust-anchor"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "anchor      {} ({})\n",
            anchor["ds"].as_str().unwrap_or_default(),
            anchor["state"].as_str().unwrap_or_default(),
        ));
    }
    print(&text)
}

async fn look(place: &Place) -> Result<Value, Failure> {
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
            return daemon::ask(place, &Request::new("identity"))
                .await
                .map_err(|_| none());
        }
        Err(error) => Err(error),
    };
    match loaded {
        Ok(identity) => Ok(describe(&identity)),
        Err(error) => {
            if is_private_to_others(&error)
                && let Ok(said) = daemon::ask(place, &Request::new("identity")).await
            {
                return Ok(said);
            }
            Err(Failure {
                exit: Exit::CannotRun,
                ..Failure::from(error)
            })
        }
    }
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

/// What is public about an identity. The names of the fields stay.
pub fn describe(identity: &Identity) -> Value {
    let states = ["active", "stand-by"];
    let anchors: Vec<Value> = identity
        .trust_anchor()
        .iter()
        .zip(states)
        .map(|(key, state)| {
            let digest = ds(&owners::anchor_zone(), key);
            json!({
                "state": state,
                "key-tag": key_tag(key),
                "ds": digest.to_string(),
                "dnskey": key.to_string(),
            })
        })
        .collect();
    json!({
        "name": identity.name().to_string(),
        "pin": format!("sha256/{}", BASE64.encode(&identity.spki_sha256())),
        "trust-anchor": anchors,
        "trust-anchor-text": trust_anchor_text(identity),
    })
}

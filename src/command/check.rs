//! `zzdot check`: what `zzdot serve` would do, without doing it.

use std::{net::SocketAddr, path::Path};

use serde_json::Value;
use zzdot_client::control::Request;
use zzdot_zonegen::{
    clock::UnixTime,
    exit::Failure,
    identity::Identity,
    publication::{Stamp, StateError},
    zone::ServerType,
};

use super::{Place, daemon, print};
use crate::{
    config::{Config, PublishMode, Require, Resolve},
    error, listen, resolve,
    run::{self, Options},
};

/// Checks configuration, files, identity and ports, and prints what would be served.
pub async fn run(place: Place) -> Result<(), Failure> {
    let options = Options {
        config: place.config.clone(),
        state_dir: place.state_dir.clone(),
    };
    let config = run::load(&options, &run::observe()?)?;
    let name = match config.mode {
        PublishMode::Own => check_identity(&config.identity_dir())?,
        PublishMode::Transparent => None,
    };
    // The source reads its files and asks nobody.
    resolve::check(&config.resolve).map_err(error::of_source)?;
    let running = daemon::ask(&place, &Request::new("status")).await.ok();
    check_ports(&config, running.as_ref())?;
    print(&text(&config, name.as_deref(), running.is_some()))
}

/// The name, when there is an identity already.
fn check_identity(dir: &Path) -> Result<Option<String>, Failure> {
    if !Identity::exists(dir)? {
        return Ok(None);
    }
    let identity = Identity::load(dir)?;
    // Without these two nothing would be published, though everything else would be answered.
    let last = Stamp::load(dir)?;
    Stamp::next(last.as_ref(), UnixTime::now()).map_err(StateError::from)?;
    Ok(Some(identity.name().to_string()))
}

/// Binds each address for a moment, except those that the running zzdot serves.
fn check_ports(config: &Config, running: Option<&Value>) -> Result<(), Failure> {
    let serves = |kind: &str, address: &SocketAddr| {
        running
            .and_then(|status| status["listen"][kind].as_array())
            .is_some_and(|served| served.iter().any(|one| *one == address.to_string()))
    };
    let free = |kind, addresses: &[SocketAddr]| -> Vec<SocketAddr> {
        let free = addresses.iter().filter(|address| !serves(kind, address));
        free.copied().collect()
    };
    listen::try_to_bind(&free("dns", &config.dns), &free("dot", &config.dot))
        .map_err(error::of_listening)
}

fn text(config: &Config, name: Option<&str>, running: bool) -> String {
    let joined = |items: &[String]| items.join(" ");
    let sockets = |addresses: &[SocketAddr]| {
        joined(
            &addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        )
    };
    let (mode, from) = match &config.resolve {
        Resolve::Forward { upstreams, .. } if upstreams.is_empty() => (
            "forward",
            "nobody: this host names no name server but itself".to_owned(),
        ),
        Resolve::Forward { upstreams, .. } => (
            "forward",
            joined(
                &upstreams
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
            ),
        ),
        Resolve::Recursive { root_hints, .. } => (
            "recursive",
            match root_hints {
                Some(path) => format!("the roots in {}", path.display()),
                None => "the public roots".into(),
            },
        ),
        Resolve::Local { resolver, .. } => ("local", resolver.to_string()),
    };
    let require = match &config.resolve {
        Resolve::Forward { require, .. } => match require {
            Require::Any => "",
            Require::Encrypted => "require     encrypted: nothing is asked in cleartext\n",
            Require::Authenticated => {
                "require     authenticated: nobody is asked who does not prove who it is\n"
            }
        },
        _ => "",
    };
    let published = config.published.iter().map(ToString::to_string);
    let access = config.access.networks().iter().map(ToString::to_string);
    let published = match config.mode {
        PublishMode::Own => format!(
            "published   {} as {}{}\n",
            joined(&published.collect::<Vec<_>>()),
            config.server_type,
            match (&config.resolve, config.server_type) {
                (Resolve::Local { resolver, .. }, ServerType::Forwarder) =>
                    format!(", which asks {resolver} in cleartext on this machine"),
                _ => String::new(),
            }
        ),
        PublishMode::Transparent => String::new(),
    };
    format!(
        "name        {}\nstate-dir   {}\ncontrol     {}\ndns         {}\ndot         {}\n\
         access      {}\nresolve     {mode}, from {from}\n{require}{published}{}",
        match config.mode {
            PublishMode::Own => name.unwrap_or("none yet; the first start makes one"),
            PublishMode::Transparent => "none: discovery is left to the upstreams",
        },
        config.state_dir.display(),
        config.control_socket.display(),
        sockets(&config.dns),
        sockets(&config.dot),
        joined(&access.collect::<Vec<_>>()),
        if running {
            "running     yes; SIGHUP makes it read this configuration\n"
        } else {
            ""
        },
    )
}

//! `zzdot-client front`: before the host's resolvers, and back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use zzdot_zonegen::exit::{Exit, Failure};

use super::{cannot_run, print, print_json};
use crate::config::Config;
use crate::host::front::{Applied, FrontError, follow as keep_following, put, restore};
use crate::host::{Decision, LinkResolvers, Places, Watcher, look};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Makes this machine ask the client, as `front` of the configuration says; for root
    Put(Where),
    /// Stays in front while networks come and go, until it is ended; for root
    Follow(Where),
    /// Puts back what was there before; for root
    Restore,
    /// Tells which resolvers this machine was given on which link; changes nothing
    Show {
        #[command(flatten)]
        place: Where,
        /// For programs
        #[arg(long)]
        json: bool,
        /// Goes on, and tells every change
        #[arg(long)]
        follow: bool,
    },
}

#[derive(Debug, Args)]
struct Where {
    /// The daemon's configuration file, for `listen` and `front`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Where {
    fn config(&self) -> Result<Config, Failure> {
        let path = self.config.as_deref();
        path.map_or_else(Config::defaults, Config::load)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
    }
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let places = Places::default();
    match &arguments.task {
        Task::Put(place) => {
            let config = place.config()?;
            as_root()?;
            let applied = put(&places, &config.listen, config.front)
                .await
                .map_err(failed)?;
            let done = applied
                .method
                .map(|method| format!("in front, by {}", method.name()));
            tell(
                &applied,
                done.as_deref().unwrap_or("not in front: front = \"none\""),
            )?;
        }
        Task::Follow(place) => {
            let config = place.config()?;
            as_root()?;
            keep_following(&places, &config.listen).await;
        }
        Task::Restore => {
            as_root()?;
            let applied = restore(&places).await.map_err(failed)?;
            let done = match applied.method {
                Some(_) => "put back",
                None => "nothing to put back",
            };
            tell(&applied, done)?;
        }
        Task::Show {
            place,
            json,
            follow: false,
        } => show(&look(place.config()?.listen, places).await, *json)?,
        Task::Show { place, json, .. } => follow(place.config()?.listen, places, *json).await?,
    }
    Ok(Exit::Done)
}

fn show(decision: &Decision, json: bool) -> Result<(), Failure> {
    match json {
        true => print_json(&json!(decision)),
        false => print(&in_words(decision)),
    }
}

/// Until somebody ends it: one decision a line for programs.
async fn follow(own: Vec<SocketAddr>, places: Places, json: bool) -> Result<(), Failure> {
    let watcher = Watcher::start(own, places).await;
    let mut decisions = watcher.decisions();
    loop {
        let decision = Arc::clone(&decisions.borrow_and_update());
        match json {
            true => print(&format!("{}\n", json!(*decision)))?,
            false => print(&format!("{}\n", in_words(&decision)))?,
        }
        if decisions.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn as_root() -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(cannot_run("the host's configuration belongs to root")
        .with_hint("the service does this by itself; by hand: sudo zzdot-client front ..."))
}

fn failed(error: FrontError) -> Failure {
    let hint = match &error {
        FrontError::Lost => {
            "write the address of your resolver into it, or start your network manager again"
        }
        FrontError::Journal(_) => {
            "see what stands there, put /etc/resolv.conf right, and remove the journal"
        }
        FrontError::NoUsablePort(_) => "add \"127.0.0.1:53\" to `listen`",
        FrontError::Link { .. } => {
            "try again when D-Bus is there, or restart systemd-networkd and systemd-resolved"
        }
        FrontError::File { .. } | FrontError::Resolvconf(_) => {
            "mend that and try again; the journal knows how far it came"
        }
    };
    cannot_run(error.to_string()).with_hint(hint)
}

fn tell(applied: &Applied, done: &str) -> Result<(), Failure> {
    let notes = applied.notes.iter().map(|note| format!("note: {note}\n"));
    print(&format!("{done}\n{}", notes.collect::<String>()))
}

fn in_words(decision: &Decision) -> String {
    if decision.links.is_empty() {
        return "nobody named a resolver for this machine\n".to_owned();
    }
    let mut words: String = decision.links.iter().map(link_in_words).collect();
    for past in &decision.past_us {
        let domains: Vec<_> = past.domains.iter().map(ToString::to_string).collect();
        let line = format!(
            "warning: systemd-resolved asks {} about names below {} itself\n",
            past.link,
            domains.join(", ")
        );
        words.push_str(&line);
    }
    words
}

fn link_in_words(link: &LinkResolvers) -> String {
    let name = link.link.as_ref().map_or("any link", |link| &link.name);
    let servers: Vec<_> = link.servers.iter().map(ToString::to_string).collect();
    let domains: Vec<_> = link.domains.iter().map(ToString::to_string).collect();
    let names = match (link.default_route, domains.is_empty()) {
        (true, true) => "all names".to_owned(),
        (true, false) => format!("all names, and first of all {}", domains.join(", ")),
        (false, true) => "no names".to_owned(),
        (false, false) => format!("names below {}", domains.join(", ")),
    };
    let tunnel = if link.tunnel { " (tunnel)" } else { "" };
    let servers = servers.join(", ");
    format!(
        "{name}{tunnel}: {names}: {servers} (says {})\n",
        link.source.name()
    )
}

//! In front by systemd-resolved: its servers for the whole machine are ours, and links keep no domain of their own.
//!
//! Everything here is below `/run`, or in the memory of the programs that were told: a restart of the machine leaves
//! nothing of it. The drop-in is there before any link is touched, and goes last.

use std::net::SocketAddr;

use zbus::Connection;

use super::journal::{Change, Journal};
use super::links::{Order, carry_out, orders};
use super::services::{Called, reload_network_manager, restart_resolved};
use super::steps::{FrontError, write_drop_in};
use super::{Applied, Method, NETWORK_MANAGER_DROP_IN, RESOLVED_DROP_IN};
use crate::host::bus::owner;
use crate::host::files::read;
use crate::host::watch::look_around;
use crate::host::{Decision, Domain, Inputs, LINKS_MAX, Places, decide, resolved};

/// Domains that are put behind names of one label; the C library stops at six, resolved at 256.
const SEARCH_MAX: usize = 16;
const TEXT_MAX: usize = 64 * 1024;
const NO_MULTICAST: &str = "MulticastDNS=no\n";
/// NetworkManager tells resolved nothing: it would give every link its domains back, with each change of a network.
const NETWORK_MANAGER_TEXT: &str = "[main]\ndns=none\nsystemd-resolved=false\n";

/// Gets in front, or stays there. When `calm` is asked for, resolved is not restarted for the sake of a search list.
pub(super) async fn put(
    places: &Places,
    listen: &[SocketAddr],
    journal: Option<Journal>,
    bus: Option<&Connection>,
    calm: bool,
) -> Result<Applied, FrontError> {
    let mut notes = Vec::new();
    let mut journal = journal.unwrap_or_else(|| Journal::new(Method::Resolved));
    for change in [Change::ResolvedDropIn, Change::NetworkManagerDropIn] {
        if !journal.changes.contains(&change) {
            journal.changes.push(change);
            journal.write(places)?;
        }
    }
    let seen = look_around(listen.to_vec(), places.clone()).await;
    let found = read(&places.at(RESOLVED_DROP_IN), TEXT_MAX);
    let multicast = match &found {
        Some(found) => !found.contains(NO_MULTICAST),
        None => asks_by_multicast(bus, &seen).await,
    };
    let text = text(listen, &searched(&decide(&seen)), multicast);
    let restart = match found {
        Some(found) if calm && without_domains(&found) == without_domains(&text) => false,
        _ => write_drop_in(places, RESOLVED_DROP_IN, &text)?,
    };
    // Its messages reach resolved before ours, since it answers us after it sent them.
    if write_drop_in(places, NETWORK_MANAGER_DROP_IN, NETWORK_MANAGER_TEXT)?
        && let Called::Failed(error) = reload_network_manager(bus).await
    {
        notes.push(format!("NetworkManager did not read it: {error}"));
    }
    let orders = orders(&seen);
    for order in &orders {
        if let Order::Hold(held) = order {
            let before = journal.clone();
            journal.hold(held.clone(), &seen);
            if journal != before {
                journal.write(places)?;
            }
        }
        let Some(bus) = bus else { continue };
        match carry_out(bus, order).await {
            Called::Done => {}
            Called::NobodyThere => notes.push(format!("nobody keeps {order}")),
            Called::Failed(error) => notes.push(format!("{order}: {error}")),
        }
    }
    if restart {
        restart_resolved(bus, &mut notes).await;
    }
    Ok(Applied {
        method: Some(Method::Resolved),
        touched: !orders.is_empty(),
        restarted: restart,
        notes,
    })
}

/// Without FallbackDNS the names of no link would go to strangers when this program is away. By LLMNR resolved would ask
/// everybody on the link about names of one label, and believe whoever answers.
fn text(listen: &[SocketAddr], search: &[Domain], multicast: bool) -> String {
    let servers: Vec<_> = listen.iter().map(ToString::to_string).collect();
    let search: String = search.iter().map(|domain| format!(" {domain}")).collect();
    let multicast = if multicast { "" } else { NO_MULTICAST };
    format!(
        "[Resolve]\nDNS={}\nDomains=~.{search}\nFallbackDNS=\nDNSOverTLS=no\nLLMNR=no\n{multicast}",
        servers.join(" ")
    )
}

/// Is there a link on which somebody wants it? Those who manage links say no by themselves, where resolved alone says yes:
/// a link that nobody tells it about any more would begin with it.
async fn asks_by_multicast(bus: Option<&Connection>, seen: &Inputs) -> bool {
    let Some(bus) = bus else { return false };
    let Some(owner) = owner(bus, resolved::NAME).await else {
        return false;
    };
    for says in seen.resolved.iter().flat_map(|says| &says.links) {
        let index = says.index.unwrap_or_default();
        if resolved::asks_by_multicast(bus, &owner, index).await {
            return true;
        }
    }
    false
}

fn without_domains(text: &str) -> Vec<&str> {
    let lines = text.lines();
    lines.filter(|line| !line.starts_with("Domains=")).collect()
}

/// What links would put behind names of one label, in the order in which they are asked.
fn searched(decision: &Decision) -> Vec<Domain> {
    let mut search: Vec<Domain> = Vec::new();
    let links = decision.links.iter().take(LINKS_MAX);
    for domain in links.flat_map(|link| &link.search) {
        if search.len() < SEARCH_MAX && !domain.is_root() && !search.contains(domain) {
            search.push(domain.clone());
        }
    }
    search
}

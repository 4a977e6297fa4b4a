//! Puts this program in front of the host's resolvers, and puts everything back.
//!
//! Every change stands in a journal before it is made, so that whatever happens in between, `restore` knows what to put
//! back. Both are idempotent, and need root; the daemon itself has no right to any of this. What can be volatile (the
//! drop-ins for resolved and for NetworkManager) is below `/run`, and gone after the next start of the machine anyway.

mod choice;
mod follow;
mod journal;
mod links;
mod resolv_conf;
mod resolvconf;
mod resolved;
mod services;
mod steps;

pub use choice::{FrontSetting, Method, Scene, choose};
pub use follow::follow;
pub use journal::{FOLDER, JournalError, Lock};
pub use steps::{Applied, FrontError, put, restore};

use super::{FileKind, HeldLink, Places};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLVED_DROP_IN: &str = "/run/systemd/resolved.conf.d/zzdot.conf";
const NETWORK_MANAGER_DROP_IN: &str = "/run/NetworkManager/conf.d/zzdot.conf";

/// Links whose domains were taken from them. Like the drop-in, that outlives no restart of the machine.
pub(super) fn held(places: &Places) -> Vec<HeldLink> {
    if !places.at(RESOLVED_DROP_IN).exists() {
        return Vec::new();
    }
    let journal = journal::Journal::read(places).ok().flatten();
    journal.map(|journal| journal.held()).unwrap_or_default()
}

/// What stood in `resolv.conf` before, and whether a person had written it; none when nothing was put aside.
pub(super) fn put_aside(places: &Places) -> Option<(FileKind, String)> {
    let journal = journal::Journal::read(places).ok()??;
    journal.changes.iter().find_map(|change| match change {
        journal::Change::ResolvConf {
            original,
            by_person,
        } => {
            let kind = if *by_person {
                FileKind::AsideByPerson
            } else {
                FileKind::Aside
            };
            Some((kind, original.text(places)?))
        }
        _ => None,
    })
}

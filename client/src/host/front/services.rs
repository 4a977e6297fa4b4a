//! Those who are told over D-Bus: services that read their configuration again, and keepers of links.

use serde::Serialize;
use zbus::Connection;
use zbus::zvariant::DynamicType;

use crate::host::bus::owner;
use crate::host::network_manager;

/// How a call went.
#[derive(Debug)]
pub(super) enum Called {
    /// As it should.
    Done,
    /// Whom it was for is not there, or knows no such link: there is nothing to tell.
    NobodyThere,
    /// Not at all.
    Failed(zbus::Error),
}

/// Errors that say: there is no such link, or it is nothing to the one asked.
const NO_SUCH_LINK: [&str; 3] = [
    "org.freedesktop.resolve1.NoSuchLink",
    "org.freedesktop.network1.NoSuchLink",
    "org.freedesktop.network1.UnmanagedLink",
];

/// Calls whoever has a name now; nobody is started by this. The call is name, path, interface and method.
pub(super) async fn call_owner<B: Serialize + DynamicType>(
    bus: &Connection,
    (name, path, interface, method): (&str, &str, &str, &str),
    body: &B,
) -> Called {
    let Some(owner) = owner(bus, name).await else {
        return Called::NobodyThere;
    };
    let called = bus.call_method(Some(owner), path, Some(interface), method, body);
    match called.await {
        Ok(_) => Called::Done,
        Err(zbus::Error::MethodError(error, _, _)) if NO_SUCH_LINK.contains(&error.as_str()) => {
            Called::NobodyThere
        }
        Err(error) => Called::Failed(error),
    }
}

/// By the service manager: resolved before version 255 cannot read its configuration again.
pub(super) async fn restart_resolved(bus: Option<&Connection>, notes: &mut Vec<String>) {
    let asked = async {
        let unit = ("systemd-resolved.service", "replace");
        let call = (
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
            "ReloadOrTryRestartUnit",
        );
        match call_owner(bus?, call, &unit).await {
            Called::Done => Some(()),
            Called::NobodyThere | Called::Failed(_) => None,
        }
    };
    if asked.await.is_none() {
        notes.push("systemd-resolved takes it up when it is restarted; the service manager could not be asked".to_owned());
    }
}

/// Its configuration, and what it makes of it for DNS.
pub(super) async fn reload_network_manager(bus: Option<&Connection>) -> Called {
    const FLAGS: u32 = 1 | 2;
    let Some(bus) = bus else {
        return Called::NobodyThere;
    };
    let path = "/org/freedesktop/NetworkManager";
    let call = (network_manager::NAME, path, network_manager::NAME, "Reload");
    call_owner(bus, call, &FLAGS).await
}

//! The desktop agent on a session bus, with the real `dbus-daemon`.
#![allow(clippy::unwrap_used)]

#[path = "support/bus.rs"]
mod bus;
mod common;

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bus::Bus;
use common::{Daemon, Manner, Resolver, code, command, stderr, wait_until};
use zbus::zvariant::OwnedValue;
use zzdot_zonegen::summary::Summary;

/// What a desktop shows, as the specification of its notifications has it.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<Shown>>>);

#[derive(Clone)]
struct Shown {
    id: u32,
    summary: String,
    body: String,
    actions: Vec<String>,
    urgency: u8,
    is_closed: bool,
}

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Screen {
    #[allow(clippy::too_many_arguments)]
    fn notify(
        &self,
        _application: String,
        _replaces: u32,
        _icon: String,
        summary: String,
        body: String,
        actions: Vec<String>,
        hints: HashMap<String, OwnedValue>,
        _timeout: i32,
    ) -> u32 {
        let mut all = self.0.lock().unwrap();
        let id = u32::try_from(all.len()).unwrap() + 1;
        let urgency = u8::try_from(&hints["urgency"]).unwrap();
        all.push(Shown {
            id,
            summary,
            body,
            actions,
            urgency,
            is_closed: false,
        });
        id
    }

    fn close_notification(&self, id: u32) {
        let mut all = self.0.lock().unwrap();
        let shown = all.iter_mut().find(|shown| shown.id == id).unwrap();
        shown.is_closed = true;
    }
}

impl Screen {
    fn all(&self) -> Vec<Shown> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn a_person_is_told_about_whom_to_decide_and_not_any_more_when_that_is_done() {
    let bus = Bus::start();
    let screen = Screen::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let desktop = zbus::connection::Builder::address(bus.address().as_str())
        .unwrap()
        .name("org.freedesktop.Notifications")
        .unwrap()
        .serve_at("/org/freedesktop/Notifications", screen.clone())
        .unwrap();
    let _desktop = runtime.block_on(desktop.build()).unwrap();
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let server = format!("server = \"{}\"", resolver.address);
    let daemon = Daemon::start(folder.path(), &server);
    let query = |rcode: &str| {
        let output = daemon.tool(&["query", "www.example", "A", "--json"]);
        String::from_utf8(output.stdout).unwrap().contains(rcode)
    };
    assert!(query("NOERROR"), "{}", daemon.log());

    let config = folder.path().join("client.toml");
    let agent = ["agent", "--config", config.to_str().unwrap()];
    let start = || {
        let mut agent = command(&agent);
        agent.env("DBUS_SESSION_BUS_ADDRESS", bus.address());
        agent.stderr(Stdio::piped());
        agent
    };
    let mut running = start().spawn().unwrap();
    wait_until(|| screen.all().len() == 1, || daemon.log());
    let shown = screen.all()[0].clone();
    let theirs = Summary::new(&resolver.identity, None);
    assert!(shown.body.contains(&theirs.phrase), "{}", shown.body);
    assert!(shown.body.contains(&theirs.name.to_string()));
    assert_eq!(shown.actions, Vec::<String>::new(), "nothing to click");
    assert_eq!(shown.urgency, 1);

    // One agent is enough.
    let output = start().output().unwrap();
    assert_eq!(code(&output), 3);
    assert!(
        stderr(&output).contains("another agent"),
        "{}",
        stderr(&output)
    );

    let mut approve = vec!["approve", "--phrase"];
    approve.extend(theirs.phrase.split(' '));
    assert_eq!(code(&daemon.tool(&approve)), 0);
    wait_until(|| screen.all()[0].is_closed, || daemon.log());

    // Somebody else answers: told at once, with the name of whom is expected, and without words to type.
    let other = resolver.replace();
    assert!(query("SERVFAIL"));
    wait_until(|| screen.all().len() == 2, || daemon.log());
    let shown = screen.all()[1].clone();
    assert_eq!(
        shown.summary,
        "Another DNS resolver answers in this network"
    );
    assert!(shown.body.contains(&theirs.name.to_string()));
    assert!(shown.body.contains(&other.identity.name().to_string()));
    let words = Summary::new(&other.identity, None).phrase;
    assert!(!shown.body.contains(&words), "{}", shown.body);
    assert_eq!(shown.urgency, 2);

    // The session ends, and the agent with it.
    drop(bus);
    let ended = || running.try_wait().unwrap().is_some();
    wait_until(ended, || "the agent goes on".to_owned());
}

#[test]
fn without_a_session_bus_there_is_no_agent_and_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("unix:path={}", folder.path().join("bus").display());
    let output = command(&["agent"])
        .env("DBUS_SESSION_BUS_ADDRESS", nowhere)
        .output()
        .unwrap();
    assert_eq!(code(&output), 3);
    let text = stderr(&output);
    assert!(text.contains("the session bus cannot be used"), "{text}");
    assert!(
        text.contains("hint: it is meant for the user of a desktop"),
        "{text}"
    );
}

//! The client's machine sleeps for a night: nothing has to be restarted, and nothing is lost.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, thread};

use hickory_proto::op::ResponseCode;
use nix::sys::signal::Signal;
use support::{
    client::{Client, ask},
    clock::Clock,
    daemon::{Daemon, Place},
};

const EIGHT_HOURS: u64 = 8 * 3600;
/// What all applications ask at once when the machine wakes.
const QUESTIONS: usize = 20;

#[test]
fn eight_hours_of_sleep_cost_no_restart_and_no_question() {
    let place = Place::new("[resolve]\nupstreams = [\"127.0.0.1:9\"]\n");
    let mut clock = Clock::new(place.path());
    let serve = |clock: &Clock| {
        let mut command = place.command("serve");
        clock.rule(&mut command);
        Daemon::start(command, place.path())
    };
    let appliance = serve(&clock);
    let name = place.status()["name"].as_str().unwrap().to_owned();
    let folder = place.path().join("client");
    fs::create_dir_all(&folder).unwrap();
    let mut watch = Clock::new(&folder);
    let (server, listen) = (
        format!("{}:5300", place.address),
        format!("{}:5301", place.address),
    );
    let client = Client::start(&folder, &server, &listen, &watch);
    assert_eq!(ask(&listen, &name), ResponseCode::NoError);
    assert_eq!(client.walks_in_clear(), 1);
    let before = client.status();

    // Meanwhile the connection dies, and the appliance signs its zones anew.
    client.daemon.signal(Signal::SIGSTOP);
    assert!(appliance.stop().success());
    clock.advance(EIGHT_HOURS);
    watch.advance(EIGHT_HOURS);
    let appliance = serve(&clock);
    client.daemon.signal(Signal::SIGCONT);

    let askers: Vec<_> = (0..QUESTIONS)
        .map(|_| {
            let (listen, name) = (listen.clone(), name.clone());
            thread::spawn(move || ask(&listen, &name))
        })
        .collect();
    for asker in askers {
        let code = asker.join().unwrap();
        assert_eq!(code, ResponseCode::NoError, "{}", client.daemon.log());
    }
    let after = client.status();
    assert_eq!(after["state"], "strict");
    assert_eq!(after["resolver"]["name"], name.as_str());
    assert_eq!(after["queries"]["cleartext"], 0);
    assert_eq!(after["queries"]["failed"], 0, "{after}");
    let encrypted = |status: &serde_json::Value| status["queries"]["encrypted"].as_u64().unwrap();
    assert_eq!(encrypted(&after), encrypted(&before) + QUESTIONS as u64);
    assert_eq!(
        client.walks_in_clear(),
        1,
        "it asks nobody who the server is: {}",
        client.daemon.log()
    );
    assert!(client.daemon.stop().success() && appliance.stop().success());
}

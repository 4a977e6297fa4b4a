//! What `route` does with a chain: ask its end, or nobody unless all of it is encrypted. What is asked meanwhile is looked
//! for on every link.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant, SystemTime},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use serde_json::Value;

use super::{
    super::{
        Failure, Scene, Story, Teller, Told,
        checks::{CLIENT, ensure},
        scene::LAN,
    },
    flat::{machine, nft},
    ground::{self, Machine, Runs, find},
    links::{Links, Period},
    streamed, trips,
    truth::Traced,
    weak,
};
use crate::{
    ask::{Question, ask_all},
    host::Host,
    process::POLL,
    products::Client,
};

pub(in crate::story) const ROUTES: Story = Story {
    name: "routes",
    sentence: "Questions go to the end of the chain where it can be reached, and nowhere where one hop is in cleartext; captures of every link agree.",
    set_up,
    play,
    try_this: &[
        "zzdot-client trace",
        "zzdot-client status",
        "zzdot-client trace --server 10.53.0.76",
    ],
};

pub(super) const MACHINES: &[Machine] = &[
    machine("end", "10.53.0.60", Runs::Resolver),
    machine("middle", "10.53.0.64", Runs::Forwarder(&["end"])),
    machine("first", "10.53.0.65", Runs::Forwarder(&["middle"])),
    machine("clear", "10.53.0.71", Runs::Forwarder(&["provider"])),
    machine("over-clear", "10.53.0.72", Runs::Forwarder(&["clear"])),
    machine("mixed", "10.53.0.74", Runs::Forwarder(&["middle", "clear"])),
];

/// How long it may take until the daemon has looked behind its server.
const LOOKED_WITHIN: Duration = Duration::from_secs(25);
const DOT_PORT: u16 = 853;

fn set_up(scene: &mut Scene) -> Told {
    ground::start(scene, MACHINES)?;
    streamed::set_up(scene)?;
    ground::settle(scene, MACHINES)
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let names = ground::names(scene, MACHINES)?;
    let first = find(MACHINES, "first")?;
    let questions: Vec<_> = scene
        .internet
        .names()
        .iter()
        .take(40)
        .map(|name| Question::new(name, RecordType::A))
        .collect();

    start(scene, first.address, "end")?;
    // A first meeting is in cleartext, and over with the first answer.
    let since = SystemTime::now();
    asks(scene, &names, "end")?;
    let looked_at = looked_at(&scene.laptop)?;
    let before = SystemTime::now();
    all_answered(&scene.laptop, &questions)?;
    let to_the_end = Period::since(before);
    let again = self::looked_at(&scene.laptop)?;
    ensure(again == looked_at, || {
        format!("the chain was looked at at {looked_at}, and within its time to live at {again}")
    })?;
    teller
        .tell("with route = \"end\" questions go to the end of the chain, which is looked at once");
    scene.end(CLIENT)?;

    // Behind a router that lets nobody but the nearest be reached.
    shut_out_the_laptop(scene, first.address)?;
    start(scene, first.address, "end")?;
    all_answered(&scene.laptop, &questions)?;
    asks(scene, &names, "first")?;
    teller.tell("where the end cannot be reached they go to the nearest");
    scene.end(CLIENT)?;
    nft(&scene.router, "delete table ip laptop\n")?;

    start(scene, first.address, "encrypted-to-end")?;
    asks(scene, &names, "first")?;
    let before = SystemTime::now();
    all_answered(&scene.laptop, &questions)?;
    let within_the_ttl = Period::since(before);
    teller.tell("with route = \"encrypted-to-end\" they are answered while every hop is encrypted");
    scene.end(CLIENT)?;
    let encrypted = Period::since(since);

    let trips = trips::play(scene, &names)?;
    let streams = streamed::play(scene, teller)?;
    let asked = weak::play(scene, &names, teller)?;

    let links = Links::end(scene)?;
    let end = find(MACHINES, "end")?;
    links.are_quiet(scene, encrypted, end, teller)?;
    let asked_of = |period: Period, machine: &Machine| {
        let lan = period.of(&links.lan);
        lan.room_for_questions("laptop", machine.ip(), DOT_PORT)
    };
    let least = questions.len();
    let sent = asked_of(to_the_end, end);
    ensure(sent >= least, || {
        format!(
            "{sent} questions went to the end while {} were asked",
            questions.len()
        )
    })?;
    let sent = asked_of(within_the_ttl, first);
    let behind = ["middle", "end"].map(|name| find(MACHINES, name));
    let mut beyond = 0;
    for machine in behind {
        beyond += asked_of(within_the_ttl, machine?);
    }
    ensure(sent >= least && beyond == 0, || {
        format!(
            "{sent} questions went to the nearest and {beyond} behind it within the time to live"
        )
    })?;
    trips.check(&links.lan, teller)?;
    streams.check(&links, teller)?;
    asked.check(&links, teller)
}

/// The daemon on the laptop, with this server and this way of its questions.
pub(super) fn start(scene: &mut Scene, server: &str, route: &str) -> Told {
    let client = Client {
        host: &scene.laptop,
        server,
        legacy: "plain",
    };
    let process = client.start_saying(&format!("route = {route:?}\n"))?;
    scene.keep(CLIENT, process);
    Ok(())
}

/// When the daemon looked behind its server. Asking for a trace would have it look again, after some seconds.
fn looked_at(laptop: &Host) -> Result<String, Failure> {
    let output = Client::ask_running(laptop, "status", &["--json"])?;
    let status: Value = serde_json::from_slice(&output.stdout)?;
    let looked_at = status["route"]["chain"]["looked-at"].as_str();
    looked_at
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("the daemon does not say when it looked: {status}")))
}

/// Waits until the daemon says that questions go to this machine. It looks behind its server when somebody asks.
fn asks(scene: &Scene, names: &BTreeMap<String, String>, machine: &str) -> Told {
    let deadline = Instant::now() + LOOKED_WITHIN;
    let probe = Question::new(&scene.internet.names()[100], RecordType::A);
    loop {
        ask_all(
            &scene.laptop,
            Client::addresses()[0],
            std::slice::from_ref(&probe),
        )?;
        let output = Client::ask_running(&scene.laptop, "trace", &["--json"])?;
        let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let traced = Traced::read(told, names);
        let said = traced.asks();
        if said == machine {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!(
                "questions are to go to {machine}, and go to '{said}': {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )));
        }
        thread::sleep(5 * POLL);
    }
}

pub(super) fn all_answered(from: &Host, questions: &[Question]) -> Told {
    let answers = ask_all(from, Client::addresses()[0], questions)?;
    let unanswered = answers
        .iter()
        .zip(questions)
        .find(|(answer, _)| answer.rcode != ResponseCode::NoError);
    ensure(unanswered.is_none(), || {
        unanswered.map_or_else(String::new, |(answer, question)| {
            format!("{question}: {answer}")
        })
    })
}

/// The laptop, for a while, as the guest.
fn shut_out_the_laptop(scene: &Scene, but: &str) -> Told {
    let rules = format!(
        "table ip laptop {{\n chain pass {{\n  type filter hook forward priority filter\n  iifname {LAN} ip daddr != {but} tcp \
         dport 853 reject with tcp reset\n }}\n}}\n"
    );
    nft(&scene.router, &rules)
}

//! What `route` does with a chain: ask its end, or nobody unless all of it is encrypted.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant, SystemTime},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::{
    super::{
        Failure, Scene, Story, Teller, Told,
        checks::{CLIENT, ensure, nothing_in_cleartext, refuses},
        scene::{ISP, LAN, provider_dns},
    },
    flat::{MACHINES, host, nft},
    ground::{self, Machine, Runs, find},
    truth::Traced,
};
use crate::{
    ask::{Question, ask_all},
    host::Host,
    process::POLL,
    products::Client,
};

pub(in crate::story) const ROUTES: Story = Story {
    name: "routes",
    sentence: "Questions go to the end of the chain where it can be reached, and nowhere where one hop is in cleartext.",
    set_up,
    play,
    try_this: &["zzdot-client trace", "zzdot-client status"],
};

/// Of all machines, those that this story needs.
const PLAYING: [&str; 5] = ["end", "middle", "first", "clear", "over-clear"];
/// How long it may take until the daemon has looked behind its server.
const LOOKED_WITHIN: Duration = Duration::from_secs(25);
/// What the refusal says.
const REFUSAL: &str = "chain-not-encrypted";

fn set_up(scene: &mut Scene) -> Told {
    let machines: Vec<Machine> = playing();
    ground::start(scene, &machines)?;
    ground::settle(scene, &machines, |machine| match machine.runs {
        Runs::Forwarder(next) if next == ["provider"] => vec!["plain"],
        Runs::Forwarder(next) => next.iter().map(|_| "dot").collect(),
        _ => Vec::new(),
    })
}

fn playing() -> Vec<Machine> {
    let named = |machine: &&Machine| PLAYING.contains(&machine.name);
    MACHINES.iter().filter(named).copied().collect()
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let names = ground::names(scene, &playing())?;
    let first = find(MACHINES, "first")?.address;
    let questions: Vec<_> = scene
        .internet
        .names()
        .iter()
        .take(40)
        .map(|name| Question::new(name, RecordType::A))
        .collect();

    start(scene, first, "end")?;
    let since = SystemTime::now();
    let looked_at = asks(scene, &names, "end")?;
    let before = SystemTime::now();
    all_answered(&scene.laptop, &questions)?;
    let after = SystemTime::now();
    ensure(asks(scene, &names, "end")? == looked_at, || {
        "the chain was looked at again within its time to live".into()
    })?;
    teller
        .tell("with route = \"end\" questions go to the end of the chain, which is looked at once");
    scene.end(CLIENT)?;

    // Behind a router that lets nobody but the nearest be reached.
    shut_out_the_laptop(scene, first)?;
    start(scene, first, "end")?;
    all_answered(&scene.laptop, &questions)?;
    asks(scene, &names, "first")?;
    teller.tell("where the end cannot be reached they go to the nearest");
    scene.end(CLIENT)?;

    start(scene, first, "encrypted-to-end")?;
    all_answered(&scene.laptop, &questions)?;
    teller.tell("with route = \"encrypted-to-end\" they are answered while every hop is encrypted");
    scene.end(CLIENT)?;

    let at_home = scene.lab.end_capture(LAN)?;
    let at_the_provider = scene.lab.end_capture(ISP)?;
    nothing_in_cleartext(scene, &at_home, "laptop", since, teller)?;
    for host in ["router", "first", "middle"] {
        nothing_in_cleartext(scene, &at_the_provider, host, since, teller)?;
    }
    let end = find(MACHINES, "end")?.ip();
    let to_the_end = at_home
        .packets_between("laptop", end, Some(853))
        .filter(|packet| before <= packet.at && packet.at <= after)
        .count();
    ensure(to_the_end >= questions.len() / 4, || {
        format!(
            "{to_the_end} packets went to the end while {} questions were asked",
            questions.len()
        )
    })?;

    one_hop_in_cleartext(scene, &questions[0], teller)
}

/// Wherever the hop is, nothing is asked.
fn one_hop_in_cleartext(scene: &mut Scene, probe: &Question, teller: &Teller) -> Told {
    nft(&scene.router, "delete table ip laptop\n")?;
    let address = |name| Ok::<_, Failure>(find(MACHINES, name)?.address.to_owned());
    for (hop, server) in [
        ("third", address("over-clear")?),
        ("second", address("clear")?),
        ("first", provider_dns().ip().to_string()),
    ] {
        start(scene, &server, "encrypted-to-end")?;
        let answer = refuses(scene, REFUSAL, probe)?;
        teller.tell(format!("the {hop} hop is in cleartext: {answer}"));
        scene.end(CLIENT)?;
    }

    // The same chain as before, in which one stops to encrypt while the client runs.
    let first = find(MACHINES, "first")?;
    start(scene, first.address, "encrypted-to-end")?;
    all_answered(&scene.laptop, std::slice::from_ref(probe))?;
    let middle = Machine {
        runs: Runs::Forwarder(&["provider"]),
        ..*find(MACHINES, "middle")?
    };
    scene.end(middle.name)?;
    let host = host(scene, middle.name)?;
    ground::start_one(scene, MACHINES, &middle, &host)?;
    ground::settle_at(&scene.provider, middle.dns(), &["plain"])?;
    // Another connection with the nearest is looked behind at once, and not after the time to live.
    scene.end(first.name)?;
    let host = self::host(scene, first.name)?;
    ground::start_one(scene, MACHINES, first, &host)?;
    let deadline = Instant::now() + LOOKED_WITHIN;
    while refuses(scene, REFUSAL, probe).is_err() {
        if Instant::now() >= deadline {
            refuses(scene, REFUSAL, probe)?;
        }
        thread::sleep(5 * POLL);
    }
    teller.tell("once a hop is in cleartext that was encrypted before, nothing is asked any more");
    Ok(())
}

/// The daemon on the laptop, with this server and this way of its questions.
fn start(scene: &mut Scene, server: &str, route: &str) -> Told {
    let client = Client {
        host: &scene.laptop,
        server,
        legacy: "plain",
    };
    let process = client.start_saying(&format!("route = {route:?}\n"))?;
    scene.keep(CLIENT, process);
    Ok(())
}

/// Waits until the daemon says that questions go to this machine; gives back when it looked behind its server, which it
/// does when somebody asks.
fn asks(scene: &Scene, names: &BTreeMap<String, String>, machine: &str) -> Result<String, Failure> {
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
            return Ok(traced.looked_at());
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

fn all_answered(from: &Host, questions: &[Question]) -> Told {
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

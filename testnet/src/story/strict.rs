//! Once private, always private: what a client does when the resolver that it knows is gone, or is another one.

use std::{
    thread,
    time::{Duration, Instant, SystemTime},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};

use super::{
    Failure, Scene, Story, Teller, Told,
    checks::{
        CLIENT, ensure, not_one_in_cleartext_between, only_the_walk_in_cleartext, refuses,
        start_client,
    },
    scene::{LAN, provider_dns, router_dns},
    upgrade::{client, recursion, start_appliance},
};
use crate::{
    ask::{Answer, Question, ask_all},
    products::Client,
    servers,
};

pub(super) const STRICT: Story = Story {
    name: "strict",
    sentence: "After the first handshake an impostor, in cleartext or with an identity of its own, gets not one question.",
    set_up,
    play,
    try_this: &[
        "zzdot-client status",
        "zzdot-client resolvers list",
        "dig www.portal.example",
    ],
};

/// The appliance that the laptop knows, and one that it does not.
const REAL: &str = "zzdot";
const IMPOSTOR: &str = "impostor";
/// How long the client may take to find the real resolver again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// How long until it knows that another stands there.
const NAMED_WITHIN: Duration = Duration::from_secs(10);
/// The client is told to look again by nothing but the next question; ten a second is a quiet laptop.
const ASK_EVERY: Duration = Duration::from_millis(100);

fn set_up(scene: &mut Scene) -> Told {
    let resolve = recursion(scene);
    start_appliance(scene, REAL, &resolve)?;
    let laptop = scene.laptop.clone();
    start_client(
        scene,
        &Client {
            host: &laptop,
            server: "192.168.77.1",
            legacy: "plain",
        },
    )
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let resolve = recursion(scene);
    answers_come_back(scene)?;
    let met = SystemTime::now();
    teller.tell("the laptop has met its resolver");

    scene.end(REAL)?;
    refuses(scene, "", &fresh(1)?)?;
    teller.tell("the resolver is gone: SERVFAIL");

    let dnsmasq = servers::dnsmasq(&scene.router, &[router_dns()], provider_dns(), &[])?;
    let answer = refuses(scene, "", &fresh(2)?)?;
    teller.tell(format!(
        "somebody answers in its place in cleartext: {answer}"
    ));
    scene.end(CLIENT)?;
    let laptop = scene.laptop.clone();
    start_client(
        scene,
        &Client {
            host: &laptop,
            server: "192.168.77.1",
            legacy: "plain",
        },
    )?;
    refuses(scene, "", &fresh(3)?)?;
    teller.tell("a client that starts in front of that one remembers whom it knows");
    dnsmasq.end()?;

    let another_key = SystemTime::now();
    start_appliance(scene, IMPOSTOR, &resolve)?;
    let answer = the_impostor_is_named(scene)?;
    teller.tell(format!("another resolver stands in its place: {answer}"));
    scene.end(IMPOSTOR)?;

    start_appliance(scene, REAL, &resolve)?;
    let began = Instant::now();
    answers_come_back(scene)?;
    teller.tell(format!(
        "the real one is back, and is used after {:.1} s",
        began.elapsed().as_secs_f32()
    ));

    let capture = scene.lab.end_capture(LAN)?;
    // Only another key is a reason to ask in cleartext: a new TLSA record can be learned in no other way.
    not_one_in_cleartext_between(&capture, (met, another_key), teller)?;
    only_the_walk_in_cleartext(scene, &capture, teller)
}

/// The client looks again whom it talks to only now and then; until it has, the last refusal stands. Not one of the
/// answers on the way may be anything but a refusal.
fn the_impostor_is_named(scene: &Scene) -> Result<Answer, Failure> {
    const NAMES: [&str; 3] = ["name-changed", "anchor-changed", "certificate-mismatch"];
    let deadline = Instant::now() + NAMED_WITHIN;
    for number in 200_u32.. {
        let answer = refuses(scene, "", &fresh(number)?)?;
        if answer
            .errors
            .iter()
            .any(|(_, text)| NAMES.iter().any(|name| text.contains(name)))
        {
            return Ok(answer);
        }
        ensure(Instant::now() < deadline, || {
            format!("the impostor is refused for another reason: {answer}")
        })?;
        thread::sleep(ASK_EVERY);
    }
    unreachable!("the numbers outlast the deadline")
}

/// Asks until there is an answer, within bounds.
fn answers_come_back(scene: &Scene) -> Told {
    let deadline = Instant::now() + BACK_WITHIN;
    for number in 100_u32.. {
        let answer = ask_all(&scene.laptop, Client::addresses()[0], &[fresh(number)?])?.remove(0);
        if answer.rcode == ResponseCode::NoError && !answer.answers.is_empty() {
            return Ok(());
        }
        ensure(answer.rcode == ResponseCode::ServFail, || {
            format!("neither an answer nor SERVFAIL: {answer}")
        })?;
        if Instant::now() > deadline {
            let status = client(scene).output("status", &[])?;
            return Err(Failure::new(format!(
                "no answer within {BACK_WITHIN:?}: {answer}\n{}",
                String::from_utf8_lossy(&status.stdout)
            )));
        }
        thread::sleep(ASK_EVERY);
    }
    Ok(())
}

/// A name that was never asked before: no cache can answer it.
fn fresh(number: u32) -> Result<Question, Failure> {
    Ok(Question::new(
        &Name::from_ascii(format!("fresh-{number}.wild.portal.example."))?,
        RecordType::A,
    ))
}

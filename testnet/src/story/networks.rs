//! A laptop that goes from network to network, all of which look alike.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant, SystemTime},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use serde_json::Value;

use super::{
    Failure, Scene, Story, Teller, Told,
    checks::{CLIENT, ensure},
    scene::{
        CORE_ISP, ISP, LAN, LAPTOP_LAN, ROUTER_LAN, provider_dns, router_dns, router_dot,
        router_upstream_ip,
    },
    upgrade::recursion,
};
use crate::{
    ask::{Answer, Question, ask_all},
    capture::{Capture, Transport},
    products::{Appliance, Client},
    relay::{self, Weather},
    servers,
};

pub(super) const ROAMING: Story = Story {
    name: "networks",
    sentence: "A laptop tells two networks of the same addresses apart, expects whom it knows at home, and falls for no twin.",
    set_up,
    play,
    try_this: &["zzdot-client status", "zzdot-client networks"],
};

/// A link with the same addresses as at home.
const CAFE: &str = "cafe";
const CAFE_ISP: &str = "10.53.0.77/24";
/// The second card of the laptop.
const SECOND_CARD: &str = "air";
/// How long it may take until a network is recognised or met.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_millis(50);
/// SYN; the handshake's first flight; its last, and the question.
const ROUND_TRIPS: u32 = 3;
/// The line to the resolver at home, for TLS.
const WEATHER: Weather = Weather {
    delay: Duration::from_millis(200),
    lose_every: 0,
};

fn set_up(scene: &mut Scene) -> Told {
    let far = SocketAddr::new(router_upstream_ip(), 853);
    relay::start(&scene.router, router_dot()[0], far, WEATHER)?;
    start_at_home(scene)?;
    the_cafe_opens(scene)?;
    scene.laptop.use_name_server(router_dns().ip())?;
    let process = client(scene).start()?;
    scene.keep(CLIENT, process);
    Ok(())
}

/// The resolver, with TLS at the far end of the line.
fn start_at_home(scene: &mut Scene) -> Told {
    let resolve = recursion(scene);
    let process = Appliance {
        host: &scene.router,
        label: "zzdot",
        dns: &[router_dns()],
        dot: &[SocketAddr::new(router_upstream_ip(), 853)],
        resolve: &resolve,
    }
    .start()?;
    scene.keep("zzdot", process);
    Ok(())
}

/// Another router with the addresses of the one at home, and dnsmasq on it.
fn the_cafe_opens(scene: &mut Scene) -> Told {
    scene.lab.link(CAFE)?;
    let host = scene.lab.host(CAFE)?;
    let [v4, v6] = ROUTER_LAN;
    scene
        .lab
        .plug(&host, CAFE, &[&format!("{v4}/24"), &format!("{v6}/64")])?;
    scene.lab.plug(&host, ISP, &[CAFE_ISP])?;
    scene.lab.route(&host, "default", CORE_ISP[0])?;
    let dnsmasq = servers::dnsmasq(&host, &[router_dns()], provider_dns(), &[])?;
    scene.keep("dnsmasq", dnsmasq);
    Ok(())
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    answered(scene, 1)?;
    let home = until(scene, "strict", "expected")?;
    teller.tell(format!(
        "at home the resolver is met, and remembered for {}",
        home["place"]
    ));

    leave(scene, LAN)?;
    arrive(scene, CAFE, CAFE)?;
    answered(scene, 2)?;
    let cafe = until(scene, "legacy", "new")?;
    ensure(cafe["place"] != home["place"], || {
        format!("the café is taken for home: {cafe}")
    })?;
    teller.tell("the café has the same addresses, and is another network");

    leave(scene, CAFE)?;
    let back = SystemTime::now();
    arrive(scene, LAN, LAN)?;
    answered(scene, 3)?;
    let answered_at = SystemTime::now();
    let again = until(scene, "strict", "expected")?;
    ensure(again["place"] == home["place"], || {
        format!("home is not recognised: {again}")
    })?;
    teller.tell("back at home it is expected");

    another_router_answers(scene, teller)?;

    leave(scene, LAN)?;
    arrive(scene, LAN, SECOND_CARD)?;
    answered(scene, 5)?;
    let over_another_card = until(scene, "strict", "expected")?;
    ensure(
        over_another_card["place"] == home["place"] && over_another_card["link"] == SECOND_CARD,
        || format!("home is not recognised over the other card: {over_another_card}"),
    )?;
    let end = SystemTime::now();
    teller.tell("over another card it is the same network");

    let capture = scene.lab.end_capture(LAN)?;
    private_within_three_round_trips(&capture, back, answered_at, teller)?;
    let in_clear = capture.cleartext_queries_from("laptop", back);
    let early: Vec<_> = in_clear
        .iter()
        .filter(|query| query.at < end)
        .map(ToString::to_string)
        .collect();
    ensure(early.is_empty(), || {
        format!("left in cleartext at home: {early:?}")
    })?;
    teller.tell("at home not one cleartext query left after the first meeting");
    let at_the_cafe = scene.lab.end_capture(CAFE)?;
    the_stranger_learns_nothing(&at_the_cafe, teller)
}

/// Somebody else answers for the router's address while the cable stays in.
fn another_router_answers(scene: &mut Scene, teller: &Teller) -> Told {
    let card = |scene: &Scene, address: &str| -> Told {
        let router = scene.router.clone();
        scene
            .lab
            .change(&router, &format!("link set {LAN} address {address}\n"))?;
        // As an announcement would have it.
        let laptop = scene.laptop.clone();
        scene
            .lab
            .change(&laptop, &format!("neigh flush dev {LAN}\n"))?;
        Ok(())
    };
    let own = card_address(scene)?;
    card(scene, "02:66:66:13:13:13")?;
    answered(scene, 4)?;
    let suspect = until(scene, "strict", "suspect")?;
    let differs = suspect["differs"].to_string();
    ensure(differs.contains("gateway-mac-v4"), || {
        format!("what differs: {differs}")
    })?;
    teller.tell(format!(
        "another router, the same resolver behind it: private, and suspect for {differs}"
    ));

    scene.end("zzdot")?;
    let twin = servers::dnsmasq(&scene.router, &[router_dns()], provider_dns(), &[])?;
    let answer = ask(scene, 40)?;
    ensure(answer.rcode == ResponseCode::ServFail, || {
        format!("the twin's answer is passed on: {answer}")
    })?;
    twin.end()?;
    teller.tell(format!("another router without the resolver: {answer}"));
    card(scene, &own)?;
    start_at_home(scene)
}

/// The hardware address of the router's card at home.
pub(super) fn card_address(scene: &Scene) -> Result<String, Failure> {
    let output = scene.router.output("ip", &["-o", "link", "show", LAN])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = said.split_whitespace();
    words
        .find(|word| *word == "link/ether")
        .and_then(|_| words.next())
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("no hardware address in: {said}")))
}

/// No datagram before the answer, and no more time than three round trips take. That of TCP's own handshake is not
/// delayed by the relay: it is what a busy machine may take.
fn private_within_three_round_trips(
    capture: &Capture,
    from: SystemTime,
    to: SystemTime,
    teller: &Teller,
) -> Told {
    let sent: Vec<_> = capture
        .packets()
        .iter()
        .filter(|packet| {
            (from..=to).contains(&packet.at) && packet.host.as_deref() == Some("laptop")
        })
        .collect();
    let datagrams = sent
        .iter()
        .filter(|packet| packet.transport == Transport::Udp);
    let datagrams = datagrams.count();
    ensure(datagrams == 0, || {
        format!("{datagrams} datagrams left before the first private answer")
    })?;
    // What looks for the neighbour leaves when the neighbour has been found.
    let first = sent
        .first()
        .ok_or_else(|| Failure::new("no connection was seen"))?;
    let took = to.duration_since(first.at)?;
    let round_trip = 2 * WEATHER.delay;
    ensure(took <= ROUND_TRIPS * round_trip, || {
        format!(
            "{took:?} until the first private answer, over a line with round trips of {round_trip:?}"
        )
    })?;
    teller.tell(format!(
        "the first private answer after {:.2} round trips and no datagram",
        took.as_secs_f32() / round_trip.as_secs_f32()
    ));
    Ok(())
}

/// In a network that is not known nothing is said that only who comes from home would say.
fn the_stranger_learns_nothing(capture: &Capture, teller: &Teller) -> Told {
    let names = capture
        .cleartext_queries_from("laptop", SystemTime::UNIX_EPOCH)
        .iter()
        .filter(|query| {
            query
                .question
                .as_ref()
                .is_none_or(|(name, _)| Name::from_ascii("zz.").is_ok_and(|zz| zz.zone_of(name)))
        })
        .count();
    ensure(names == 0, || {
        format!("{names} questions name a resolver at the café")
    })?;
    teller.tell("at the café nobody was asked for by name");
    Ok(())
}

pub(super) fn client(scene: &Scene) -> Client<'_> {
    Client {
        host: &scene.laptop,
        server: "system",
        legacy: "plain",
    }
}

pub(super) fn leave(scene: &mut Scene, card: &str) -> Told {
    let laptop = scene.laptop.clone();
    Ok(scene.lab.unplug(&laptop, card)?)
}

pub(super) fn arrive(scene: &mut Scene, link: &str, card: &str) -> Told {
    let laptop = scene.laptop.clone();
    let [v4, v6] = LAPTOP_LAN;
    scene.lab.plug_as(
        &laptop,
        link,
        card,
        &[&format!("{v4}/24"), &format!("{v6}/64")],
    )?;
    for gateway in ROUTER_LAN {
        scene.lab.route(&laptop, "default", gateway)?;
    }
    Ok(())
}

/// Asks until there is an answer, within bounds; nothing but refusals may come before.
pub(super) fn answered(scene: &Scene, number: u32) -> Told {
    let deadline = Instant::now() + SETTLED_WITHIN;
    for again in 0_u32.. {
        let answer = ask(scene, number * 1000 + again)?;
        if answer.rcode == ResponseCode::NoError && !answer.answers.is_empty() {
            return Ok(());
        }
        ensure(
            answer.rcode == ResponseCode::ServFail && Instant::now() < deadline,
            || {
                format!(
                    "no answer within {SETTLED_WITHIN:?}: {answer}\n{}",
                    status(scene).unwrap_or_default()
                )
            },
        )?;
        thread::sleep(ASK_EVERY);
    }
    Ok(())
}

pub(super) fn ask(scene: &Scene, number: u32) -> Result<Answer, Failure> {
    let name = Name::from_ascii(format!("roaming-{number}.wild.portal.example."))?;
    let question = Question::new(&name, RecordType::A);
    Ok(ask_all(&scene.laptop, Client::addresses()[0], &[question])?.remove(0))
}

/// What `status` says of the network, as soon as it says that.
pub(super) fn until(scene: &Scene, state: &str, recognised: &str) -> Result<Value, Failure> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let status = status(scene)?;
        let network = &status["network"];
        if status["state"] == state && network["recognised"] == recognised {
            return Ok(network.clone());
        }
        ensure(Instant::now() < deadline, || {
            format!("never {state} in a network that is {recognised}: {status:#}")
        })?;
        thread::sleep(ASK_EVERY);
    }
}

pub(super) fn status(scene: &Scene) -> Result<Value, Failure> {
    let output = client(scene).output("status", &["--json"])?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

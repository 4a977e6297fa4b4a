//! Networks whose router is another one than last time: a telephone that makes up its address, and a router swapped for a
//! new one while the laptop is away.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant, SystemTime},
};

use hickory_proto::op::ResponseCode;
use serde_json::Value;

use super::{
    Failure, Scene, Story, Teller, Told,
    checks::{CLIENT, ensure, only_the_walk_in_cleartext},
    networks::{answered, arrive, ask, card_address, client, leave, until},
    scene::{CORE_ISP, ISP, LAN, ROUTER_LAN, router_dns, router_dot},
    upgrade::{recursion, start_appliance},
};
use crate::{capture::Capture, host::Host, products::Appliance};

pub(super) const ANEW: Story = Story {
    name: "networks-anew",
    sentence: "A telephone with a new address each time and a router on new hardware are met anew by name; another resolver behind a copied address is refused.",
    set_up,
    play,
    try_this: &["zzdot-client networks", "zzdot-client pending"],
};

/// The wireless network of a telephone.
const HOTSPOT: &str = "hotspot";
const PHONE: &str = "192.168.43.1";
const LAPTOP_AT_PHONE: &str = "192.168.43.10/24";
const PHONE_ISP: &str = "10.53.0.43/24";
/// What the telephone calls itself, visit by visit.
const MADE_UP: [&str; 2] = ["06:1f:5b:a1:07:e3", "ba:90:42:6d:f8:11"];

/// The resolver at home, that on another router, and that of the telephone.
const HOME: &str = "zzdot";
const OTHER: &str = "other-zzdot";
const OF_PHONE: &str = "phone-zzdot";

const WITHIN: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_millis(50);

fn set_up(scene: &mut Scene) -> Told {
    let resolve = recursion(scene);
    start_appliance(scene, HOME, &resolve)?;
    the_phone_shares(scene, &resolve)?;
    scene.laptop.use_name_server(router_dns().ip())?;
    let process = client(scene).start()?;
    scene.keep(CLIENT, process);
    Ok(())
}

/// A telephone with an appliance on it.
fn the_phone_shares(scene: &mut Scene, resolve: &str) -> Told {
    scene.lab.link(HOTSPOT)?;
    let phone = scene.lab.host("phone")?;
    scene.lab.plug(&phone, HOTSPOT, &[&format!("{PHONE}/24")])?;
    scene.lab.plug(&phone, ISP, &[PHONE_ISP])?;
    scene.lab.route(&phone, "default", CORE_ISP[0])?;
    let at = |port| -> Result<SocketAddr, _> { format!("{PHONE}:{port}").parse() };
    let process = Appliance {
        host: &phone,
        label: OF_PHONE,
        dns: &[at(53)?],
        dot: &[at(853)?],
        resolve,
    }
    .start()?;
    scene.keep(OF_PHONE, process);
    Ok(())
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    answered(scene, 1)?;
    let first = until(scene, "strict", "expected")?;
    let at_home = expected(scene, &first)?;
    teller.tell(format!("at home {at_home} is met"));
    leave(scene, LAN)?;

    let visits = MADE_UP
        .into_iter()
        .zip(2..)
        .map(|(address, number)| visit_the_phone(scene, address, number))
        .collect::<Result<Vec<_>, _>>()?;
    the_phone_is_one_resolver(scene, &visits, teller)?;

    let restored = restored_on_new_hardware(scene, &first, &at_home, teller)?;
    let other = another_appliance(scene, &restored, &at_home, teller)?;
    let copied_at = another_behind_a_copied_address(scene, &restored, &at_home, &other, teller)?;

    let hotspot = scene.lab.end_capture(HOTSPOT)?;
    for visit in &visits {
        met_anew(&hotspot, visit)?;
    }
    only_the_walk_in_cleartext(scene, &hotspot, teller)?;
    let lan = scene.lab.end_capture(LAN)?;
    for visit in [&restored, &other] {
        met_anew(&lan, visit)?;
    }
    teller.tell("each of the four began with a walk, as a new network does");
    expected_over_tls(&lan, copied_at)?;
    teller.tell("behind the copied address TLS came first, as where somebody is expected");
    only_the_walk_in_cleartext(scene, &lan, teller)
}

/// A network that was met, its resolver, and when.
struct Met {
    place: Value,
    name: String,
    between: (SystemTime, SystemTime),
}

/// Asks until there is an answer, and who it is that answers from now on.
fn meet(scene: &Scene, number: u32) -> Result<Met, Failure> {
    let since = SystemTime::now();
    answered(scene, number)?;
    let network = until(scene, "strict", "expected")?;
    Ok(Met {
        name: expected(scene, &network)?,
        place: number_of(&network).clone(),
        between: (since, SystemTime::now()),
    })
}

fn visit_the_phone(scene: &mut Scene, address: &str, number: u32) -> Result<Met, Failure> {
    let phone = host(scene, "phone")?;
    scene
        .lab
        .change(&phone, &format!("link set {HOTSPOT} address {address}\n"))?;
    let laptop = scene.laptop.clone();
    laptop.use_name_server(PHONE.parse()?)?;
    scene.lab.plug(&laptop, HOTSPOT, &[LAPTOP_AT_PHONE])?;
    scene.lab.route(&laptop, "default", PHONE)?;
    let met = meet(scene, number)?;
    leave(scene, HOTSPOT)?;
    Ok(met)
}

fn the_phone_is_one_resolver(scene: &Scene, visits: &[Met], teller: &Teller) -> Told {
    let [first, second] = visits else {
        return Err(Failure::new("there are two visits"));
    };
    ensure(first.place != second.place, || {
        format!("the second visit is taken for the first: {}", first.place)
    })?;
    ensure(first.name == second.name, || {
        format!("{} became {}", first.name, second.name)
    })?;
    let resolvers = resolvers(scene)?;
    let of_the_phone = resolvers.iter().filter(|name| **name == first.name);
    ensure(resolvers.len() == 2 && of_the_phone.count() == 1, || {
        format!("the store holds {resolvers:?}")
    })?;
    nobody_waits(scene)?;
    teller.tell(format!(
        "the telephone is a new network each time, and {} the same resolver in both",
        first.name
    ));
    Ok(())
}

/// The same state folder behind a card that nobody saw before.
fn restored_on_new_hardware(
    scene: &mut Scene,
    first: &Value,
    at_home: &str,
    teller: &Teller,
) -> Result<Met, Failure> {
    swap_router(scene, HOME, HOME)?;
    let met = come_home(scene, 4)?;
    ensure(met.name == at_home, || {
        format!("{at_home} was restored, and {} is met", met.name)
    })?;
    ensure(met.place != *number_of(first), || {
        format!("another router is taken for the first: {}", met.place)
    })?;
    nobody_waits(scene)?;
    teller.tell("the same appliance on new hardware: private again, and nobody was asked");
    Ok(met)
}

/// Another appliance, another card, the same addresses.
fn another_appliance(
    scene: &mut Scene,
    restored: &Met,
    at_home: &str,
    teller: &Teller,
) -> Result<Met, Failure> {
    leave(scene, LAN)?;
    let known_as = card_address(scene)?;
    swap_router(scene, HOME, OTHER)?;
    let met = come_home(scene, 5)?;
    ensure(met.name != at_home && met.place != restored.place, || {
        format!("{} in {} is taken for {at_home}", met.name, met.place)
    })?;
    nobody_waits(scene)?;
    teller.tell(format!(
        "another appliance on another router is {}, met in a new network by policy",
        met.name
    ));
    leave(scene, LAN)?;
    // For what comes next: the address under which the network of the other one is known.
    let router = scene.router.clone();
    scene
        .lab
        .change(&router, &format!("link set {LAN} address {known_as}\n"))?;
    Ok(met)
}

/// The laptop comes back to a router that has the address of the one that it knows, and not its keys. When it came.
fn another_behind_a_copied_address(
    scene: &mut Scene,
    restored: &Met,
    at_home: &str,
    other: &Met,
    teller: &Teller,
) -> Result<SystemTime, Failure> {
    let since = SystemTime::now();
    arrive(scene, LAN, LAN)?;
    let deadline = Instant::now() + WITHIN;
    let mut asked = 0;
    let listed = loop {
        asked += 1;
        let answer = ask(scene, 6000 + asked)?;
        ensure(answer.rcode == ResponseCode::ServFail, || {
            format!("somebody answers in the place of {at_home}: {answer}")
        })?;
        let reason = format!("{} answers where {at_home} is remembered", other.name);
        let told = answer.errors.iter().any(|(_, text)| text.contains(&reason));
        let waiting = waiting(scene)?;
        if told && let [one] = waiting.as_slice() {
            teller.tell(format!("behind the address of the known router: {answer}"));
            break one.clone();
        }
        ensure(Instant::now() < deadline, || {
            format!("never refused as somebody else: {answer}, waiting: {waiting:?}")
        })?;
        thread::sleep(ASK_EVERY);
    };
    ensure(
        listed["name"] == other.name.as_str()
            && listed["why"] == "mismatch"
            && listed["expected"] == at_home
            && listed["network"]["id"] == restored.place,
        || format!("pending lists {listed:#}"),
    )?;
    teller.tell("it is listed for a person to decide, and nobody is asked meanwhile");
    Ok(since)
}

/// The router is exchanged while the laptop is away: other hardware, and this appliance on it.
fn swap_router(scene: &mut Scene, was: &str, becomes: &str) -> Told {
    scene.end(was)?;
    let router = scene.router.clone();
    scene.lab.unplug(&router, LAN)?;
    let [v4, v6] = ROUTER_LAN;
    // Each card of the lab has an address of its own.
    scene
        .lab
        .plug(&router, LAN, &[&format!("{v4}/24"), &format!("{v6}/64")])?;
    let resolve = recursion(scene);
    start_appliance(scene, becomes, &resolve)
}

fn come_home(scene: &mut Scene, number: u32) -> Result<Met, Failure> {
    scene.laptop.use_name_server(router_dns().ip())?;
    arrive(scene, LAN, LAN)?;
    meet(scene, number)
}

/// In a network that is known there would have been TLS and nothing else.
fn met_anew(capture: &Capture, visit: &Met) -> Told {
    let (from, to) = visit.between;
    let queries = capture.cleartext_queries_from("laptop", from);
    ensure(queries.iter().any(|query| query.at <= to), || {
        format!("{} was not met anew on {}", visit.name, capture.link())
    })
}

/// Whoever is expected is asked to prove it before anything else is said.
fn expected_over_tls(capture: &Capture, since: SystemTime) -> Told {
    let mut packets = capture.packets().iter();
    let first =
        packets.find(|packet| packet.at >= since && packet.host.as_deref() == Some("laptop"));
    let is_tls = first.is_some_and(|packet| {
        packet.transport.is_tcp() && packet.destination.port() == router_dot()[0].port()
    });
    ensure(is_tls, || format!("the first packet is {first:?}"))
}

/// The number of the network that `status` describes.
fn number_of(network: &Value) -> &Value {
    &network["place"]["network"]
}

/// Whom `networks` expects in this one.
fn expected(scene: &Scene, network: &Value) -> Result<String, Failure> {
    let told = told(scene, "networks", &["--json"])?;
    let networks = told["networks"].as_array().into_iter().flatten();
    let mut same = networks.filter(|known| known["id"] == *number_of(network));
    same.next()
        .and_then(|known| known["expects"].as_str().map(str::to_owned))
        .ok_or_else(|| Failure::new(format!("{network} is not among {told:#}")))
}

fn resolvers(scene: &Scene) -> Result<Vec<String>, Failure> {
    let told = told(scene, "resolvers", &["list", "--json"])?;
    let resolvers = told["resolvers"].as_array().into_iter().flatten();
    Ok(resolvers
        .filter_map(|resolver| resolver["name"].as_str().map(str::to_owned))
        .collect())
}

/// About whom a person has to decide; whoever is used without having been compared waits for nobody.
fn waiting(scene: &Scene) -> Result<Vec<Value>, Failure> {
    let told = told(scene, "pending", &["--json"])?;
    let all = told["pending"].as_array().into_iter().flatten();
    Ok(all
        .filter(|one| one["why"] != "unverified")
        .cloned()
        .collect())
}

fn nobody_waits(scene: &Scene) -> Told {
    let waiting = waiting(scene)?;
    ensure(waiting.is_empty(), || {
        format!("a person is asked about {waiting:?}")
    })
}

fn told(scene: &Scene, task: &str, arguments: &[&str]) -> Result<Value, Failure> {
    let output = client(scene).output(task, arguments)?;
    ensure(output.status.success(), || {
        format!("{task}: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn host(scene: &Scene, name: &str) -> Result<Host, Failure> {
    let found = scene.lab.find_host(name).cloned();
    found.ok_or_else(|| Failure::new(format!("there is no host {name}")))
}

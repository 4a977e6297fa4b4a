//! Several links at once: a second network, a tunnel, and a laptop that falls asleep.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use hickory_proto::op::ResponseCode;
use nix::sys::signal::Signal;

use super::{
    Scene, Story, Teller, Told,
    checks::{CLIENT, ensure, only_the_walk_in_cleartext},
    networks::{answered, ask, client, until},
    scene::{CORE_ISP, ISP, LAN, router_dns},
    upgrade::{recursion, start_appliance},
};
use crate::products::Appliance;

pub(super) const LINKS: Story = Story {
    name: "links",
    sentence: "Two links have two resolvers, a tunnel has its own, and a laptop that slept is private again at once.",
    set_up,
    play,
    try_this: &["zzdot-client status --json", "ip address"],
};

const OFFICE: &str = "office";
const OFFICE_ROUTER: &str = "192.168.88.1";
const OFFICE_LAPTOP: &str = "192.168.88.10/24";
const OFFICE_ISP: &str = "10.53.0.88/24";
const TUNNEL: &str = "vpn0";
const TUNNEL_RESOLVER: &str = "10.8.0.1";
/// After a sleep, with a connection that is dead.
const AWAKE_WITHIN: Duration = Duration::from_secs(1);

fn set_up(scene: &mut Scene) -> Told {
    let resolve = recursion(scene);
    start_appliance(scene, "zzdot", &resolve)?;
    the_office_opens(scene, &resolve)?;
    scene.laptop.use_name_server(router_dns().ip())?;
    let process = client(scene).start()?;
    scene.keep(CLIENT, process);
    Ok(())
}

/// A second network with a resolver of its own.
fn the_office_opens(scene: &mut Scene, resolve: &str) -> Told {
    scene.lab.link(OFFICE)?;
    let host = scene.lab.host(OFFICE)?;
    scene
        .lab
        .plug(&host, OFFICE, &[&format!("{OFFICE_ROUTER}/24")])?;
    scene.lab.plug(&host, ISP, &[OFFICE_ISP])?;
    scene.lab.route(&host, "default", CORE_ISP[0])?;
    let at = |port| -> Result<SocketAddr, _> { format!("{OFFICE_ROUTER}:{port}").parse() };
    let process = Appliance {
        host: &host,
        label: "office-zzdot",
        dns: &[at(53)?],
        dot: &[at(853)?],
        resolve,
    }
    .start()?;
    scene.keep("office-zzdot", process);
    Ok(())
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    answered(scene, 1)?;
    let home = until(scene, "strict", "expected")?;
    teller.tell("at home the resolver is met");

    let laptop = scene.laptop.clone();
    scene.lab.plug(&laptop, OFFICE, &[OFFICE_LAPTOP])?;
    scene.lab.change(
        &laptop,
        &format!("route add default via {OFFICE_ROUTER} metric 500\n"),
    )?;
    answered(scene, 2)?;
    let still = until(scene, "strict", "expected")?;
    ensure(still["place"] == home["place"], || {
        format!("a second link takes over: {still}")
    })?;
    laptop.use_name_server(OFFICE_ROUTER.parse()?)?;
    let office = until_link(scene, OFFICE)?;
    ensure(office["place"] != home["place"], || {
        format!("the office is taken for home: {office}")
    })?;
    answered(scene, 3)?;
    teller.tell("with a second link up the server that the host names is met on its own link");

    laptop.use_name_server(router_dns().ip())?;
    let back = until_link(scene, LAN)?;
    ensure(
        back["place"] == home["place"] && back["recognised"] == "expected",
        || format!("home is not recognised: {back}"),
    )?;
    answered(scene, 4)?;

    through_a_tunnel(scene, teller)?;
    asleep(scene, teller)?;

    let capture = scene.lab.end_capture(LAN)?;
    let spelled = capture.names_spelled(scene.internet.names(), "laptop", SystemTime::UNIX_EPOCH);
    ensure(spelled.is_empty(), || {
        format!("at home packets spell {spelled:?}")
    })?;
    only_the_walk_in_cleartext(scene, &capture, teller)
}

/// Nobody is at the other end, so that whatever is asked there is answered by nobody else either.
fn through_a_tunnel(scene: &Scene, teller: &Teller) -> Told {
    let laptop = scene.laptop.clone();
    scene.lab.change(
        &laptop,
        &format!(
            "tuntap add dev {TUNNEL} mode tun\nlink set {TUNNEL} up\n\
             addr add 10.8.0.2/24 dev {TUNNEL}\n"
        ),
    )?;
    laptop.use_name_server(TUNNEL_RESOLVER.parse()?)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let status = super::networks::status(scene)?;
        if status["network"]["recognised"] == "apart" {
            let server = format!("{TUNNEL_RESOLVER}:53");
            ensure(status["server"] == server.as_str(), || {
                format!("{status:#}")
            })?;
            break;
        }
        ensure(Instant::now() < deadline, || {
            format!("the tunnel's resolver is not asked: {status:#}")
        })?;
    }
    let answer = ask(scene, 50)?;
    ensure(answer.rcode == ResponseCode::ServFail, || {
        format!("somebody else answers for the tunnel's resolver: {answer}")
    })?;
    teller.tell("a tunnel's resolver is no network's, and nobody else is asked instead");
    scene.lab.change(&laptop, &format!("link del {TUNNEL}\n"))?;
    laptop.use_name_server(router_dns().ip())?;
    until_link(scene, LAN)?;
    answered(scene, 6)
}

/// Meanwhile the resolver starts anew: the connection is dead, and nobody was awake to hear of it.
fn asleep(scene: &mut Scene, teller: &Teller) -> Told {
    let signal = |scene: &Scene, signal| -> Told {
        match scene.running.get(CLIENT) {
            Some(process) => Ok(process.signal(signal)?),
            None => Err(super::Failure::new("the client does not run")),
        }
    };
    signal(scene, Signal::SIGSTOP)?;
    scene.end("zzdot")?;
    let resolve = recursion(scene);
    start_appliance(scene, "zzdot", &resolve)?;
    signal(scene, Signal::SIGCONT)?;
    let began = Instant::now();
    let answer = ask(scene, 70)?;
    let took = began.elapsed();
    ensure(
        answer.rcode == ResponseCode::NoError && took < AWAKE_WITHIN,
        || format!("after {took:?}: {answer}"),
    )?;
    teller.tell(format!(
        "awake again, over a new connection, after {:.2} s",
        took.as_secs_f32()
    ));
    Ok(())
}

/// The network that is asked first, as soon as it is that of this link and its resolver is known.
fn until_link(scene: &Scene, link: &str) -> Result<serde_json::Value, super::Failure> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let status = super::networks::status(scene)?;
        if status["network"]["link"] == link && status["state"] == "strict" {
            return Ok(status["network"].clone());
        }
        ensure(Instant::now() < deadline, || {
            format!("never private over {link}: {status:#}")
        })?;
    }
}

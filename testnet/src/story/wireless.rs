//! A laptop at home by wireless and by cable, with several access points in the house and a twin in front of it.

use std::{
    process::Output,
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Failure, Scene, Story, Teller, Told,
    checks::{CLIENT, ensure},
    networks::{answered, arrive, ask, client, leave, until},
    scene::{LAN, router_dns},
    upgrade::{recursion, start_appliance},
};
use crate::radio::{AccessPoint, Card, PLAYS, Protection, Radio};

pub(super) const WIRELESS: Story = Story {
    name: "wireless",
    sentence: "A laptop knows its home by wireless and by cable, stays there from room to room, and notices a twin without a passphrase.",
    set_up,
    play,
    try_this: &["zzdot-client status", "zzdot-client networks"],
};

const CARD: &str = "wlan0";
const NAME: &str = "Maple Street 12";
const UPSTAIRS: [u8; 6] = [0x3c, 0xa6, 0x2f, 0x10, 0x20, 0x32];
const TWIN: [u8; 6] = [0x3c, 0xa6, 0x2f, 0x66, 0x13, 0x13];
const WITHIN: Duration = Duration::from_secs(10);
const TURN_EVERY: Duration = Duration::from_millis(100);

fn set_up(scene: &mut Scene) -> Told {
    let resolve = recursion(scene);
    start_appliance(scene, "zzdot", &resolve)?;
    leave(scene, LAN)?;
    arrive(scene, LAN, CARD)?;
    let radio = Radio::of(&scene.laptop);
    radio.tune(&[downstairs()])?;
    what_iw_reads(&radio)?;
    scene.laptop.use_name_server(router_dns().ip())?;
    let process = client(scene).start_with(&radio)?;
    scene.keep(CLIENT, process);
    Ok(())
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    answered(scene, 1)?;
    let home = until(scene, "strict", "expected")?;
    let met = SystemTime::now();
    let networks = client(scene).output("networks", &["--json"])?;
    let networks = String::from_utf8_lossy(&networks.stdout).into_owned();
    ensure(
        networks.contains("\"ssid\"") && networks.contains("\"security\""),
        || format!("not recognised by its radio: {networks}"),
    )?;
    teller.tell(
        "by wireless the resolver is met, and the name and protection of the network remembered",
    );

    roam(scene, with(UPSTAIRS, Protection::BothPassphrases))?;
    let answer = ask(scene, 20)?;
    ensure(!answer.answers.is_empty(), || format!("upstairs: {answer}"))?;
    until(scene, "strict", "expected")?;
    teller.tell("another access point of the household: not one question is lost");

    roam(scene, with(TWIN, Protection::Open))?;
    let suspect = until(scene, "strict", "suspect")?;
    let differs = suspect["differs"].to_string();
    ensure(differs.contains("security"), || {
        format!("what differs: {differs}")
    })?;
    let answer = ask(scene, 30)?;
    ensure(!answer.answers.is_empty(), || {
        format!("behind the twin: {answer}")
    })?;
    teller.tell(
        "a twin without a passphrase that passes everything on: suspect, and private as before",
    );
    roam(scene, downstairs())?;
    until(scene, "strict", "expected")?;

    leave(scene, CARD)?;
    arrive(scene, LAN, LAN)?;
    answered(scene, 4)?;
    let by_cable = until(scene, "strict", "expected")?;
    ensure(
        by_cable["place"] == home["place"] && by_cable["link"] == LAN,
        || format!("by cable it is another network: {by_cable}"),
    )?;
    leave(scene, LAN)?;
    arrive(scene, LAN, CARD)?;
    answered(scene, 5)?;
    let by_radio = until(scene, "strict", "expected")?;
    ensure(
        by_radio["place"] == home["place"] && by_radio["link"] == CARD,
        || format!("back by wireless it is another network: {by_radio}"),
    )?;
    teller.tell("by cable and back by wireless it is the same network");

    let capture = scene.lab.end_capture(LAN)?;
    let in_clear = capture.cleartext_queries_from("laptop", met);
    let in_clear: Vec<_> = in_clear.iter().map(ToString::to_string).collect();
    ensure(in_clear.is_empty(), || {
        format!("left in cleartext after the first meeting: {in_clear:?}")
    })?;
    teller.tell("not one cleartext query left after the first meeting");
    Ok(())
}

fn with(address: [u8; 6], protection: Protection) -> Card {
    Card::at(
        CARD,
        AccessPoint {
            address,
            ..AccessPoint::new(NAME, protection)
        },
    )
}

/// Where the neighbours are heard, too; one calls itself the same.
fn downstairs() -> Card {
    Card {
        heard: vec![
            AccessPoint {
                address: [0x02, 0x11, 0x22, 0x33, 0x44, 0x55],
                ..AccessPoint::new(NAME, Protection::Open)
            },
            AccessPoint {
                address: [0x02, 0x11, 0x22, 0x33, 0x44, 0x56],
                ..AccessPoint::new("", Protection::Account)
            },
        ],
        ..Card::at(CARD, AccessPoint::new(NAME, Protection::BothPassphrases))
    }
}

fn roam(scene: &Scene, card: Card) -> Told {
    let client = scene.running.get(CLIENT);
    let client = client.ok_or_else(|| Failure::new("the client does not run"))?;
    Radio::of(&scene.laptop).turn(&[card], client)
}

/// Who has asked real drivers for years reads the same as our own client is to read, or what is played is not what a
/// kernel says.
fn what_iw_reads(radio: &Radio) -> Told {
    let iw = |arguments: &[&str]| -> Result<String, Failure> {
        let Output {
            status,
            stdout,
            stderr,
        } = radio.command("iw")?.args(arguments).output()?;
        let [stdout, stderr] =
            [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        ensure(status.success(), || {
            format!("iw {arguments:?}: {status}: {stderr}")
        })?;
        Ok(stdout)
    };
    let told = |said: &str, parts: &[&str]| -> Told {
        let missing = parts.iter().find(|part| !said.contains(*part));
        ensure(missing.is_none(), || {
            format!("iw does not say {missing:?}, but {said}")
        })
    };
    told(
        &iw(&["dev"])?,
        &[
            "Interface wlan0",
            "type managed",
            "ssid Maple Street 12",
            "channel 1 (2412 MHz)",
        ],
    )?;
    told(
        &iw(&["dev", CARD, "link"])?,
        &[
            "Connected to 3c:a6:2f:10:20:31",
            "SSID: Maple Street 12",
            "freq: 2412",
            "signal: -41 dBm",
        ],
    )?;
    let heard = iw(&["dev", CARD, "scan", "dump"])?;
    told(
        &heard,
        &[
            "BSS 3c:a6:2f:10:20:31(on wlan0) -- associated",
            "Authentication suites: PSK SAE",
            "Pairwise ciphers: CCMP",
            "capability: ESS Privacy",
            "BSS 02:11:22:33:44:55(on wlan0)\n",
            "Authentication suites: IEEE 802.1X",
            "beacon interval: 100 TUs",
            "signal: -41.00 dBm",
        ],
    )?;
    what_iw_hears(radio)
}

fn what_iw_hears(radio: &Radio) -> Told {
    let mut command = radio.command("iw")?;
    command.arg("event");
    let mut listener = radio.host().start("iw", command)?;
    listener.wait_for_line(PLAYS, WITHIN)?;
    let deadline = Instant::now() + WITHIN;
    let rooms = [with(UPSTAIRS, Protection::BothPassphrases), downstairs()];
    // It does not say when it listens.
    for room in rooms.iter().cycle() {
        radio.turn(std::slice::from_ref(room), &listener)?;
        thread::sleep(TURN_EVERY);
        let heard = listener.output();
        if heard.contains("wlan0 (phy #0): roamed to 3c:a6:2f:10:20:3") {
            break;
        }
        listener.check_running("a roam")?;
        ensure(Instant::now() < deadline, || {
            format!("iw does not hear of a roam: {heard}")
        })?;
    }
    radio.tune(&[downstairs()])?;
    listener.signal(nix::sys::signal::Signal::SIGTERM)?;
    Ok(())
}

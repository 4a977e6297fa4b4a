//! Attacks on a client that goes from network to network, and recognises those that it knows by what their links show:
//! twins of a known network, and somebody who takes over its router's address.

use std::{
    net::IpAddr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::rr::Name;
use ring::rand::SystemRandom;
use zzdot_zonegen::{clock::UnixTime, identity::Identity};

use super::{
    ALONE, Attack, Branch, Expected, Outcome, Stage, ground::RESOLVER, portals, refused, wireless,
    zones::own_zones,
};
use crate::{
    attacker::{Dns, Dot, Impostor, Manner, answers},
    programs,
    story::{Failure, Told},
};

const RELAXED: &str = "a known network is never relaxed";
const RECOGNISED: &str = "none: what a link shows proves nothing";

/// The hardware address of the router at home, and one of the same vendor's.
pub(super) const HOME: &str = "3c:a6:2f:10:20:30";
pub(super) const OTHER: &str = "3c:a6:2f:40:50:60";

const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// What a laptop in front of an impostor of a known network may say: whichever of the promises it sees broken first.
const IMPOSTOR: &[&str] = &["name-changed", "anchor-changed", "certificate-mismatch"];

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        test: "a_twin_with_every_address_of_home_and_its_own_identity_wins_no_question",
        promise: RELAXED,
        words: "another place with the router's hardware address, the ranges and the resolver's address of home; an identity of the attacker's own",
        stage: Stage::First,
        play: |branch| {
            at_home(branch, "")?;
            let impostor = own_identity()?;
            away(branch, HOME, impostor)?;
            given_back(branch)
        },
        product: refused(IMPOSTOR),
        ..ALONE
    },
    Attack {
        test: "a_twin_with_every_address_of_home_that_looks_legacy_wins_no_question",
        promise: RELAXED,
        words: "the same twin, which knows no such zone and resets 853",
        stage: Stage::First,
        play: |branch| {
            at_home(branch, "")?;
            away(branch, HOME, legacy())?;
            given_back(branch)
        },
        product: refused(UNREACHABLE),
        ..ALONE
    },
    Attack {
        test: "who_takes_over_the_address_of_the_router_wins_no_question",
        promise: RELAXED,
        words: "at home another card takes the router's address by ARP, knows no such zone and resets 853",
        stage: Stage::First,
        play: |branch| {
            at_home(branch, "")?;
            taken_over(branch)?;
            branch.ask(2);
            branch.ask(1);
            given_back(branch)
        },
        product: refused(UNREACHABLE),
        ..ALONE
    },
    Attack {
        test: "who_took_over_the_address_of_the_router_before_the_client_starts_makes_it_a_new_place",
        promise: RECOGNISED,
        words: "the same, and then the client is started; `legacy = \"plain\"`, the default",
        stage: Stage::First,
        play: |branch| {
            at_home(branch, "")?;
            taken_over(branch)?;
            branch.restart_product()?;
            branch.ask(2);
            given_back(branch)
        },
        product: Expected {
            outcome: Outcome::Believed,
            reasons: &[],
        },
        ..ALONE
    },
    Attack {
        test: "a_twin_with_another_router_and_the_range_of_home_wins_no_question",
        promise: RELAXED,
        words: "another place with another router, where the random IPv6 range of home is announced; no such zone, 853 reset",
        stage: Stage::First,
        play: |branch| {
            let range = format!("fd5a:{:x}:77:1::10/64", branch.number);
            let laptop = &branch.victims[0].host;
            // The range is there in the other place, too.
            let keep = "/proc/sys/net/ipv6/conf/all/keep_addr_on_down";
            laptop.within(|| std::fs::write(keep, "1"))?;
            ip(
                laptop,
                &["addr", "add", &range, "dev", &branch.link, "nodad"],
            )?;
            at_home(branch, "")?;
            away(branch, OTHER, legacy())?;
            given_back(branch)
        },
        product: refused(UNREACHABLE),
        ..ALONE
    },
    Attack {
        test: "a_place_that_shows_nothing_of_home_is_a_new_one_where_legacy_servers_may_be_used",
        promise: RECOGNISED,
        words: "another place with another router, the same private range and resolver's address; no such zone; `legacy = \"plain\"`, the default",
        stage: Stage::First,
        play: |branch| {
            at_home(branch, "")?;
            away(branch, OTHER, legacy())?;
            given_back(branch)
        },
        product: Expected {
            outcome: Outcome::Believed,
            reasons: &[],
        },
        ..ALONE
    },
    Attack {
        test: "a_place_that_shows_nothing_of_home_wins_no_question_where_legacy_servers_are_refused",
        promise: RELAXED,
        words: "the same; `legacy = \"refuse\"`",
        stage: Stage::First,
        play: |branch| {
            at_home(branch, "legacy = \"refuse\"")?;
            away(branch, OTHER, legacy())?;
            given_back(branch)
        },
        product: refused(&["legacy"]),
        ..ALONE
    },
    Attack {
        test: "a_portal_played_on_a_known_network_opens_nothing",
        promise: RELAXED,
        words: "at home somebody plays a portal: every name leads to his page, the one that is configured as `probe` too; an identity of his own",
        stage: Stage::First,
        play: portals::at_known_network,
        product: refused(IMPOSTOR),
        ..ALONE
    },
    Attack {
        test: "a_portal_played_on_a_new_network_opens_its_own_name_and_teaches_nothing",
        promise: "a portal opens nothing but itself",
        words: "the same portal in another place, for less than its ten minutes; `legacy = \"plain\"`, the default",
        stage: Stage::First,
        play: portals::at_new_network,
        product: refused(&["captive-portal"]),
        ..ALONE
    },
    Attack {
        test: "an_open_twin_of_the_wireless_network_wins_no_question",
        promise: RELAXED,
        words: "another place with the wireless network's name, its access point's and the router's hardware address, without a passphrase; no such zone, 853 reset",
        stage: Stage::First,
        play: wireless::open_twin,
        product: refused(UNREACHABLE),
        ..ALONE
    },
    Attack {
        test: "a_wireless_twin_cloned_to_the_last_address_wins_no_question",
        promise: RELAXED,
        words: "the same with the protection cloned, too; an identity of the attacker's own",
        stage: Stage::First,
        play: wireless::cloned_twin,
        product: refused(IMPOSTOR),
        ..ALONE
    },
    Attack {
        test: "the_name_of_the_wireless_network_elsewhere_wins_no_question",
        promise: RELAXED,
        words: "another place with the wireless network's name and protection, and another router; no such zone, 853 reset; `legacy = \"plain\"`, the default",
        stage: Stage::First,
        play: wireless::name_elsewhere,
        product: refused(UNREACHABLE),
        ..ALONE
    },
    Attack {
        test: "roaming_to_an_open_twin_wins_no_question",
        promise: RELAXED,
        words: "at home the card is drawn to another access point of the same name without a passphrase, while the link stays up; no such zone, 853 reset",
        stage: Stage::First,
        play: wireless::roaming,
        product: refused(UNREACHABLE),
        ..ALONE
    },
];

const UNREACHABLE: &[&str] = &["no-answer-on-dot-port"];

/// The laptop meets its resolver in a network of which it knows no more than its links show.
pub(super) fn at_home(branch: &mut Branch, settings: &str) -> Told {
    take_over(branch, HOME)?;
    let settings = format!("server = \"system\"\n{settings}");
    let product = branch.product();
    product.settings = settings;
    product.host.use_name_server(IpAddr::V4(RESOLVER))?;
    branch.start_victims()?;
    branch.comes_back()
}

/// The laptop goes where a router with this hardware address is, and somebody with these manners.
pub(super) fn away(branch: &mut Branch, router: &str, manner: Manner) -> Told {
    branch.attacker.turn(manner)?;
    travel(branch, router)?;
    branch.ask(2);
    branch.ask(1);
    branch.restart_product()?;
    branch.ask(1);
    Ok(())
}

fn travel(branch: &Branch, router: &str) -> Told {
    let laptop = &branch.victims[0].host;
    let gateway = branch.gateway.to_string();
    ip(laptop, &["link", "set", &branch.link, "down"])?;
    take_over(branch, router)?;
    ip(laptop, &["link", "set", &branch.link, "up"])?;
    // They went with the link.
    ip(laptop, &["route", "replace", "default", "via", &gateway])
}

/// The router's address belongs to this hardware address from now on, which the link is told (RFC 826; RFC 5227 3).
fn take_over(branch: &Branch, hardware: &str) -> Told {
    let host = branch.attacker.host();
    let notify = format!("/proc/sys/net/ipv4/conf/{}/arp_notify", branch.link);
    host.within(|| std::fs::write(notify, "1"))?;
    ip(
        host,
        &["link", "set", "dev", &branch.link, "address", hardware],
    )
}

/// At home, by somebody who shows nothing of the resolver; the laptop believes it.
fn taken_over(branch: &mut Branch) -> Told {
    branch.attacker.turn(legacy())?;
    take_over(branch, OTHER)?;
    let laptop = &branch.victims[0].host;
    let gateway = branch.gateway.to_string();
    let deadline = Instant::now() + TAKEN_WITHIN;
    loop {
        let neighbour = laptop.output("ip", &["neigh", "show", &gateway])?;
        if String::from_utf8_lossy(&neighbour.stdout).contains(OTHER) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::new(
                "the laptop does not believe who speaks of ARP",
            ));
        }
        // A neighbour that answers is not given up at once: it has to be told again.
        thread::sleep(Duration::from_millis(100));
        take_over(branch, OTHER)?;
    }
}

pub(super) fn given_back(branch: &mut Branch) -> Told {
    branch.attacker.turn(Manner::honest())?;
    travel(branch, HOME)?;
    branch.comes_back()
}

pub(super) fn legacy() -> Manner {
    Manner {
        dns: Dns::Answer(answers::lie()),
        dot: Dot::Reset,
    }
}

pub(super) fn own_identity() -> Result<Manner, Failure> {
    let own = Identity::invent(&Name::from_ascii("zz.")?, &SystemRandom::new())?;
    let zones = own_zones(&own, UnixTime::now())?;
    Ok(Manner {
        dns: Dns::Answer(zones.for_the_walk(answers::lie())),
        dot: Dot::Impostor(Impostor::with_key_of(&own)?, answers::lie()),
    })
}

/// On a host: a child has the network of the thread that starts it.
pub(super) fn ip(host: &crate::Host, arguments: &[&str]) -> Told {
    let mut command = Command::new(programs::find("ip")?);
    let output = host.within(|| command.args(arguments).output())?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    )))
}

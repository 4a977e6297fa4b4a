//! All that forward stand on one link, and each is traced from two machines of the household: from the laptop every
//! resolver can be reached, and for the guest the router lets through nothing but TLS with the one that is configured.

use std::{io::Write, process::Stdio, thread};

use super::{
    super::{
        Failure, Scene, Story, Teller, Told,
        checks::ensure,
        scene::{LAN, router_dns},
    },
    endless,
    ground::{self, Machine, Runs, find},
    lies,
    truth::{Traced, Truth},
};
use crate::{host::Host, servers};

pub(in crate::story) const CHAINS: Story = Story {
    name: "chains",
    sentence: "Lines, a diamond, a cycle, hops in cleartext and liars: each trace is what the lab knows, hop by hop; and a graph without an end costs what it may.",
    set_up,
    play,
    try_this: &[
        "zzdot-client trace --server 10.53.0.65",
        "zzdot-client trace --server 10.53.0.68",
        "zzdot-client trace --server 10.53.0.72",
    ],
};

/// Started in this order: whoever is asked before whoever asks.
pub(super) const MACHINES: &[Machine] = &[
    machine("end", "10.53.0.60", Runs::Resolver),
    machine("unbound", "10.53.0.62", Runs::Unbound("end")),
    machine("over-unbound", "10.53.0.63", Runs::Forwarder(&["unbound"])),
    machine("middle", "10.53.0.64", Runs::Forwarder(&["end"])),
    machine("first", "10.53.0.65", Runs::Forwarder(&["middle"])),
    machine("left", "10.53.0.66", Runs::Forwarder(&["end"])),
    machine("right", "10.53.0.67", Runs::Forwarder(&["end"])),
    machine("top", "10.53.0.68", Runs::Forwarder(&["left", "right"])),
    machine("trip", "10.53.0.70", Runs::Forwarder(&["end", "round"])),
    machine("round", "10.53.0.69", Runs::Forwarder(&["trip"])),
    machine("clear", "10.53.0.71", Runs::Forwarder(&["provider"])),
    machine("over-clear", "10.53.0.72", Runs::Forwarder(&["clear"])),
];

pub(super) const fn machine(name: &'static str, address: &'static str, runs: Runs) -> Machine {
    Machine {
        name,
        address,
        runs,
    }
}

/// A server that a laptop is given, and the truth about the chain behind it.
struct Case {
    /// Whose address is given; the router's is that of a dnsmasq.
    server: &'static str,
    /// Whom it is found to be.
    nearest: &'static str,
    /// From the laptop.
    truth: &'static [Truth],
}

pub(super) const fn dane(from: &'static str, to: &'static str) -> Truth {
    Truth(from, to, "proven", "dot", "dane")
}

const fn cleartext(from: &'static str, to: &'static str) -> Truth {
    Truth(from, to, "cleartext", "plain", "none")
}

const CASES: &[Case] = &[
    Case {
        server: "router",
        nearest: "end",
        truth: &[dane("laptop", "end")],
    },
    Case {
        server: "over-unbound",
        nearest: "over-unbound",
        truth: &[dane("laptop", "over-unbound"), dane("over-unbound", "end")],
    },
    Case {
        server: "first",
        nearest: "first",
        truth: &[
            dane("laptop", "first"),
            dane("first", "middle"),
            dane("middle", "end"),
        ],
    },
    Case {
        server: "top",
        nearest: "top",
        truth: &[
            dane("laptop", "top"),
            dane("top", "left"),
            dane("top", "right"),
            dane("left", "end"),
            dane("right", "end"),
        ],
    },
    Case {
        server: "round",
        nearest: "round",
        truth: &[
            dane("laptop", "round"),
            dane("round", "trip"),
            dane("trip", "round"),
            dane("trip", "end"),
        ],
    },
    Case {
        server: "clear",
        nearest: "clear",
        truth: &[dane("laptop", "clear"), cleartext("clear", "10.53.0.53")],
    },
    Case {
        server: "over-clear",
        nearest: "over-clear",
        truth: &[
            dane("laptop", "over-clear"),
            dane("over-clear", "clear"),
            cleartext("clear", "10.53.0.53"),
        ],
    },
];

impl Case {
    fn address(&self) -> Result<String, Failure> {
        Ok(match self.server {
            "router" => router_dns().ip().to_string(),
            name => find(MACHINES, name)?.address.to_owned(),
        })
    }

    /// Everybody in it who has a name.
    fn all(&self) -> Vec<&'static str> {
        let ends = self.truth.iter().map(|truth| truth.1);
        ends.filter(|name| !name.contains('.')).collect()
    }

    /// From the guest: nobody but the nearest is met, so that what is encrypted behind it is claimed.
    fn truth_for_the_guest(&self) -> Vec<Truth> {
        let met = |truth: &Truth| truth.1 == self.nearest || truth.2 != "proven";
        self.truth
            .iter()
            .map(|truth| match met(truth) {
                true => *truth,
                false => Truth(truth.0, truth.1, "claimed", truth.3, truth.4),
            })
            .collect()
    }
}

const GUEST: &str = "192.168.77.11";

fn set_up(scene: &mut Scene) -> Told {
    ground::start(scene, MACHINES)?;
    // With both of its upstreams there it says so at once; to what it said before it would add one only after a while.
    let trip = find(MACHINES, "trip")?;
    scene.end(trip.name)?;
    let at = ground::host(scene, trip.name)?;
    ground::start_one(scene, MACHINES, trip, &at)?;
    let dnsmasq = servers::dnsmasq(
        &scene.router,
        &[router_dns()],
        find(MACHINES, "end")?.dns(),
        &[],
    )?;
    scene.keep("dnsmasq", dnsmasq);
    let guest = scene.lab.host("guest")?;
    scene.lab.plug(&guest, LAN, &[&format!("{GUEST}/24")])?;
    scene
        .lab
        .route(&guest, "default", &router_dns().ip().to_string())?;
    ground::settle(scene, MACHINES)
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let names = ground::names(scene, MACHINES)?;
    teller.tell(format!("{} appliances have met each other", names.len()));
    let laptop = scene.laptop.clone();
    each(|case| {
        let traced = Traced::from(&laptop, &case.address()?, &names)?;
        traced.is(case.truth, Some(&case.all()))?;
        encrypted_unless_said_otherwise(case, &traced)
    })?;
    teller.tell("from the laptop every trace is the truth, and all of its resolvers were met");
    let guest = ground::host(scene, "guest")?;
    for case in CASES {
        let nearest = find(MACHINES, case.nearest)?;
        nothing_but(scene, nearest.address)?;
        let traced = Traced::from(&guest, &case.address()?, &names)?;
        traced.is(&case.truth_for_the_guest(), Some(&[case.nearest]))?;
    }
    teller.tell("from the guest every trace is the truth, and none but the nearest was met");
    lies::play(scene, teller)?;
    endless::play(scene, teller)
}

/// Every hop is encrypted between two that know each other, but where the truth says otherwise.
fn encrypted_unless_said_otherwise(case: &Case, traced: &Traced) -> Told {
    let weak = case.truth.iter().find(|truth| truth.2 == "cleartext");
    let expected = weak.map(|truth| format!("{} -> {}: {}", truth.0, truth.1, truth.2));
    let said = traced.weakness();
    ensure(said.is_some() == expected.is_some(), || {
        format!("the weakest hop is {expected:?}, and the trace says {said:?}")
    })
}

/// All cases at the same time.
fn each(play: impl Fn(&Case) -> Told + Sync) -> Told {
    let play = &play;
    let mut told: Vec<(&Case, Told)> = thread::scope(|scope| {
        let playing: Vec<_> = CASES
            .iter()
            .map(|case| (case, scope.spawn(move || play(case))))
            .collect();
        playing
            .into_iter()
            .map(|(case, playing)| {
                let told = playing.join();
                (
                    case,
                    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                )
            })
            .collect()
    });
    told.retain(|(_, told)| told.is_err());
    match told.pop() {
        Some((case, Err(failure))) => Err(Failure::new(format!("{}: {failure}", case.server))),
        _ => Ok(()),
    }
}

/// From now on the router lets the guest reach no resolver by TLS but this one.
fn nothing_but(scene: &Scene, address: &str) -> Told {
    let rules = format!(
        "table ip guests\ndelete table ip guests\ntable ip guests {{\n chain pass {{\n  type filter hook forward priority \
         filter\n  ip saddr {GUEST} ip daddr != {address} tcp dport 853 reject with tcp reset\n }}\n}}\n"
    );
    nft(&scene.router, &rules)
}

pub(super) fn nft(host: &Host, rules: &str) -> Told {
    let mut command = host.command("nft")?;
    let mut child = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes())?;
    }
    let status = child.wait()?;
    ensure(status.success(), || format!("nft: {status}: {rules}"))
}

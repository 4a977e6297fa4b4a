//! Machines that forward to each other, and who each of them is.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::rr::{Name, RData, RecordType};
use zzdot_zonegen::{
    name::ResolverName,
    owners::{Claim, anchor_zone, claim_owner, upstream_of_target, upstreams_owner},
};

use super::super::{Failure, Scene, Told, checks::ensure, upgrade::recursion};
use crate::{
    ask::{Question, ask},
    host::Host,
    played_clock::PlayedClock,
    process::POLL,
    products::{Appliance, ProductsError},
    servers::{self, UnboundSource},
};

/// How long it may take until all forwarders have met their upstreams and say so.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// How often a forwarder signs what its upstreams turned out to be, at the most; with some time to spare.
const SIGNED_WITHIN: Duration = Duration::from_secs(7);
/// A clock that is moved is moved so far at once.
const STEP: Duration = Duration::from_secs(1);

/// One machine on the provider's link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) name: &'static str,
    /// Its address.
    pub(super) address: &'static str,
    pub(super) runs: Runs,
}

/// What runs on it, and whom it asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Runs {
    /// The appliance, which asks the authoritative servers.
    Resolver,
    /// The appliance, which asks these.
    Forwarder(&'static [&'static str]),
    /// A validating unbound that asks this one, and knows of nothing.
    Unbound(&'static str),
}

impl Machine {
    pub(super) fn ip(&self) -> IpAddr {
        self.address.parse().expect("constants are addresses")
    }

    /// Both of its addresses.
    pub(super) fn addresses(&self) -> [IpAddr; 2] {
        let v6 = self.v6().parse();
        [self.ip(), v6.expect("constants are addresses")]
    }

    fn v6(&self) -> String {
        let last = self.address.rsplit('.').next().unwrap_or_default();
        format!("fd00:53::{last}")
    }

    pub(super) fn dns(&self) -> SocketAddr {
        SocketAddr::new(self.ip(), 53)
    }

    /// Whom it asks.
    pub(super) fn next(&self) -> &'static [&'static str] {
        match self.runs {
            Runs::Forwarder(next) => next,
            Runs::Resolver | Runs::Unbound(_) => &[],
        }
    }

    /// Whether it has a name and zones.
    fn is_appliance(&self) -> bool {
        matches!(self.runs, Runs::Resolver | Runs::Forwarder(_))
    }
}

/// Plugs all machines in and starts what runs on them, in their order.
pub(super) fn start(scene: &mut Scene, machines: &[Machine]) -> Told {
    for machine in machines {
        let host = neighbour(scene, machine)?;
        start_one(scene, machines, machine, &host)?;
    }
    Ok(())
}

/// A machine of its own on the provider's link.
pub(super) fn neighbour(scene: &mut Scene, machine: &Machine) -> Result<Host, Failure> {
    scene.neighbour(machine.name, [machine.address, &machine.v6()])
}

/// Starts what runs on a machine that is plugged in.
pub(super) fn start_one(
    scene: &mut Scene,
    machines: &[Machine],
    machine: &Machine,
    host: &Host,
) -> Told {
    let upstream = |name: &str| find(machines, name).map(Machine::dns);
    let process = match machine.runs {
        Runs::Unbound(next) => {
            let next = upstream(next)?.ip();
            let source = UnboundSource::Forward(&scene.internet, next);
            servers::unbound(host, &[machine.dns()], source, "")?
        }
        Runs::Resolver => appliance(machine, host, &recursion(scene), |it| it.start())?,
        Runs::Forwarder(next) => {
            let resolve = forwarding(machines, next)?;
            appliance(machine, host, &resolve, |it| it.start())?
        }
    };
    scene.keep(machine.name, process);
    Ok(())
}

/// What `act` does with the appliance of a machine.
pub(super) fn appliance<T>(
    machine: &Machine,
    host: &Host,
    resolve: &str,
    act: impl FnOnce(&Appliance<'_>) -> Result<T, ProductsError>,
) -> Result<T, ProductsError> {
    act(&Appliance {
        host,
        label: machine.name,
        dns: &[machine.dns()],
        dot: &[SocketAddr::new(machine.ip(), 853)],
        resolve,
    })
}

/// Starts a forwarder that runs anew, by a clock of its own.
pub(super) fn start_by_clock(
    scene: &mut Scene,
    machines: &[Machine],
    name: &str,
    clock: &PlayedClock,
) -> Told {
    let machine = find(machines, name)?;
    let host = host(scene, name)?;
    scene.end(name)?;
    let resolve = forwarding(machines, machine.next())?;
    let process = appliance(machine, &host, &resolve, |it| it.start_by_clock(clock))?;
    scene.keep(name, process);
    settle_at(&scene.provider, machine.dns(), &asked_by(machine.next()))
}

/// Has a forwarder that goes by this clock ask others from now on, and waits until it says that it does.
pub(super) fn turn(
    scene: &Scene,
    machines: &[Machine],
    name: &str,
    next: &[&'static str],
    clock: &mut PlayedClock,
) -> Told {
    let machine = find(machines, name)?;
    let running = scene.running.get(name);
    let running = running.ok_or_else(|| Failure::new(format!("{name} does not run")))?;
    let resolve = forwarding(machines, next)?;
    let host = host(scene, name)?;
    appliance(machine, &host, &resolve, |turned| turned.reload(running))?;
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut waited = Duration::ZERO;
    for number in 0.. {
        // How a server is asked that is not upgraded is found out with the first question.
        let fresh = format!(
            "{number}-{name}-asks-{}.wild.portal.example.",
            next.join("-")
        );
        let probe = Question::new(&Name::from_ascii(fresh)?, RecordType::A);
        scene.provider.within(|| ask(machine.dns(), &probe))?;
        let said = transports(&scene.provider, machine.dns())?;
        if said == asked_by(next) {
            break;
        }
        ensure(Instant::now() < deadline, || {
            format!("{name} is to ask {next:?}, and says {said:?}")
        })?;
        if waited < SIGNED_WITHIN {
            clock.advance(STEP)?;
            waited += STEP;
        }
        thread::sleep(5 * POLL);
    }
    Ok(())
}

pub(super) fn host(scene: &Scene, name: &str) -> Result<Host, Failure> {
    let host = scene.lab.find_host(name).cloned();
    host.ok_or_else(|| Failure::new(format!("no host {name}")))
}

/// How those are asked whom a forwarder asks: all but the provider's resolver are upgraded.
fn asked_by(next: &[&str]) -> Vec<&'static str> {
    let transport = |name: &&str| match *name == PROVIDER.name {
        true => "plain",
        false => "dot",
    };
    next.iter().map(transport).collect()
}

fn forwarding(machines: &[Machine], next: &[&str]) -> Result<String, Failure> {
    let next: Vec<_> = next
        .iter()
        .map(|name| Ok(format!("\"{}\"", find(machines, name)?.ip())))
        .collect::<Result<_, Failure>>()?;
    Ok(format!(
        "mode = \"forward\"\nupstreams = [{}]",
        next.join(", ")
    ))
}

/// The provider's resolver is always there.
const PROVIDER: Machine = Machine {
    name: "provider",
    address: "10.53.0.53",
    runs: Runs::Unbound(""),
};

pub(super) fn find<'a>(machines: &'a [Machine], name: &str) -> Result<&'a Machine, Failure> {
    if name == PROVIDER.name {
        return Ok(&PROVIDER);
    }
    let found = machines.iter().find(|machine| machine.name == name);
    found.ok_or_else(|| Failure::new(format!("no machine {name}")))
}

/// The names that the appliances gave themselves: from each name without the final dot to the machine.
pub(super) fn names(
    scene: &Scene,
    machines: &[Machine],
) -> Result<BTreeMap<String, String>, Failure> {
    let appliances = machines.iter().filter(|machine| machine.is_appliance());
    appliances
        .map(|machine| {
            let name = name_at(&scene.provider, machine.dns())?;
            let text = name.to_ascii().trim_end_matches('.').to_owned();
            Ok((text, machine.name.to_owned()))
        })
        .collect()
}

/// The name of the resolver at this address, as a host sees it.
pub(super) fn name_at(from: &Host, server: SocketAddr) -> Result<Name, Failure> {
    let question = Question::new(&anchor_zone(), RecordType::NS);
    let told = from.within(|| ask(server, &question))?;
    let name = told.message.answers.iter().find_map(|record| {
        let RData::NS(ns) = &record.data else {
            return None;
        };
        Some(ns.0.clone())
    });
    name.ok_or_else(|| Failure::new(format!("{server} does not tell its name")))
}

/// Waits until every forwarder says how it asks each of its upstreams.
pub(super) fn settle(scene: &Scene, machines: &[Machine]) -> Told {
    for machine in machines {
        if let Runs::Forwarder(next) = machine.runs {
            settle_at(&scene.provider, machine.dns(), &asked_by(next))?;
        }
    }
    Ok(())
}

/// Waits until the forwarder at this address, as a host sees it, says these transports.
pub(in crate::story) fn settle_at(from: &Host, server: SocketAddr, expected: &[&str]) -> Told {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    loop {
        let said = transports(from, server)?;
        if said == expected {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!(
                "{server} is to ask by {expected:?}, and says {said:?}"
            )));
        }
        thread::sleep(10 * POLL);
    }
}

/// How a forwarder says that it asks its upstreams, sorted.
fn transports(from: &Host, server: SocketAddr) -> Result<Vec<String>, Failure> {
    let name = ResolverName::try_from(&name_at(from, server)?)?;
    let asked = |owner: &Name, rtype| {
        let question = Question::new(owner, rtype);
        from.within(|| ask(server, &question))
    };
    let mut said = Vec::new();
    for record in &asked(&upstreams_owner(&name), RecordType::PTR)?
        .message
        .answers
    {
        let RData::PTR(target) = &record.data else {
            continue;
        };
        let Some(id) = upstream_of_target(&name, &target.0) else {
            continue;
        };
        let owner = claim_owner(&name, &id, Claim::Transport);
        let told = asked(&owner, RecordType::TXT)?;
        said.extend(told.message.answers.iter().filter_map(|record| {
            let RData::TXT(text) = &record.data else {
                return None;
            };
            Some(text.to_string().trim_matches('"').to_owned())
        }));
    }
    said.sort_unstable();
    Ok(said)
}

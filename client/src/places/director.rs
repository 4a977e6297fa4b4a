//! Which upstreams there should be, and which of them a name is asked of.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::config::Server;
use crate::dot::Endpoint;
use crate::host::{Decision, Elsewhere, LinkResolvers, SplitTable, Way, split};
use crate::network::{Given, LinkView, Recognised, Sight, Sighting, recognise};
use crate::place::{NetworkId, Place, Surroundings};
use crate::store::{KnownNetwork, SeparatedNetwork};

/// What a plan is made of.
pub(super) struct Inputs<'a> {
    /// Whom the host names.
    pub(super) decision: &'a Decision,
    /// What the configuration says about names.
    pub(super) elsewhere: &'a [Elsewhere],
    /// The links that lead to a network.
    pub(super) sights: &'a [Sight],
    /// Where each server is.
    pub(super) where_is: &'a dyn Fn(SocketAddr) -> Whereabouts,
    /// The networks that are remembered.
    pub(super) known: &'a [KnownNetwork],
    /// Those that a person told apart from one of them.
    pub(super) separated: &'a [SeparatedNetwork],
    /// What signals are hidden under.
    pub(super) secret: &'a [u8; 32],
}

/// Over which link a server is reached that nobody named with its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// Over a link that leads to a network.
    Link(u32),
    /// On this machine, or over a tunnel: no network to recognise.
    Apart,
    /// There is no way there now.
    Nowhere,
}

/// A server to ask, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) server: SocketAddr,
    pub(super) surroundings: Surroundings,
    /// The link, for people; none for a server that the configuration names.
    pub(super) link: Option<String>,
    /// What the link shows, where there is a network to recognise.
    pub(super) view: Option<LinkView>,
    /// How the network was taken, for people.
    pub(super) taken: Taken,
    /// Somebody was expected here since the link came up, and now the network is in doubt.
    pub(super) turned: bool,
    /// It shows enough that it would be recognised by, if it were remembered as it is now.
    pub(super) recognisable: bool,
    /// The proof, where somebody configured it.
    pub(super) proof: Option<Endpoint>,
}

/// How a place was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A known network.
    Expected,
    /// Something looks like a known network.
    Suspect,
    /// A network that is not known.
    New,
    /// No network: a server of this machine, of a tunnel, or of the configuration.
    Apart,
}

impl Taken {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Suspect => "suspect",
            Self::New => "new",
            Self::Apart => "apart",
        }
    }
}

/// Upstreams, and what is asked of each.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) stops: Vec<Stop>,
    /// Names that go another way than the rest.
    pub(super) ways: SplitTable<Branch>,
    /// Where all other names go; nowhere while nothing is recognised yet.
    pub(super) default: Option<usize>,
    /// Links that may become a stop any moment, for people.
    pub(super) waiting: Vec<String>,
}

/// Where the names of a domain go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// To whom; to nobody while the link is not recognised yet.
    pub(super) stop: Option<usize>,
    /// The link that names the domain, for people; none where the configuration does.
    pub(super) link: Option<String>,
}

/// Remembers, from one plan to the next, what each link was taken for.
#[derive(Debug, Default)]
pub(super) struct Director {
    links: BTreeMap<u32, Stay>,
}

/// A link's stay in a network.
#[derive(Clone, Copy, Debug)]
struct Stay {
    epoch: u64,
    network: NetworkId,
    /// It was taken for the known one, without doubt, at some time of this stay.
    expected: bool,
}

/// What the host says about each link, as far as the observer needs it.
pub(super) fn givens(
    decision: &Decision,
    where_is: &dyn Fn(SocketAddr) -> Whereabouts,
) -> BTreeMap<u32, Given> {
    let mut givens: BTreeMap<u32, Given> = BTreeMap::new();
    for resolvers in decision.links.iter().filter(|link| !link.tunnel) {
        let Some(index) = index_of(resolvers, where_is) else {
            continue;
        };
        let given = givens.entry(index).or_default();
        for server in &resolvers.servers {
            if !given.resolvers.contains(server) {
                given.resolvers.push(*server);
            }
        }
        given
            .domains
            .extend(resolvers.domains.iter().map(ToString::to_string));
        if let Some(dhcp) = &resolvers.dhcp {
            given.dhcp_server = given.dhcp_server.or(dhcp.server);
            given.dhcp_domain = given.dhcp_domain.take().or_else(|| dhcp.domain.clone());
        }
        let portal = given.captive_portal.take();
        given.captive_portal = portal.or_else(|| resolvers.captive_portal.clone());
    }
    givens
}

fn index_of(
    resolvers: &LinkResolvers,
    where_is: &dyn Fn(SocketAddr) -> Whereabouts,
) -> Option<u32> {
    if let Some(link) = &resolvers.link {
        return Some(link.index);
    }
    match where_is(*resolvers.servers.first()?) {
        Whereabouts::Link(index) => Some(index),
        Whereabouts::Apart | Whereabouts::Nowhere => None,
    }
}

impl Director {
    /// The plan for what is known now. `draw` gives numbers to networks that are new.
    pub(super) fn plan(
        &mut self,
        inputs: &Inputs<'_>,
        draw: &mut dyn FnMut() -> Option<NetworkId>,
    ) -> Plan {
        let mut plan = Plan::default();
        self.links
            .retain(|index, _| inputs.sights.iter().any(|sight| sight.view.index == *index));
        let mut by_link = Vec::new();
        for resolvers in &inputs.decision.links {
            let stop = self.stop(resolvers, inputs, draw);
            by_link.push(match stop {
                Some(stop) => Some(plan.stop(stop)),
                None => {
                    plan.waiting.push(name_of(resolvers));
                    None
                }
            });
        }
        let places = inputs.decision.links.iter().zip(&by_link);
        let mut defaults = places.filter(|(resolvers, _)| resolvers.default_route);
        plan.default = defaults.find_map(|(_, stop)| *stop);
        plan.ways = split(inputs.decision, inputs.elsewhere).map(|way| match way {
            Way::Elsewhere(server) => plan.elsewhere(server),
            Way::Link(place) => Branch {
                stop: by_link.get(place).copied().flatten(),
                link: inputs.decision.links.get(place).map(name_of),
            },
        });
        plan
    }

    fn stop(
        &mut self,
        resolvers: &LinkResolvers,
        inputs: &Inputs<'_>,
        draw: &mut dyn FnMut() -> Option<NetworkId>,
    ) -> Option<Stop> {
        let first = *resolvers.servers.first()?;
        let name = resolvers.link.as_ref().map(|link| link.name.clone());
        if resolvers.tunnel {
            return Some(apart(first, name));
        }
        let index = match (&resolvers.link, (inputs.where_is)(first)) {
            (_, Whereabouts::Apart) => return Some(apart(first, name)),
            (Some(link), _) => link.index,
            (None, Whereabouts::Link(index)) => index,
            (None, Whereabouts::Nowhere) => return None,
        };
        let mut sights = inputs.sights.iter();
        let sight = sights.find(|sight| sight.view.index == index && sight.view.settled)?;
        self.network(sight, resolvers, inputs, draw)
    }

    fn network(
        &mut self,
        sight: &Sight,
        resolvers: &LinkResolvers,
        inputs: &Inputs<'_>,
        draw: &mut dyn FnMut() -> Option<NetworkId>,
    ) -> Option<Stop> {
        let index = sight.view.index;
        let stay = self.links.get(&index).copied();
        let stay = stay.filter(|stay| stay.epoch == sight.epoch);
        let sighting = Sighting::of(&sight.view, inputs.secret);
        let known = inputs.known.iter().map(|known| (known.id, &known.signals));
        let recognised = recognise(&sighting, known, stay.map(|stay| stay.network));
        let is_known = |id: NetworkId| inputs.known.iter().any(|known| known.id == id);
        // A network does not turn into another one while the link stays in it, whatever a person said of that one.
        let was_expected = stay.is_some_and(|stay| stay.expected && is_known(stay.network));
        let separated = inputs
            .separated
            .iter()
            .filter(|separated| !was_expected && !is_known(separated.id))
            .map(|separated| (separated.id, &separated.signals));
        let separated = match (&recognised, recognise(&sighting, separated, None)) {
            // Where somebody is expected is expected first.
            (Recognised::Expect(_), _) => None,
            (_, Recognised::Expect(network)) => Some(network),
            _ => None,
        };
        let (network, taken, doubt) = match (separated, recognised) {
            // What is still to come may be what it is known by.
            (Some(_), _) | (None, Recognised::New) if !sight.quiet => return None,
            (Some(network), _) => (network, Taken::New, None),
            (None, Recognised::Expect(network)) => (network, Taken::Expected, None),
            (None, Recognised::Suspect { network, differs }) => {
                (network, Taken::Suspect, Some(differs))
            }
            (None, Recognised::New) => {
                let unknown = |stay: &Stay| !is_known(stay.network);
                // One that was met and not learned keeps its number while the link stays in it.
                let network = match stay.filter(unknown) {
                    Some(stay) => stay.network,
                    None => draw()?,
                };
                (network, Taken::New, None)
            }
        };
        let epoch = sight.epoch;
        let expected = taken == Taken::Expected || was_expected;
        let stay = Stay {
            epoch,
            network,
            expected,
        };
        self.links.insert(index, stay);
        let as_it_is = [(network, sighting.signals())];
        Some(Stop {
            server: preferred(resolvers, inputs.known, network)?,
            surroundings: Surroundings {
                place: Place::Network(network),
                signals: sighting.signals().clone(),
                doubt,
            },
            link: Some(sight.view.name.clone()),
            view: Some(sight.view.clone()),
            taken,
            turned: taken == Taken::Suspect && was_expected,
            recognisable: recognise(&sighting, as_it_is, None) == Recognised::Expect(network),
            proof: None,
        })
    }
}

/// Of several servers the one behind which somebody is expected, wherever in the list it stands today.
fn preferred(
    resolvers: &LinkResolvers,
    known: &[KnownNetwork],
    network: NetworkId,
) -> Option<SocketAddr> {
    let met: Option<IpAddr> = known
        .iter()
        .find(|known| known.id == network)
        .map(|known| known.server.ip().to_canonical());
    let mut servers = resolvers.servers.iter();
    let same = servers.find(|server| Some(server.ip().to_canonical()) == met);
    same.or(resolvers.servers.first()).copied()
}

fn apart(server: SocketAddr, link: Option<String>) -> Stop {
    Stop {
        server,
        surroundings: Surroundings::of_server(server),
        link,
        view: None,
        taken: Taken::Apart,
        turned: false,
        recognisable: false,
        proof: None,
    }
}

fn name_of(resolvers: &LinkResolvers) -> String {
    match (&resolvers.link, resolvers.servers.first()) {
        (Some(link), _) => link.name.clone(),
        (None, Some(server)) => server.to_string(),
        (None, None) => String::new(),
    }
}

impl Plan {
    /// The plan of a configuration that names its server: the same in every network. None where it does not.
    pub(super) fn configured(server: &Server, elsewhere: &[Elsewhere]) -> Option<Self> {
        let stop = match server {
            Server::System => return None,
            Server::Address(address) => apart(*address, None),
            Server::Tls(endpoint) => Stop {
                proof: Some(endpoint.clone()),
                ..apart(endpoint.address, None)
            },
        };
        let mut plan = Self::default();
        plan.default = Some(plan.stop(stop));
        plan.ways = split(&Decision::default(), elsewhere).map(|way| match way {
            Way::Elsewhere(server) => plan.elsewhere(server),
            Way::Link(_) => Branch {
                stop: None,
                link: None,
            },
        });
        Some(plan)
    }

    fn elsewhere(&mut self, server: SocketAddr) -> Branch {
        Branch {
            stop: Some(self.stop(apart(server, None))),
            link: None,
        }
    }

    /// The place of this stop, which is one of those that are there already if it can be.
    fn stop(&mut self, stop: Stop) -> usize {
        let same = |there: &Stop| {
            (there.server, there.surroundings.place) == (stop.server, stop.surroundings.place)
        };
        if let Some(place) = self.stops.iter().position(same) {
            return place;
        }
        self.stops.push(stop);
        self.stops.len() - 1
    }

    /// Whether all names go the same way.
    pub(super) fn is_uniform(&self) -> bool {
        let mut branches = self.ways.iter();
        branches.all(|(_, branch)| branch.stop == self.default)
    }
}

#[cfg(test)]
#[path = "director_tests.rs"]
mod tests;

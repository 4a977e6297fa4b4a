//! What all sources say, made into one list of links and their resolvers.
//!
//! For each link the sources are asked in the order of [`Source`]; the first with a usable server has it. resolved comes
//! first because it hears what the others say and what tunnels tell nobody else; then who manages the link; then the
//! records of resolvconf; leases of dhclient last, since nobody removes them. A file names servers for the whole machine: it is asked where no link has any,
//! and goes before the links where it names somebody whom no link named, for then a person wrote it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{
    DOMAINS_PER_LINK_MAX, Decision, Domain, FileKind, FileSays, Inputs, LINKS_MAX, LeftOut, Link,
    LinkFacts, LinkResolvers, LinkSays, PastUs, Reason, SERVERS_PER_LINK_MAX, Source, held,
    records,
};

/// Decides. Nothing here depends on the order of `sayings`.
#[must_use]
pub fn decide(inputs: &Inputs) -> Decision {
    let whole = held::given_back(inputs);
    let mut judge = Judge::new(&whole);
    let mut links: Vec<Found> = judge.links();
    let told = told(inputs);
    let (general, by_person) = judge.general(&told, links.is_empty());
    prefer(&mut links);
    let mut decision = Decision {
        written_by_person: judge.in_use_by_person(&told),
        past_us: past_us(inputs),
        ..Decision::default()
    };
    let mut links: Vec<LinkResolvers> = links.into_iter().map(|found| found.resolvers).collect();
    if let Some(general) = general {
        // A tunnel is no less a person's choice than a file.
        let tunnelled = links.iter().any(|link| link.tunnel && link.default_route);
        if by_person {
            for link in links.iter_mut().filter(|link| !link.tunnel) {
                link.default_route = false;
                if link.domains.is_empty() {
                    judge.leave_out(link.source, link.link.as_ref(), None, Reason::FileByPerson);
                }
            }
        }
        links.push(LinkResolvers {
            default_route: general.default_route && !tunnelled,
            ..general
        });
    }
    links.sort_by_key(|link| !link.default_route);
    decision.links = links;
    decision.left_out = judge.left_out.into_iter().collect();
    decision
}

/// Every server that any link's source names, in use or not: none of them is a person's own idea.
fn told(inputs: &Inputs) -> BTreeSet<IpAddr> {
    let of_resolved = inputs.resolved.iter().flat_map(|says| &says.links);
    of_resolved
        .chain(inputs.sayings.iter().map(|saying| &saying.says))
        .flat_map(|says| says.servers.iter().map(SocketAddr::ip))
        .collect()
}

struct Found {
    resolvers: LinkResolvers,
    exclusive: bool,
}

/// Who gets the names of no domain: an exclusive link (or tunnel) alone, else tunnels that claim
/// everything, else every link that may.
fn prefer(links: &mut [Found]) {
    let claims = |found: &Found| found.resolvers.default_route;
    let exclusive = links.iter().any(|found| claims(found) && found.exclusive);
    let tunnel = links
        .iter()
        .any(|found| claims(found) && found.resolvers.tunnel);
    for found in links {
        let wins = if exclusive {
            found.exclusive
        } else {
            !tunnel || found.resolvers.tunnel
        };
        found.resolvers.default_route &= wins;
    }
}

struct Judge<'a> {
    inputs: &'a Inputs,
    /// This machine was told to ask this program: whoever else forwards on it may do so too.
    in_front: bool,
    left_out: BTreeSet<LeftOut>,
}

impl<'a> Judge<'a> {
    fn new(inputs: &'a Inputs) -> Self {
        let ours = |server: &SocketAddr| inputs.own.contains(&meant(*server, 0));
        let of_files = inputs
            .files
            .iter()
            .filter(|file| file.kind == FileKind::InUse)
            .any(|file| file.servers.iter().any(ours));
        let of_resolved = inputs
            .resolved
            .iter()
            .any(|says| says.global.iter().any(ours));
        let put_aside = inputs
            .files
            .iter()
            .any(|file| matches!(file.kind, FileKind::Aside | FileKind::AsideByPerson));
        Self {
            inputs,
            in_front: of_files || of_resolved || put_aside,
            left_out: BTreeSet::new(),
        }
    }

    fn links(&mut self) -> Vec<Found> {
        let resolved = self.inputs.resolved.iter().flat_map(|says| &says.links);
        let mut sayings: Vec<(Source, &LinkSays)> = resolved
            .map(|says| (Source::Resolved, says))
            .chain(
                self.inputs
                    .sayings
                    .iter()
                    .map(|saying| (saying.source, &saying.says)),
            )
            .collect();
        // Stable, and so in the order of each source.
        sayings.sort_by_key(|(source, _)| *source);
        let mut by_link: Vec<(&LinkFacts, Vec<(Source, &LinkSays)>)> = Vec::new();
        for (source, says) in sayings {
            let Some(facts) = self.usable_link(source, says) else {
                continue;
            };
            let known = by_link
                .iter()
                .position(|(known, _)| known.index == facts.index);
            match known {
                Some(place) => by_link[place].1.push((source, says)),
                None if by_link.len() < LINKS_MAX => by_link.push((facts, vec![(source, says)])),
                None => self.leave_out_link(source, facts, Reason::TooMany),
            }
        }
        by_link.sort_by_key(|(facts, _)| facts.index);
        by_link
            .into_iter()
            .filter_map(|(facts, said)| self.link(facts, &said))
            .collect()
    }

    fn usable_link(&mut self, source: Source, says: &LinkSays) -> Option<&'a LinkFacts> {
        let is_meant = |facts: &&LinkFacts| match (says.index, &says.name) {
            (Some(index), _) => index == facts.index,
            (None, Some(name)) if source == Source::Resolvconf => records::is_about(name, facts),
            (None, name) => name.as_ref() == Some(&facts.name),
        };
        // `eth0.100.dhclient` is about `eth0.100`, if there is one.
        let meant = self.inputs.links.iter().filter(is_meant);
        let facts = meant.max_by_key(|facts| facts.name.len());
        let Some(facts) = facts else {
            let link = says
                .name
                .clone()
                .or_else(|| says.index.map(|index| index.to_string()));
            self.left_out.insert(LeftOut {
                source,
                link,
                server: None,
                reason: Reason::NoSuchLink,
            });
            return None;
        };
        let ended = says
            .expires
            .is_some_and(|expires| expires <= self.inputs.now);
        let moved = says
            .leased
            .is_some_and(|leased| !facts.addresses.contains(&leased));
        let reason = match () {
            () if facts.loopback => Reason::Loopback,
            () if !facts.up => Reason::LinkDown,
            () if ended => Reason::LeaseEnded,
            () if moved => Reason::LeaseOfAnotherDay,
            () => return Some(facts),
        };
        self.leave_out_link(source, facts, reason);
        None
    }

    fn link(&mut self, facts: &LinkFacts, said: &[(Source, &LinkSays)]) -> Option<Found> {
        let link = Link {
            index: facts.index,
            name: facts.name.clone(),
        };
        let (source, servers) = said.iter().map(|(source, _)| *source).find_map(|source| {
            let servers = self.link_servers(source, &link, said);
            (!servers.is_empty()).then_some((source, servers))
        })?;
        // One source may say several things: a lease for each family of addresses.
        let same = || {
            said.iter()
                .filter(|(said_by, _)| *said_by == source)
                .map(|(_, says)| says)
        };
        let mut domains: Vec<Domain> = Vec::new();
        for domain in same().flat_map(|says| &says.domains) {
            if domains.len() == DOMAINS_PER_LINK_MAX {
                self.leave_out(source, Some(&link), None, Reason::TooMany);
                break;
            }
            if !domains.contains(domain) {
                domains.push(domain.clone());
            }
        }
        let searched: BTreeSet<_> = same().flat_map(|says| &says.search).collect();
        let search = domains.iter().filter(|domain| searched.contains(domain));
        let search = search.cloned().collect();
        let tunnel = facts.tunnel || said.iter().any(|(_, says)| says.tunnel);
        let claims_all = domains.iter().any(Domain::is_root);
        // A tunnel with domains of its own is there for those.
        let by_itself = !tunnel || domains.is_empty();
        Some(Found {
            resolvers: LinkResolvers {
                default_route: claims_all
                    || same()
                        .find_map(|says| says.default_route)
                        .unwrap_or(by_itself),
                tunnel,
                dhcp: said.iter().find_map(|(_, says)| says.dhcp.clone()),
                captive_portal: said
                    .iter()
                    .find_map(|(_, says)| says.captive_portal.clone()),
                link: Some(link),
                servers,
                search,
                domains,
                source,
            },
            exclusive: claims_all || same().any(|says| says.exclusive),
        })
    }

    /// What one source names for a link, but for servers of this machine: a relay is no server of a link.
    fn link_servers(
        &mut self,
        source: Source,
        link: &Link,
        said: &[(Source, &LinkSays)],
    ) -> Vec<SocketAddr> {
        let same = said.iter().filter(|(said_by, _)| *said_by == source);
        let named: Vec<SocketAddr> = same
            .flat_map(|(_, says)| says.servers.iter().copied())
            .collect();
        let servers = self.servers(source, Some(link), &named, link.index);
        let (relays, servers): (Vec<_>, Vec<_>) = servers
            .into_iter()
            .partition(|server| self.is_local(server.ip()));
        for relay in relays {
            self.leave_out(source, Some(link), Some(relay), Reason::Relay);
        }
        servers
    }

    /// The servers for the whole machine; true when they go before those of links.
    fn general(&mut self, told: &BTreeSet<IpAddr>, no_link: bool) -> (Option<LinkResolvers>, bool) {
        let inputs = self.inputs;
        let mut files: Vec<&FileSays> = inputs.files.iter().collect();
        files.sort_by_key(|file| file.kind);
        let global = inputs
            .resolved
            .iter()
            .map(|says| (Source::Resolved, None, &says.global));
        let candidates: Vec<_> = files
            .iter()
            .map(|file| (Source::ResolvConf, Some(file.kind), &file.servers))
            .chain(global)
            .collect();
        for (source, kind, servers) in candidates {
            let by_person = match kind {
                Some(FileKind::InUse | FileKind::AsideByPerson) | None => true,
                Some(_) if no_link => false,
                Some(_) => continue,
            };
            let servers = self.servers(source, None, servers, 0);
            let unheard = servers.iter().all(|server| !told.contains(&server.ip()));
            let relay = servers.iter().all(|server| self.is_local(server.ip()));
            if servers.is_empty() || !(no_link || by_person && unheard && !relay) {
                if relay {
                    for server in servers {
                        self.leave_out(source, None, Some(server), Reason::Relay);
                    }
                }
                continue;
            }
            let general = LinkResolvers {
                link: None,
                servers,
                domains: Vec::new(),
                search: Vec::new(),
                default_route: true,
                tunnel: false,
                dhcp: None,
                captive_portal: None,
                source,
            };
            return (Some(general), !no_link);
        }
        (None, false)
    }

    /// Does the file in use name servers, none of which a link named?
    fn in_use_by_person(&mut self, told: &BTreeSet<IpAddr>) -> bool {
        let inputs = self.inputs;
        let mut files = inputs.files.iter();
        let Some(file) = files.find(|file| file.kind == FileKind::InUse) else {
            return false;
        };
        let servers = self.servers(Source::ResolvConf, None, &file.servers, 0);
        !servers.is_empty() && servers.iter().all(|server| !told.contains(&server.ip()))
    }

    /// Those that can be asked, and asked without asking ourselves.
    fn servers(
        &mut self,
        source: Source,
        link: Option<&Link>,
        named: &[SocketAddr],
        scope: u32,
    ) -> Vec<SocketAddr> {
        let mut servers = Vec::new();
        for server in named {
            let server = meant(*server, scope);
            let reason = match () {
                () if self.inputs.own.contains(&server) => Reason::Ourselves,
                () if is_stub_of_resolved(&server) => Reason::StubOfResolved,
                () if is_nobody(&server) => Reason::NobodyThere,
                () if self.in_front && self.is_local(server.ip()) => Reason::MayAskUs,
                () if servers.contains(&server) => continue,
                () if servers.len() == SERVERS_PER_LINK_MAX => Reason::TooMany,
                () => {
                    servers.push(server);
                    continue;
                }
            };
            self.leave_out(source, link, Some(server), reason);
        }
        servers
    }

    fn is_local(&self, address: IpAddr) -> bool {
        let mut links = self.inputs.links.iter();
        address.is_loopback() || links.any(|facts| facts.addresses.contains(&address))
    }

    fn leave_out_link(&mut self, source: Source, facts: &LinkFacts, reason: Reason) {
        self.left_out.insert(LeftOut {
            source,
            link: Some(facts.name.clone()),
            server: None,
            reason,
        });
    }

    fn leave_out(
        &mut self,
        source: Source,
        link: Option<&Link>,
        server: Option<SocketAddr>,
        reason: Reason,
    ) {
        self.left_out.insert(LeftOut {
            source,
            link: link.map(|link| link.name.clone()),
            server,
            reason,
        });
    }
}

/// As resolved has it now, whatever is known besides.
fn past_us(inputs: &Inputs) -> Vec<PastUs> {
    let ours = |server: &SocketAddr| inputs.own.contains(&meant(*server, 0));
    let Some(resolved) = &inputs.resolved else {
        return Vec::new();
    };
    if !resolved.global.iter().any(ours) {
        return Vec::new();
    }
    let past = |says: &LinkSays| {
        let mut links = inputs.links.iter();
        let facts = links.find(|facts| says.index == Some(facts.index))?;
        let goes_past = facts.up && !says.servers.is_empty() && !says.servers.iter().all(ours);
        (goes_past && !says.domains.is_empty()).then(|| PastUs {
            link: facts.name.clone(),
            domains: says.domains.clone(),
        })
    };
    resolved.links.iter().filter_map(past).collect()
}

/// The server that is meant: the unspecified address stands for this machine (`resolv.conf(5)`),
/// mapped addresses are IPv4, and a link-local one is on the link that named it (RFC 4007 §11).
pub(super) fn meant(server: SocketAddr, scope: u32) -> SocketAddr {
    let port = server.port();
    match (server.ip().to_canonical(), server) {
        (IpAddr::V4(ip), _) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, port).into(),
        (IpAddr::V6(ip), _) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, port).into(),
        (IpAddr::V4(ip), _) => (ip, port).into(),
        (IpAddr::V6(ip), SocketAddr::V6(v6)) if ip.is_unicast_link_local() => {
            let scope = if v6.scope_id() == 0 {
                scope
            } else {
                v6.scope_id()
            };
            SocketAddrV6::new(ip, port, 0, scope).into()
        }
        (IpAddr::V6(ip), _) => (ip, port).into(),
    }
}

/// `127.0.0.53` and, without its cache, `127.0.0.54` (systemd-resolved.service(8)).
fn is_stub_of_resolved(server: &SocketAddr) -> bool {
    [Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(127, 0, 0, 54)]
        .iter()
        .any(|stub| server.ip() == IpAddr::V4(*stub) && server.port() == 53)
}

fn is_nobody(server: &SocketAddr) -> bool {
    let ip = server.ip();
    server.port() == 0
        || ip.is_multicast()
        || match ip {
            // "This network" (RFC 791 §3.2), and what was kept for later (RFC 1112 §4).
            IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.octets()[0] >= 240,
            // Without a link it leads nowhere.
            IpAddr::V6(ip) => {
                ip.is_unicast_link_local()
                    && matches!(server, SocketAddr::V6(server) if server.scope_id() == 0)
            }
        }
}

#[cfg(test)]
mod tests;

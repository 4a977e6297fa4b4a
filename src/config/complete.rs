//! Where defaults are decided, and where keys meet each other.
//!
//! Nothing is read here: a table of files, hosts and environments is the test.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_proto::rr::Name;
use zzdot_client::cache;
use zzdot_zonegen::{publish::MAX_ADDRESSES, rollover::Intervals, zone::ServerType};

use super::{
    Config, MAX_WORKERS, Paths, Problem, Resolve, STOP_WITHIN, Upstream, UpstreamKind,
    file::{self, File, Mode, PublishMode},
    value::{self, Upstreams},
};
use crate::{
    answer::access::AccessList,
    host::{self, Host},
};

impl Config {
    /// Decides everything that the file leaves open, and refuses what cannot be meant.
    pub(super) fn complete(file: &File, paths: Paths, host: &Host) -> Result<Self, Problem> {
        let mode = file.publish.mode;
        let (dns, dot) = listeners(file, host)?;
        let published = match mode {
            PublishMode::Own => published_addresses(file, &dot, host)?,
            PublishMode::Transparent => {
                refuse_keys_of_a_name(file)?;
                Vec::new()
            }
        };
        let (resolve, server_type) = resolution(file, &dns, host)?;
        Ok(Self {
            state_dir: paths.state_dir,
            control_socket: paths.control_socket,
            stop_within: stop_within(file)?,
            metrics: file.metrics.map(|metrics| metrics.0),
            workers: workers(file)?,
            access: match &file.access.allow {
                Some(networks) => {
                    AccessList::new(networks.iter().map(|network| network.0).collect())
                }
                None => AccessList::default(),
            },
            dns,
            dot,
            resolve,
            mode,
            server_type,
            published,
            suffix: match &file.publish.suffix {
                Some(suffix) => suffix.0.clone(),
                None => Name::from_ascii("zz.").expect("a constant name"),
            },
            rotation: intervals(&file.rotation)?,
            cache: kept_answers(&file.cache),
            limits: file.limits.clone(),
        })
    }
}

/// The longest time between two keys, in days.
const MAX_DAYS: u32 = 3650;

fn intervals(file: &file::Rotation) -> Result<Intervals, Problem> {
    let default = Intervals::default();
    let interval = |key, days: Option<u32>, default| match days {
        None => Ok(default),
        Some(0) => Ok(None),
        Some(days @ 1..=MAX_DAYS) => Ok(Some(DAY * days)),
        Some(days) => Err(Problem {
            key,
            text: format!("{days}; allowed: 1 to {MAX_DAYS}, or 0 for never"),
        }),
    };
    Ok(Intervals {
        certificate: interval(
            "rotation.certificate-days",
            file.certificate_days,
            default.certificate,
        )?,
        zsk: interval("rotation.zsk-days", file.zsk_days, default.zsk)?,
        ksk: interval("rotation.ksk-days", file.ksk_days, default.ksk)?,
        anchor: interval("rotation.anchor-days", file.anchor_days, default.anchor)?,
    })
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn kept_answers(file: &file::Cache) -> Option<cache::Limits> {
    let default = cache::Limits::default();
    let limits = cache::Limits {
        octets: file.bytes.unwrap_or(default.octets),
        stale: file
            .stale_secs
            .map_or(default.stale, |secs| Duration::from_secs(secs.into())),
    };
    (limits.octets > 0).then_some(limits)
}

fn listeners(file: &File, host: &Host) -> Result<(Vec<SocketAddr>, Vec<SocketAddr>), Problem> {
    let own = || {
        host.addresses
            .iter()
            .copied()
            .filter(|address| host::is_private(*address))
    };
    let listen = &file.listen;
    let dns: Vec<SocketAddr> = match &listen.dns {
        Some(listed) => listed.iter().map(|endpoint| endpoint.or_port(53)).collect(),
        // A service manager that passes sockets in has decided.
        None if !host.passed_dns.is_empty() => host.passed_dns.clone(),
        None => own().map(|address| SocketAddr::new(address, 53)).collect(),
    };
    let dot: Vec<SocketAddr> = match &listen.dot {
        _ if file.publish.mode == PublishMode::Transparent => {
            refuse_tls_without_a_name(file, host)?;
            Vec::new()
        }
        Some(listed) => listed
            .iter()
            .map(|endpoint| endpoint.or_port(853))
            .collect(),
        None if !host.passed_dot.is_empty() => host.passed_dot.clone(),
        // Somebody who names addresses for plain DNS means these addresses.
        None if listen.dns.is_some() => dns
            .iter()
            .map(|address| SocketAddr::new(address.ip(), 853))
            .collect(),
        None => own().map(|address| SocketAddr::new(address, 853)).collect(),
    };
    distinct(&dns, "listen.dns")?;
    distinct(&dot, "listen.dot")?;
    if let Some(both) = dns.iter().find(|address| dot.contains(address)) {
        return Err(Problem {
            key: "listen.dot",
            text: format!("{both} is also in listen.dns; allowed: addresses that are in one list"),
        });
    }
    if file.publish.mode == PublishMode::Transparent {
        return Ok((dns, dot));
    }
    if dot.is_empty() {
        return Err(Problem {
            key: "listen.dot",
            text: "no address; allowed: one or more, since the zones tell clients to come here"
                .into(),
        });
    }
    // One TLSA and one SVCB record name one port.
    if let Some(other) = dot.iter().find(|address| address.port() != dot[0].port()) {
        return Err(Problem {
            key: "listen.dot",
            text: format!(
                "ports {} and {}; allowed: the same port everywhere, since the zones name one",
                dot[0].port(),
                other.port()
            ),
        });
    }
    Ok((dns, dot))
}

/// A certificate is for a name, and there is none.
fn refuse_tls_without_a_name(file: &File, host: &Host) -> Result<(), Problem> {
    let refuse = |text: &str| {
        Err(Problem {
            key: "listen.dot",
            text: text.to_owned(),
        })
    };
    match &file.listen.dot {
        Some(listed) if !listed.is_empty() => refuse(
            "has no meaning with publish.mode \"transparent\", which has no name to prove over \
             TLS: clients find the upstream's; allowed: no address",
        ),
        _ if !host.passed_dot.is_empty() => refuse(
            "the service manager passes sockets for DNS over TLS in, and publish.mode \
             \"transparent\" has no name to prove there; allowed: a socket unit without them",
        ),
        _ => Ok(()),
    }
}

fn refuse_keys_of_a_name(file: &File) -> Result<(), Problem> {
    let publish = &file.publish;
    let key = match file.resolve.mode {
        // Nobody is behind it whom a client could find.
        Mode::Recursive => "publish.mode",
        _ if publish.addresses.is_some() => "publish.addresses",
        _ if publish.suffix.is_some() => "publish.suffix",
        Mode::Forward | Mode::Local => return Ok(()),
    };
    Err(Problem {
        key,
        text: match key {
            "publish.mode" => "\"transparent\" has no meaning with resolve.mode \"recursive\", \
                               behind which nobody can be found; allowed: \"own\""
                .into(),
            _ => "has no meaning with publish.mode \"transparent\", which publishes nothing; \
                  allowed: with mode \"own\""
                .into(),
        },
    })
}

fn distinct(addresses: &[SocketAddr], key: &'static str) -> Result<(), Problem> {
    for (at, address) in addresses.iter().enumerate() {
        if address.ip().is_multicast() {
            return Err(Problem {
                key,
                text: format!("{address} is a multicast address; allowed: addresses of this host"),
            });
        }
        if addresses[..at].contains(address) {
            return Err(Problem {
                key,
                text: format!("{address} is listed twice; allowed: each address once"),
            });
        }
    }
    Ok(())
}

/// What the zones say must be true for whoever reads them, so loopback is named only by an
/// appliance that serves nobody else.
fn published_addresses(
    file: &File,
    dot: &[SocketAddr],
    host: &Host,
) -> Result<Vec<IpAddr>, Problem> {
    if let Some(listed) = &file.publish.addresses {
        let unusable = |address: &&IpAddr| address.is_unspecified() || address.is_multicast();
        if let Some(address) = listed.iter().find(unusable) {
            return Err(Problem {
                key: "publish.addresses",
                text: format!("{address} cannot be connected to; allowed: unicast addresses"),
            });
        }
        if listed.is_empty() {
            return Err(Problem {
                key: "publish.addresses",
                text: "the list is empty; allowed: one address or more".into(),
            });
        }
        if listed.len() > MAX_ADDRESSES {
            return Err(Problem {
                key: "publish.addresses",
                text: format!(
                    "{} addresses; allowed: {MAX_ADDRESSES} at the most, those that clients know; \
                     the others are served all the same",
                    listed.len()
                ),
            });
        }
        return Ok(listed.clone());
    }
    let mut served: Vec<IpAddr> = Vec::new();
    for listener in dot {
        let addresses: Vec<IpAddr> = match listener.ip() {
            any if any.is_unspecified() => host
                .addresses
                .iter()
                .copied()
                // A socket bound to `::` takes IPv6 alone: each family is listed by itself.
                .filter(|address| address.is_ipv4() == any.is_ipv4())
                .collect(),
            one => vec![one],
        };
        for address in addresses {
            if !served.contains(&address) && !host::is_link_local(address) {
                served.push(address);
            }
        }
    }
    if served.iter().any(|address| !address.is_loopback()) {
        served.retain(|address| !address.is_loopback());
    }
    // A router with many networks; its clients come to the address that they know already.
    served.truncate(MAX_ADDRESSES);
    Ok(served)
}

fn resolution(
    file: &File,
    dns: &[SocketAddr],
    host: &Host,
) -> Result<(Resolve, ServerType), Problem> {
    let keys = &file.resolve;
    refuse_keys_of_other_modes(keys)?;
    match keys.mode {
        Mode::Forward => {
            let upstreams = match &keys.upstreams {
                None | Some(Upstreams::System) => of_the_host(dns, host),
                Some(Upstreams::Listed(listed)) => {
                    refuse_ourselves(listed, dns, host)?;
                    listed.clone()
                }
            };
            let forward = Resolve::Forward {
                upstreams,
                ca_file: keys.ca_file.clone(),
                require: keys.require.unwrap_or_default(),
            };
            Ok((forward, ServerType::Forwarder))
        }
        Mode::Recursive => Ok((
            Resolve::Recursive {
                root_hints: keys.root_hints.clone(),
                trust_anchor: keys.trust_anchor.clone(),
                allow_private_nameservers: keys.allow_private_nameservers.unwrap_or(false),
            },
            ServerType::Resolver,
        )),
        Mode::Local => {
            let resolver = local_resolver(keys, dns, host)?;
            let server_type = match keys.server_type {
                Some(file::ServerType::Resolver) => ServerType::Resolver,
                Some(file::ServerType::Forwarder) => ServerType::Forwarder,
                None => {
                    return Err(Problem {
                        key: "resolve.server-type",
                        text: "missing; mode \"local\" needs it, since only you know what runs \
                               there; allowed: \"resolver\" or \"forwarder\""
                            .into(),
                    });
                }
            };
            let local = Resolve::Local {
                resolver,
                server_type,
            };
            Ok((local, server_type))
        }
    }
}

fn refuse_keys_of_other_modes(keys: &file::Resolve) -> Result<(), Problem> {
    let uses = [
        (
            "resolve.upstreams",
            keys.upstreams.is_some(),
            &[Mode::Forward, Mode::Local][..],
        ),
        ("resolve.ca-file", keys.ca_file.is_some(), &[Mode::Forward]),
        ("resolve.require", keys.require.is_some(), &[Mode::Forward]),
        (
            "resolve.root-hints",
            keys.root_hints.is_some(),
            &[Mode::Recursive],
        ),
        (
            "resolve.trust-anchor",
            keys.trust_anchor.is_some(),
            &[Mode::Recursive],
        ),
        (
            "resolve.allow-private-nameservers",
            keys.allow_private_nameservers.is_some(),
            &[Mode::Recursive],
        ),
        (
            "resolve.server-type",
            keys.server_type.is_some(),
            &[Mode::Local],
        ),
    ];
    for (key, present, modes) in uses {
        if present && !modes.contains(&keys.mode) {
            let allowed: Vec<&str> = modes.iter().map(|mode| quoted(*mode)).collect();
            return Err(Problem {
                key,
                text: format!(
                    "has no meaning with mode {}; allowed: with mode {}",
                    quoted(keys.mode),
                    allowed.join(" or ")
                ),
            });
        }
    }
    Ok(())
}

fn quoted(mode: Mode) -> &'static str {
    match mode {
        Mode::Forward => "\"forward\"",
        Mode::Recursive => "\"recursive\"",
        Mode::Local => "\"local\"",
    }
}

fn local_resolver(
    keys: &file::Resolve,
    dns: &[SocketAddr],
    host: &Host,
) -> Result<SocketAddr, Problem> {
    let refuse = |text: String| {
        Err(Problem {
            key: "resolve.upstreams",
            text: format!(
                "{text}; allowed: the one address of a resolver on this machine, for example [\"127.0.0.1:5353\"]"
            ),
        })
    };
    let listed = match &keys.upstreams {
        Some(Upstreams::Listed(listed)) => listed,
        Some(Upstreams::System) => return refuse("\"system\" with mode \"local\"".into()),
        None => return refuse("missing with mode \"local\"".into()),
    };
    let [resolver] = &listed[..] else {
        return refuse(format!("{} addresses with mode \"local\"", listed.len()));
    };
    if resolver.kind != UpstreamKind::Discovered {
        return refuse(format!(
            "{resolver} speaks TLS, which mode \"local\" does not need"
        ));
    }
    if !host.owns(resolver.address.ip()) {
        return refuse(format!("{resolver} is not an address of this machine"));
    }
    refuse_ourselves(listed, dns, host)?;
    Ok(resolver.address)
}

/// The servers that the host uses, without ourselves.
fn of_the_host(dns: &[SocketAddr], host: &Host) -> Vec<Upstream> {
    let all = host.name_servers.iter().copied().map(Upstream::at);
    let mut others: Vec<_> = all
        .filter(|upstream| !leads_back(upstream.address, dns, host))
        .collect();
    for beyond in others.iter().skip(value::MAX_UPSTREAMS) {
        tracing::warn!(server = %beyond, "this host names more servers than can be upstreams, and this one is not asked");
    }
    others.truncate(value::MAX_UPSTREAMS);
    others
}

fn refuse_ourselves(
    upstreams: &[Upstream],
    dns: &[SocketAddr],
    host: &Host,
) -> Result<(), Problem> {
    match upstreams
        .iter()
        .find(|upstream| leads_back(upstream.address, dns, host))
    {
        None => Ok(()),
        Some(upstream) => Err(Problem {
            key: "resolve.upstreams",
            text: format!(
                "{upstream} is where this server itself listens, so questions would go round in \
                 a circle; allowed: other servers"
            ),
        }),
    }
}

fn leads_back(upstream: SocketAddr, dns: &[SocketAddr], host: &Host) -> bool {
    dns.iter().any(|listener| {
        listener.port() == upstream.port()
            && (listener.ip() == upstream.ip()
                || (listener.ip().is_unspecified()
                    && listener.is_ipv4() == upstream.is_ipv4()
                    && host.owns(upstream.ip())))
    })
}

fn stop_within(file: &File) -> Result<Duration, Problem> {
    match file.stop_within_secs {
        None => Ok(STOP_WITHIN),
        Some(secs @ 0..=60) => Ok(Duration::from_secs(secs)),
        Some(secs) => Err(Problem {
            key: "stop-within-secs",
            text: format!("{secs}; allowed: 0 to 60"),
        }),
    }
}

fn workers(file: &File) -> Result<Option<usize>, Problem> {
    match file.workers.map(usize::try_from) {
        None => Ok(None),
        Some(Ok(workers @ 1..=MAX_WORKERS)) => Ok(Some(workers)),
        Some(_) => Err(Problem {
            key: "workers",
            text: format!(
                "{}; allowed: 1 to {MAX_WORKERS}",
                file.workers.unwrap_or_default()
            ),
        }),
    }
}

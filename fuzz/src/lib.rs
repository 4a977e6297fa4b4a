//! What several targets share: an appliance without sockets that answers for its own zones, and somebody in between who
//! changes what it says.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
    time::{Duration, UNIX_EPOCH},
};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use tokio::time::Instant;
use zzdot::{
    answer::{Asker, LocalZones, Outcome, Responder, Transport, cookie::Secret},
    counters::Counters,
    resolve::{Passage, Resolution, ResolveError, Source, Through},
};
use zzdot_client::cache::{Cache, Limits};
use zzdot_client::discover::{
    Action, Discovered, PeerCertificates, Verdict, Walk, WalkInput, WalkPolicy,
};
use zzdot_zonegen::{
    clock::{UnixTime, build_date},
    identity::Identity,
    publication::Stamp,
    publish::publish,
    upstream::{self, Proof, PublishedUpstream, ServerKind, UnnamedLabel, UpstreamId},
    zone::{Publication, ServerType},
};

/// When everything happens: a minute after the program was built, which is past the clock's floor.
pub fn now() -> UnixTime {
    UnixTime(build_date().0 + 60)
}

/// The address at which the appliance serves.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The address that it says it asks.
const UPSTREAM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));

/// An appliance, and whose it is. Keys and signatures are drawn anew in each process.
pub struct Appliance {
    /// Who it is.
    pub identity: Identity,
    /// What decides on queries.
    pub responder: Responder,
}

impl Appliance {
    /// One that forwards to nobody, and says that there is an upstream.
    pub fn new() -> Self {
        let suffix = "zz.".parse().expect("a name");
        let identity =
            Identity::invent(&suffix, &ring::rand::SystemRandom::new()).expect("an identity");
        let address = SocketAddr::new(UPSTREAM, 53);
        let upstream = PublishedUpstream {
            id: UpstreamId::Unnamed(UnnamedLabel::new(address)),
            kind: ServerKind::Unknown,
            transport: upstream::Transport::Plain,
            proof: Proof::None,
            addresses: vec![UPSTREAM],
            ksks: Vec::new(),
            tls: None,
        };
        let publication = Publication {
            server_type: ServerType::Forwarder,
            addresses: vec![ADDRESS],
            dot_port: 853,
            upstreams: vec![upstream],
        };
        let stamp = Stamp::next(None, now()).expect("a clock that is right");
        let zones = publish(&identity, &publication, &stamp).expect("zones");
        let responder = Responder::new(
            Arc::new(Nowhere),
            Secret([7; 16]),
            Arc::new(Counters::default()),
        );
        responder.replace_cache(Some(Cache::new(Limits::default(), [7; 16], *START)));
        responder.replace_zones(LocalZones::new(vec![zones.name_zone, zones.anchor_zone]));
        Self {
            identity,
            responder,
        }
    }
}

impl Default for Appliance {
    fn default() -> Self {
        Self::new()
    }
}

/// What an honest walk to `appliance` finds.
pub fn honest_walk(appliance: &Appliance) -> Discovered {
    let start = std::time::Instant::now();
    let mut walk = Walk::new(WalkInput {
        server: SocketAddr::new(ADDRESS, 53),
        known: None,
        policy: WalkPolicy::default(),
        now: start,
        clock: now(),
    });
    loop {
        match walk.next_action().expect("a walk that is answered goes on") {
            Action::Event(_) => {}
            Action::Connect(connect) => {
                let certificates = PeerCertificates(vec![appliance.identity.certificate()]);
                walk.on_tls(start, now(), connect.attempt, Ok(certificates));
            }
            Action::Ask(ask) => {
                let query = ask.message(7);
                let mut reply = Vec::new();
                let asker = asker(Transport::Tcp, false);
                let Outcome::Replied(_) = appliance.responder.answer(&asker, &query, &mut reply)
                else {
                    panic!("the appliance answers for its own zones")
                };
                walk.on_message(start, now(), ask.id, &reply);
            }
            Action::Done(Verdict::Upgraded(found)) => return *found,
            Action::Done(other) => panic!("an honest walk ends well: {other:?}"),
        }
    }
}

/// What somebody in between does to messages.
#[derive(Arbitrary, Debug)]
pub struct Damage(Vec<Change>);

/// What is done to the message with this number.
#[derive(Arbitrary, Debug)]
struct Change {
    message: u8,
    at: u16,
    how: How,
}

#[derive(Arbitrary, Debug)]
enum How {
    Flip(u8),
    Cut,
    Insert(Vec<u8>),
    Replace(Vec<u8>),
    Lose,
    OtherClock(i32),
}

impl Damage {
    /// Whether nothing is changed at all.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// What arrives in place of the message with this number, if anything, and what the clock shows then.
    pub fn done_to(&self, number: u8, mut message: Vec<u8>) -> (Option<Vec<u8>>, UnixTime) {
        let (mut clock, mut lost) = (now(), false);
        for change in self.0.iter().filter(|change| change.message == number) {
            let at = usize::from(change.at).min(message.len());
            match &change.how {
                How::Flip(bits) => message.iter_mut().skip(at).take(1).for_each(|b| *b ^= bits),
                How::Cut => message.truncate(at),
                How::Insert(bytes) => drop(message.splice(at..at, bytes.iter().copied())),
                How::Replace(bytes) => {
                    let end = (at + bytes.len()).min(message.len());
                    drop(message.splice(at..end, bytes.iter().copied()));
                }
                How::Lose => lost = true,
                How::OtherClock(by) => {
                    clock.0 = clock.0.saturating_add_signed(i64::from(*by));
                }
            }
        }
        ((!lost).then_some(message), clock)
    }
}

/// Somebody on loopback.
pub fn asker(transport: Transport, pressed: bool) -> Asker {
    Asker {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        transport,
        time: UNIX_EPOCH + Duration::from_secs(now().0),
        instant: *START,
        pressed,
        idle: transport.is_stream().then_some(Duration::from_secs(10)),
    }
}

static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

struct Nowhere;

impl Source for Nowhere {
    fn resolve(&self, _: Arc<[u8]>, _: Instant) -> Resolution<'_> {
        Box::pin(async { Err(ResolveError::NoUpstream) })
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    fn passage(&self) -> Option<&dyn Passage> {
        Some(self)
    }
}

impl Passage for Nowhere {
    fn pass(&self, _: &Through, query: Arc<[u8]>, deadline: Instant) -> Resolution<'_> {
        self.resolve(query, deadline)
    }
}

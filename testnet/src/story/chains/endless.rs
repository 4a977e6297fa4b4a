//! A graph of ten thousand names and more, made by somebody who wants to wear others out. What a look at it costs is
//! counted on the line, by whom is asked, and in the memory of the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    thread,
    time::SystemTime,
};

use hickory_proto::rr::{Name, RecordType};
use zzdot_client::chain::{MAX_CONNECTS, MAX_HOPS, MAX_NODES, MAX_QUESTIONS};

use super::{
    super::{
        Failure, Scene, Teller, Told,
        checks::{CLIENT, ensure},
        scene::{ISP, LAN, provider_dns},
    },
    links::Period,
    route::{self, all_answered},
    truth::Traced,
};
use crate::{
    ask::Question,
    attacker::{Attacker, Brood, Dns, Dot, Manner, answers},
    capture::Capture,
    products::Client,
};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 53, 0, 90);
/// Where all others are.
const PREFIX: [u8; 2] = [10, 66];
/// Questions that are asked at once while the daemon looks.
const BATCH: usize = 4;
/// So many questions of a look say that it is under way.
const UNDER_WAY: usize = 50;
/// What a look costs the daemon in memory, at the most (protocol, "Seeing to the end").
const MOST_KIB: u64 = 16 * 1024;

/// One look.
struct Look {
    period: Period,
    questions: usize,
    traced: Traced,
}

pub(super) fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let host = scene.neighbour("brood", [&ADDRESS.to_string(), "fd00:53::90"])?;
    let [one, other] = PREFIX;
    let others = format!("{one}.{other}.0.0/16");
    let via = ADDRESS.to_string();
    scene.lab.route(&scene.router, &others, &via)?;
    let attacker = Attacker::start(&host, ISP, provider_dns().ip())?;
    let brood = Brood::new(ADDRESS, PREFIX)?;
    attacker.turn(Manner {
        dns: Dns::Answer(brood.answerer(ADDRESS, answers::relay())),
        dot: Dot::Brood(Arc::clone(&brood), answers::relay()),
    })?;

    // A person's, without the daemon.
    let by_the_tool = look(&attacker, || {
        Traced::from(&scene.laptop, &via, &BTreeMap::new())
    })?;
    teller.tell("somebody has looked at a graph without an end");

    // The daemon's, while it answers.
    route::start(scene, &via, "nearest")?;
    all_answered(&scene.laptop, &fresh(0)?)?;
    let daemon = scene.running.get(CLIENT);
    let daemon = daemon.ok_or_else(|| Failure::new("the client does not run"))?;
    daemon.forget_peak()?;
    let before = daemon.peak_kib()?;
    let known = attacker.heard().len();
    let laptop = &scene.laptop;
    let (by_the_daemon, meanwhile) = thread::scope(|scope| {
        let looking = scope.spawn(|| {
            look(&attacker, || {
                let output = Client::ask_running(laptop, "trace", &["--json"])?;
                let told = serde_json::from_slice(&output.stdout)?;
                Ok(Traced::read(told, &BTreeMap::new()))
            })
        });
        let mut meanwhile = 0;
        let mut answered = Ok(());
        for batch in 1.. {
            let under_way = attacker.heard().len() > known + UNDER_WAY;
            if looking.is_finished() || answered.is_err() {
                break;
            }
            answered = fresh(batch).and_then(|questions| all_answered(laptop, &questions));
            meanwhile += if under_way { BATCH } else { 0 };
        }
        let looked = looking.join();
        let looked = looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        answered.and(looked).map(|look| (look, meanwhile))
    })?;
    let cost = daemon.peak_kib()?.saturating_sub(before);
    ensure(cost <= MOST_KIB, || {
        format!("a look cost the daemon {cost} KiB, and may cost {MOST_KIB}")
    })?;
    ensure(meanwhile > 0, || {
        "nothing was asked while the daemon looked".into()
    })?;
    scene.end(CLIENT)?;
    teller.tell(format!(
        "the daemon has looked, too; it took {cost} KiB more, and answered {meanwhile} questions meanwhile"
    ));

    let lan = scene.lab.end_capture(LAN)?;
    for (whose, look) in [("the tool's", by_the_tool), ("the daemon's", by_the_daemon)] {
        look.is_bounded(&lan, whose, teller)?;
    }
    teller.tell(format!("{} resolvers were named in all", brood.named()));
    Ok(())
}

/// Questions that nobody asked before.
fn fresh(batch: usize) -> Result<Vec<Question>, Failure> {
    let name = |number| Name::from_ascii(format!("{number}-of-{batch}.wild.portal.example."));
    (0..BATCH)
        .map(|number| Ok(Question::new(&name(number)?, RecordType::A)))
        .collect()
}

/// Looks, and counts who was asked what over TLS about resolvers.
fn look(
    attacker: &Attacker,
    trace: impl FnOnce() -> Result<Traced, Failure>,
) -> Result<Look, Failure> {
    let known = attacker.heard().len();
    let from = SystemTime::now();
    let traced = trace()?;
    let period = Period::since(from);
    let heard = attacker.heard().split_off(known);
    Ok(Look {
        period,
        questions: heard.iter().filter(|heard| heard.is_of_a_survey()).count(),
        traced,
    })
}

impl Look {
    fn is_bounded(&self, lan: &Capture, whose: &str, teller: &Teller) -> Told {
        let Some((resolvers, hops)) = self.traced.cut() else {
            let words = format!("{whose} look was not cut: {:?}", self.traced);
            return Err(Failure::new(words));
        };
        let lan = self.period.of(lan);
        let sent = lan.packets().iter();
        let sent = sent.filter(|packet| packet.host.as_deref() == Some("laptop"));
        let others = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.octets()[..2] == PREFIX,
            IpAddr::V6(_) => false,
        };
        let sent: Vec<_> = sent
            .filter(|packet| others(&packet.destination.ip()))
            .collect();
        let opened = sent.iter().filter(|packet| packet.transport.opens());
        let connections: BTreeSet<_> = opened
            .map(|packet| (packet.source, packet.destination))
            .collect();
        let strange = sent
            .iter()
            .find(|packet| !packet.transport.is_tcp() || packet.destination.port() != 853);
        ensure(strange.is_none(), || {
            format!("{strange:?} is not TLS with one that was named")
        })?;
        let bounds = [
            ("questions", self.questions, MAX_QUESTIONS),
            ("connections", connections.len(), MAX_CONNECTS),
            ("resolvers", resolvers, MAX_NODES),
            // This computer's own is one more.
            ("hops", hops, MAX_HOPS + 1),
        ];
        for (what, count, most) in bounds {
            ensure((2..=most).contains(&count), || {
                format!("{whose} look: {count} {what}, {most} are allowed")
            })?;
        }
        teller.tell(format!(
            "{whose} look: {} questions, {} connections, {resolvers} resolvers, {hops} hops",
            self.questions,
            connections.len()
        ));
        Ok(())
    }
}

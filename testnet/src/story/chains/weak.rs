//! One hop in cleartext, wherever it is: nothing is asked.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};

use super::{
    super::{
        Failure, Scene, Teller, Told,
        checks::{CLIENT, ensure, refuses},
        scene::provider_dns,
    },
    ground::{self, find},
    links::Links,
    route::{self, MACHINES, all_answered},
};
use crate::{
    ask::{Answer, Question, ask_all},
    played_clock::PlayedClock,
    process::POLL,
    products::Client,
};

/// What the refusal says.
const REFUSAL: &str = "chain-not-encrypted: the chain is not encrypted to the end";
/// What forwarders say holds for a minute.
const TIME_TO_LIVE: Duration = Duration::from_secs(60);
/// After so long the client looks again at a chain that is not as it should be.
const LOOKED_AGAIN: Duration = Duration::from_secs(5);
/// Real time within which a survey that is due has come out.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Names for each hop.
const NAMES: usize = 10;

/// A server behind which one hop is in cleartext.
struct Weak {
    hop: &'static str,
    server: &'static str,
    /// Who asks on in cleartext; none where it is this computer.
    near: Option<&'static str>,
}

const WEAK: &[Weak] = &[
    Weak {
        hop: "third",
        server: "over-clear",
        near: Some("clear"),
    },
    Weak {
        hop: "second",
        server: "clear",
        near: Some("clear"),
    },
    Weak {
        hop: "last on one of two ways",
        server: "mixed",
        near: Some("clear"),
    },
    Weak {
        hop: "first",
        server: "provider",
        near: None,
    },
];

/// Those that forward, of the chain that is encrypted until one of them falls back.
const FALLING: [&str; 2] = ["middle", "first"];

/// Names that were asked for.
#[derive(Default)]
pub(super) struct Asked {
    /// Each was refused.
    pub(super) refused: Vec<Name>,
    /// Who asked on for these in cleartext, as what was known of the chain still held.
    pub(super) slipped: Vec<(&'static str, Name)>,
}

impl Asked {
    /// Nobody ever asked in cleartext for what was refused; and who asks on in cleartext is seen to do so.
    pub(super) fn check(&self, links: &Links, teller: &Teller) -> Told {
        let asker = links.askers_of(&self.refused).next();
        ensure(asker.is_none(), || {
            format!("{asker:?} asked in cleartext for a name that was refused")
        })?;
        for (near, name) in &self.slipped {
            let mut askers = links.askers_of(std::slice::from_ref(name));
            ensure(askers.any(|host| host == *near), || {
                format!("{near} was not seen to ask for {name} in cleartext")
            })?;
        }
        teller.tell(format!(
            "{} names were refused, and nobody asked for one of them in cleartext on any link",
            self.refused.len()
        ));
        Ok(())
    }
}

/// Puts names that nobody asked for before.
struct Names<'a> {
    left: Box<dyn Iterator<Item = Name> + 'a>,
}

impl Names<'_> {
    fn take(&mut self) -> Result<Question, Failure> {
        let name = self.left.next();
        let name = name.ok_or_else(|| Failure::new("no names are left"))?;
        Ok(Question::new(&name, RecordType::A))
    }
}

pub(super) fn play(
    scene: &mut Scene,
    names: &BTreeMap<String, String>,
    teller: &Teller,
) -> Result<Asked, Failure> {
    let internet = scene.internet.names().to_vec();
    let mut fresh = Names {
        left: Box::new(internet.into_iter().skip(200)),
    };
    let mut asked = Asked::default();
    for weak in WEAK {
        let server = match weak.server {
            "provider" => provider_dns().ip(),
            name => find(MACHINES, name)?.ip(),
        };
        route::start(scene, &server.to_string(), "encrypted-to-end")?;
        let probe = fresh.take()?;
        let answer = refuses(scene, &fault(names, weak.near)?, &probe)?;
        asked.refused.push(probe.name);
        teller.tell(format!("the {} hop is in cleartext: {answer}", weak.hop));
        scene.end(CLIENT)?;
    }
    // One clock for all whose minute it is.
    let mut clock = PlayedClock::new(scene.lab.folder())?;
    for near in FALLING {
        ground::start_by_clock(scene, MACHINES, near, &clock)?;
    }
    start(scene, &clock)?;
    for near in FALLING {
        falls_back(scene, names, near, &mut clock, &mut fresh, &mut asked)?;
        teller.tell(format!(
            "{near} falls back to cleartext: refused once what was known is over, and answered again when it is encrypted"
        ));
    }
    scene.end("end")?;
    let probe = fresh.take()?;
    let answer = ask_all(
        &scene.laptop,
        Client::addresses()[0],
        std::slice::from_ref(&probe),
    )?
    .remove(0);
    ensure(answer.rcode == ResponseCode::ServFail, || {
        format!("{probe}: there is nobody at the end of the chain, and it says {answer}")
    })?;
    asked.refused.push(probe.name);
    teller.tell(format!("the end of the chain is gone: {answer}"));
    scene.end(CLIENT)?;
    Ok(asked)
}

/// The daemon on the laptop, by a clock of its own.
fn start(scene: &mut Scene, clock: &PlayedClock) -> Told {
    let client = Client {
        host: &scene.laptop,
        server: find(MACHINES, "first")?.address,
        legacy: "plain",
    };
    let process = client.start_by_clock("route = \"encrypted-to-end\"\n", clock)?;
    scene.keep(CLIENT, process);
    Ok(())
}

/// While the client runs, one of a chain that is encrypted to its end stops to encrypt, and later goes on. Nothing but the
/// time tells the client to look.
fn falls_back(
    scene: &Scene,
    names: &BTreeMap<String, String>,
    near: &'static str,
    clock: &mut PlayedClock,
    fresh: &mut Names<'_>,
    asked: &mut Asked,
) -> Told {
    let before = fresh.take()?;
    all_answered(&scene.laptop, &[before])?;
    ground::turn(scene, MACHINES, near, &["provider"], clock)?;
    // On a machine that is slow half of the minute may be over, after which the client looks again.
    let meanwhile = fresh.take()?;
    match all_answered(&scene.laptop, std::slice::from_ref(&meanwhile)) {
        Ok(()) => asked.slipped.push((near, meanwhile.name)),
        Err(_) => {
            refuses(scene, REFUSAL, &meanwhile)?;
            asked.refused.push(meanwhile.name);
        }
    }

    clock.advance(TIME_TO_LIVE + Duration::from_secs(1))?;
    let fault = fault(names, Some(near))?;
    let named = |answer: &Answer| answer.errors.iter().any(|(_, text)| text.contains(&fault));
    let deadline = Instant::now() + SEEN_WITHIN;
    loop {
        let probe = fresh.take()?;
        let answer = refuses(scene, REFUSAL, &probe)?;
        asked.refused.push(probe.name);
        if named(&answer) {
            break;
        }
        ensure(Instant::now() < deadline, || {
            format!("{near} asks in cleartext, and the client says {answer}")
        })?;
        thread::sleep(5 * POLL);
    }
    for _ in 0..NAMES {
        let probe = fresh.take()?;
        refuses(scene, &fault, &probe)?;
        asked.refused.push(probe.name);
    }

    ground::turn(scene, MACHINES, near, find(MACHINES, near)?.next(), clock)?;
    clock.advance(LOOKED_AGAIN + Duration::from_secs(1))?;
    let again = fresh.take()?;
    let deadline = Instant::now() + SEEN_WITHIN;
    while let Err(failure) = all_answered(&scene.laptop, std::slice::from_ref(&again)) {
        if Instant::now() >= deadline {
            return Err(failure);
        }
        thread::sleep(5 * POLL);
    }
    Ok(())
}

/// What the refusal says where this one asks the provider in cleartext.
fn fault(names: &BTreeMap<String, String>, near: Option<&str>) -> Result<String, Failure> {
    let Some(near) = near else {
        return Ok(format!("{REFUSAL}: {} is not upgraded", provider_dns()));
    };
    let named = names.iter().find(|(_, machine)| *machine == near);
    let (name, _) = named.ok_or_else(|| Failure::new(format!("{near} has no name")))?;
    let provider = provider_dns();
    Ok(format!("{REFUSAL}: {name} asks {provider}, cleartext"))
}

//! Forwarders of today between the laptop and the resolver: what each does is written down, and still true.

use std::{fs, net::SocketAddr, thread, time::Duration};

use hickory_proto::rr::{Name, RData, RecordType};
use serde_json::Value;

use super::{
    Failure, Scene, Story, Teller, Told,
    chains::settle_at,
    checks::ensure,
    scene::{ISP, LAN, provider_dns},
};
use crate::{
    ask::{Question, ask_once},
    boxes::{
        self, MODELS, Model, Place, Verdict,
        measure::{APPLICATION, Findings, Got, Subject, WALK, got},
    },
    host::Host,
    process::Process,
    products::{self, Appliance},
    servers::{self, UnboundSource},
};

pub(super) const BOXES: Story = Story {
    name: "boxes",
    sentence: "Twenty-four forwarders of today stand before the resolver; each does what the documentation says of it.",
    set_up,
    play,
    try_this: &["zzdot-client discover --server 192.168.77.100"],
};

const RESOLVER: [&str; 2] = ["10.53.0.60", "fd00:53::60"];
const LAN_NET: [u8; 3] = [192, 168, 77];
const ISP_NET: [u8; 3] = [10, 53, 0];
const DOT_PORT: u16 = 853;
/// How long a box may take to answer out of its cache.
const AT_ONCE: Duration = Duration::from_millis(300);
/// What a client finds at a first meeting behind a box that denies the resolver by itself.
const DENIED: Verdict = Verdict::Legacy("denied-on-the-way");
/// The same where it denies `resolver-name.arpa`, as each does that is not before a resolver.
const LIKE_ANY: Verdict = Verdict::Legacy("signed-denial");
/// What nobody has, and what lies between the same two names of a zone as the resolver's own zones do.
const BESIDE_THE_NAME: &str = "zzz.";
const BESIDE_THE_ZONE: &str = "resolver-names.arpa.";
/// Where the table is.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/forwarders.md");

fn set_up(scene: &mut Scene) -> Told {
    let resolver = scene.neighbour("resolver", RESOLVER)?;
    for (number, model) in MODELS.iter().enumerate() {
        let host = scene.lab.host(model.name)?;
        let inside = boxes::address(number, LAN_NET);
        let outside = boxes::address(number, ISP_NET);
        scene.lab.plug(&host, LAN, &[&format!("{inside}/24")])?;
        scene.lab.plug(&host, ISP, &[&format!("{outside}/24")])?;
    }
    start_resolver(scene, &resolver)?;
    start_boxes(scene)
}

/// It asks the provider's resolver, so that it has something to say about upstreams.
fn start_resolver(scene: &mut Scene, host: &Host) -> Told {
    let resolve = format!(
        "mode = \"forward\"\nupstreams = [\"{}\"]",
        provider_dns().ip()
    );
    let process = Appliance {
        host,
        label: "zzdot",
        dns: &[resolver_dns()],
        dot: &[SocketAddr::new(resolver_dns().ip(), DOT_PORT)],
        resolve: &resolve,
    }
    .start()?;
    scene.keep("zzdot", process);
    settle_at(host, resolver_dns(), &["plain"])
}

/// All of them at once: each waits for the others' processor.
fn start_boxes(scene: &mut Scene) -> Told {
    start(scene, &listening().collect::<Vec<_>>())
}

fn start(scene: &mut Scene, boxes: &[(&'static Model, SocketAddr)]) -> Told {
    for (model, _) in boxes {
        scene.running.remove(model.name);
    }
    let mut started: Vec<(&Model, Host, SocketAddr, Process)> = Vec::new();
    for &(model, listen) in boxes {
        let host = host_of(scene, model.name)?;
        let process = (model.start)(&place(scene, &host, listen))?;
        started.push((model, host, listen, process));
    }
    for (model, host, listen, mut process) in started {
        boxes::wait(&place(scene, &host, listen), &mut process)?;
        scene.keep(model.name, process);
    }
    Ok(())
}

fn place<'a>(scene: &'a Scene, host: &'a Host, listen: SocketAddr) -> Place<'a> {
    Place {
        host,
        listen,
        upstream: resolver_dns(),
        internet: &scene.internet,
    }
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let resolver = host_of(scene, "resolver")?;
    let subject = subject(&resolver)?;
    let mut all: Vec<Findings> = MODELS.iter().map(|_| Findings::default()).collect();

    let client = products::find("zzdot-client")?;
    let client = client.to_string_lossy();
    let laptop = scene.laptop.clone();

    // With what a stranger made them ask for, before anybody asked for the resolver.
    each(&laptop, &mut all, |server, findings| {
        ask_in_vain(server, BESIDE_THE_NAME);
        findings.then = verdict(&laptop, &client, server);
        findings.makes_denials =
            Some(got(server, &subject.name, RecordType::DNSKEY, WALK).is_denial());
    });
    forget(scene, &all)?;
    each(&laptop, &mut all, |server, findings| {
        ask_in_vain(server, BESIDE_THE_ZONE);
        findings.beside = verdict(&laptop, &client, server);
    });
    forget(scene, &all)?;
    teller.tell("what they make of names near by is known, and forgotten");

    // With what they know of an upgraded resolver.
    each(&laptop, &mut all, |server, findings| {
        findings.verdict = verdict(&laptop, &client, server);
        findings.ask(server, &subject);
    });
    teller.tell("all questions were asked");
    scene.end("zzdot")?;
    each(&laptop, &mut all, |server, findings| {
        let question = Question {
            checking_disabled: true,
            ..Question::new(&anchor(), RecordType::NS).with_dnssec()
        };
        let kept = ask_once(server, &question, AT_ONCE)
            .is_ok_and(|answer| Got::of(&answer, RecordType::NS).is_data());
        findings.keeps_copies = Some(kept);
    });
    teller.tell("what they answer without the resolver is known");

    // With what they know of a resolver before it was upgraded.
    let source = UnboundSource::Internet(&scene.internet);
    let before = servers::unbound(&resolver, &[resolver_dns()], source, "")?;
    start_boxes(scene)?;
    each(&laptop, &mut all, |server, _| {
        for flags in [APPLICATION, WALK] {
            let _ = got(server, &anchor(), RecordType::NS, flags);
        }
    });
    before.end()?;
    start_resolver(scene, &resolver)?;
    each(&laptop, &mut all, |server, findings| {
        findings.keeps_denials = Some(got(server, &anchor(), RecordType::NS, WALK).is_denial());
    });
    for (model, findings) in MODELS.iter().zip(&mut all) {
        // Behind the others nobody is met before an upgrade or after it. How long Knot Resolver keeps what nobody signed
        // also depends on the seconds that this takes.
        if model.verdict != Verdict::Upgraded {
            findings.keeps_denials = None;
        }
    }
    teller.tell("what they keep of the time before the upgrade is known");
    compare(&all)
}

/// As an application would, and as the client does.
fn ask_in_vain(server: SocketAddr, name: &str) {
    let name = Name::from_ascii(name).expect("a constant is a name");
    for flags in [APPLICATION, WALK] {
        let _ = got(server, &name, RecordType::A, flags);
    }
}

/// Those that deny by themselves forget what they were told.
fn forget(scene: &mut Scene, all: &[Findings]) -> Told {
    let deniers: Vec<_> = listening()
        .zip(all)
        .filter(|(_, findings)| findings.makes_denials == Some(true))
        .map(|(listening, _)| listening)
        .collect();
    let mut forgetful = Vec::new();
    for (model, listen) in deniers {
        match model.forget {
            Some(forget) => forget(&place(scene, &host_of(scene, model.name)?, listen))?,
            None => forgetful.push((model, listen)),
        }
    }
    start(scene, &forgetful)
}

/// With what the documentation says, and with what is promised.
fn compare(all: &[Findings]) -> Told {
    let lines: Vec<_> = MODELS
        .iter()
        .zip(all)
        .map(|(model, findings)| findings.line(model))
        .collect();
    for (model, findings) in MODELS.iter().zip(all) {
        let (then, beside) = match findings.makes_denials {
            Some(true) => (DENIED, LIKE_ANY),
            _ => (model.verdict, model.verdict),
        };
        for (when, promised, found) in [
            ("", model.verdict, &findings.verdict),
            (" that was asked for zzz", then, &findings.then),
            (
                " that was asked for resolver-names.arpa",
                beside,
                &findings.beside,
            ),
        ] {
            ensure(*found == promised.to_string(), || {
                format!(
                    "behind {}{when} a client is to find: {promised}, and finds: {found}",
                    model.name
                )
            })?;
        }
    }
    let document = fs::read_to_string(DOCUMENT)?;
    let missing: Vec<_> = lines
        .iter()
        .filter(|line| !document.contains(line.as_str()))
        .map(String::as_str)
        .collect();
    ensure(missing.is_empty(), || {
        format!(
            "docs/forwarders.md lacks these lines:\n{}",
            missing.join("\n")
        )
    })?;
    Ok(())
}

/// Measures at every box at the same time, from the laptop.
fn each(laptop: &Host, all: &mut [Findings], measure: impl Fn(SocketAddr, &mut Findings) + Sync) {
    laptop.within(|| {
        thread::scope(|scope| {
            for ((_, listen), findings) in listening().zip(all) {
                let measure = &measure;
                scope.spawn(move || measure(listen, findings));
            }
        });
    });
}

/// What a client says that is given this box's address.
fn verdict(laptop: &Host, client: &str, server: SocketAddr) -> String {
    let server = server.ip().to_string();
    let output = match laptop.output(client, &["discover", "--json", "--server", &server]) {
        Ok(output) => output,
        Err(error) => return error.to_string(),
    };
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let verdict = word(&said["verdict"]);
    match verdict.as_str() {
        "legacy" => format!("legacy: {}", word(&said["reason"])),
        "refused" => format!("refused: {}", word(&said["refusal"]["name"])),
        _ => verdict,
    }
}

fn subject(resolver: &Host) -> Result<Subject, Failure> {
    let told = resolver.within(|| {
        let question = Question::new(&anchor(), RecordType::NS);
        ask_once(resolver_dns(), &question, Duration::from_secs(5))
    })?;
    let public = |name| Name::from_ascii(name).expect("constants are names");
    let name = told.message.answers.iter().find_map(|record| {
        let RData::NS(ns) = &record.data else {
            return None;
        };
        Some(ns.0.clone())
    });
    Ok(Subject {
        name: name.ok_or_else(|| Failure::new("the resolver does not tell its name"))?,
        port: DOT_PORT,
        large: public("large.portal.example."),
        strange: public("portal.example."),
    })
}

fn listening() -> impl Iterator<Item = (&'static Model, SocketAddr)> {
    MODELS
        .iter()
        .enumerate()
        .map(|(number, model)| (model, SocketAddr::new(boxes::address(number, LAN_NET), 53)))
}

fn host_of(scene: &Scene, name: &str) -> Result<Host, Failure> {
    let host = scene.lab.find_host(name);
    host.cloned()
        .ok_or_else(|| Failure::new(format!("no host {name}")))
}

fn anchor() -> Name {
    Name::from_ascii("resolver-name.arpa.").expect("a constant is a name")
}

fn resolver_dns() -> SocketAddr {
    SocketAddr::new(RESOLVER[0].parse().expect("constants are addresses"), 53)
}

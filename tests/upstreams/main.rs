//! A forwarder as the client of its upstreams: a second appliance behind the first, and servers of today.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;
mod zone;

use std::{
    net::{TcpStream, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use data_encoding::BASE64;

use hickory_proto::{
    op::{Edns, Message, MessageType, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{
            A,
            opt::{EdnsCode, EdnsOption},
        },
    },
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use support::{
    daemon::{Daemon, PATIENCE, Place},
    program::{self, Running},
    upstream::{Act, Upstream},
};
use zzdot_client::dot::spki_sha256;

/// What the server at the end of the chain says to everything but questions about itself.
const TRUTH: [u8; 4] = [192, 0, 2, 7];

/// A server of today: it answers every address, and knows nothing of resolver-name.arpa.
async fn legacy() -> Upstream {
    Upstream::start(|asked, _| answer_of_today(asked)).await
}

fn answer_of_today(asked: &[u8]) -> Vec<Act> {
    let mut message = Message::from_vec(asked).unwrap();
    let question = message.queries[0].clone();
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    if question.query_type() == RecordType::A {
        let address = RData::A(A(TRUTH.into()));
        message.answers = vec![Record::from_rdata(question.name().clone(), 60, address)];
    } else {
        message.metadata.response_code = ResponseCode::NXDomain;
    }
    vec![Act::Say(message.to_vec().unwrap())]
}

/// Names that the upstream was asked for, of those that people ask for.
fn asked_by_people(upstream: &Upstream) -> Vec<String> {
    let names = upstream.queries().into_iter().map(|asked| {
        let message = Message::from_vec(&asked).unwrap();
        message.queries[0].name().to_ascii().to_lowercase()
    });
    names.filter(|name| name.ends_with("example.")).collect()
}

/// An appliance before `upstreams`, on the ports 54xx so that there can be one behind it on 53xx.
fn before(upstreams: &str, more: &str) -> Place {
    let place = Place::new("");
    let address = &place.address;
    place.write(&format!(
        "state-dir = {:?}\nstop-within-secs = 2\n[listen]\ndns = [\"{address}:5400\"]\n\
         dot = [\"{address}:8540\"]\n[resolve]\nupstreams = [{upstreams}]\n{more}",
        place.state(),
    ));
    place
}

fn question(name: &str, rtype: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    // Whoever validated says so (RFC 6840 §5.7).
    message.metadata.authentic_data = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message.edns = Some(Edns::new());
    message.to_vec().unwrap()
}

/// Asks the appliance of [`before`].
fn ask(place: &Place, name: &str, rtype: RecordType) -> Message {
    ask_at(place, "5400", name, rtype)
}

fn is_true(answer: &Message) -> bool {
    let truth = RData::A(A(TRUTH.into()));
    answer.answers.iter().any(|record| record.data == truth)
}

/// The extended error's text.
fn why(answer: &Message) -> String {
    let edns = answer.edns.as_ref().unwrap();
    match edns.option(EdnsCode::Unknown(15)) {
        Some(EdnsOption::Unknown(_, content)) => String::from_utf8(content[2..].to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// What the zone of `place` says about its upstreams: the targets of the PTR records, once `done` likes them.
fn published(place: &Place, done: impl Fn(&[String]) -> bool) -> Vec<String> {
    let name = place.status_at("name");
    let started = Instant::now();
    loop {
        let answer = ask(place, &format!("upstreams.{name}."), RecordType::PTR);
        let mut targets: Vec<String> = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::PTR(target) => Some(target.to_ascii()),
                _ => None,
            })
            .collect();
        targets.sort_unstable();
        if done(&targets) {
            return targets;
        }
        assert!(started.elapsed() < PATIENCE, "published: {targets:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The one TXT at `owner`.
fn text(place: &Place, owner: &str) -> String {
    let answer = ask(place, owner, RecordType::TXT);
    let texts: Vec<String> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.to_string()),
            _ => None,
        })
        .collect();
    let [text] = &texts[..] else {
        panic!("{owner}: {texts:?}");
    };
    text.clone()
}

trait Status {
    fn status_at(&self, key: &str) -> String;
    fn upstream(&self, at: usize) -> Value;
    fn counted(&self, counter: &str) -> u64;
}

impl Status for Place {
    fn status_at(&self, key: &str) -> String {
        self.status()[key].as_str().unwrap().to_owned()
    }

    fn upstream(&self, at: usize) -> Value {
        self.status()["resolve"]["upstreams"][at].clone()
    }

    fn counted(&self, counter: &str) -> u64 {
        self.status()["counters"][counter].as_u64().unwrap()
    }
}

fn behind(upstream: &Upstream) -> Place {
    Place::new(&format!(
        "[resolve]\nupstreams = [\"{}\"]\n",
        upstream.address
    ))
}

fn start(place: &Place) -> Daemon {
    place.serve()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_meets_its_upstream_once_and_says_who_it_is() {
    let origin = legacy().await;
    let back = behind(&origin);
    let back_daemon = start(&back);
    let name = back.status_at("name");
    let front = before(&format!("\"{}:5300\"", back.address), "");
    let mut daemon = start(&front);
    // A thousand who wait for a forwarder that has just started, from two hundred sockets.
    let sockets: Vec<UdpSocket> = (0..200)
        .map(|_| {
            let socket = UdpSocket::bind(format!("{}:0", front.address)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(format!("{}:5400", front.address)).unwrap();
            socket
        })
        .collect();
    for n in 0..1000 {
        let query = question(&format!("n{n}.example."), RecordType::A);
        sockets[n % sockets.len()].send(&query).unwrap();
    }
    let mut buffer = [0; 4096];
    for n in 0..1000 {
        let length = sockets[n % sockets.len()].recv(&mut buffer).unwrap();
        assert!(is_true(&Message::from_vec(&buffer[..length]).unwrap()));
    }
    assert_eq!(back.counted("tls-handshakes"), 1, "one for all of them");
    assert!(back.counted("tls-queries") >= 1000);

    let as_target = format!("{name}.");
    assert_eq!(published(&front, |told| !told.is_empty()), [as_target]);
    let own = front.status_at("name");
    assert_eq!(text(&front, &format!("transport.{name}.{own}.")), "dot");
    assert_eq!(text(&front, &format!("proof.{name}.{own}.")), "dane");
    let kind = text(&front, &format!("server-type.{name}.{own}."));
    assert_eq!(kind, "forwarder", "it forwards, too");
    for (claim, own_words) in [
        (
            format!("{name}.{own}."),
            format!("{name}.resolver-name.arpa."),
        ),
        (
            format!("_8530._tcp.{name}.{own}."),
            format!("_8530._tcp.{name}."),
        ),
    ] {
        let rtype = match claim.starts_with('_') {
            true => RecordType::TLSA,
            false => RecordType::KEY,
        };
        let data = |answer: Message| answer.answers[0].data.clone();
        let said = ask_at(&back, "5300", &own_words, rtype);
        assert_eq!(data(ask(&front, &claim, rtype)), data(said), "{claim}");
    }
    // Through us it tells its own name, and nothing else is asked of it for others.
    for through in [format!("q.{name}.{own}."), format!("q.{own}.")] {
        let answer = ask(
            &front,
            &format!("resolver-name.arpa.{through}"),
            RecordType::NS,
        );
        let types: Vec<_> = answer.answers.iter().map(Record::record_type).collect();
        let expected = [RecordType::DNAME, RecordType::CNAME, RecordType::NS];
        assert_eq!(types, expected, "{answer}");
        let own_word = ask_at(&back, "5300", "resolver-name.arpa.", RecordType::NS);
        assert_eq!(answer.answers[2], own_word.answers[0]);
        let answer = ask(&front, &format!("secret.example.{through}"), RecordType::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    }
    assert_eq!(front.counted("passages"), 2);
    assert_eq!(front.counted("refused-passage"), 2);
    let upstream = front.upstream(0);
    assert_eq!(
        (&upstream["name"], &upstream["transport"]),
        (&name.clone().into(), &"dot".into())
    );
    let list = front.told("upstreams", &[]);
    assert!(
        list.contains(&format!("dot (dane), {name}, a forwarder")),
        "{list}"
    );

    // What it says of itself is asked for through us, and what the one behind it says.
    let through = format!("resolver-name.arpa.q.{name}.{own}.");
    let answer = ask(&front, &through, RecordType::NS);
    let said: Vec<String> = answer
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect();
    assert!(said.contains(&format!("{name}.")), "{said:?}");
    let label = format!("127-0-0-1-p{}.unnamed", origin.address.port());
    let further = format!("resolver-name.arpa.q.{label}.{name}.q.{name}.{own}.");
    let answer = ask(&front, &further, RecordType::NS);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(answer.metadata.authoritative, "for the aliases");

    // A key that it announces is announced here, too.
    back.told("rotate", &["--what", "certificate"]);
    daemon.reload();
    let tlsa = |place: &Place, port: &str, owner: &str| {
        let answer = ask_at(place, port, owner, RecordType::TLSA);
        let mut data: Vec<String> = answer
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect();
        data.sort_unstable();
        data
    };
    let announced = tlsa(&back, "5300", &format!("_8530._tcp.{name}."));
    assert_eq!(announced.len(), 2);
    let started = Instant::now();
    while tlsa(&front, "5400", &format!("_8530._tcp.{name}.{own}.")) != announced {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }

    // Whoever takes its place is not told anything, and not published either.
    assert!(back_daemon.stop().success());
    let thief = UdpSocket::bind(format!("{}:5300", back.address)).unwrap();
    thief.set_nonblocking(true).unwrap();
    let answer = ask(&front, "secret.example.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(why(&answer).contains("upstream: "), "{}", why(&answer));
    while let Ok(length) = thief.recv(&mut buffer) {
        let message = Message::from_vec(&buffer[..length]).unwrap();
        let asked = message.queries[0].name().to_ascii();
        assert!(
            !asked.ends_with("example."),
            "{asked} went out in cleartext"
        );
    }
    // Nor after a restart.
    drop(thief);
    assert!(daemon.stop().success());
    let address = format!("{}:5300", back.address);
    let impostor = Upstream::start_at(&address, |asked, _| answer_of_today(asked)).await;
    let mut daemon = start(&front);
    let answer = ask(&front, "secret.example.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(front.upstream(0)["name"], name);
    assert_eq!(asked_by_people(&impostor), [""; 0]);
    // Where a stranger is named in its place, that is told loudly.
    let configured = std::fs::read_to_string(front.config()).unwrap();
    let stranger = configured.replace(&address, &origin.address.to_string());
    assert_ne!(stranger, configured);
    front.write(&stranger);
    daemon.reload();
    let log = daemon.log();
    assert!(log.contains("a known upstream is asked no more"), "{log}");
    front.write(&configured);
    daemon.reload();
    // Until somebody who may says so.
    let forgotten = front.told("upstreams", &["forget", &name]);
    assert_eq!(forgotten, format!("{name} is forgotten\n"));
    assert!(is_true(&ask(&front, "open.example.", RecordType::A)));
    assert_eq!(asked_by_people(&impostor), ["open.example."]);
    let label = format!("{}-p5300.unnamed.{own}.", back.address.replace('.', "-"));
    assert_eq!(
        published(&front, |told| told == [label.as_str()]),
        std::slice::from_ref(&label)
    );
    assert_eq!(text(&front, &format!("transport.{label}")), "plain");
    assert!(daemon.stop().success());
}

fn ask_at(place: &Place, port: &str, name: &str, rtype: RecordType) -> Message {
    let socket = UdpSocket::bind(format!("{}:0", place.address)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(format!("{}:{port}", place.address)).unwrap();
    socket.send(&question(name, rtype)).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_required_of_upstreams_is_kept() {
    let origin = legacy().await;
    let address = origin.address;
    let front = before(&format!("\"{address}\""), "require = \"encrypted\"\n");
    let mut daemon = start(&front);
    let answer = ask(&front, "a.example.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(why(&answer).contains("not-encrypted"), "{}", why(&answer));
    assert_eq!(front.upstream(0)["transport"], Value::Null);
    let list = front.told("upstreams", &[]);
    assert!(list.contains("not reached"), "{list}");
    assert_eq!(asked_by_people(&origin), [""; 0]);
    // A configuration that cannot be had changes nothing, however much of it could be had.
    let configured = std::fs::read_to_string(front.config()).unwrap();
    let weaker = configured.replace("encrypted", "any");
    let taken = UdpSocket::bind(format!("{}:5401", front.address)).unwrap();
    let (own, both) = (":5400\"", format!(":5400\", \"{}:5401\"", front.address));
    front.write(&weaker.replace(own, &both));
    daemon.reload();
    let error = front.status()["last-reload"]["error"].clone();
    assert!(error.as_str().unwrap().contains("5401"), "{error}");
    let answer = ask(&front, "c.example.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(asked_by_people(&origin), [""; 0]);
    drop(taken);
    // The same upstream, known better, is one that was never asked in the clear.
    front.write(&weaker);
    daemon.reload();
    assert!(is_true(&ask(&front, "b.example.", RecordType::A)));
    assert_eq!(front.upstream(0)["transport"], "plain");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_publishes_nothing_leads_to_one_upstream_that_does() {
    let origin = legacy().await;
    let back = behind(&origin);
    let _back = start(&back);
    let name = back.status_at("name");
    let front = Place::new("");
    let address = &front.address;
    front.write(&format!(
        "state-dir = {:?}\n[listen]\ndns = [\"{address}:5400\"]\n[publish]\nmode = \"transparent\"\n\
         [resolve]\nupstreams = [\"{address}:5300\", \"{}\"]\n[cache]\nbytes = 0\n",
        front.state(),
        origin.address,
    ));
    let checked = front.told("check", &[]);
    assert!(checked.contains("none: discovery is left"), "{checked}");
    let daemon = start(&front);
    let status = front.status();
    assert_eq!(
        (&status["name"], &status["publishes"]),
        (&Value::Null, &"transparent".into())
    );
    assert_eq!(status["listen"]["dot"], serde_json::json!([]));
    assert!(!front.identity().exists(), "nobody is made up");
    // The other one would say that there is no such name.
    for _ in 0..20 {
        let answer = ask(&front, "resolver-name.arpa.", RecordType::NS);
        let told: Vec<String> = answer
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect();
        assert_eq!(told, [format!("{name}.")]);
    }
    let own = ask(&front, &format!("server-type.{name}."), RecordType::TXT);
    assert_eq!(own.answers.len(), 1);
    assert!(is_true(&ask(&front, "a.example.", RecordType::A)));
    // It is a client of the one that is upgraded all the same.
    assert_eq!(front.upstream(0)["transport"], "dot");
    let refused = front.run("rotate", &["--what", "certificate"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("publishes no name"));
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_upstream_is_asked_while_it_holds_the_key_and_not_otherwise() {
    let front = Place::new("");
    let path = |name: &str| front.path().join(name);
    program::run(
        Command::new(program::find("openssl", "openssl"))
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args(["-nodes", "-days", "30", "-subj", "/CN=nobody", "-keyout"])
            .arg(path("key.pem"))
            .arg("-out")
            .arg(path("certificate.pem")),
    );
    let certificate = CertificateDer::from_pem_file(path("certificate.pem")).unwrap();
    let pin = BASE64.encode(&spki_sha256(&certificate).unwrap());
    let (address, folder) = (&front.address, front.path().display());
    std::fs::write(
        path("unbound.conf"),
        format!(
            "server:\n interface: {address}@8550\n tls-port: 8550\n tls-service-key: \"{folder}/key.pem\"\n\
             \ttls-service-pem: \"{folder}/certificate.pem\"\n do-daemonize: no\n use-syslog: no\n\
             \tusername: \"\"\n chroot: \"\"\n pidfile: \"\"\n access-control: 127.0.0.0/8 allow\n\
             \tlocal-zone: \"example.\" redirect\n local-data: \"example. A 192.0.2.7\"\n"
        ),
    )
    .unwrap();
    let mut command = Command::new(program::find("unbound", "unbound"));
    command.arg("-c").arg(path("unbound.conf"));
    let _unbound = Running::start(&mut command, &path("unbound.log"));
    let configure = |pin: &str| {
        front.write(&format!(
            "state-dir = {:?}\nstop-within-secs = 2\n[listen]\ndns = [\"{address}:5400\"]\n\
             dot = [\"{address}:8540\"]\n[resolve]\nrequire = \"authenticated\"\n\
             upstreams = [\"tls://{address}:8550?pin=sha256/{pin}\"]\n",
            front.state(),
        ));
    };
    configure(&pin);
    let started = Instant::now();
    while TcpStream::connect(format!("{address}:8550")).is_err() {
        assert!(started.elapsed() < PATIENCE, "unbound does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut daemon = start(&front);
    assert!(is_true(&ask(&front, "a.example.", RecordType::A)));
    let own = front.status_at("name");
    let label = format!("{}-p8550.unnamed.{own}.", address.replace('.', "-"));
    assert_eq!(
        published(&front, |told| !told.is_empty()),
        std::slice::from_ref(&label)
    );
    assert_eq!(text(&front, &format!("transport.{label}")), "dot");
    assert_eq!(text(&front, &format!("proof.{label}")), "pin");
    configure(&BASE64.encode(&[7; 32]));
    daemon.reload();
    let answer = ask(&front, "b.example.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

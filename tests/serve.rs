//! `zzdot serve` from outside: what it serves, what it refuses, and how it starts and stops.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use nix::sys::signal::Signal;
use support::{
    clock,
    daemon::{Daemon, PATIENCE, Place, own_address},
    program,
    upstream::{Act, Upstream, Via},
};

fn query(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

/// Answers every question with the address 192.0.2.`last`.
fn answer(asked: &[u8], last: u8) -> Vec<Act> {
    let mut message = Message::from_vec(asked).unwrap();
    message.metadata.message_type = MessageType::Response;
    let owner = message.queries[0].name().clone();
    message.answers = vec![Record::from_rdata(
        owner,
        60,
        RData::A(A::new(192, 0, 2, last)),
    )];
    vec![Act::Say(message.to_vec().unwrap())]
}

fn forward_to(upstream: &Upstream) -> String {
    format!("[resolve]\nupstreams = [\"{}\"]\n", upstream.address)
}

/// Nobody listens there, so it is soon known.
const NO_UPSTREAM: &str = "[resolve]\nupstreams = [\"127.0.0.1:9\"]\n";

struct Stream(TcpStream);

impl Stream {
    fn open(place: &Place) -> Self {
        let stream = TcpStream::connect(format!("{}:5300", place.address)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn send(&mut self, query: &[u8]) {
        let mut framed = (query.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(query);
        self.0.write_all(&framed).unwrap();
    }

    fn receive(&mut self) -> Message {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut bytes).unwrap();
        Message::from_vec(&bytes).unwrap()
    }

    fn ask(&mut self, name: &str) -> Message {
        self.send(&query(name));
        self.receive()
    }
}

fn last_octets(message: &Message) -> Vec<u8> {
    let octet = |record: &Record| match &record.data {
        RData::A(address) => Some(address.0.octets()[3]),
        _ => None,
    };
    message.answers.iter().filter_map(octet).collect()
}

fn kdig(place: &Place, arguments: &[&str]) -> String {
    let output = program::run(
        Command::new(program::find("kdig", "knot-dnsutils"))
            .arg(format!("@{}", place.address))
            .args(arguments),
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_udp_tcp_and_tls_and_says_who_it_is() {
    let upstream = Upstream::start(|asked, _| answer(asked, 7)).await;
    let place = Place::new(&forward_to(&upstream));
    let daemon = place.serve();
    let identity: serde_json::Value =
        serde_json::from_str(&place.told("identity", &["--json"])).unwrap();
    let name = identity["name"].as_str().unwrap();
    assert!(name.ends_with(".zz") && name.len() == 23, "{name}");
    let pin = identity["pin"].as_str().unwrap().replace("sha256/", "");
    for transport in [
        vec!["-p", "5300"],
        vec!["-p", "5300", "+tcp"],
        vec!["-p", "8530", "+tls"],
    ] {
        let arguments = [&transport[..], &["www.example.com", "A"]].concat();
        let text = kdig(&place, &arguments);
        assert!(text.contains("192.0.2.7"), "{transport:?}: {text}");
        let arguments = [&transport[..], &["resolver-name.arpa", "NS", "+dnssec"]].concat();
        let text = kdig(&place, &arguments);
        assert!(text.contains(name) && text.contains("RRSIG"), "{text}");
    }
    let tls_pin = format!("+tls-pin={pin}");
    let text = kdig(&place, &["-p", "8530", "+tls", &tls_pin, "www.example.com"]);
    assert!(text.contains("192.0.2.7"), "{text}");
    // The answer has the type that the mode has.
    let owner = format!("server-type.{name}");
    let text = kdig(&place, &["-p", "5300", &owner, "TXT"]);
    assert!(text.contains("\"forwarder\""), "{text}");

    let status = place.status();
    for key in [
        "name",
        "version",
        "pid",
        "uptime-secs",
        "config-file",
        "state-dir",
        "server-type",
        "listen",
        "access",
        "published-addresses",
        "zones",
        "zones-trouble",
        "resolve",
        "last-reload",
        "counters",
    ] {
        assert!(status.get(key).is_some(), "{key} is missing: {status}");
    }
    assert_eq!(status["name"], name);
    assert_eq!(status["resolve"]["mode"], "forward");
    assert!(place.told("status", &[]).contains(name));
    assert!(daemon.stop().success());
    assert!(!place.state().join("control.sock").exists());
    let output = place.run("status", &[]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("no daemon is listening here"), "{text}");
    // The identity is told without the daemon, too.
    assert!(place.told("identity", &[]).contains(name));
}

#[test]
fn the_printed_anchor_validates_what_is_served() {
    let place = Place::new(NO_UPSTREAM);
    let _daemon = place.serve();
    let anchor = place.told("identity", &["--trust-anchor"]);
    assert!(
        anchor.contains(" DNSKEY 257 3 13 ") && anchor.contains(" DS "),
        "{anchor}"
    );
    let file = place.path().join("anchor");
    fs::write(&file, &anchor).unwrap();
    let chase = || {
        let output = Command::new(program::find("drill", "ldnsutils"))
            .args(["-S", "-k"])
            .arg(&file)
            .args(["-p", "5300"])
            .arg(format!("@{}", place.address))
            .args(["NS", "resolver-name.arpa"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = chase();
    assert!(text.contains("Chase successful"), "{text}");
    // The same question with somebody else's anchor, lest it succeed with any.
    let stranger = Place::new(NO_UPSTREAM);
    stranger.write(&format!(
        "state-dir = {:?}\n[listen]\ndns = [\"{1}:5500\"]\ndot = [\"{1}:8550\"]\n{NO_UPSTREAM}",
        stranger.state(),
        stranger.address
    ));
    let _other = stranger.serve();
    fs::write(&file, stranger.told("identity", &["--trust-anchor"])).unwrap();
    let text = chase();
    assert!(!text.contains("Chase successful"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_changes_upstreams_and_addresses_and_drops_no_connection() {
    let old = Upstream::start(|asked, _| answer(asked, 1)).await;
    let new = Upstream::start(|asked, _| answer(asked, 2)).await;
    let place = Place::new(&forward_to(&old));
    let mut daemon = place.serve();
    let mut stream = Stream::open(&place);
    assert_eq!(last_octets(&stream.ask("a.example.")), [1]);
    let (address, state) = (&place.address, place.state());
    place.write(&format!(
        "state-dir = {state:?}\n[listen]\ndns = [\"{address}:5300\", \"{address}:5301\"]\n\
         dot = [\"{address}:8530\"]\n{}",
        forward_to(&new)
    ));
    daemon.reload();
    assert_eq!(
        last_octets(&stream.ask("b.example.")),
        [2],
        "the same connection"
    );
    let second = UdpSocket::bind("127.0.0.1:0").unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    second
        .send_to(&query("c.example."), format!("{address}:5301"))
        .unwrap();
    let mut buffer = [0; 4096];
    let (length, _) = second.recv_from(&mut buffer).unwrap();
    assert_eq!(
        last_octets(&Message::from_vec(&buffer[..length]).unwrap()),
        [2]
    );
    assert_eq!(
        place.status()["last-reload"]["error"],
        serde_json::Value::Null
    );

    // Access is taken at once: nobody is allowed any more.
    place.configure(&format!(
        "[access]\nallow = [\"192.0.2.0/24\"]\n{}",
        forward_to(&new)
    ));
    daemon.reload();
    stream.send(&query("d.example."));
    let mut rest = Vec::new();
    stream.0.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "a stranger is met with silence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_reload_keeps_the_old_configuration_and_says_why() {
    let upstream = Upstream::start(|asked, _| answer(asked, 1)).await;
    let place = Place::new(&forward_to(&upstream));
    let mut daemon = place.serve();
    let broken = [
        "[resolve]\nmode = \"magic\"\n".to_owned(),
        "[resolve]\nmode = \"recursive\"\ntrust-anchor = \"/nowhere\"\n".to_owned(),
    ];
    for text in &broken {
        place.configure(text);
        daemon.reload();
        // The tools would read the same file, so the daemon is asked by its folder.
        let output = Command::new(support::daemon::ZZDOT)
            .args(["status", "--json", "--state-dir"])
            .arg(place.state())
            .output()
            .unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let error = status["last-reload"]["error"].as_str().unwrap();
        assert!(
            error.contains("magic") || error.contains("/nowhere"),
            "{error}"
        );
        assert_eq!(last_octets(&Stream::open(&place).ask("a.example.")), [1]);
        assert!(
            daemon.log().contains("the old configuration stays"),
            "{}",
            daemon.log()
        );
    }
}

#[test]
fn a_name_is_served_until_the_restart_that_gives_it_up() {
    let upstreams = "[resolve]\nupstreams = [\"127.0.0.1:9\"]\n";
    let place = Place::new(upstreams);
    let mut daemon = place.serve();
    let before = place.status();
    let (address, state) = (&place.address, place.state());
    place.write(&format!(
        "state-dir = {state:?}\n[listen]\ndns = [\"{address}:5300\"]\n[publish]\nmode = \"transparent\"\n{upstreams}",
    ));
    daemon.reload();
    let after = place.status();
    let reload = &after["last-reload"];
    assert_eq!(
        reload["needs-restart"],
        serde_json::json!(["publish.mode"]),
        "{reload}"
    );
    // Whoever knows the name comes over TLS or not at all.
    for key in ["publishes", "listen", "published-addresses"] {
        assert_eq!(after[key], before[key], "{key}");
    }
}

#[test]
fn sighup_reads_the_files_again_that_the_configuration_names() {
    let place = Place::new("");
    let hints = place.path().join("hints");
    fs::write(&hints, ". 300 IN NS a.\na. 300 IN A 127.0.0.1\n").unwrap();
    place.configure(&format!(
        "[resolve]\nmode = \"recursive\"\nroot-hints = {hints:?}\n"
    ));
    let mut daemon = place.serve();
    fs::write(&hints, "").unwrap();
    daemon.reload();
    let error = place.status()["last-reload"]["error"].clone();
    assert!(
        error.as_str().unwrap().contains("no A or AAAA record"),
        "{error}"
    );
    let more = ". 300 IN NS a.\na. 300 IN A 127.0.0.1\na. 300 IN A 127.0.0.2\n";
    fs::write(&hints, more).unwrap();
    daemon.reload();
    let status = place.status();
    assert_eq!(status["last-reload"]["error"], serde_json::Value::Null);
    assert_eq!(status["resolve"]["root-servers"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_waits_for_the_question_in_flight() {
    let is_it = |asked: &[u8]| asked.windows(4).any(|part| part == b"slow");
    let upstream = Upstream::start(move |asked, _| {
        // What it is asked about itself is answered at once.
        if is_it(asked) {
            std::thread::sleep(Duration::from_millis(700));
        }
        answer(asked, 3)
    })
    .await;
    let place = Place::new(&forward_to(&upstream));
    let mut daemon = place.serve();
    let mut stream = Stream::open(&place);
    stream.send(&query("slow.example."));
    while !upstream.queries().iter().any(|asked| is_it(asked)) {
        tokio::task::yield_now().await;
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(last_octets(&stream.receive()), [3]);
    assert!(daemon.ended().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_does_not_wait_longer_than_it_says() {
    let upstream = Upstream::start(|_, _: Via| Vec::new()).await;
    let place = Place::new(&forward_to(&upstream));
    let mut daemon = place.serve();
    let mut stream = Stream::open(&place);
    stream.send(&query("never.example."));
    while upstream.datagrams() == 0 {
        tokio::task::yield_now().await;
    }
    let started = std::time::Instant::now();
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended().success());
    // Two seconds are configured; the question itself would have taken more than six.
    assert!(started.elapsed() < Duration::from_secs(6));
}

#[test]
fn the_watchdog_is_fed() {
    let place = Place::new(NO_UPSTREAM);
    let mut command = place.command("serve");
    command.env("WATCHDOG_USEC", "400000");
    let mut daemon = Daemon::start(command, place.path());
    daemon.wait_for("WATCHDOG=1");
    daemon.wait_for("WATCHDOG=1");
}

#[test]
fn sockets_passed_in_are_served() {
    let place = Place::new(NO_UPSTREAM);
    // The file says nothing about addresses: the sockets decide.
    place.write(&format!("state-dir = {:?}\n{NO_UPSTREAM}", place.state()));
    let address = own_address();
    let udp = UdpSocket::bind(format!("{address}:5310")).unwrap();
    let tcp = TcpListener::bind(format!("{address}:5310")).unwrap();
    let tls = TcpListener::bind(format!("{address}:8853")).unwrap();
    // Three descriptors come as the standard ones and are moved to where the protocol has them.
    let script = "exec 3<&0 4<&1 5<&2 0</dev/null 1>/dev/null 2>/dev/null; \
                  LISTEN_PID=$$ LISTEN_FDS=3 exec \"$0\" serve --config \"$1\"";
    let socket = place.path().join("notify");
    let notifications = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    notifications.set_read_timeout(Some(PATIENCE)).unwrap();
    let child = Command::new("sh")
        .args(["-c", script, support::daemon::ZZDOT])
        .arg(place.config())
        .env("NOTIFY_SOCKET", &socket)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(udp)))
        .stdout(Stdio::from(std::os::fd::OwnedFd::from(tcp)))
        .stderr(Stdio::from(std::os::fd::OwnedFd::from(tls)))
        .spawn()
        .unwrap();
    let _running = program::Running(child);
    let mut buffer = [0; 4096];
    let length = notifications.recv(&mut buffer).unwrap();
    assert!(String::from_utf8_lossy(&buffer[..length]).contains("READY=1"));
    let status = place.status();
    assert_eq!(status["listen"]["dns"][0], format!("{address}:5310"));
    assert_eq!(status["listen"]["dot"][0], format!("{address}:8853"));
    for arguments in [
        vec!["-p", "5310"],
        vec!["-p", "5310", "+tcp"],
        vec!["-p", "8853", "+tls"],
    ] {
        let arguments = [&arguments[..], &["resolver-name.arpa", "NS"]].concat();
        assert!(kdig(&place, &arguments).contains(".zz."), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_clock_that_fell_back_it_serves_and_publishes_nothing() {
    let upstream = Upstream::start(|asked, _| answer(asked, 5)).await;
    let place = Place::new(&forward_to(&upstream));
    assert!(place.serve().stop().success());
    let mut command = Command::new(support::daemon::ZZDOT);
    command.args(["serve", "--config"]).arg(place.config());
    clock::shift(&mut command, "-400d");
    let daemon = Daemon::start(command, place.path());
    let status = place.status();
    assert_eq!(status["zones"], serde_json::Value::Null);
    let trouble = status["zones-trouble"].as_str().unwrap();
    assert!(trouble.contains("the clock says"), "{trouble}");
    let mut stream = Stream::open(&place);
    assert_eq!(last_octets(&stream.ask("a.example.")), [5]);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_over_tls_is_asked_when_its_name_is_right_and_not_otherwise() {
    let origin = Upstream::start(|asked, _| answer(asked, 9)).await;
    let back = Place::new(&forward_to(&origin));
    let _back = back.serve();
    let name = back.status()["name"].as_str().unwrap().to_owned();
    let certificate = fs::read_dir(back.identity())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            fs::read_to_string(path)
                .unwrap()
                .contains("BEGIN CERTIFICATE")
        })
        .unwrap();
    let front = Place::new("");
    let address = &back.address;
    let configure = |name: &str| {
        front.write(&format!(
            "state-dir = {:?}\n[listen]\ndns = [\"{address}:5400\"]\ndot = [\"{address}:8540\"]\n\
             [resolve]\nca-file = {certificate:?}\nupstreams = [\"tls://{address}:8530#{name}\"]\n",
            front.state(),
        ));
    };
    configure(&name);
    let mut daemon = front.serve();
    let text = kdig(&front, &["-p", "5400", "www.example.com"]);
    assert!(text.contains("192.0.2.9"), "{text}");
    assert_eq!(
        front.status()["resolve"]["upstreams"][0]["transport"],
        "dot"
    );
    configure("someone-else.zz");
    daemon.reload();
    let text = kdig(&front, &["-p", "5400", "+timeout=15", "other.example.com"]);
    assert!(
        text.contains("SERVFAIL") && !text.contains("192.0.2.9"),
        "{text}"
    );
    assert_eq!(
        Stream(TcpStream::connect(format!("{address}:5400")).unwrap())
            .ask("x.example.")
            .metadata
            .response_code,
        ResponseCode::ServFail
    );
}

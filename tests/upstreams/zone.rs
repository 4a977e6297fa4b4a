//! What a forwarder says about its upstreams: that it is so now, and that a validator of today believes it.

use super::*;

/// What is published cannot be saved while a folder stands in the place of the file.
fn in_the_way(file: &std::path::Path) -> impl FnOnce() + use<> {
    let (file, aside) = (file.to_owned(), file.with_extension("aside"));
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    move || {
        std::fs::remove_dir(&file).unwrap();
        std::fs::rename(&aside, &file).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_it_asks_is_not_told_while_what_is_so_cannot_be_signed() {
    let (first, second) = (legacy().await, legacy().await);
    let front = before(&format!("\"{}\"", first.address), "");
    let mut daemon = start(&front);
    let own = front.status_at("name");
    assert!(is_true(&ask(&front, "first.example.", RecordType::A)));
    let label =
        |upstream: &Upstream| format!("127-0-0-1-p{}.unnamed.{own}.", upstream.address.port());
    published(&front, |told| told == [label(&first)]);
    let away = in_the_way(&front.identity().join("publication.state"));
    let configured = std::fs::read_to_string(front.config()).unwrap();
    let [old, new] = [&first, &second].map(|upstream| upstream.address.to_string());
    front.write(&configured.replace(&old, &new));
    daemon.reload();
    // The second one is asked from now on, and the zone that is signed names the first.
    assert!(is_true(&ask(&front, "a.example.", RecordType::A)));
    assert_eq!(asked_by_people(&second), ["a.example."]);
    let answer = ask(&front, &format!("Upstreams.{own}."), RecordType::PTR);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(
        why(&answer).contains("could not be signed"),
        "{}",
        why(&answer)
    );
    assert!(answer.answers.is_empty());
    assert_eq!(text(&front, &format!("server-type.{own}.")), "forwarder");
    // Nobody has to say so when there is room again.
    away();
    published(&front, |told| told == [label(&second)]);
    assert_eq!(
        text(&front, &format!("transport.{}", label(&second))),
        "plain"
    );
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_was_never_asked_is_named_beside_the_one_that_is_asked() {
    let (origin, other) = (legacy().await, legacy().await);
    let back = behind(&origin);
    let _back = start(&back);
    let upstreams = format!("\"{}:5300\", \"{}\"", back.address, other.address);
    let front = before(&upstreams, "");
    let daemon = start(&front);
    let own = front.status_at("name");
    let unnamed = format!("127-0-0-1-p{}.unnamed.{own}.", other.address.port());
    let named = format!("{}.", back.status_at("name"));
    published(&front, |told| {
        told.contains(&unnamed) && told.contains(&named)
    });
    // Who is told of the better one alone would rely on it, and the next question may go to the other.
    assert_eq!(text(&front, &format!("transport.{unnamed}")), "plain");
    assert!(asked_by_people(&other).is_empty());
    assert!(daemon.stop().success());
}

/// The keys that sign the keys of `name`, as a validator of today is told of them.
fn anchors(place: &Place, port: &str, name: &str) -> String {
    let answer = ask_at(place, port, &format!("{name}."), RecordType::DNSKEY);
    let mut lines = String::new();
    for record in &answer.answers {
        let data = record.data.to_string();
        if data.starts_with("257 ") {
            lines.push_str(&format!("trust-anchor: \"{name}. DNSKEY {data}\"\n"));
        }
    }
    assert!(!lines.is_empty(), "{answer}");
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_of_today_validates_what_is_asked_through_an_upstream() {
    let origin = legacy().await;
    let back = behind(&origin);
    let _back = start(&back);
    let front = before(&format!("\"{}:5300\"", back.address), "");
    let _front = start(&front);
    let (own, up) = (front.status_at("name"), back.status_at("name"));
    published(&front, |told| told == [format!("{up}.")]);
    let address = &front.address;
    let validator = |port: &str, anchors_of_up: &str| {
        let path = |name: &str| front.path().join(format!("{name}-{port}"));
        let text = format!(
            "server:\n interface: {address}@{port}\n do-daemonize: no\n use-syslog: no\n username: \"\"\n chroot: \"\"\n\
             pidfile: \"\"\n access-control: 127.0.0.0/8 allow\n do-not-query-localhost: no\n\
             module-config: \"validator iterator\"\n {}{anchors_of_up}\
             forward-zone:\n name: \"{own}\"\n forward-addr: {address}@5400\n\
             forward-zone:\n name: \"{up}\"\n forward-addr: {address}@5300\n",
            anchors(&front, "5400", &own),
        );
        std::fs::write(path("unbound.conf"), text).unwrap();
        let mut command = Command::new(program::find("unbound", "unbound"));
        command.arg("-d").arg("-c").arg(path("unbound.conf"));
        let unbound = Running::start(&mut command, &path("unbound.log"));
        let started = Instant::now();
        while TcpStream::connect(format!("{address}:{port}")).is_err() {
            let log = std::fs::read_to_string(path("unbound.log")).unwrap();
            assert!(started.elapsed() < PATIENCE, "{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
        unbound
    };
    let _right = validator("5600", &anchors(&back, "5300", &up));
    // The oracle sees: with somebody else's key for the far end it refuses what stands there.
    let other = anchors(&front, "5400", &own).replace(&own, &up);
    let _wrong = validator("5700", &other);
    let asked = |port: &str, name: &str, rtype| {
        let answer = ask_at(&front, port, name, rtype);
        (
            answer.metadata.response_code,
            answer.metadata.authentic_data,
        )
    };
    let cases = [
        ("server-type", RecordType::TXT, ResponseCode::NoError),
        ("_dns", RecordType::SVCB, ResponseCode::NoError),
        ("_8530._tcp", RecordType::TLSA, ResponseCode::NoError),
        ("_tcp", RecordType::TXT, ResponseCode::NoError),
        // Nothing of that type, and no such name: denied by the far end, with proof.
        ("server-type", RecordType::A, ResponseCode::NoError),
        ("nothing", RecordType::TXT, ResponseCode::NXDomain),
    ];
    for through in [format!("q.{up}.{own}."), format!("q.{own}.")] {
        for (label, rtype, rcode) in cases {
            let name = format!("{label}.{up}.{through}");
            assert_eq!(asked("5600", &name, rtype), (rcode, true), "{name} {rtype}");
        }
        let name = format!("server-type.{up}.{through}");
        let refused = (ResponseCode::ServFail, false);
        assert_eq!(asked("5700", &name, RecordType::TXT), refused);
        // Not by the near end: that is validated by both.
        let own_word = asked("5700", &through, RecordType::DNAME);
        assert_eq!(own_word, (ResponseCode::NoError, true), "{through}");
    }
}

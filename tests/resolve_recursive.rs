//! Recursion in a small signed internet, compared with what unbound says there.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use support::internet::Internet;
use zzdot::resolve::{
    BogusReason, MAX_PACKETS_A_QUESTION, Recursive, RecursiveOptions, ResolveError, Source,
};

/// One question, with the bits that matter to a validator.
#[derive(Clone, Copy, Debug)]
struct Asked {
    name: &'static str,
    rtype: RecordType,
    dnssec_ok: bool,
    checking_disabled: bool,
}

impl Asked {
    fn message(self) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(Query::query(
            Name::from_ascii(self.name).unwrap(),
            self.rtype,
        ));
        let mut edns = Edns::new();
        edns.set_max_payload(4096).set_dnssec_ok(self.dnssec_ok);
        message.edns = Some(edns);
        message
    }
}

/// What is compared: everything but the order and the TTLs.
fn essence(message: &Message) -> (ResponseCode, bool, Vec<String>, Vec<String>) {
    let lines = |records: &[Record]| {
        let mut lines: Vec<String> = records
            .iter()
            .map(|record| {
                format!(
                    "{} {} {}",
                    record.name.to_lowercase(),
                    record.record_type(),
                    record.data
                )
            })
            .collect();
        lines.sort();
        lines
    };
    (
        message.metadata.response_code,
        message.metadata.authentic_data,
        lines(&message.answers),
        lines(&message.authorities),
    )
}

fn ask_unbound(internet: &Internet, asked: Asked) -> Message {
    let query = asked.message().to_vec().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(internet.unbound).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.send(&query).unwrap();
    let mut buffer = [0; 65_535];
    let length = socket.recv(&mut buffer).unwrap();
    let message = Message::from_vec(&buffer[..length]).unwrap();
    if !message.metadata.truncation {
        return message;
    }
    let mut stream = TcpStream::connect(internet.unbound).unwrap();
    stream
        .write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat())
        .unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).unwrap();
    Message::from_vec(&bytes).unwrap()
}

async fn ask(recursive: &Recursive, asked: Asked) -> Result<Message, ResolveError> {
    let query: Arc<[u8]> = asked.message().to_vec().unwrap().into();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(7);
    let bytes = recursive.resolve(query, deadline).await?;
    let message = Message::from_vec(&bytes).unwrap();
    assert_eq!(message.queries, asked.message().queries);
    Ok(message)
}

fn recursive(internet: &Internet) -> Recursive {
    Recursive::new(&RecursiveOptions {
        root_hints: Some(internet.hints.clone()),
        trust_anchor: Some(internet.anchor.clone()),
        allow_private_nameservers: true,
    })
    .unwrap()
}

const A: RecordType = RecordType::A;
const TXT: RecordType = RecordType::TXT;

#[tokio::test(flavor = "multi_thread")]
async fn answers_equal_those_of_unbound() {
    let internet = Internet::start();
    let recursive = recursive(&internet);
    let names = [
        ("www.signed.test.", A),
        ("www.signed.test.", RecordType::AAAA),
        ("www.signed.test.", TXT),
        ("WWW.Signed.TEST.", A),
        ("mail.signed.test.", RecordType::MX),
        ("_sip._tcp.signed.test.", RecordType::SRV),
        ("alias.signed.test.", A),
        ("alias.signed.test.", RecordType::CNAME),
        ("alias.signed.test.", TXT),
        ("c1.signed.test.", A),
        ("cross.signed.test.", A),
        ("far.signed.test.", A),
        ("gone.signed.test.", A),
        ("gone-far.signed.test.", A),
        ("nodata-far.signed.test.", TXT),
        ("nothing.signed.test.", A),
        ("a.b.nothing.signed.test.", A),
        ("x.wild.signed.test.", A),
        ("x.y.wild.signed.test.", A),
        ("x.wild.signed.test.", TXT),
        ("ent.signed.test.", A),
        ("c.ent.signed.test.", A),
        ("a.b.c.ent.signed.test.", A),
        ("big.signed.test.", TXT),
        ("signed.test.", RecordType::DNSKEY),
        ("signed.test.", RecordType::DS),
        ("signed.test.", RecordType::NS),
        ("signed.test.", RecordType::SOA),
        ("unsigned.test.", RecordType::DS),
        ("www.unsigned.test.", A),
        ("www.unsigned.test.", TXT),
        ("nothing.unsigned.test.", A),
        ("back.unsigned.test.", A),
        ("gone.unsigned.test.", A),
        ("c3.unsigned.test.", A),
        ("www.glueless.test.", A),
        ("www.nsec3.test.", A),
        ("www.nsec3.test.", TXT),
        ("nothing.nsec3.test.", A),
        ("c.ent.nsec3.test.", A),
        ("x.wild.nsec3.test.", TXT),
        ("x.wild.nsec3.test.", A),
        ("nothing.", A),
        ("a.b.nothing.", A),
        ("test.", RecordType::NS),
        (".", RecordType::NS),
        (".", RecordType::DNSKEY),
        ("www.bogus.test.", A),
        ("to-bogus.signed.test.", A),
        ("www.island.unsigned.test.", A),
        ("nothing.island.unsigned.test.", A),
        ("www.child.island.unsigned.test.", A),
        ("www.child.island.unsigned.test.", TXT),
        ("nothing.child.island.unsigned.test.", A),
        ("out.child.island.unsigned.test.", A),
        ("to-bogus.child.island.unsigned.test.", A),
        ("child.island.unsigned.test.", RecordType::DNSKEY),
        ("child.island.unsigned.test.", RecordType::DS),
        ("to-island.signed.test.", A),
        ("www.told-island.unsigned.test.", A),
        ("nothing.told-island.unsigned.test.", A),
        ("told-island.unsigned.test.", RecordType::DS),
        ("www.child.told-island.unsigned.test.", A),
        ("nothing.child.told-island.unsigned.test.", A),
        ("www.expired.test.", A),
        ("www.future.test.", A),
        ("www.wrong-ds.test.", A),
        ("nothing.wrong-ds.test.", A),
        ("www.stripped.test.", A),
        ("nothing.stripped.test.", A),
        ("stripped.test.", RecordType::SOA),
    ];
    let mut differences = Vec::new();
    for (name, rtype) in names {
        for (dnssec_ok, checking_disabled) in [(false, false), (true, false), (true, true)] {
            let asked = Asked {
                name,
                rtype,
                dnssec_ok,
                checking_disabled,
            };
            let theirs = essence(&ask_unbound(&internet, asked));
            let ours = match ask(&recursive, asked).await {
                Ok(message) => essence(&message),
                Err(error) => {
                    if theirs.0 != ResponseCode::ServFail {
                        differences.push(format!("{asked:?}: {error}; unbound: {theirs:?}"));
                    }
                    continue;
                }
            };
            // Who checks for himself is not told what we think of it.
            let secure = checking_disabled || ours.1 == theirs.1;
            // An authority section below an answer is a courtesy; below none it is the proof.
            let authority = !ours.2.is_empty() || ours.3 == theirs.3;
            if ours.0 != theirs.0 || ours.2 != theirs.2 || !secure || !authority {
                differences.push(format!(
                    "{asked:?}:\n   ours {ours:?}\n   unbound {theirs:?}"
                ));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_aliases_resolve_at_once_with_an_empty_cache() {
    let internet = Internet::start();
    for name in [
        "c1.signed.test.",
        "to-island.signed.test.",
        "out.child.island.unsigned.test.",
        "www.glueless.test.",
    ] {
        let asked = Asked {
            name,
            rtype: A,
            dnssec_ok: false,
            checking_disabled: false,
        };
        let answer = ask(&recursive(&internet), asked).await.unwrap();
        let addresses = answer
            .answers
            .iter()
            .filter(|record| record.record_type() == A);
        assert_eq!(addresses.count(), 1, "{name}");
    }
}

/// A root server that answers with `reply`, or not at all, and what it received.
struct Root {
    _folder: tempfile::TempDir,
    hints: std::path::PathBuf,
    received: Arc<AtomicU32>,
}

impl Root {
    fn start(address: &str, reply: impl Fn(Message) -> Option<Message> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((address, 53)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let hints = folder.path().join("hints");
        std::fs::write(
            &hints,
            format!(". 300 IN NS a.root.\na.root. 300 IN A {address}\n"),
        )
        .unwrap();
        let received = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&received);
        // Ends with the test's process.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, asker)) = socket.recv_from(&mut buffer) {
                count.fetch_add(1, Ordering::Relaxed);
                let query = Message::from_vec(&buffer[..length]).unwrap();
                if let Some(reply) = reply(query) {
                    let _ = socket.send_to(&reply.to_vec().unwrap(), asker);
                }
            }
        });
        Self {
            _folder: folder,
            hints,
            received,
        }
    }

    /// Asks one question in vain; gives back what it cost.
    async fn cost_of_a_question(&self, checking_disabled: bool) -> u32 {
        let recursive = Recursive::new(&RecursiveOptions {
            root_hints: Some(self.hints.clone()),
            trust_anchor: None,
            allow_private_nameservers: true,
        })
        .unwrap();
        let asked = Asked {
            name: "www.victim.test.",
            rtype: A,
            dnssec_ok: true,
            checking_disabled,
        };
        let before = self.received.load(Ordering::Relaxed);
        ask(&recursive, asked).await.unwrap_err();
        self.received.load(Ordering::Relaxed) - before
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_is_sent_lost_datagrams_again() {
    let root = Root::start("127.77.7.7", |_| None);
    let cost = root.cost_of_a_question(true).await;
    assert!((2..=MAX_PACKETS_A_QUESTION).contains(&cost), "{cost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_ever_names_other_servers_gets_thirty_packets_and_no_more() {
    // As in "NXNSAttack": each referral names ten servers elsewhere, whose addresses are looked up.
    let serial = AtomicU32::new(0);
    let root = Root::start("127.77.7.8", move |query| {
        let owner = query.queries[0].name().clone();
        let mut reply = query.into_response();
        for _ in 0..10 {
            let serial = serial.fetch_add(1, Ordering::Relaxed);
            let server = Name::from_ascii(format!("ns.z{serial}.")).unwrap();
            let data = RData::NS(hickory_proto::rr::rdata::NS(server));
            let zone = owner.trim_to(1);
            reply.authorities.push(Record::from_rdata(zone, 300, data));
        }
        Some(reply)
    });
    for checking_disabled in [true, false] {
        let cost = root.cost_of_a_question(checking_disabled).await;
        assert_eq!(cost, MAX_PACKETS_A_QUESTION);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bogus_answers_are_refused_and_the_reason_is_told() {
    let internet = Internet::start();
    let recursive = recursive(&internet);
    for (name, reason) in [
        ("www.bogus.test.", BogusReason::Bogus),
        ("www.expired.test.", BogusReason::SignatureExpired),
        ("www.future.test.", BogusReason::SignatureNotYetValid),
    ] {
        let asked = Asked {
            name,
            rtype: A,
            dnssec_ok: true,
            checking_disabled: false,
        };
        match ask(&recursive, asked).await {
            Err(ResolveError::Bogus { reason: told, .. }) => assert_eq!(told, reason, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_in_a_circle_and_dead_servers_end_in_time() {
    let internet = Internet::start();
    let recursive = recursive(&internet);
    for name in ["loop1.signed.test.", "www.dead.test."] {
        let asked = Asked {
            name,
            rtype: A,
            dnssec_ok: false,
            checking_disabled: false,
        };
        let started = std::time::Instant::now();
        let outcome = ask(&recursive, asked).await;
        // The deadline is seven seconds; twice that is a failure on any machine.
        assert!(started.elapsed() < Duration::from_secs(14), "{name}");
        match outcome {
            Err(_) => {}
            // A circle may also be shown as it is.
            Ok(message) => assert!(
                message
                    .answers
                    .iter()
                    .all(|record| record.record_type() != A)
            ),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_name_servers_are_left_alone_unless_allowed() {
    let internet = Internet::start();
    let recursive = Recursive::new(&RecursiveOptions {
        root_hints: Some(internet.hints.clone()),
        trust_anchor: Some(internet.anchor.clone()),
        allow_private_nameservers: false,
    })
    .unwrap();
    let asked = Asked {
        name: "www.signed.test.",
        rtype: A,
        dnssec_ok: false,
        checking_disabled: false,
    };
    // The root itself is configured, so it is asked; what it names is on loopback.
    assert!(ask(&recursive, asked).await.is_err());
}

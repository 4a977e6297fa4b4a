use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::sample::Index;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::ends::{End, OurServer, Side, configs, settle, whole};
use crate::tls::session::{RECORD_PLAIN_MAX, TlsFailure};

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

fn talk<C: End, S: End>(
    client: &mut Side<C>,
    server: &mut Side<S>,
    cut: &mut dyn FnMut() -> usize,
) {
    settle(client, server, cut).unwrap();
    assert!(client.end.ready() && server.end.ready());
    for (question, answer) in [(&b"who"[..], &b"me"[..]), (b"and now?", &[7; 40_000])] {
        let (heard, answered) = (server.end.heard().len(), client.end.heard().len());
        client.end.say(question);
        settle(client, server, cut).unwrap();
        assert_eq!(&server.end.heard()[heard..], question);
        server.end.say(answer);
        settle(client, server, cut).unwrap();
        assert_eq!(&client.end.heard()[answered..], answer);
    }
    assert!(
        client.kept.is_empty() && server.kept.is_empty(),
        "something was left"
    );
}

#[test]
fn our_ends_understand_each_other_and_rustls_own() {
    for version in VERSIONS {
        let configs = configs(version);
        talk(
            &mut configs.our_client(),
            &mut configs.our_server(),
            &mut whole(),
        );
        talk(
            &mut configs.their_client(),
            &mut configs.our_server(),
            &mut whole(),
        );
        talk(
            &mut configs.our_client(),
            &mut configs.their_server(),
            &mut whole(),
        );
    }
}

#[test]
fn octets_that_come_one_by_one_are_enough() {
    for version in VERSIONS {
        let configs = configs(version);
        talk(
            &mut configs.our_client(),
            &mut configs.our_server(),
            &mut || 1,
        );
    }
}

proptest! {
    #[test]
    fn what_is_said_arrives_however_it_is_cut(
        which in any::<bool>(),
        said in vec((any::<bool>(), vec(any::<u8>(), 1..300)), 1..20),
        cuts in vec(1_usize..2000, 1..50),
        at in any::<Index>(),
    ) {
        let configs = configs(VERSIONS[usize::from(which)]);
        let (mut client, mut server) = (configs.our_client(), configs.our_server());
        let mut cuts = cuts.iter().copied().cycle();
        let mut cut = || cuts.next().unwrap();
        settle(&mut client, &mut server, &mut cut).unwrap();
        let pause = at.index(said.len());
        for (turn, (from_client, plain)) in said.iter().enumerate() {
            if *from_client { client.end.say(plain) } else { server.end.say(plain) }
            if turn == pause {
                settle(&mut client, &mut server, &mut cut).unwrap();
            }
        }
        settle(&mut client, &mut server, &mut cut).unwrap();
        let all = |side: bool| -> Vec<u8> {
            said.iter().filter(|(from, _)| *from == side).flat_map(|(_, plain)| plain.clone()).collect()
        };
        assert_eq!(server.end.heard(), all(true));
        assert_eq!(client.end.heard(), all(false));
    }
}

#[test]
fn the_handshake_is_reported_once_and_tickets_wait_for_the_first_answer() {
    let configs = configs(&TLS13);
    let (mut client, mut server) = (configs.their_client(), configs.our_server());
    server.hear(&client.end.sent(), &mut whole()).unwrap();
    client.hear(&server.end.sent(), &mut whole()).unwrap();
    client.end.say(b"question");
    server.hear(&client.end.sent(), &mut whole()).unwrap();
    assert_eq!(server.end.completions, 1);
    assert_eq!(server.end.heard(), b"question");
    // Nobody was asked to write in between: one flight.
    server.end.say(b"answer");
    client.hear(&server.end.sent(), &mut whole()).unwrap();
    assert_eq!(client.end.heard(), b"answer");
    let rustls::Connection::Client(connection) = &client.end.connection else {
        panic!("a client is a client");
    };
    assert_eq!(connection.tls13_tickets_received(), 2);
}

#[test]
fn many_records_are_opened_in_one_go_and_many_answers_fill_one() {
    let configs = configs(&TLS13);
    let (mut client, mut server) = (configs.our_client(), configs.our_server());
    settle(&mut client, &mut server, &mut whole()).unwrap();
    for question in 0..100_u8 {
        client.end.say(&[question; 40]);
    }
    server.hear(&client.end.sent(), &mut whole()).unwrap();
    assert_eq!(server.end.heard().len(), 4000);
    server.end.say(&[1; RECORD_PLAIN_MAX]);
    assert_eq!(records(&server.end.outgoing), 1);
    server.end.outgoing.clear();
    server.end.say(&[1; RECORD_PLAIN_MAX + 1]);
    assert_eq!(records(&server.end.outgoing), 2);
}

fn records(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let [_, _, _, high, low, rest @ ..] = bytes {
        bytes = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
        count += 1;
    }
    count
}

#[test]
fn sessions_are_resumed() {
    for version in VERSIONS {
        let configs = configs(version);
        for kind in [
            HandshakeKind::Full,
            HandshakeKind::Resumed,
            HandshakeKind::Resumed,
        ] {
            let (mut client, mut server) = (configs.our_client(), configs.our_server());
            talk(&mut client, &mut server, &mut whole());
            assert_eq!(client.end.session.handshake_kind(), Some(kind));
            assert_eq!(server.end.session.handshake_kind(), Some(kind));
            assert_eq!(
                client.end.session.peer_certificates().unwrap(),
                std::slice::from_ref(&configs.certificate)
            );
            assert_eq!(client.end.session.alpn(), Some(&b"dot"[..]));
            assert_eq!(client.end.session.version(), Some(version.version));
        }
    }
}

#[test]
fn keys_that_the_peer_changes_are_followed() {
    let configs = configs(&TLS13);
    let (mut client, mut server) = (configs.their_client(), configs.our_server());
    settle(&mut client, &mut server, &mut whole()).unwrap();
    for round in 0..100_u8 {
        client.end.connection.refresh_traffic_keys().unwrap();
        client.end.say(&[round]);
        settle(&mut client, &mut server, &mut || 1).unwrap();
        server.end.say(&[round]);
        settle(&mut client, &mut server, &mut || 1).unwrap();
    }
    assert_eq!(server.end.heard().len(), 100);
    assert_eq!(client.end.heard().len(), 100);
}

#[test]
fn answers_are_sealed_while_a_message_of_the_handshake_is_half_here() {
    let mut configs = configs(&TLS13);
    configs.server.max_fragment_size = Some(64);
    let (mut client, mut server) = (configs.our_client(), configs.their_server());
    server.hear(&client.end.sent(), &mut whole()).unwrap();
    client.hear(&server.end.sent(), &mut whole()).unwrap();
    server.hear(&client.end.sent(), &mut whole()).unwrap();
    // Tickets in many records: after each octet the client must be able to speak.
    for octet in server.end.sent() {
        client.hear(&[octet], &mut whole()).unwrap();
        client.end.say(&[octet]);
    }
    server.hear(&client.end.sent(), &mut whole()).unwrap();
    assert!(server.end.heard().len() > 200);
    talk(&mut client, &mut server, &mut whole());
}

#[test]
fn a_client_hello_in_small_records_is_understood() {
    for version in VERSIONS {
        let mut configs = configs(version);
        configs.client.max_fragment_size = Some(32);
        talk(
            &mut configs.their_client(),
            &mut configs.our_server(),
            &mut || 7,
        );
    }
}

#[test]
fn both_ends_can_say_goodbye() {
    for version in VERSIONS {
        let configs = configs(version);
        let (mut client, mut server) = (configs.their_client(), configs.our_server());
        settle(&mut client, &mut server, &mut whole()).unwrap();
        client.end.say(b"last");
        client.end.connection.send_close_notify();
        server.hear(&client.end.sent(), &mut whole()).unwrap();
        assert!(server.end.session.peer_closed());
        assert_eq!(server.end.heard(), b"last");
        server
            .hear(b"whatever follows is ignored", &mut whole())
            .unwrap();
        assert!(server.kept.is_empty());

        server.end.say(b"answer to the last");
        close(&mut server);
        close(&mut server);
        client.hear(&server.end.sent(), &mut whole()).unwrap();
        assert_eq!(client.end.heard(), b"answer to the last");
        let state = client.end.connection.process_new_packets().unwrap();
        assert!(state.peer_has_closed());
        assert_eq!(
            server
                .end
                .session
                .seal(b"too late", &mut server.end.outgoing),
            Err(TlsFailure::Over)
        );
    }
}

fn close(server: &mut Side<OurServer>) {
    server.end.session.close(&mut server.end.outgoing);
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_over() {
    let configs = configs(&TLS13);
    let mut server = configs.our_server();
    assert_eq!(
        server
            .end
            .session
            .seal(b"too early", &mut server.end.outgoing),
        Err(TlsFailure::Handshaking)
    );
    close(&mut server);
    assert!(server.end.sent().is_empty());
}

#[test]
fn a_configuration_with_early_data_is_refused() {
    let mut configs = configs(&TLS13);
    configs.server.max_early_data_size = 1;
    let refused = crate::tls::session::ServerSession::new(configs.server.into());
    assert_eq!(refused.err(), Some(TlsFailure::EarlyData));
}

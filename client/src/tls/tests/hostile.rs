use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, Error};

use super::ends::{End, configs, settle, whole};
use crate::tls::session::{HOLDS_OF_CLIENTS, TlsFailure};

proptest! {
    #[test]
    fn garbage_never_panics_and_never_stays(bytes in vec(any::<u8>(), 0..3000), cut in 1_usize..500) {
        let configs = configs(&TLS13);
        let mut server = configs.our_server();
        let _ = server.hear(&bytes, &mut || cut);
        assert!(server.kept.len() <= HOLDS_OF_CLIENTS + 500);
        let mut client = configs.our_client();
        let _ = client.hear(&bytes, &mut || cut);
    }

    #[test]
    fn a_spoilt_octet_of_the_first_flight_never_panics(at in any::<proptest::sample::Index>(), bit in 0..8_u8, twelve in any::<bool>()) {
        let configs = configs(if twelve { &TLS12 } else { &TLS13 });
        let (mut client, mut server) = (configs.our_client(), configs.our_server());
        let mut hello = client.end.sent();
        let at = at.index(hello.len());
        hello[at] ^= 1_u8 << bit;
        let _ = server.hear(&hello, &mut whole());
        let _ = client.hear(&server.end.sent(), &mut whole());
    }
}

#[test]
fn a_record_that_was_changed_on_the_way_is_told_by_an_alert() {
    for version in [&TLS13, &TLS12] {
        let configs = configs(version);
        let (mut client, mut server) = (configs.their_client(), configs.our_server());
        settle(&mut client, &mut server, &mut whole()).unwrap();
        client.end.say(b"sound");
        let mut flight = client.end.sent();
        client.end.say(b"spoilt");
        let mut spoilt = client.end.sent();
        *spoilt.last_mut().unwrap() ^= 1;
        flight.append(&mut spoilt);

        let failure = server.hear(&flight, &mut whole()).unwrap_err();
        assert_eq!(failure, TlsFailure::Tls(Error::DecryptError));
        // What came before it counts.
        assert_eq!(server.end.heard(), b"sound");
        let alert = client.hear(&server.end.sent(), &mut whole()).unwrap_err();
        assert_eq!(
            alert,
            TlsFailure::Tls(Error::AlertReceived(AlertDescription::BadRecordMac))
        );
        assert_eq!(server.hear(b"x", &mut whole()), Err(TlsFailure::Over));
        let late = server.end.session.seal(b"x", &mut Vec::new());
        assert_eq!(late, Err(TlsFailure::Over));
    }
}

#[test]
fn cleartext_is_refused_at_its_first_record() {
    let configs = configs(&TLS13);
    let mut server = configs.our_server();
    let failure = server.hear(b"GET / HTTP/1.1\r\n\r\n", &mut whole());
    assert!(matches!(failure, Err(TlsFailure::Tls(_))), "{failure:?}");
}

#[test]
fn what_a_client_leaves_unfinished_is_bounded() {
    let configs = configs(&TLS13);
    let mut server = configs.our_server();
    // A ClientHello that claims 60,000 octets, one in each record.
    let mut first = vec![22, 3, 1, 0, 4, 1, 0, 0xea, 0x60];
    let mut sent = 0;
    let failure = loop {
        if let Err(failure) = server.hear(&first, &mut whole()) {
            break failure;
        }
        sent += first.len();
        assert!(sent <= HOLDS_OF_CLIENTS, "no end");
        first = vec![22, 3, 1, 0, 1, 0];
    };
    assert!(matches!(failure, TlsFailure::Overlong(_)), "{failure:?}");
}

#[test]
fn a_caller_that_forgets_what_is_unfinished_hears_of_it() {
    let mut configs = configs(&TLS13);
    configs.client.max_fragment_size = Some(64);
    let mut server = configs.our_server();
    let mut client = configs.their_client();
    let hello = client.end.sent();
    server.hear(&hello[..100], &mut whole()).unwrap();
    server.kept.clear();
    assert_eq!(server.hear(b"x", &mut whole()), Err(TlsFailure::Forgotten));
}

#[test]
fn records_without_content_do_not_go_on_for_ever() {
    let configs = configs(&TLS13);
    let (mut client, mut server) = (configs.their_client(), configs.our_server());
    settle(&mut client, &mut server, &mut whole()).unwrap();
    // Key updates are the cheapest fruitless traffic that a peer can make.
    let failure = (0..1000).find_map(|_| {
        client.end.connection.refresh_traffic_keys().unwrap();
        server.hear(&client.end.sent(), &mut whole()).err()
    });
    assert!(
        matches!(failure, Some(TlsFailure::Tls(Error::PeerMisbehaved(_)))),
        "{failure:?}"
    );
}

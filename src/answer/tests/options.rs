//! EDNS options: padding, keepalive and cookies.

use super::*;

#[test]
fn padding_is_for_padded_queries_on_tls_and_keepalive_for_connections() {
    let asks = edns(1232, &[(11, &[]), (12, &[0; 60])]);
    let silent = edns(1232, &[]);
    for (transport, opt, padded, keepalive) in [
        (Transport::Tls, &asks, true, true),
        (Transport::Tls, &silent, false, false),
        (Transport::Tcp, &asks, false, true),
        (Transport::Udp, &asks, false, false),
    ] {
        let responder = responder();
        let query = question("www.example.", RecordType::TXT, Some(opt));
        let outcome = pending(responder.say(&asker(transport), &query));
        let answered = responder.close(outcome.clone(), Ok(response(&query, 3, None)));
        let failed = responder.close(outcome, Err(ResolveError::NoUpstream));
        let here = question("x.zz.", RecordType::A, Some(opt));
        let here = reply(responder.say(&asker(transport), &here));
        let refused = with(question("www.example.", RecordType::A, Some(opt)), 2, &[0]);
        let refused = reply(responder.say(&asker(transport), &refused));
        for reply in [answered, failed, here, refused] {
            assert_eq!(option(&reply, 12).is_some(), padded, "{transport:?}");
            assert!(!padded || reply.len() % 468 == 0, "{}", reply.len());
            let told =
                option(&reply, 11).map(|units| u16::from_be_bytes(units.try_into().unwrap()));
            assert_eq!(told, keepalive.then_some(300), "{transport:?}");
        }
    }
}

#[test]
fn cookies_come_back_fresh_and_are_required_only_under_load() {
    let responder = responder();
    let ask = |asker: &Asker, cookie: Option<&[u8]>| {
        let options: Vec<(u16, &[u8])> = cookie.map(|cookie| (10, cookie)).into_iter().collect();
        let opt = edns(1232, &options);
        responder.say(asker, &question("www.example.", RecordType::A, Some(&opt)))
    };
    let pressed = Asker {
        pressed: true,
        ..udp()
    };
    pending(ask(&udp(), Some(b"clientco")));
    let reply = reply(ask(&pressed, Some(b"clientco")));
    assert_eq!(rcode(&reply), 23);
    let cookie = option(&reply, 10).unwrap();
    assert_eq!((cookie.len(), &cookie[..8]), (24, &b"clientco"[..]));

    // With the cookie of the refusal the next try goes through, and who has none cannot be asked.
    pending(ask(&pressed, Some(&cookie)));
    assert_eq!(responder.counters().value(Event::CookieValid), 1);
    pending(ask(&pressed, None));
    let elsewhere = Asker {
        address: "192.168.1.21".parse().unwrap(),
        ..pressed
    };
    assert!(matches!(ask(&elsewhere, Some(&cookie)), Said::Reply(_)));
    assert_eq!(responder.counters().value(Event::CookieStale), 1);
    let connected = Asker {
        transport: Transport::Tcp,
        ..elsewhere
    };
    pending(ask(&connected, Some(&cookie)));

    responder.roll_secret(Secret([1; 16]));
    pending(ask(&pressed, Some(&cookie)));
    responder.roll_secret(Secret([2; 16]));
    assert!(matches!(ask(&pressed, Some(&cookie)), Said::Reply(_)));
}

#[test]
fn a_cookie_without_a_question_is_a_question_for_a_cookie() {
    let responder = responder();
    let header = [&ID.to_be_bytes()[..], &[0; 10]].concat();
    let query = wire::with_edns(&header, Some(&edns(1232, &[(10, b"clientco")]))).unwrap();
    let reply = reply(responder.say(&udp(), &query));
    assert_eq!(rcode(&reply), 0);
    assert_eq!(option(&reply, 10).unwrap().len(), 24);
}

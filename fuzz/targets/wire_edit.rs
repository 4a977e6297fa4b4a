//! Changes to any message: what comes out is a message, and says what it should.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zzdot_client::dot::without_hop_options;
use zzdot_client::wire::{Edns, PADDING_OPTION, View, error_reply, pad, restore_case, truncate, with_edns};

fuzz_target!(|input: (u16, bool, u16, &[u8])| {
    let (limit, dnssec_ok, rcode, data) = input;

    if let Some(reply) = error_reply(data, rcode & 0x0FFF, Some((22, "no reachable authority"))) {
        let reply = View::parse(&reply).expect("an error reply is a message");
        reply.check().expect("and a whole one");
        assert!(reply.is_response());
    }

    let limit = usize::from(limit).max(512);
    let cut = truncate(data, limit);
    if data.len() > limit {
        if let Ok(cut) = View::parse(&cut) {
            assert!(cut.truncated());
        }
        assert!(cut.len() <= limit, "{} bytes of {limit}", cut.len());
    }

    let Ok(before) = View::parse(data) else { return };
    if let Ok(bare) = with_edns(data, None) {
        let bare = View::parse(&bare).expect("still a message");
        assert!(bare.edns().expect("still sound").is_none());
        bare.check().expect("nothing follows the last record");
        let same_question = match (before.question(), bare.question()) {
            (Some(a), Some(b)) => a.eq_exact(&b),
            (a, b) => a.is_none() && b.is_none(),
        };
        assert!(same_question);
    }
    if let Ok(changed) = with_edns(data, Some(&Edns::plain(dnssec_ok))) {
        let changed = View::parse(&changed).expect("still a message");
        let edns = changed.edns().expect("still sound").expect("has what was put in");
        assert_eq!(edns.dnssec_ok, dnssec_ok);
    }
    if let Ok(bare) = without_hop_options(data) {
        let bare = View::parse(&bare).expect("still a message");
        let edns = bare.edns().expect("still sound");
        assert!(edns.is_none_or(|edns| edns.option(PADDING_OPTION).is_none()));
    }
    let mut padded = data.to_vec();
    match pad(&mut padded, 128) {
        Ok(()) => {
            assert!(padded.len() % 128 == 0 || padded.len() == 65_535);
            View::parse(&padded).expect("still a message").check().expect("and a whole one");
        }
        Err(_) => assert_eq!(padded, data, "a failure changes nothing"),
    }
    if let Some(asked) = before.question() {
        let mut response = data.to_ascii_uppercase();
        let _ = restore_case(&mut response, &asked);
    }
});

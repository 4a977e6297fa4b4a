//! A walk to a genuine resolver through somebody who changes what he likes: the verdict is the truth, or
//! not an upgrade.
#![no_main]

use std::{
    net::SocketAddr,
    sync::LazyLock,
    time::{Duration, Instant},
};

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use zzdot::answer::{Outcome, Transport};
use zzdot_client::{
    discover::{Action, PeerCertificates, Verdict, Walk, WalkInput, WalkPolicy},
    wire::{View, restore_case},
};
use zzdot_fuzz::{ADDRESS, Appliance, asker, now};

static APPLIANCE: LazyLock<Appliance> = LazyLock::new(Appliance::new);

/// What is done to the message with this number.
#[derive(Arbitrary, Debug)]
struct Change {
    message: u8,
    at: u16,
    how: How,
}

#[derive(Arbitrary, Debug)]
enum How {
    Flip(u8),
    Cut,
    Insert(Vec<u8>),
    Replace(Vec<u8>),
    Lose,
    OtherClock(i32),
}

fuzz_target!(|changes: Vec<Change>| {
    let start = Instant::now();
    let mut walk = Walk::new(WalkInput {
        server: SocketAddr::new(ADDRESS, 53),
        known: None,
        policy: WalkPolicy::default(),
        now: start,
        clock: now(),
    });
    let mut asked = 0u8;
    // More actions than any walk has.
    for step in 0..1000 {
        assert!(step < 999, "a walk ends");
        let Some(action) = walk.next_action() else {
            walk.on_timeout(start + Duration::from_secs(3600));
            continue;
        };
        match action {
            Action::Event(_) => {}
            Action::Connect(connect) => {
                let certificates = PeerCertificates(vec![APPLIANCE.identity.certificate()]);
                walk.on_tls(start, now(), connect.attempt, Ok(certificates));
            }
            Action::Ask(ask) => {
                let query = ask.message(7);
                let mut reply = Vec::new();
                let asker = asker(Transport::Tcp, false);
                let Outcome::Replied(_) = APPLIANCE.responder.answer(&asker, &query, &mut reply)
                else {
                    panic!("the appliance answers for its own zones")
                };
                let mut clock = now();
                let mut lost = false;
                for change in changes.iter().filter(|change| change.message == asked) {
                    let at = usize::from(change.at).min(reply.len());
                    match &change.how {
                        How::Flip(bits) => reply.iter_mut().skip(at).take(1).for_each(|b| *b ^= bits),
                        How::Cut => reply.truncate(at),
                        How::Insert(bytes) => drop(reply.splice(at..at, bytes.iter().copied())),
                        How::Replace(bytes) => {
                            let end = (at + bytes.len()).min(reply.len());
                            drop(reply.splice(at..end, bytes.iter().copied()));
                        }
                        How::Lose => lost = true,
                        How::OtherClock(by) => {
                            clock.0 = clock.0.saturating_add_signed(i64::from(*by));
                        }
                    }
                }
                asked += 1;
                if lost {
                    walk.on_no_answer(start, ask.id);
                } else {
                    // What carries messages has matched id and question before.
                    let view = View::parse(&query).expect("our own question");
                    let _ = restore_case(&mut reply, &view.question().expect("one question"));
                    walk.on_message(start, clock, ask.id, &reply);
                }
            }
            Action::Done(Verdict::Upgraded(found)) => {
                let truth = &APPLIANCE.identity;
                assert_eq!(&found.name, truth.name());
                let anchor = truth.trust_anchor();
                assert_eq!(found.anchor.len(), anchor.len());
                assert!(found.anchor.iter().all(|key| anchor.contains(key)));
                assert_eq!(found.endpoint, SocketAddr::new(ADDRESS, 853));
                assert!(found.addresses.iter().all(|address| *address == ADDRESS));
                return;
            }
            Action::Done(_) => return,
        }
    }
});

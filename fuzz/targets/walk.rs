//! A walk to a genuine resolver through somebody who changes what he likes: the verdict is the truth, or
//! not an upgrade.
#![no_main]

use std::{
    net::SocketAddr,
    sync::LazyLock,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use zzdot::answer::{Outcome, Transport};
use zzdot_client::{
    discover::{Action, PeerCertificates, Verdict, Walk, WalkInput, WalkPolicy},
    wire::{View, restore_case},
};
use zzdot_fuzz::{ADDRESS, Appliance, Damage, asker, now};

static APPLIANCE: LazyLock<Appliance> = LazyLock::new(Appliance::new);

fuzz_target!(|damage: Damage| {
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
                let (arrived, clock) = damage.done_to(asked, reply);
                asked += 1;
                let Some(mut reply) = arrived else {
                    walk.on_no_answer(start, ask.id);
                    continue;
                };
                // What carries messages has matched id and question before.
                let view = View::parse(&query).expect("our own question");
                let _ = restore_case(&mut reply, &view.question().expect("one question"));
                walk.on_message(start, clock, ask.id, &reply);
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

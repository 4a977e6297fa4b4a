//! Any name below `q`, any octets as what the upstream says to it: what goes out fits the asker, and only discovery is
//! passed on.
#![no_main]

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hickory_proto::rr::{Name, RecordType};
use libfuzzer_sys::fuzz_target;
use zzdot::{
    answer::{Outcome, Transport},
    resolve::ResolveError,
};
use zzdot_client::wire::{self, Edns, QuestionFlags, View};
use zzdot_fuzz::{Appliance, asker};
use zzdot_zonegen::owners::passage_name;

static APPLIANCE: LazyLock<Appliance> = LazyLock::new(Appliance::new);

/// The front of a name, so that chance does not have to find it.
const FRONTS: [&str; 4] = [
    ".",
    "resolver-name.arpa.",
    "aaaaaaaaaaaaaaaaaaaa.zz.",
    "resolver-name.arpa.q.aaaaaaaaaaaaaaaaaaaa.zz.",
];

fuzz_target!(|input: (u8, u8, u8, &[u8], &[u8])| {
    let (transport, front, qtype, labels, response) = input;
    let transport = [Transport::Udp, Transport::Tcp, Transport::Tls][usize::from(transport % 3)];
    let front = FRONTS[usize::from(front) % FRONTS.len()];
    let labels = labels.split(|octet| *octet == b'.').filter(|label| !label.is_empty());
    let Some(asked) = Name::from_labels(labels)
        .and_then(|name| name.append_domain(&front.parse()?))
        .ok()
        .and_then(|asked| passage_name(&asked, APPLIANCE.identity.name(), None))
    else {
        return;
    };
    let flags = QuestionFlags { rd: true, ..QuestionFlags::default() };
    let edns = Edns::plain(front.len() > 1);
    let query = wire::question(7, &asked, RecordType::from(u16::from(qtype)), flags, Some(&edns));
    // As slowly as may be asked in the long run.
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let mut asker = asker(transport, false);
    asker.instant += Duration::from_millis(20) * ASKED.fetch_add(1, Ordering::Relaxed) as u32;
    let mut reply = Vec::new();
    match APPLIANCE.responder.answer(&asker, &query, &mut reply) {
        Outcome::Drop(_) => {}
        Outcome::Replied(_) => fits(&query, &reply, transport),
        Outcome::Ask(pending) => {
            assert!(pending.through().is_some(), "nothing below q is asked of the source");
            let onward = pending.query();
            let onward = View::parse(&onward).expect("well-formed");
            onward.check().expect("and whole");
            assert!(onward.checking_disabled() && onward.recursion_desired());
            // An honest-looking answer gets further than random octets would.
            let mut answer = onward.bytes()[..onward.records_start()].to_vec();
            answer[2] |= 0x80;
            answer[10..12].fill(0);
            answer[7] = response.first().copied().unwrap_or_default();
            answer[9] = response.get(1).copied().unwrap_or_default();
            answer.extend_from_slice(response.get(2..).unwrap_or_default());
            for told in [Ok(answer), Ok(response.to_vec()), Err(ResolveError::TimedOut)] {
                let reply = APPLIANCE.responder.finish((*pending).clone(), told, asker.instant);
                fits(&query, &reply, transport);
            }
        }
    }
});

fn fits(query: &[u8], reply: &[u8], transport: Transport) {
    let view = View::parse(reply).expect("a reply is a message");
    view.check().expect("and whole");
    let asked = View::parse(query).expect("well-formed");
    assert!(wire::answers_exactly(&asked, &view), "the question is the asker's, to the letter");
    if transport == Transport::Udp {
        assert!(reply.len() <= 1232);
    }
}

//! Any bytes as a query, any bytes as the answer to it: what goes out fits the asker.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use zzdot::{
    answer::{Outcome, Transport},
    resolve::ResolveError,
};
use zzdot_client::wire::View;
use zzdot_fuzz::{Appliance, asker};

static APPLIANCE: LazyLock<Appliance> = LazyLock::new(Appliance::new);

fuzz_target!(|input: (u8, bool, &[u8], &[u8])| {
    let (transport, pressed, query, response) = input;
    let transport = [Transport::Udp, Transport::Tcp, Transport::Tls][usize::from(transport % 3)];
    let asker = asker(transport, pressed);
    let mut reply = Vec::new();
    match APPLIANCE.responder.answer(&asker, query, &mut reply) {
        Outcome::Drop(_) => {}
        Outcome::Replied(_) => fits(query, &reply, transport),
        Outcome::Ask(pending) => {
            let asked = pending.query();
            View::parse(&asked).expect("well-formed").check().expect("and whole");
            // An honest-looking answer gets further than random bytes would.
            let mut answer = asked.to_vec();
            if let Some(flags) = answer.get_mut(2) {
                *flags |= 0x80;
            }
            answer.extend_from_slice(response);
            if let (Some(count), Some(lie)) = (answer.get_mut(7), response.first()) {
                *count = *lie;
            }
            fits(query, &APPLIANCE.responder.finish((*pending).clone(), Ok(answer), asker.instant), transport);
            fits(query, &APPLIANCE.responder.finish((*pending).clone(), Ok(response.to_vec()), asker.instant), transport);
            fits(query, &APPLIANCE.responder.finish(*pending, Err(ResolveError::TimedOut), asker.instant), transport);
        }
    }
});

fn fits(query: &[u8], reply: &[u8], transport: Transport) {
    assert!(reply.len() >= 12 && reply[..2] == query[..2], "the id is the asker's");
    let reply = View::parse(reply).expect("a reply is a message");
    assert!(reply.is_response());
    if transport == Transport::Udp {
        assert!(reply.bytes().len() <= 1232);
    }
    if let Some(asked) = View::parse(query).ok().and_then(|view| view.question()) {
        if let Some(echoed) = reply.question() {
            assert!(echoed.eq_exact(&asked), "the question is the asker's, to the letter");
        }
    }
}

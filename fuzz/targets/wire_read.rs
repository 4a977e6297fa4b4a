//! Any bytes as a message: reading ends, and agrees with itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zzdot_client::wire::{MAX_NAME_BYTES, View, answer_chain_ok, answers};

fuzz_target!(|data: &[u8]| {
    let Ok(view) = View::parse(data) else { return };
    assert_eq!(view.bytes(), data);
    let counts = view.counts();
    let claimed = usize::from(counts.answers)
        + usize::from(counts.authorities)
        + usize::from(counts.additionals);
    let mut end = view.records_start();
    let mut seen = 0;
    for record in view.records() {
        seen += 1;
        let Ok(record) = record else { break };
        assert_eq!(record.start, end, "records follow one another");
        assert!(record.end() <= data.len());
        assert!(record.owner.to_wire().len() <= MAX_NAME_BYTES);
        assert_eq!(record.data().len(), record.rdata.len());
        end = record.end();
    }
    assert!(seen <= claimed);
    if let Ok(Some(edns)) = view.edns() {
        assert_eq!(edns.options().count(), edns.to_edns().options.len());
    }
    if view.check().is_ok() {
        // What hickory reads whole, it must have found the same question in.
        if let Ok(message) = hickory_proto::op::Message::from_vec(data) {
            assert_eq!(message.queries.len(), usize::from(view.question().is_some()));
            assert_eq!(message.metadata.id, view.id());
        }
    }
    let _ = answers(&view, &view);
    let _ = answer_chain_ok(&view, &view);
});

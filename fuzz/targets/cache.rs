//! Any bytes as a response to keep: what is kept is shown as a message that can be read, with no
//! TTL longer than before, and the cache stays within its limit.
#![no_main]

use std::{sync::LazyLock, time::{Duration, Instant}};

use libfuzzer_sys::fuzz_target;
use zzdot_client::{
    cache::{Cache, Image, Key, KeyBits, Lifetime, Limits, MAX_TTL_SECS, ViewId},
    wire::{self, View},
};

const VIEW: ViewId = ViewId(0);
const LIMITS: Limits = Limits { octets: 1 << 16, stale: Duration::from_secs(60) };

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::new(LIMITS, [7; 16], *START));

/// A question for A, as it is asked most.
const QUESTION: &[u8] = b"\x03wWw\x07example\0\0\x01\0\x01";

fuzz_target!(|input: (u32, u32, bool, u16, [u8; 3], &[u8])| {
    let (clock, age, raw, flags, counts, octets) = input;
    let response = if raw {
        octets.to_vec()
    } else {
        // With a whole header and question before it more of it is read.
        let mut response = vec![0, 0];
        response.extend_from_slice(&(flags | 0x8000).to_be_bytes());
        response.extend_from_slice(&[0, 1]);
        for count in counts {
            response.extend_from_slice(&[0, count % 4]);
        }
        response.extend_from_slice(QUESTION);
        response.extend_from_slice(octets);
        response
    };
    let Ok(image) = Image::read(&response, clock.into()) else {
        return;
    };
    let view = View::parse(&response).expect("an image is made of what can be read");
    let question = response
        .get(wire::HEADER_BYTES..view.records_start())
        .expect("an image has a question");
    show(&image.answer(), question);
    let key = Key::new(question, KeyBits::default()).expect("a question has a key");
    let lifetime = image.lifetime();
    let kept = CACHE.store(&key, VIEW, image, *START);
    let Lifetime::Seconds(secs) = lifetime else {
        assert!(!kept, "what is for once is not kept");
        return;
    };
    assert!((1..=MAX_TTL_SECS).contains(&secs));
    if kept {
        let age = age % secs;
        let now = *START + Duration::from_secs(age.into());
        CACHE
            .find(&key, &[VIEW], now, |found| show(&found.answer, question))
            .expect("what was kept just now is found");
    }
    assert!(CACHE.usage().octets <= LIMITS.octets);
});

fn show(answer: &zzdot_client::cache::Answer<'_>, question: &[u8]) {
    let mut out = Vec::new();
    answer.append_to(question, &mut out);
    assert_eq!(out.len(), answer.len());
    let view = View::parse(&out).expect("a message");
    view.check().expect("a whole message");
    assert!(view.edns().expect("no broken OPT record").is_none());
    assert_eq!(out.get(wire::HEADER_BYTES..view.records_start()), Some(question));
    answer.error_codes().for_each(drop);
}

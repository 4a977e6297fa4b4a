//! Who stays, who goes, and when.
#![allow(clippy::unwrap_used)]

use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use super::*;
use crate::wire::{self, QuestionFlags, View};

const VIEW: ViewId = ViewId(4);
const CLOCK: u64 = 1_800_000_000;

struct Lab {
    cache: Cache,
    start: Instant,
}

impl Lab {
    fn new(octets: usize, stale_secs: u64) -> Self {
        let start = Instant::now();
        let limits = Limits {
            octets,
            stale: Duration::from_secs(stale_secs),
        };
        Self {
            cache: Cache::new(limits, [3; 16], start),
            start,
        }
    }

    fn at(&self, secs: u64) -> Instant {
        self.start + Duration::from_secs(secs)
    }

    fn store(&self, name: &str, ttl: u32, secs: u64) -> bool {
        let image = Image::read(&response(name, ttl, 4), CLOCK).unwrap();
        self.cache.store(&key(name), VIEW, image, self.at(secs))
    }

    /// The TTL that is told, and how fresh it is.
    fn find(&self, name: &str, secs: u64) -> Option<(u32, Freshness)> {
        self.cache
            .find(&key(name), &[VIEW], self.at(secs), |found| {
                let mut out = Vec::new();
                found.answer.append_to(&question(name), &mut out);
                let view = View::parse(&out).unwrap();
                view.check().unwrap();
                let ttl = view.records().next().unwrap().unwrap().ttl;
                (ttl, found.freshness)
            })
    }

    /// Asks as a resolver does: what is not there is stored. Whether it was there.
    fn ask(&self, name: &str) -> bool {
        let found = self.find(name, 0).is_some();
        if !found {
            self.store(name, 3600, 0);
        }
        found
    }
}

fn query(name: &str) -> Vec<u8> {
    let name = Name::from_ascii(name).unwrap();
    wire::question(0, &name, RecordType::TXT, QuestionFlags::default(), None)
}

fn question(name: &str) -> Vec<u8> {
    query(name)[wire::HEADER_BYTES..].to_vec()
}

fn key(name: &str) -> Key {
    Key::new(&question(name), KeyBits::default()).unwrap()
}

/// A record of so many octets of data at the name.
fn response(name: &str, ttl: u32, data_len: u16) -> Vec<u8> {
    let mut message = query(name);
    message[2] = 0x80;
    message[7] = 1;
    message.extend_from_slice(&[0xC0, 12, 0, 16, 0, 1]);
    message.extend_from_slice(&ttl.to_be_bytes());
    message.extend_from_slice(&data_len.to_be_bytes());
    message.resize(message.len() + usize::from(data_len), 1);
    message
}

const FRESH: Freshness = Freshness::Fresh { refresh: false };

#[test]
fn ttls_count_down_until_they_are_over() {
    let lab = Lab::new(1 << 20, 0);
    assert!(lab.store("Www.Example.", 60, 10));
    assert_eq!(lab.find("www.example.", 10), Some((60, FRESH)));
    assert_eq!(lab.find("wWw.eXample.", 40), Some((30, FRESH)));
    assert_eq!(lab.find("www.example.", 69), Some((1, FRESH)));
    assert_eq!(lab.find("www.example.", 70), None);
    assert_eq!(lab.find("other.example.", 10), None);
    assert!(!lab.store("never.example.", 0, 0));
}

#[test]
fn what_is_over_may_serve_for_a_while_and_says_so() {
    let lab = Lab::new(1 << 20, 100);
    let name = "www.example.";
    lab.store(name, 60, 0);
    let stale = |asked_lately| Some((STALE_TTL_SECS, Freshness::Stale { asked_lately }));
    assert_eq!(lab.find(name, 60), stale(false));
    assert!(lab.cache.failed(&key(name), &[VIEW], lab.at(61)));
    assert_eq!(lab.find(name, 62), stale(true));
    assert_eq!(lab.find(name, 90), stale(true));
    assert_eq!(lab.find(name, 91), stale(false));
    assert_eq!(lab.find(name, 159), stale(false));
    assert_eq!(lab.find(name, 160), None);
    assert!(!lab.cache.failed(&key(name), &[VIEW], lab.at(160)));
}

#[test]
fn a_failure_is_brief_and_never_stale() {
    let lab = Lab::new(1 << 20, 100);
    let name = "www.example.";
    let failure = || Image::failure(&question(name), 2, Some((22, "silence")), true);
    lab.cache.store(&key(name), VIEW, failure(), lab.at(0));
    let found = |secs| {
        lab.cache.find(&key(name), &[VIEW], lab.at(secs), |found| {
            let codes: Vec<_> = found.answer.error_codes().collect();
            (found.answer.rcode(), codes)
        })
    };
    assert_eq!(found(4), Some((2, vec![22])));
    assert_eq!(found(5), None);
    assert!(!lab.cache.failed(&key(name), &[VIEW], lab.at(2)));
    let once = Image::failure(&question(name), 2, None, false);
    assert!(!lab.cache.store(&key(name), VIEW, once, lab.at(9)));
}

#[test]
fn what_is_popular_and_about_to_end_is_to_be_asked_again_once() {
    let lab = Lab::new(1 << 20, 0);
    for name in ["popular.", "forgotten."] {
        lab.store(name, 100, 0);
    }
    for secs in [0, 10, 80] {
        assert_eq!(lab.find("popular.", secs).unwrap().1, FRESH);
    }
    assert_eq!(lab.find("forgotten.", 95).unwrap().1, FRESH);
    let refresh = Freshness::Fresh { refresh: true };
    assert_eq!(lab.find("popular.", 90), Some((10, refresh)));
    assert_eq!(lab.find("popular.", 91), Some((9, FRESH)));
    lab.store("popular.", 100, 92);
    assert_eq!(lab.find("popular.", 100), Some((92, FRESH)));
}

#[test]
fn an_answer_is_found_only_under_its_view_and_its_bits() {
    let lab = Lab::new(1 << 20, 100);
    let name = "www.example.";
    lab.store(name, 60, 0);
    let found =
        |key: &Key, views: &[ViewId]| lab.cache.find(key, views, lab.at(1), |found| found.view);
    assert_eq!(found(&key(name), &[ViewId(1), VIEW]), Some(VIEW));
    assert_eq!(found(&key(name), &[ViewId(1), ViewId(2)]), None);
    let edns = KeyBits {
        edns: true,
        ..KeyBits::default()
    };
    assert_eq!(
        found(&Key::new(&question(name), edns).unwrap(), &[VIEW]),
        None
    );
}

#[test]
fn an_authoritative_answer_stays_as_it_is_for_as_long_as_its_view() {
    let lab = Lab::new(1 << 20, 0);
    let name = "own.zz.";
    let image = Image::authoritative(response(name, 60, 4)).unwrap();
    lab.cache.store(&key(name), VIEW, image, lab.at(0));
    assert_eq!(lab.find(name, 1_000_000), Some((60, FRESH)));
    assert!(
        lab.cache
            .find(&key(name), &[ViewId(8)], lab.at(1), |_| ())
            .is_none()
    );
}

#[test]
fn one_name_or_all_can_be_forgotten() {
    let lab = Lab::new(1 << 20, 0);
    for name in ["www.example.", "example.", "ww.example."] {
        lab.store(name, 60, 0);
    }
    assert_eq!(lab.cache.usage().entries, 3);
    assert_eq!(
        lab.cache.forget(&Name::from_ascii("wWw.Example.").unwrap()),
        1
    );
    assert_eq!(lab.find("www.example.", 1), None);
    assert!(lab.find("example.", 1).is_some());
    lab.store("www.example.", 60, 0);
    assert!(lab.find("www.example.", 1).is_some());
    lab.cache.clear();
    assert_eq!(lab.cache.usage(), Usage::default());
}

#[test]
fn a_giant_is_not_kept_and_pushes_nobody_out() {
    let lab = Lab::new(1 << 20, 0);
    lab.store("small.", 60, 0);
    let giant = Image::read(&response("giant.", 60, 20_000), CLOCK).unwrap();
    assert!(!lab.cache.store(&key("giant."), VIEW, giant, lab.at(0)));
    assert!(lab.find("small.", 1).is_some());
    assert_eq!(lab.cache.usage().entries, 1);
}

/// A tenth of the questions are about names that come back; nine tenths are about names that
/// nobody asks twice, ten times as many as there is room for.
#[test]
fn a_scan_of_ten_times_the_room_leaves_what_is_popular() {
    let lab = Lab::new(1 << 20, 0);
    let popular: Vec<_> = (0..500)
        .map(|number| format!("p{number}.example."))
        .collect();
    for _ in 0..4 {
        popular.iter().for_each(|name| {
            lab.ask(name);
        });
    }
    // How many fit: as many as are there once more of them were stored.
    let fitting = {
        let other = Lab::new(1 << 20, 0);
        (0..20_000).for_each(|number| {
            other.store(&format!("x{number}.example."), 60, 0);
        });
        other.cache.usage().entries
    };
    assert!((2_000..10_000).contains(&fitting), "{fitting}");
    let (mut hits, mut asked) = (0, 0);
    for number in 0..10 * fitting {
        assert!(!lab.ask(&format!("scan{number}.example.")));
        if number % 9 == 0 {
            hits += usize::from(lab.ask(&popular[asked % popular.len()]));
            asked += 1;
        }
    }
    assert!(hits * 100 >= asked * 99, "{hits} of {asked} were there");
    assert!(lab.cache.usage().octets <= 1 << 20);
}

/// Even where every name of the flood is asked for twice in a row.
#[test]
fn a_flood_that_asks_again_leaves_what_is_more_popular() {
    let lab = Lab::new(1 << 20, 0);
    let popular: Vec<_> = (0..200)
        .map(|number| format!("p{number}.example."))
        .collect();
    let mut missed = 0;
    for round in 0..60 {
        for name in &popular {
            missed += usize::from(!lab.ask(name));
        }
        for number in 0..500 {
            let name = format!("flood{round}x{number}.example.");
            lab.ask(&name);
            lab.ask(&name);
        }
    }
    assert!(missed <= 2 * popular.len(), "{missed} missed");
}

#[test]
fn what_comes_back_after_it_fell_out_is_let_in_for_longer() {
    let lab = Lab::new(1 << 16, 0);
    let flood = |from: usize, to: usize| {
        (from..to).for_each(|number| {
            lab.ask(&format!("scan{number}.example."));
        });
    };
    flood(0, 1000);
    assert!(!lab.ask("back.example."));
    // Once as many came as there is room for, it has just fallen out and is remembered.
    let fitting = lab.cache.usage().entries;
    flood(1000, 1000 + fitting + 5);
    assert!(!lab.ask("back.example."));
    // From now on it is with the popular ones.
    flood(2000, 2000 + 2 * fitting);
    assert!(lab.ask("back.example."));
}

#[derive(Debug, Clone)]
enum Step {
    Ask(u8),
    Store {
        name: u8,
        len: u16,
        ttl: u32,
        view: u32,
    },
    Fail(u8),
    Forget(u8),
    Pass(u16),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => any::<u8>().prop_map(Step::Ask),
        8 => (any::<u8>(), 0u16..5000, 0u32..200, 0u32..2)
            .prop_map(|(name, len, ttl, view)| Step::Store { name, len, ttl, view }),
        1 => any::<u8>().prop_map(Step::Fail),
        1 => any::<u8>().prop_map(Step::Forget),
        2 => (0u16..50).prop_map(Step::Pass),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Against a map that never forgets: what is found is what was stored last and still holds,
    /// and the octets stay within the limit.
    #[test]
    fn whatever_happens_nothing_wrong_is_told(steps in steps()) {
        let lab = Lab::new(1 << 16, 30);
        let mut model = std::collections::HashMap::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Ask(name) => {
                    let told = lab.find(&format!("n{name}."), now);
                    let known = model.get(&name).copied();
                    if let Some((ttl, freshness)) = told {
                        let (stored, original, view): (u64, u32, u32) = known.unwrap();
                        prop_assert_eq!(view, VIEW.0);
                        let age = (now - stored) as u32;
                        match freshness {
                            Freshness::Fresh { .. } => prop_assert_eq!(ttl, original - age),
                            Freshness::Stale { .. } => {
                                prop_assert!(age >= original && age < original + 30);
                            }
                        }
                    }
                }
                Step::Store { name, len, ttl, view } => {
                    let text = format!("n{name}.");
                    let image = Image::read(&response(&text, ttl, len), CLOCK).unwrap();
                    let view = ViewId(VIEW.0 + view);
                    if lab.cache.store(&key(&text), view, image, lab.at(now)) {
                        model.insert(name, (now, ttl, view.0));
                    }
                }
                Step::Fail(name) => {
                    lab.cache.failed(&key(&format!("n{name}.")), &[VIEW], lab.at(now));
                }
                Step::Forget(name) => {
                    let name = format!("n{name}.");
                    lab.cache.forget(&Name::from_ascii(&name).unwrap());
                    prop_assert_eq!(lab.find(&name, now), None);
                }
                Step::Pass(secs) => now += u64::from(secs),
                Step::Clear => {
                    lab.cache.clear();
                    model.clear();
                }
            }
            let usage = lab.cache.usage();
            prop_assert!(usage.octets <= 1 << 16, "{usage:?}");
            prop_assert!(usage.entries <= 256);
        }
    }

    /// Whatever bytes a source sends: what is made of them is a message that can be shown.
    #[test]
    fn any_bytes_make_an_image_that_can_be_shown_or_none(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = response("www.example.", 60, 40);
        bytes.extend(tail);
        for (place, octet) in flips {
            let place = place.index(bytes.len());
            bytes[place] = octet;
        }
        if let Ok(image) = Image::read(&bytes, CLOCK) {
            let mut out = Vec::new();
            image.answer().append_to(&[], &mut out);
            View::parse(&out).unwrap().check().unwrap();
        }
    }
}

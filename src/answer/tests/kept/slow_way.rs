//! What comes out of the cache is the same as by the slow way.

use super::*;

/// The response as it was made before there was a cache: by copies, one change after the other.
fn by_the_slow_way(query: &[u8], transport: Transport, source: &[u8]) -> Vec<u8> {
    let asked = View::parse(query).unwrap();
    let theirs = View::parse(source).unwrap();
    let mut message = source.to_vec();
    wire::set_id(&mut message, asked.id());
    let understands = asked.edns().unwrap().is_some_and(|edns| edns.dnssec_ok);
    let mut flags = theirs.flags().0 & (Flags::AUTHORITATIVE | Flags::TRUNCATED | Flags::RCODE);
    flags |= Flags::RESPONSE | Flags::RECURSION_AVAILABLE;
    flags |= asked.flags().0 & (Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED);
    if understands || asked.authentic_data() {
        flags |= theirs.flags().0 & Flags::AUTHENTIC_DATA;
    }
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    assert!(wire::restore_case(&mut message, &asked.question().unwrap()));
    let edns = asked.edns().unwrap().map(|asks| {
        let mut options = Vec::new();
        if transport.is_stream() && asks.option(11).is_some() {
            options.push((11, 300u16.to_be_bytes().to_vec()));
        }
        let errors = theirs.edns().unwrap().map(|edns| edns.to_edns().options);
        let errors = errors.unwrap_or_default().into_iter();
        options.extend(errors.filter(|(code, _)| *code == 15));
        Edns {
            options,
            ..Edns::plain(asks.dnssec_ok)
        }
    });
    let mut message = wire::with_edns(&message, edns.as_ref()).unwrap();
    let padded = asked
        .edns()
        .unwrap()
        .is_some_and(|edns| edns.option(12).is_some());
    if transport == Transport::Tls && padded {
        let _ = wire::pad(&mut message, 468);
    }
    let limit = match (transport, asked.edns().unwrap()) {
        (Transport::Udp, None) => 512,
        (Transport::Udp, Some(edns)) => usize::from(edns.payload_size).clamp(512, 1232),
        _ => 65_535,
    };
    wire::truncate(&message, limit)
}

/// The message with TTLs made equal, which is all that may differ.
fn timeless(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let view = View::parse(&message).unwrap();
    let offsets: Vec<_> = view
        .records()
        .map(Result::unwrap)
        .filter(|record| record.rtype != 41)
        .map(|record| record.ttl_offset)
        .collect();
    for offset in offsets {
        message[offset..offset + 4].fill(0);
    }
    message
}

/// How somebody asks.
#[derive(Debug, Clone)]
struct Manner {
    id: u16,
    upper_case: Vec<bool>,
    flags: u8,
    edns: Option<Edns>,
    transport: Transport,
}

impl Manner {
    fn ask(&self, name: &str, qtype: RecordType, like: Option<&Self>) -> Vec<u8> {
        let like = like.unwrap_or(self);
        let letters = self.upper_case.iter().cycle();
        let name: String = name
            .chars()
            .zip(letters)
            .map(|(letter, upper)| {
                if *upper {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                }
            })
            .collect();
        // What the key is made of has to be as with the one before.
        let edns = like.edns.as_ref().map(|before| Edns {
            dnssec_ok: before.dnssec_ok,
            ..self.edns.clone().unwrap_or_else(|| edns(1232, &[]))
        });
        let checking = like.flags & 0x10;
        let query = question(&name, qtype, edns.as_ref());
        let query = with(query, 3, &[self.flags & 0x20 | checking]);
        with(query, 0, &self.id.to_be_bytes())
    }
}

fn manners() -> impl Strategy<Value = Manner> {
    let options = prop::sample::subsequence(
        vec![
            (11u16, Vec::new()),
            (12, vec![0; 31]),
            (8, vec![0, 1, 0, 0]),
            (65_001, vec![7; 9]),
        ],
        0..=4,
    );
    let opt = (
        prop_oneof![0u16..600, 1000u16..4096],
        any::<bool>(),
        options,
    )
        .prop_map(|(payload_size, dnssec_ok, options)| Edns {
            payload_size,
            dnssec_ok,
            extended_rcode: 0,
            options,
        });
    (
        any::<u16>(),
        prop::collection::vec(any::<bool>(), 1..8),
        any::<u8>(),
        prop::option::weighted(0.7, opt),
        prop_oneof![
            Just(Transport::Udp),
            Just(Transport::Tcp),
            Just(Transport::Tls)
        ],
    )
        .prop_map(|(id, upper_case, flags, edns, transport)| Manner {
            id,
            upper_case,
            flags,
            edns,
            transport,
        })
}

/// What a source says: records at the name asked for, compressed or not, an alias, a denial, a
/// failure; flags; extended errors; a cookie of its own.
fn sources() -> impl Strategy<Value = (u8, Vec<Record>, Vec<Record>, u16, Option<Edns>)> {
    let name = || {
        prop_oneof![
            Just("www.Example."),
            Just("alias.example."),
            Just("."),
            Just("x.test.")
        ]
        .prop_map(|name| Name::from_ascii(name).unwrap())
    };
    let record = move || {
        (name(), name(), 1u32..100_000, 0u8..4, 1usize..150).prop_map(
            |(owner, target, ttl, kind, len)| {
                let data = match kind {
                    0 => RData::A("192.0.2.1".parse().unwrap()),
                    1 => RData::CNAME(hickory_proto::rr::rdata::CNAME(target)),
                    2 => RData::SOA(hickory_proto::rr::rdata::SOA::new(
                        target.clone(),
                        target,
                        1,
                        2,
                        3,
                        4,
                        ttl,
                    )),
                    _ => RData::TXT(TXT::new(vec!["x".repeat(len)])),
                };
                Record::from_rdata(owner, ttl, data)
            },
        )
    };
    let errors = prop::collection::vec((0u16..30, "[a-z ]{0,20}"), 0..3).prop_map(|errors| {
        let errors = errors
            .into_iter()
            .map(|(code, text)| (15, [&code.to_be_bytes()[..], text.as_bytes()].concat()));
        Edns {
            options: errors
                .chain([(10, vec![1; 24]), (12, vec![0; 7])])
                .collect(),
            ..Edns::plain(true)
        }
    });
    (
        prop_oneof![8 => Just(0u8), 2 => Just(3), 1 => Just(2), 1 => Just(5)],
        prop::collection::vec(record(), 0..12),
        prop::collection::vec(record(), 0..3),
        prop_oneof![
            Just(0u16),
            Just(0x0400),
            Just(0x0020),
            Just(0x0010),
            Just(0x0200)
        ],
        prop::option::of(errors),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Two ask the same, each in their own manner: the first waits for the source, the second is
    /// answered out of the cache where that may be. Both get what they got before there was one.
    #[test]
    fn a_kept_answer_is_the_slow_ways_but_for_id_ttl_and_case(
        first in manners(),
        second in manners(),
        (code, answers, authorities, flags, opt) in sources(),
        qtype in prop_oneof![Just(RecordType::A), Just(RecordType::TXT), Just(RecordType::ANY)],
        secs in 0u64..400,
    ) {
        let responder = responder();
        let query = first.ask("www.example.", qtype, None);
        let mut message = Message::from_vec(&query).unwrap().into_response();
        message.edns = None;
        message.insert_answers(answers);
        message.insert_authorities(authorities);
        let mut source = message.to_vec().unwrap();
        let word = 0x8180 | flags | u16::from(code);
        source[2..4].copy_from_slice(&word.to_be_bytes());
        let source = wire::with_edns(&source, opt.as_ref()).unwrap();

        let asked = pending(responder.say(&later(first.transport, 0), &query));
        let told = responder.finish(asked, Ok(source.clone()), at(0));
        let slow = by_the_slow_way(&query, first.transport, &source);
        prop_assert_eq!(timeless(&told), timeless(&slow));

        let again = second.ask("www.example.", qtype, Some(&first));
        let asker = later(second.transport, secs);
        match responder.say(&asker, &again) {
            Said::Reply(told) => {
                let slow = by_the_slow_way(&again, second.transport, &source);
                prop_assert_eq!(timeless(&told), timeless(&slow));
                prop_assert_eq!(responder.counters().value(Event::CacheHit), 1);
                // Each TTL has lost the time that passed, at the least.
                let gone = u32::try_from(secs).unwrap();
                for (told, before) in ttls(&told).into_iter().zip(ttls(&slow)) {
                    prop_assert!(told <= before.saturating_sub(gone), "{told} of {before}");
                }
                prop_assert!(code != 5 && flags != 0x0200 && qtype != RecordType::ANY);
            }
            Said::Ask(_) => {
                // Nothing was kept, or its time has passed.
                let shortest = ttls(&source).into_iter().min().unwrap_or(0);
                let denial = !View::parse(&source).unwrap().records().map(Result::unwrap).any(
                    |record| record.section == Section::Answer
                        && RecordType::from(record.rtype) == qtype,
                );
                prop_assert!(
                    code != 0 || denial || flags == 0x0200 || qtype == RecordType::ANY
                        || u64::from(shortest) <= secs
                );
            }
            Said::Drop(dropped) => panic!("{dropped:?}"),
        }
    }
}

#![allow(clippy::unwrap_used)]

use super::*;

const DOT: (u16, &[u8]) = (1, b"\x03dot");
const PUBLIC: &str = "192.0.2.1";

struct Answer {
    message: Vec<u8>,
    counts: [u16; 2],
}

impl Answer {
    fn new(rcode: u16) -> Self {
        let query = question(7);
        let mut message = wire::with_edns(&query, None).unwrap();
        message[2] |= 0x80;
        message[3] |= u8::try_from(rcode).unwrap();
        Self {
            message,
            counts: [0, 0],
        }
    }

    fn record(mut self, section: usize, owner: &str, rtype: u16, ttl: u32, data: &[u8]) -> Self {
        let owner = Name::from_ascii(owner).unwrap();
        for label in owner.iter() {
            self.message.push(u8::try_from(label.len()).unwrap());
            self.message.extend_from_slice(label);
        }
        self.message.push(0);
        self.message.extend_from_slice(&rtype.to_be_bytes());
        self.message.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.message.extend_from_slice(&ttl.to_be_bytes());
        let length = u16::try_from(data.len()).unwrap();
        self.message.extend_from_slice(&length.to_be_bytes());
        self.message.extend_from_slice(data);
        self.counts[section] += 1;
        self
    }

    fn svcb(self, priority: u16, target: &str, params: &[(u16, &[u8])]) -> Self {
        let mut data = priority.to_be_bytes().to_vec();
        for label in Name::from_ascii(target).unwrap().iter() {
            data.push(u8::try_from(label.len()).unwrap());
            data.extend_from_slice(label);
        }
        data.push(0);
        for (key, value) in params {
            data.extend_from_slice(&key.to_be_bytes());
            data.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            data.extend_from_slice(value);
        }
        self.record(0, "_dns.resolver.arpa.", 64, 300, &data)
    }

    fn judge(mut self, server: &str) -> Result<Vec<Designation>, NotDesignated> {
        self.message[6..8].copy_from_slice(&self.counts[0].to_be_bytes());
        self.message[10..12].copy_from_slice(&self.counts[1].to_be_bytes());
        designations(&self.message, server.parse().unwrap())
    }
}

fn endpoints(found: &[Designation]) -> Vec<Vec<String>> {
    found
        .iter()
        .map(|one| one.endpoints.iter().map(ToString::to_string).collect())
        .collect()
}

#[test]
fn the_question_is_about_the_resolver_and_nobody_else() {
    let message = question(9);
    let view = View::parse(&message).unwrap();
    let asked = view.question().unwrap();
    assert_eq!(asked.wire_name, b"\x04_dns\x08resolver\x04arpa\x00");
    assert_eq!((asked.qtype, view.id()), (64, 9));
    assert!(view.recursion_desired());
}

#[test]
fn designated_resolvers_come_in_the_order_of_their_priority() {
    let found = Answer::new(0)
        .svcb(
            2,
            "b.example.",
            &[DOT, (3, &[34, 185]), (4, &[192, 0, 2, 9])],
        )
        .svcb(
            1,
            "a.example.",
            &[(1, b"\x02h2\x03dot"), (4, &[192, 0, 2, 8, 192, 0, 2, 1])],
        )
        .judge(PUBLIC)
        .unwrap();
    assert_eq!(found[0].target.to_ascii(), "a.example.");
    assert_eq!(
        endpoints(&found),
        [
            vec!["192.0.2.1:853", "192.0.2.8:853"],
            vec!["192.0.2.9:8889"]
        ],
        "the server's own address first"
    );
    assert_eq!(found[0].ttl, 300);
}

#[test]
fn addresses_come_from_the_additional_section_too_and_only_for_the_target() {
    let found = Answer::new(0)
        .svcb(1, "a.example.", &[DOT])
        .record(1, "A.example.", 1, 60, &[192, 0, 2, 7])
        .record(1, "other.example.", 1, 60, &[192, 0, 2, 66])
        .record(1, "a.example.", 28, 60, &[0x20; 16])
        .judge(PUBLIC)
        .unwrap();
    assert_eq!(
        endpoints(&found),
        [[
            "192.0.2.7:853",
            "[2020:2020:2020:2020:2020:2020:2020:2020]:853"
        ]]
    );
}

#[test]
fn without_any_address_the_server_means_itself() {
    let found = Answer::new(0)
        .svcb(1, "a.example.", &[DOT])
        .judge(PUBLIC)
        .unwrap();
    assert_eq!(endpoints(&found), [["192.0.2.1:853"]]);
}

#[test]
fn each_way_of_designating_nobody_has_its_name() {
    let none = |answer: Answer| answer.judge(PUBLIC).unwrap_err();
    assert_eq!(none(Answer::new(0)), NotDesignated::None);
    assert_eq!(none(Answer::new(3)), NotDesignated::None);
    assert_eq!(none(Answer::new(5)), NotDesignated::Code(5));
    let elsewhere = Answer::new(0).record(0, "_dns.example.", 64, 60, &[0, 1, 0]);
    assert_eq!(none(elsewhere), NotDesignated::None);
    for other in [
        Answer::new(0).svcb(0, "a.example.", &[]),
        Answer::new(0).svcb(1, "a.example.", &[]),
        Answer::new(0).svcb(1, "a.example.", &[(1, b"\x02h2\x03doq")]),
        Answer::new(0).svcb(1, "a.example.", &[(0, &[0, 99]), DOT, (99, b"")]),
        Answer::new(0).svcb(1, ".", &[DOT]),
        Answer::new(0).svcb(1, "resolver.arpa.", &[DOT]),
    ] {
        assert_eq!(none(other), NotDesignated::OtherProtocols);
    }
    let cut = designations(&question(1)[..20], PUBLIC.parse().unwrap());
    assert!(matches!(cut, Err(NotDesignated::Unreadable(_))), "{cut:?}");
}

#[test]
fn one_broken_record_spoils_them_all() {
    let answer =
        Answer::new(0)
            .svcb(1, "a.example.", &[DOT])
            .svcb(2, "b.example.", &[(3, &[3, 85]), DOT]);
    assert_eq!(
        answer.judge(PUBLIC),
        Err(NotDesignated::Malformed(SvcbError::Order))
    );
}

#[test]
fn a_server_cannot_point_into_a_private_network_or_at_this_computer() {
    for bad in [
        [127, 0, 0, 1],
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [224, 0, 0, 1],
        [255, 255, 255, 255],
        [10, 0, 0, 1],
        [192, 168, 1, 1],
        [169, 254, 0, 1],
        [100, 64, 0, 1],
    ] {
        let answer = Answer::new(0).svcb(1, "a.example.", &[DOT, (4, &bad)]);
        assert_eq!(
            answer.judge(PUBLIC),
            Err(NotDesignated::Addresses),
            "{bad:?}"
        );
    }
    let port = Answer::new(0).svcb(1, "a.example.", &[DOT, (3, &[0, 0]), (4, &[192, 0, 2, 1])]);
    assert_eq!(port.judge(PUBLIC), Err(NotDesignated::Addresses));
}

#[test]
fn a_server_at_a_private_address_designates_that_address_alone() {
    let answer = || {
        Answer::new(0).svcb(
            1,
            "a.example.",
            &[DOT, (4, &[192, 168, 1, 2, 192, 0, 2, 1, 192, 168, 1, 1])],
        )
    };
    let found = answer().judge("192.168.1.1").unwrap();
    assert_eq!(endpoints(&found), [["192.168.1.1:853"]]);
    assert_eq!(answer().judge("10.9.9.9"), Err(NotDesignated::Addresses));
}

#[test]
fn the_number_of_designations_and_of_addresses_is_bounded() {
    let hints: Vec<u8> = (1..=8).flat_map(|last| [192, 0, 2, last]).collect();
    let mut answer = Answer::new(0);
    for priority in 1..=9 {
        answer = answer.svcb(priority, "a.example.", &[DOT, (4, &hints)]);
    }
    let found = answer.judge(PUBLIC).unwrap();
    assert_eq!(found.len(), MAX_DESIGNATIONS);
    assert!(found.iter().all(|one| one.endpoints.len() == MAX_ADDRESSES));
}

#[test]
fn nobody_can_certify_a_private_address() {
    for (address, local) in [
        ("192.168.1.1", true),
        ("10.0.0.1", true),
        ("172.16.0.1", true),
        ("100.64.0.1", true),
        ("100.128.0.1", false),
        ("169.254.1.1", true),
        ("127.0.0.1", true),
        ("::ffff:192.168.1.1", true),
        ("fd00::1", true),
        ("fe80::1", true),
        ("::1", true),
        ("9.9.9.9", false),
        ("2620:fe::fe", false),
    ] {
        assert_eq!(is_local(address.parse().unwrap()), local, "{address}");
    }
}

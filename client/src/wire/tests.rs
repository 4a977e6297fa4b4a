#![allow(clippy::unwrap_used)]

mod properties;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::{A, CNAME, MX, NULL};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn asked(text: &str, qtype: RecordType, edns: Option<&Edns>) -> Vec<u8> {
    let flags = QuestionFlags {
        rd: true,
        cd: true,
        ad: false,
    };
    question(0x1234, &name(text), qtype, flags, edns)
}

fn response_to(query: &[u8], answers: &[Record]) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.queries = query.queries.clone();
    response.answers = answers.to_vec();
    response.to_vec().unwrap()
}

fn cname(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
}

fn address(owner: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::A(A::new(192, 0, 2, 1)))
}

fn chain(query: &[u8], answers: &[Record]) -> Result<(), ChainError> {
    let response = response_to(query, answers);
    answer_chain_ok(
        &View::parse(query).unwrap(),
        &View::parse(&response).unwrap(),
    )
}

#[test]
fn a_question_reads_back_as_it_was_asked() {
    let edns = Edns {
        options: vec![(10, vec![1; 8])],
        ..Edns::plain(true)
    };
    let message = asked("Example.ORG.", RecordType::AAAA, Some(&edns));
    let view = View::parse(&message).unwrap();
    view.check().unwrap();
    assert_eq!(view.id(), 0x1234);
    assert!(view.recursion_desired() && view.checking_disabled());
    assert!(!view.is_response() && !view.authentic_data() && !view.truncated());
    let question = view.question().unwrap();
    assert_eq!(question.wire_name, b"\x07Example\x03ORG\x00");
    assert_eq!((question.qtype, question.qclass), (28, 1));
    assert_eq!(view.edns().unwrap().unwrap().to_edns(), edns);
}

#[test]
fn an_answer_needs_the_same_id_opcode_and_question() {
    let query = asked("example.org.", RecordType::A, None);
    let response = response_to(&query, &[address("example.org.")]);
    let matches = |response: &[u8]| {
        answers(
            &View::parse(&query).unwrap(),
            &View::parse(response).unwrap(),
        )
    };
    assert!(matches(&response));
    for (offset, mask) in [
        (0, 1),
        (1, 1),
        (2, 0x80),
        (2, 0x08),
        (13, 1),
        (26, 1),
        (28, 2),
    ] {
        let mut other = response.clone();
        other[offset] ^= mask;
        assert!(!matches(&other), "byte {offset} does not matter");
    }
    let mut upper = response.clone();
    upper[13] ^= 0x20;
    assert!(matches(&upper));
    assert!(!answers_exactly(
        &View::parse(&query).unwrap(),
        &View::parse(&upper).unwrap()
    ));
    assert!(restore_case(
        &mut upper,
        &View::parse(&query).unwrap().question().unwrap()
    ));
    assert_eq!(upper, response);
}

#[test]
fn a_pointer_must_lead_backwards() {
    let mut message = asked("a.", RecordType::A, None);
    message[12] = 0xC0;
    message[13] = 12;
    assert_eq!(View::parse(&message).err(), Some(WireError::Pointer));
    message[13] = 40;
    assert_eq!(View::parse(&message).err(), Some(WireError::Pointer));
    message[12] = 0x80;
    assert_eq!(View::parse(&message).err(), Some(WireError::LabelKind));
}

#[test]
fn what_follows_a_name_is_no_part_of_it() {
    let query = asked("a.", RecordType::TXT, None);
    let mut response = response_to(&query, &[]);
    // A label of 20 bytes that starts in the first record's data would end in the second record.
    response.extend_from_slice(&[0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 2]);
    let data = response.len();
    response.extend_from_slice(&[1, 20]);
    let owner = (0xC000 | (data + 1) as u16).to_be_bytes();
    response.extend_from_slice(&owner);
    response.extend_from_slice(&[0, 16, 0, 1, 0, 0, 0, 60, 0, 12]);
    response.extend_from_slice(&[11, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]);
    response[7] = 2;
    let checked = View::parse(&response).unwrap().check();
    assert_eq!(checked, Err(WireError::Pointer));
}

#[test]
fn a_name_of_255_bytes_passes_and_one_of_256_does_not() {
    let build = |last: usize| {
        let mut message = asked(".", RecordType::A, None);
        let tail = message.split_off(12);
        for length in [63, 63, 63, last] {
            message.push(length as u8);
            message.resize(message.len() + length, b'x');
        }
        message.extend_from_slice(&tail);
        message
    };
    assert!(View::parse(&build(61)).is_ok());
    assert_eq!(View::parse(&build(62)).err(), Some(WireError::NameTooLong));
}

#[test]
fn lying_opt_records_are_named() {
    let whole = asked("a.", RecordType::A, Some(&Edns::plain(true)));
    let opt = whole[19..].to_vec();
    let error = |message: &[u8]| View::parse(message).unwrap().edns().err();

    let mut twice = whole.clone();
    twice.extend_from_slice(&opt);
    twice[11] = 2;
    assert_eq!(error(&twice), Some(WireError::OptTwice));

    let mut misplaced = whole.clone();
    misplaced[7] = 1;
    misplaced[11] = 0;
    assert_eq!(error(&misplaced), Some(WireError::OptMisplaced));

    let mut owned = asked("a.", RecordType::A, None);
    owned.extend_from_slice(&[0xC0, 12]);
    owned.extend_from_slice(&opt[1..]);
    owned[11] = 1;
    assert_eq!(error(&owned), Some(WireError::OptOwner));

    let mut cut = whole.clone();
    let length_at = cut.len() - 1;
    cut[length_at] = 4;
    assert_eq!(error(&cut), Some(WireError::RecordCut));
    cut.extend_from_slice(&[0, 10, 0, 1]);
    assert_eq!(error(&cut), Some(WireError::OptionCut));
}

#[test]
fn an_opt_record_in_the_middle_comes_out_and_pointers_still_lead_to_their_names() {
    let query = asked("example.org.", RecordType::MX, None);
    let mut response = response_to(&query, &[]);
    Edns::plain(true).emit(&mut response).unwrap();
    // mail.example.org A, then www.mail.example.org A by a pointer across the OPT record.
    let first = response.len();
    response.extend_from_slice(b"\x04mail\xC0\x0C");
    response.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    response.extend_from_slice(b"\x03www");
    response.extend_from_slice(&(0xC000 | first as u16).to_be_bytes());
    response.extend_from_slice(&[0, 15, 0, 1, 0, 0, 0, 60, 0, 4, 0, 10]);
    response.extend_from_slice(&(0xC000 | first as u16).to_be_bytes());
    response[11] = 3;
    let before = Message::from_vec(&response).unwrap();

    for edns in [None, Some(Edns::plain(false))] {
        let changed = with_edns(&response, edns.as_ref()).unwrap();
        View::parse(&changed).unwrap().check().unwrap();
        let after = Message::from_vec(&changed).unwrap();
        assert_eq!(after.additionals, before.additionals);
        assert_eq!(after.edns.is_some(), edns.is_some());
    }
    let RData::MX(MX { exchange, .. }) = &before.additionals[1].data else {
        panic!("{before:?}");
    };
    assert_eq!(*exchange, name("mail.example.org."));
}

#[test]
fn a_signed_message_is_not_changed() {
    let mut message = asked("a.", RecordType::A, None);
    message.extend_from_slice(&[0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0]);
    message[11] = 1;
    assert_eq!(with_edns(&message, None), Err(WireError::Signed));
    let before = message.clone();
    assert_eq!(pad(&mut message, 128), Err(WireError::Signed));
    assert_eq!(message, before);
}

#[test]
fn padding_reaches_the_block_replaces_itself_and_keeps_other_options() {
    let edns = Edns {
        options: vec![(PADDING_OPTION, vec![0; 7]), (10, vec![9; 8])],
        ..Edns::plain(true)
    };
    let mut message = asked("example.org.", RecordType::A, Some(&edns));
    pad(&mut message, 128).unwrap();
    assert_eq!(message.len(), 128);
    let once = message.clone();
    pad(&mut message, 128).unwrap();
    assert_eq!(message, once);
    let view = View::parse(&message).unwrap();
    let found = view.edns().unwrap().unwrap();
    assert_eq!(found.option(10), Some([9; 8].as_slice()));
    assert!(found.dnssec_ok);
    assert!(
        found
            .option(PADDING_OPTION)
            .unwrap()
            .iter()
            .all(|&b| b == 0)
    );
    pad(&mut message, 468).unwrap();
    assert_eq!(message.len(), 468);
}

#[test]
fn a_message_near_the_limit_is_padded_only_as_far_as_it_goes() {
    let query = asked("example.org.", RecordType::NULL, None);
    let record = |length: usize| {
        let data = RData::NULL(NULL::with(vec![0; length]));
        Record::from_rdata(name("example.org."), 0, data)
    };
    let room = 65_535 - 29 - 12;
    let mut message = response_to(&query, &[record(room - 20)]);
    pad(&mut message, 468).unwrap();
    assert_eq!(message.len(), 65_535);
    let mut full = response_to(&query, &[record(room - 3)]);
    assert_eq!(pad(&mut full, 468), Err(WireError::TooLong));
}

#[test]
fn a_refusal_echoes_the_question_and_speaks_edns_only_to_who_does() {
    let bare = asked("Example.org.", RecordType::A, None);
    let reply = error_reply(&bare, 2, Some((9, "why"))).unwrap();
    let view = View::parse(&reply).unwrap();
    view.check().unwrap();
    assert!(answers_exactly(&View::parse(&bare).unwrap(), &view));
    assert_eq!(view.rcode(), 2);
    assert!(view.edns().unwrap().is_none());

    let query = asked("Example.org.", RecordType::A, Some(&Edns::plain(true)));
    let reply = error_reply(&query, 16, Some((9, "why"))).unwrap();
    let view = View::parse(&reply).unwrap();
    view.check().unwrap();
    let edns = view.edns().unwrap().unwrap();
    assert_eq!((view.rcode(), edns.extended_rcode), (0, 1));
    assert!(edns.dnssec_ok);
    assert_eq!(edns.option(15), Some(b"\x00\x09why".as_slice()));

    assert_eq!(error_reply(&reply, 2, None), None);
    assert_eq!(error_reply(&query[..11], 2, None), None);
    let header_only = error_reply(&query[..14], 1, None).unwrap();
    assert_eq!(header_only.len(), HEADER_BYTES);
}

#[test]
fn a_long_answer_is_cut_to_header_question_and_opt() {
    let query = asked("example.org.", RecordType::A, None);
    let records = vec![address("example.org."); 60];
    let response = with_edns(&response_to(&query, &records), Some(&Edns::plain(true))).unwrap();
    assert_eq!(truncate(&response, 1232), response);
    let cut = truncate(&response, 512);
    let view = View::parse(&cut).unwrap();
    view.check().unwrap();
    assert!(view.truncated() && answers(&View::parse(&query).unwrap(), &view));
    assert_eq!(view.counts().answers, 0);
    assert!(view.edns().unwrap().unwrap().dnssec_ok);
}

#[test]
fn only_what_the_question_leads_to_is_an_answer() {
    let query = asked("a.test.", RecordType::A, None);
    let good = [
        cname("a.test.", "b.test."),
        cname("B.test.", "c.example."),
        address("c.example."),
    ];
    assert_eq!(chain(&query, &good), Ok(()));
    assert_eq!(chain(&query, &[]), Ok(()));
    assert_eq!(
        chain(&query, &[address("b.test.")]),
        Err(ChainError::OffChain)
    );
    assert_eq!(
        chain(&query, &[good[0].clone(), address("bank.example.")]),
        Err(ChainError::OffChain)
    );
    let text = Record::from_rdata(name("a.test."), 60, RData::NULL(NULL::with(vec![1])));
    assert_eq!(chain(&query, &[text]), Err(ChainError::OtherType));
    assert_eq!(
        chain(
            &query,
            &[cname("a.test.", "b.test."), cname("b.test.", "a.test.")]
        ),
        Err(ChainError::TooLong)
    );
    let endless: Vec<_> = (0..MAX_CHAIN_LINKS + 1)
        .map(|i| {
            let owner = if i == 0 {
                "a.test.".into()
            } else {
                format!("n{i}.test.")
            };
            cname(&owner, &format!("n{}.test.", i + 1))
        })
        .collect();
    assert_eq!(chain(&query, &endless), Err(ChainError::TooLong));
    assert_eq!(chain(&query, &endless[..MAX_CHAIN_LINKS]), Ok(()));
}

#[test]
fn a_dname_above_the_question_leads_on() {
    let query = asked("x.y.test.", RecordType::A, None);
    let dname = |owner: &str| {
        let mut data = vec![];
        for label in name("other.example.").iter() {
            data.push(label.len() as u8);
            data.extend_from_slice(label);
        }
        data.push(0);
        Record::from_rdata(
            name(owner),
            60,
            RData::Unknown {
                code: RecordType::from(39),
                rdata: NULL::with(data),
            },
        )
    };
    let with = |above: &str| {
        [
            dname(above),
            cname("x.y.test.", "x.other.example."),
            address("x.other.example."),
        ]
    };
    assert_eq!(chain(&query, &with("y.test.")), Ok(()));
    assert_eq!(
        chain(&query, &[dname("y.test."), address("x.other.example.")]),
        Ok(())
    );
    assert_eq!(chain(&query, &with("z.test.")), Err(ChainError::OffChain));
    assert_eq!(
        chain(&query, &with("x.y.test.")),
        Err(ChainError::OtherType)
    );
}

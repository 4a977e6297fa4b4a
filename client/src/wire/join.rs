//! Two responses made into one: an alias of our own, and what somebody else says about its target.

use std::collections::HashMap;

use super::name::NameView;
use super::view::{Flags, RecordView, Section, View};
use super::{HEADER_BYTES, MAX_MESSAGE_BYTES, WireError, rtype};

/// The first offset that a compression pointer cannot hold (RFC 1035 §4.1.4).
const MAX_POINTER_TARGET: usize = 0x4000;

/// The response to the question of `alias`: its header but for the response code and its answer section,
/// then answer and authority section of `told`, and the response code of that. There is no additional
/// section, and so no OPT record.
///
/// # Errors
/// Where one of them is not sound, or both are too much for one message.
pub fn join(alias: &View<'_>, told: &View<'_>) -> Result<Vec<u8>, WireError> {
    let question = alias.question().ok_or(WireError::NoQuestion)?;
    let mut joined = Joined::default();
    let flags = alias.flags().0 & !Flags::RCODE | told.flags().0 & Flags::RCODE;
    for word in [alias.id(), flags, 1, 0, 0, 0] {
        joined.octets.extend_from_slice(&word.to_be_bytes());
    }
    joined.push_name(&question.name, true);
    for word in [question.qtype, question.qclass] {
        joined.octets.extend_from_slice(&word.to_be_bytes());
    }
    let own = alias.records().map(|record| (record, Section::Answer));
    let own = own.filter(|(record, section)| is_in(record, *section));
    let of = |section| {
        let records = told.records().map(move |record| (record, section));
        records.filter(move |(record, section)| is_in(record, *section))
    };
    for (record, section) in own.chain(of(Section::Answer)).chain(of(Section::Authority)) {
        joined.push_record(&record?)?;
        let place = if section == Section::Answer { 6 } else { 8 };
        joined.count(place);
    }
    Ok(joined.octets)
}

/// Errors are in every section, so that they are found.
fn is_in(record: &Result<RecordView<'_>, WireError>, section: Section) -> bool {
    record
        .as_ref()
        .map_or(true, |record| record.section == section)
}

/// A message in the making.
#[derive(Default)]
struct Joined {
    octets: Vec<u8>,
    /// Where names stand, in folded wire form. Each costs at least two octets of the message, so that there
    /// are not too many.
    names: HashMap<Vec<u8>, u16>,
}

impl Joined {
    fn push_record(&mut self, record: &RecordView<'_>) -> Result<(), WireError> {
        self.push_name(&record.owner, true);
        for word in [record.rtype, record.class] {
            self.octets.extend_from_slice(&word.to_be_bytes());
        }
        self.octets.extend_from_slice(&record.ttl.to_be_bytes());
        let length_at = self.octets.len();
        self.octets.extend_from_slice(&[0, 0]);
        self.push_data(record)?;
        let length = self.octets.len() - length_at - 2;
        let length = u16::try_from(length).map_err(|_| WireError::TooLong)?;
        if self.octets.len() > MAX_MESSAGE_BYTES {
            return Err(WireError::TooLong);
        }
        if let Some(slot) = self.octets.get_mut(length_at..length_at + 2) {
            slot.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    /// The data, its names written anew: pointers in it are for the message that it comes from.
    fn push_data(&mut self, record: &RecordView<'_>) -> Result<(), WireError> {
        let (_, names) = record.names_layout();
        // Only for these, of RFC 1035, every receiver expects it (RFC 3597 §4).
        let compressed = matches!(
            record.rtype,
            rtype::NS | rtype::CNAME | rtype::SOA | rtype::PTR
        );
        let (start, data) = (record.rdata.start, record.data());
        let mut copied = 0;
        let mut found = 0;
        for (name, place) in record.names_in_data() {
            let before = data.get(copied..place.start - start);
            self.octets
                .extend_from_slice(before.ok_or(WireError::RecordCut)?);
            self.push_name(&name, compressed);
            copied = place.end - start;
            found += 1;
        }
        if found != names {
            return Err(WireError::NameCut);
        }
        let rest = data.get(copied..).ok_or(WireError::RecordCut)?;
        self.octets.extend_from_slice(rest);
        Ok(())
    }

    fn push_name(&mut self, name: &NameView<'_>, compressed: bool) {
        let wire = name.to_wire();
        let folded = wire.to_ascii_lowercase();
        let mut at = 0;
        while let Some(length) = wire.get(at).filter(|length| **length > 0) {
            let next = at + 1 + usize::from(*length);
            let suffix = folded.get(at..).unwrap_or_default();
            match self.names.get(suffix) {
                Some(target) if compressed => {
                    self.octets
                        .extend_from_slice(&(0xC000 | target).to_be_bytes());
                    return;
                }
                Some(_) => {}
                None if self.octets.len() < MAX_POINTER_TARGET => {
                    let here = self.octets.len() as u16;
                    self.names.insert(suffix.to_vec(), here);
                }
                None => {}
            }
            self.octets
                .extend_from_slice(wire.get(at..next).unwrap_or_default());
            at = next;
        }
        self.octets.push(0);
    }

    fn count(&mut self, place: usize) {
        if let Some(slot) = self
            .octets
            .get_mut(..HEADER_BYTES)
            .and_then(|header| header.get_mut(place..place + 2))
        {
            // No message has room for more records than its counts have bits for.
            let count = u16::from_be_bytes([slot[0], slot[1]]).saturating_add(1);
            slot.copy_from_slice(&count.to_be_bytes());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::{A, CNAME, NS, SOA, TXT};
    use hickory_proto::rr::{Name, RData, Record, RecordType};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn record(owner: &str, data: RData) -> Record {
        Record::from_rdata(name(owner), 60, data)
    }

    fn message(asked: &str, answers: &[Record], authorities: &[Record]) -> Message {
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name(asked), RecordType::A));
        message.insert_answers(answers.to_vec());
        message.insert_authorities(authorities.to_vec());
        message
    }

    fn joined(alias: &Message, told: &Message) -> Result<Vec<u8>, WireError> {
        let (alias, told) = (alias.to_vec().unwrap(), told.to_vec().unwrap());
        join(&View::parse(&alias).unwrap(), &View::parse(&told).unwrap())
    }

    fn alias() -> Message {
        let target = RData::CNAME(CNAME(name("a.far.zz.")));
        let mut alias = message(
            "a.far.zz.q.near.zz.",
            &[record("a.far.zz.q.near.zz.", target)],
            &[],
        );
        alias.metadata.authoritative = true;
        alias
    }

    #[test]
    fn what_was_told_follows_the_alias_and_its_names_are_found_again() {
        let soa = SOA::new(name("far.zz."), name("hostmaster.far.zz."), 1, 2, 3, 4, 5);
        let answers = [
            record("A.far.zz.", RData::A(A::new(192, 0, 2, 1))),
            record(
                "a.far.zz.",
                RData::TXT(TXT::new(vec!["\u{3f}\u{0}".into()])),
            ),
        ];
        let authorities = [
            record("far.zz.", RData::SOA(soa)),
            record("far.zz.", RData::NS(NS(name("ns.far.zz.")))),
        ];
        let mut told = message("a.far.zz.", &answers, &authorities);
        told.metadata.response_code = ResponseCode::NXDomain;
        let octets = joined(&alias(), &told).unwrap();
        let view = View::parse(&octets).unwrap();
        view.check().unwrap();
        let read = Message::from_vec(&octets).unwrap();
        assert!(read.metadata.authoritative);
        assert_eq!(read.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(read.queries, alias().queries);
        assert_eq!(read.answers.first(), alias().answers.first());
        assert_eq!(read.answers[1..], answers);
        assert_eq!(read.authorities, authorities);
        // It is no longer than what hickory makes of the same.
        let mut same = message("a.far.zz.q.near.zz.", &read.answers, &authorities);
        same.metadata = read.metadata;
        assert!(octets.len() <= same.to_vec().unwrap().len());
    }

    #[test]
    fn what_does_not_fit_into_one_message_is_refused_by_name() {
        let long = || RData::TXT(TXT::new(vec!["x".repeat(255); 250]));
        let answers = [record("a.far.zz.", long())];
        let told = message("a.far.zz.", &answers, &[]);
        assert!(joined(&alias(), &told).is_ok());
        let mut alias = alias();
        alias.answers.push(record("b.far.zz.", long()));
        assert_eq!(joined(&alias, &told), Err(WireError::TooLong));
    }

    #[test]
    fn data_whose_names_cannot_be_read_are_refused() {
        let told = message(
            "a.far.zz.",
            &[record("a.far.zz.", RData::NS(NS(name("n.zz."))))],
            &[],
        );
        let mut octets = told.to_vec().unwrap();
        // The name in the data becomes a pointer to itself.
        let data = octets.len() - 4;
        octets[data - 2..data].copy_from_slice(&4_u16.to_be_bytes());
        octets[data] = 0xC0;
        octets[data + 1] = data as u8;
        let alias = alias().to_vec().unwrap();
        let view = View::parse(&octets).unwrap();
        view.check().unwrap();
        let refused = join(&View::parse(&alias).unwrap(), &view);
        assert_eq!(refused, Err(WireError::NameCut));
    }

    proptest! {
        #[test]
        fn any_octets_give_a_sound_message_or_an_error(
            told in prop::collection::vec(any::<u8>(), 0..300),
            answers in 0_u16..4,
            authorities in 0_u16..4,
        ) {
            let alias = alias().to_vec().unwrap();
            let mut octets = vec![0, 0, 0x80, 0, 0, 0];
            octets.extend(answers.to_be_bytes());
            octets.extend(authorities.to_be_bytes());
            octets.extend([0, 0]);
            octets.extend(told);
            let told = View::parse(&octets).unwrap();
            if let Ok(joined) = join(&View::parse(&alias).unwrap(), &told) {
                let view = View::parse(&joined).unwrap();
                prop_assert!(view.check().is_ok());
                prop_assert_eq!(view.counts().answers, 1 + answers);
                prop_assert_eq!(view.counts().authorities, authorities);
            }
        }
    }
}

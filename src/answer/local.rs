//! Answers out of the zones that this server publishes about itself.

use hickory_proto::{
    dnssec::rdata::DNSSECRData,
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType},
};
use zzdot_zonegen::{
    lookup::{Answer, Redirection},
    signed_zone::SignedZone,
};

/// The zones, as one set: an answer never mixes two generations of them.
#[derive(Debug, Default)]
pub struct LocalZones(Vec<SignedZone>);

/// What is said to a question that is answered on this machine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) rcode: ResponseCode,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    /// Where the answer is that somebody else has it: the zone that says so, and what it says.
    pub(super) redirected: Option<(Name, Redirection)>,
}

impl LocalZones {
    /// Serves these zones and no others.
    pub fn new(zones: Vec<SignedZone>) -> Self {
        Self(zones)
    }

    /// Whether these and `others` are about the same names.
    pub(super) fn same_origins(&self, others: &Self) -> bool {
        let origins = |zones: &Self| -> Vec<_> {
            let mut origins: Vec<_> = zones.0.iter().map(|zone| zone.origin().clone()).collect();
            origins.sort();
            origins
        };
        origins(self) == origins(others)
    }

    /// The answer for `name`, DNSSEC records only where `dnssec_ok`, if `name` is in a zone.
    pub(super) fn lookup(&self, name: &Name, qtype: RecordType, dnssec_ok: bool) -> Option<Found> {
        let mut zones: Vec<_> = self.0.iter().collect();
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.origin().num_labels()));
        let (origin, answer) = zones.iter().find_map(|zone| {
            let answer = zone.lookup(name, qtype)?;
            Some((zone.origin(), answer))
        })?;
        let mut found = Found::of(origin, answer);
        // What leads elsewhere is one RRset already.
        if qtype == RecordType::ANY && found.redirected.is_none() {
            found.keep_one_rrset();
        }
        if !dnssec_ok {
            found.strip_dnssec(qtype);
        }
        Some(found)
    }
}

impl Found {
    fn of(origin: &Name, answer: Answer) -> Self {
        Self {
            rcode: answer.rcode,
            answers: answer.answers,
            authorities: answer.authorities,
            redirected: answer
                .redirected
                .map(|redirection| (origin.clone(), redirection)),
        }
    }

    /// A positive answer.
    pub(super) fn records(answers: Vec<Record>) -> Self {
        Self {
            rcode: ResponseCode::NoError,
            answers,
            authorities: Vec::new(),
            redirected: None,
        }
    }

    /// A denial: of the name, or of records at it. `soa` says for how long (RFC 2308 §3).
    pub(super) fn nothing(name_does_not_exist: bool, soa: Record) -> Self {
        Self {
            rcode: if name_does_not_exist {
                ResponseCode::NXDomain
            } else {
                ResponseCode::NoError
            },
            answers: Vec::new(),
            authorities: vec![soa],
            redirected: None,
        }
    }

    /// An ANY question is answered with one RRset and its signatures: enough for whoever asks,
    /// too little for a reflector (RFC 8482 §4.1).
    fn keep_one_rrset(&mut self) {
        if let Some(kept) = self.answers.first().map(Record::record_type) {
            self.answers
                .retain(|record| record.record_type() == kept || covers(record) == Some(kept));
        }
    }

    /// Without DO, DNSSEC records go only to those who ask for them by type (RFC 4035 §3.2.1).
    fn strip_dnssec(&mut self, qtype: RecordType) {
        let keep = |record: &Record| {
            let rtype = record.record_type();
            rtype == qtype || !matches!(rtype, RecordType::RRSIG | RecordType::NSEC)
        };
        self.answers.retain(keep);
        self.authorities.retain(keep);
    }
}

/// The type that a signature covers.
fn covers(record: &Record) -> Option<RecordType> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig.input().type_covered),
        _ => None,
    }
}

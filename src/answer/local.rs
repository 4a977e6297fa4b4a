//! Answers out of the zones that this server publishes about itself.

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, Record, RecordType},
};
use zzdot_zonegen::lookup::Answer;
use zzdot_zonegen::publish::SignedZone;

/// The zones, as one set: an answer never mixes two generations of them.
#[derive(Debug, Default)]
pub struct LocalZones(Vec<SignedZone>);

/// What is said to a question that is answered on this machine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) rcode: ResponseCode,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
}

/// For a question of type ANY, the types of which the first one present is the whole answer
/// (RFC 8482 §4.1): what is asked for most, and small.
const FOR_ANY: [RecordType; 8] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::KEY,
    RecordType::TXT,
    RecordType::TLSA,
    RecordType::SVCB,
    RecordType::PTR,
    RecordType::SOA,
];

impl LocalZones {
    /// Serves these zones and no others.
    pub fn new(zones: Vec<SignedZone>) -> Self {
        Self(zones)
    }

    /// The answer for `name`, DNSSEC records only where `dnssec_ok`, if `name` is in a zone.
    pub(super) fn lookup(&self, name: &Name, qtype: RecordType, dnssec_ok: bool) -> Option<Found> {
        let zone = self
            .0
            .iter()
            .filter(|zone| zone.origin().zone_of(name))
            .max_by_key(|zone| zone.origin().num_labels())?;
        let answer = if qtype == RecordType::ANY {
            FOR_ANY
                .iter()
                .map(|qtype| zone.lookup(name, *qtype))
                .find(|answer| !answer.answers.is_empty())
                .unwrap_or_else(|| zone.lookup(name, RecordType::ANY))
        } else {
            zone.lookup(name, qtype)
        };
        let found = Found::from(answer);
        Some(if dnssec_ok {
            found
        } else {
            found.without_dnssec(qtype)
        })
    }
}

//! Answers out of a signed zone, with the proof of what is not there (RFC 4035 §3.1).

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::dname::{TooLong, substitute, target};
use crate::signed_zone::{RrSet, SignedZone};

/// An authoritative answer. Signatures and proofs are always in it: the caller takes them out when
/// the asker did not set DO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `NoError`, `NXDomain`, or `YXDomain` where a name that a DNAME makes is too long.
    pub rcode: ResponseCode,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section: SOA and NSEC of a negative answer.
    pub authorities: Vec<Record>,
    /// Where a DNAME led, of which the answer section holds the record and the CNAME made from it.
    pub redirected: Option<Redirection>,
}

/// What became of a name below a DNAME (RFC 6672 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// The owner of the DNAME.
    pub owner: Name,
    /// The name to ask for instead.
    pub target: Name,
}

impl SignedZone {
    /// What the zone has to say about `name` and `qtype`; `None` when the name is not in the zone.
    pub fn lookup(&self, name: &Name, qtype: RecordType) -> Option<Answer> {
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        if !self.origin().zone_of(&name) {
            return None;
        }
        if let Some(answer) = self.redirect(&name) {
            return Some(answer);
        }
        let Some(node) = self.nodes().get(&name) else {
            return Some(if self.is_empty_non_terminal(&name) {
                // RFC 4035 §3.1.3.1: the NSEC before it names an owner below it.
                self.negative(ResponseCode::NoError, &[&name])
            } else {
                self.name_error(&name)
            });
        };
        let mut answers = Vec::new();
        match qtype {
            // RFC 8482 would allow less; the zones are small and askers are known.
            RecordType::ANY => {
                for rrset in node.values() {
                    push(&mut answers, rrset);
                }
            }
            // RRSIGs are not an RRset of their own and have no signatures (RFC 4035 §2.2).
            RecordType::RRSIG => {
                answers.extend(
                    node.values()
                        .flat_map(|rrset| rrset.signatures.iter().cloned()),
                );
            }
            _ => {
                if let Some(rrset) = node.get(&qtype) {
                    push(&mut answers, rrset);
                } else if let Some(rrset) = node.get(&RecordType::CNAME) {
                    push(&mut answers, rrset);
                    self.follow(rrset, qtype, &mut answers);
                }
            }
        }
        Some(if answers.is_empty() {
            self.negative(ResponseCode::NoError, &[&name])
        } else {
            Answer {
                rcode: ResponseCode::NoError,
                answers,
                authorities: Vec::new(),
                redirected: None,
            }
        })
    }

    /// The answer to a name below a DNAME: the record, and the CNAME made from it (RFC 6672 §3.2). What the
    /// CNAME leads to is not looked for.
    fn redirect(&self, name: &Name) -> Option<Answer> {
        let mut owner = name.base_name();
        let rrset = loop {
            if !self.origin().zone_of(&owner) {
                return None;
            }
            match self.rrset(&owner, RecordType::DNAME) {
                Some(rrset) => break rrset,
                None => owner = owner.base_name(),
            }
        };
        let record = rrset.records.first()?;
        let mut answers = Vec::new();
        push(&mut answers, rrset);
        let (rcode, redirected) = match substitute(name, &owner, &target(&record.data)?) {
            Ok(target) => {
                // §3.1: not signed, and it lives as long as the DNAME.
                let cname = RData::CNAME(CNAME(target.clone()));
                answers.push(Record::from_rdata(name.clone(), record.ttl, cname));
                (ResponseCode::NoError, Some(Redirection { owner, target }))
            }
            // §2.2.
            Err(TooLong) => (ResponseCode::YXDomain, None),
        };
        Some(Answer {
            rcode,
            answers,
            authorities: Vec::new(),
            redirected,
        })
    }

    /// RFC 4035 §3.1.3.2: neither the name nor a wildcard that could stand in for it exists.
    fn name_error(&self, name: &Name) -> Answer {
        let mut encloser = name.base_name();
        while !self.nodes().contains_key(&encloser) && !self.is_empty_non_terminal(&encloser) {
            encloser = encloser.base_name();
        }
        match encloser.prepend_label("*") {
            Ok(wildcard) => self.negative(ResponseCode::NXDomain, &[name, &wildcard]),
            // Not reached: `*` is never longer than the label that it stands in for.
            Err(_) => self.negative(ResponseCode::NXDomain, &[name]),
        }
    }

    /// A negative answer with the NSEC at or before each of `names`.
    fn negative(&self, rcode: ResponseCode, names: &[&Name]) -> Answer {
        let mut authorities = Vec::new();
        if let Some(rrset) = self.rrset(self.origin(), RecordType::SOA) {
            push(&mut authorities, rrset);
        }
        // RFC 2308 §5: a negative answer lives no longer than the SOA's minimum.
        let minimum = self.soa().minimum;
        for record in &mut authorities {
            record.ttl = record.ttl.min(minimum);
        }
        let mut proven: Vec<&Name> = Vec::new();
        for name in names {
            let before = self.nodes().range(..=*name).next_back();
            if let Some((owner, node)) = before
                && !proven.contains(&owner)
                && let Some(rrset) = node.get(&RecordType::NSEC)
            {
                proven.push(owner);
                push(&mut authorities, rrset);
            }
        }
        Answer {
            rcode,
            answers: Vec::new(),
            authorities,
            redirected: None,
        }
    }

    /// Adds what a CNAME leads to within the zone. Each step is to a name not yet visited.
    fn follow(&self, start: &RrSet, qtype: RecordType, answers: &mut Vec<Record>) {
        let mut visited: Vec<Name> = Vec::new();
        let mut rrset = start;
        while let Some(RData::CNAME(target)) = rrset.records.first().map(|record| &record.data) {
            let target = target.0.to_lowercase();
            let Some(node) = self.nodes().get(&target) else {
                return;
            };
            if visited.contains(&target) {
                return;
            }
            visited.push(target);
            let Some(next) = node.get(&qtype).or_else(|| node.get(&RecordType::CNAME)) else {
                return;
            };
            push(answers, next);
            rrset = next;
        }
    }

    /// A name without records that has descendants (RFC 8499): they follow it in canonical order.
    fn is_empty_non_terminal(&self, name: &Name) -> bool {
        let mut from = self.nodes().range(name..);
        !self.nodes().contains_key(name) && from.next().is_some_and(|(next, _)| name.zone_of(next))
    }
}

fn push(section: &mut Vec<Record>, rrset: &RrSet) {
    section.extend(rrset.records.iter().chain(&rrset.signatures).cloned());
}

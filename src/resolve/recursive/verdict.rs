//! Turns what hickory's recursor says into what an asker is told.
//!
//! The recursor marks every record with a proof and gives negative answers as errors; here they
//! become a response code, three sections and the one bit that says whether all of it is secure.

use hickory_resolver::{
    net::{DnsError, NetError, NoRecords},
    proto::{
        dnssec::{Proof, rdata::DNSSECRData},
        op::{Message, Query, ResponseCode},
        rr::{Name, RData, Record, RecordType},
    },
    recursor::RecursorError,
};

use super::wildcard;
use crate::resolve::{BogusReason, ResolveError};

/// An answer that may be passed on.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) rcode: ResponseCode,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    /// Every record and every denial was proved (the AD bit, RFC 4035 §3.2.3).
    pub(super) secure: bool,
}

/// What a look-up came to.
#[derive(Debug)]
pub(super) enum Verdict {
    Answered(Answer),
    /// A negative answer about another name than the one asked: an alias was followed on the way,
    /// and the recursor lost it. The aliases have to be followed one at a time.
    LostAlias,
    /// Records at these names are not proved. That is a failure, unless each of the names is below
    /// an insecure delegation.
    Unproved {
        answer: Answer,
        names: Vec<Name>,
        failure: ResolveError,
    },
    Failed(ResolveError),
}

/// Judges the outcome of `query`. When the asker checks for himself (`validating` is false),
/// proofs are not looked at.
pub(super) fn judge(
    query: &Query,
    outcome: Result<Message, RecursorError>,
    validating: bool,
    now: u32,
) -> Verdict {
    match outcome {
        Ok(message) => positive(message, validating, now),
        Err(RecursorError::Negative(data)) => negative(query, data.into(), validating, now),
        Err(RecursorError::Net(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
            negative(query, none, validating, now)
        }
        Err(RecursorError::Net(NetError::Dns(DnsError::Nsec {
            response, proof, ..
        }))) => unproved(query, &response, proof, now),
        Err(RecursorError::Net(NetError::Dns(DnsError::DnssecBogus))) => {
            Verdict::Failed(bogus(BogusReason::Bogus, "no chain of trust"))
        }
        Err(RecursorError::Timeout | RecursorError::Net(NetError::Timeout)) => {
            Verdict::Failed(ResolveError::TimedOut)
        }
        Err(other) => Verdict::Failed(ResolveError::Recursion(other.to_string())),
    }
}

fn positive(message: Message, validating: bool, now: u32) -> Verdict {
    let answer = Answer {
        rcode: message.metadata.response_code,
        secure: false,
        answers: message.answers,
        authorities: message.authorities,
    };
    if !validating {
        return Verdict::Answered(answer);
    }
    let judged = if answer.answers.is_empty() {
        &answer.authorities
    } else {
        &answer.answers
    };
    match weakest(judged) {
        Weakest::Unproved(record) => Verdict::Unproved {
            names: unproved_names(judged),
            failure: failure(record, judged, now),
            answer,
        },
        Weakest::Insecure => Verdict::Answered(answer),
        Weakest::Secure => {
            // AD speaks for the authority section as well (RFC 4035 §3.2.3). Below an answer it is
            // a courtesy, which may be left out.
            let authorities = match weakest(&answer.authorities) {
                Weakest::Secure => answer.authorities,
                _ => Vec::new(),
            };
            Verdict::Answered(Answer {
                secure: true,
                authorities,
                ..answer
            })
        }
    }
}

fn negative(query: &Query, none: NoRecords, validating: bool, now: u32) -> Verdict {
    if is_about_another_name(query.name(), none.query.name()) {
        return Verdict::LostAlias;
    }
    let mut authorities: Vec<Record> = Vec::new();
    if let Some(soa) = none.soa {
        authorities.push(soa.into_record_of_rdata());
    }
    for record in none.authorities.iter().flat_map(|records| records.iter()) {
        let known = authorities
            .iter()
            .any(|other| other.name == record.name && other.data == record.data);
        if !known {
            authorities.push(record.clone());
        }
    }
    let mut answer = Answer {
        rcode: none.response_code,
        authorities,
        ..Answer::default()
    };
    if validating {
        match weakest(&answer.authorities) {
            Weakest::Unproved(record) => {
                return Verdict::Unproved {
                    names: unproved_names(&answer.authorities),
                    failure: failure(record, &answer.authorities, now),
                    answer,
                };
            }
            Weakest::Insecure => {}
            Weakest::Secure => answer.secure = true,
        }
    }
    Verdict::Answered(answer)
}

/// The recursor validated the records, but they do not prove the denial.
fn unproved(query: &Query, response: &Message, proof: Proof, now: u32) -> Verdict {
    let about = response.queries.first().map(Query::name);
    if about.is_some_and(|name| is_about_another_name(query.name(), name)) {
        return Verdict::LostAlias;
    }
    if wildcard::expansions_are_proved(&response.answers, &response.authorities) {
        return Verdict::Answered(Answer {
            rcode: response.metadata.response_code,
            answers: response.answers.clone(),
            authorities: response.authorities.clone(),
            secure: true,
        });
    }
    // An opt-out span, or more NSEC3 iterations than anybody should compute: insecure, not bogus.
    if proof == Proof::Insecure {
        return Verdict::Answered(Answer {
            rcode: response.metadata.response_code,
            answers: response.answers.clone(),
            authorities: response.authorities.clone(),
            secure: false,
        });
    }
    match weakest(&response.authorities) {
        Weakest::Unproved(record) => Verdict::Unproved {
            names: unproved_names(&response.authorities),
            failure: failure(record, &response.authorities, now),
            answer: Answer {
                rcode: response.metadata.response_code,
                answers: response.answers.clone(),
                authorities: response.authorities.clone(),
                secure: false,
            },
        },
        _ => Verdict::Failed(bogus(
            BogusReason::NsecMissing,
            format!(
                "{} {}: denial is not proved",
                query.name(),
                query.query_type()
            ),
        )),
    }
}

/// A short cut at an ancestor (RFC 8020) is about the name asked; anything else is an alias.
fn is_about_another_name(asked: &Name, told: &Name) -> bool {
    !told.zone_of(asked)
}

enum Weakest<'a> {
    Secure,
    Insecure,
    /// Bogus, or a chain of trust that could not be followed: an attacker who holds back a
    /// DNSKEY must not gain an answer without a proof.
    Unproved(&'a Record),
}

fn weakest(records: &[Record]) -> Weakest<'_> {
    let mut judged = records
        .iter()
        // Only the signature that was used bears the proof of its set.
        .filter(|record| record.record_type() != RecordType::RRSIG)
        .peekable();
    if judged.peek().is_none() {
        return Weakest::Insecure;
    }
    let mut weakest = Weakest::Secure;
    for record in judged {
        match record.proof {
            Proof::Secure => {}
            Proof::Insecure => weakest = Weakest::Insecure,
            Proof::Bogus | Proof::Indeterminate => return Weakest::Unproved(record),
        }
    }
    weakest
}

/// Where the records stand that are not proved. A DS record belongs to the zone above its name.
fn unproved_names(records: &[Record]) -> Vec<Name> {
    let mut names = Vec::new();
    for record in records {
        let judged = record.record_type() != RecordType::RRSIG;
        if judged && matches!(record.proof, Proof::Bogus | Proof::Indeterminate) {
            let name = match record.record_type() {
                RecordType::DS => record.name.base_name(),
                _ => record.name.clone(),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Why `record` is not proved, as far as its signatures tell (RFC 8914 §4.7 to §4.11).
fn failure(record: &Record, among: &[Record], now: u32) -> ResolveError {
    let mut signed = false;
    let mut in_time = false;
    let mut reason = BogusReason::Bogus;
    for signature in among.iter().filter(|other| other.name == record.name) {
        let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &signature.data else {
            continue;
        };
        let input = rrsig.input();
        if input.type_covered != record.record_type() {
            continue;
        }
        signed = true;
        // RFC 4034 §3.1.5: serial number arithmetic.
        if (now.wrapping_sub(input.sig_expiration.get()) as i32) > 0 {
            reason = BogusReason::SignatureExpired;
        } else if (now.wrapping_sub(input.sig_inception.get()) as i32) < 0 {
            reason = BogusReason::SignatureNotYetValid;
        } else {
            in_time = true;
        }
    }
    if !signed {
        reason = BogusReason::RrsigsMissing;
    } else if in_time {
        reason = BogusReason::Bogus;
    }
    bogus(reason, format!("{} {}", record.name, record.record_type()))
}

fn bogus(reason: BogusReason, detail: impl Into<String>) -> ResolveError {
    ResolveError::Bogus {
        reason,
        detail: detail.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hickory_resolver::proto::rr::rdata::{A, NS};

    use super::*;

    fn record(owner: &str, data: RData, proof: Proof) -> Record {
        let mut record = Record::from_rdata(Name::from_ascii(owner).unwrap(), 60, data);
        record.proof = proof;
        record
    }

    fn judged(answer: Proof, authority: Proof) -> Verdict {
        let mut message = Message::query();
        let ns = RData::NS(NS(Name::from_ascii("ns.zone.test.").unwrap()));
        message.answers = vec![record(
            "www.zone.test.",
            RData::A(A::new(192, 0, 2, 1)),
            answer,
        )];
        message.authorities = vec![record("zone.test.", ns, authority)];
        let name = Name::from_ascii("www.zone.test.").unwrap();
        judge(&Query::query(name, RecordType::A), Ok(message), true, 0)
    }

    #[test]
    fn authenticated_data_is_said_of_nothing_that_is_not_proved() {
        for (authority, kept) in [
            (Proof::Secure, 1),
            (Proof::Insecure, 0),
            (Proof::Bogus, 0),
            (Proof::Indeterminate, 0),
        ] {
            match judged(Proof::Secure, authority) {
                Verdict::Answered(answer) => {
                    assert!(answer.secure);
                    assert_eq!(answer.authorities.len(), kept, "{authority:?}");
                }
                other => panic!("{authority:?}: {other:?}"),
            }
        }
        for unproved in [Proof::Bogus, Proof::Indeterminate] {
            assert!(matches!(
                judged(unproved, Proof::Secure),
                Verdict::Unproved { names, .. } if names == [Name::from_ascii("www.zone.test.").unwrap()]
            ));
        }
        assert!(matches!(
            judged(Proof::Insecure, Proof::Secure),
            Verdict::Answered(Answer { secure: false, .. })
        ));
    }
}

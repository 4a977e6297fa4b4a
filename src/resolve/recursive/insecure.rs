//! What is insecure because something above it is (RFC 4035 §4.3, §5.2).
//!
//! hickory 0.26.3 knows a zone without DS as insecure, and does not carry that on: where such a zone
//! has a signed child, or publishes a DS that nothing vouches for, whatever is below comes out
//! bogus. Here the way from the root is walked; the first zone on it that hickory proves insecure
//! makes everything below it insecure, whatever is signed there. What cannot be proved insecure
//! stays bogus.

use hickory_resolver::proto::{
    dnssec::Proof,
    op::Query,
    rr::{Name, Record, RecordType},
};

use super::{
    Work,
    verdict::{Answer, Verdict},
};

impl Work {
    /// Whether each of these names is in an insecure zone, or below one. Costs a question for each
    /// label while the cache is empty.
    pub(super) async fn are_insecure(&self, names: Vec<Name>) -> bool {
        let mut insecure: Vec<Name> = Vec::new();
        for name in &names {
            if insecure.iter().any(|zone| zone.zone_of(name)) {
                continue;
            }
            match self.insecure_zone_of(name).await {
                Some(zone) => insecure.push(zone),
                None => return false,
            }
        }
        !names.is_empty()
    }

    /// The highest name at or above `name` that stands in an insecure zone.
    async fn insecure_zone_of(&self, name: &Name) -> Option<Name> {
        for labels in 1..=usize::from(name.num_labels()) {
            let ancestor = name.trim_to(labels);
            let question = Query::query(ancestor.clone(), RecordType::SOA);
            match self.judge(&question, true).await {
                Verdict::Answered(answer) if is_insecure(&ancestor, &answer) => {
                    return Some(ancestor);
                }
                // Secure, or no name of a zone's own: the next one tells.
                Verdict::Answered(_) => {}
                // Whoever can break the proof on the way must not gain by it.
                Verdict::Unproved { .. } | Verdict::Failed(_) | Verdict::LostAlias => return None,
            }
        }
        None
    }
}

/// Whether the zone that spoke for `name` was proved insecure: every record at or above the name is.
/// Records elsewhere (an alias was followed) say nothing about it.
pub(super) fn is_insecure(name: &Name, answer: &Answer) -> bool {
    let mut told = answer
        .answers
        .iter()
        .chain(&answer.authorities)
        .filter(|record| record.record_type() != RecordType::RRSIG && record.name.zone_of(name))
        .peekable();
    told.peek().is_some() && told.all(|record: &Record| record.proof == Proof::Insecure)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hickory_resolver::proto::rr::{RData, rdata::SOA};

    use super::*;

    fn soa(owner: &str, proof: Proof) -> Record {
        let owner = Name::from_ascii(owner).unwrap();
        let data = SOA::new(owner.clone(), owner.clone(), 1, 1, 1, 1, 1);
        let mut record = Record::from_rdata(owner, 60, RData::SOA(data));
        record.proof = proof;
        record
    }

    #[test]
    fn only_a_proof_at_or_above_the_name_makes_it_insecure() {
        let name = Name::from_ascii("a.zone.test.").unwrap();
        for (records, expected) in [
            (vec![soa("zone.test.", Proof::Insecure)], true),
            (vec![soa("a.zone.test.", Proof::Insecure)], true),
            (vec![soa("zone.test.", Proof::Secure)], false),
            (vec![soa("elsewhere.test.", Proof::Insecure)], false),
            (vec![soa("b.a.zone.test.", Proof::Insecure)], false),
            (
                vec![
                    soa("zone.test.", Proof::Secure),
                    soa("a.zone.test.", Proof::Insecure),
                ],
                false,
            ),
            (Vec::new(), false),
        ] {
            let answer = Answer {
                authorities: records.clone(),
                ..Answer::default()
            };
            assert_eq!(is_insecure(&name, &answer), expected, "{records:?}");
        }
    }
}

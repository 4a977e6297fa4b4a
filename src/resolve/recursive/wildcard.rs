//! The proof that goes with an answer made from a wildcard (RFC 4035 §5.3.4).
//!
//! hickory 0.26.3 also wants the wildcard's own name covered by an NSEC record. A zone that holds
//! the wildcard cannot give that, so such answers come out bogus; here the RFC's rule is applied to
//! records that hickory has already validated.

use hickory_resolver::proto::{
    dnssec::{
        Proof,
        rdata::{DNSSECRData, NSEC, RRSIG},
    },
    rr::{Name, RData, Record, RecordType},
};

/// Whether every wildcard used in `answers` could be used: for each, a validated NSEC record of the
/// same zone shows that nothing closer to the name exists. False when no wildcard was used, and for
/// anything that is not validated.
pub(super) fn expansions_are_proved(answers: &[Record], authorities: &[Record]) -> bool {
    let mut expansions = 0;
    for record in answers {
        if record.record_type() == RecordType::RRSIG {
            continue;
        }
        if record.proof != Proof::Secure {
            return false;
        }
        // Any one of several signatures may be the one that counted; each must be accounted for.
        for rrsig in signatures(record, answers) {
            let labels = rrsig.input().num_labels;
            if labels >= record.name.num_labels() {
                continue;
            }
            expansions += 1;
            let next_closer = record.name.trim_to(usize::from(labels) + 1);
            let zone = &rrsig.input().signer_name;
            if !denials(authorities).any(|(owner, nsec)| denies(owner, nsec, &next_closer, zone)) {
                return false;
            }
        }
    }
    expansions > 0
}

fn signatures<'a>(record: &'a Record, among: &'a [Record]) -> impl Iterator<Item = &'a RRSIG> + 'a {
    among.iter().filter_map(|other| match &other.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig))
            if other.name == record.name && rrsig.input().type_covered == record.record_type() =>
        {
            Some(rrsig)
        }
        _ => None,
    })
}

fn denials(authorities: &[Record]) -> impl Iterator<Item = (&Name, &NSEC)> {
    authorities.iter().filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) if record.proof == Proof::Secure => {
            Some((&record.name, nsec))
        }
        _ => None,
    })
}

/// Whether an NSEC record of `zone` shows that neither `name` nor anything below it exists.
fn denies(owner: &Name, nsec: &NSEC, name: &Name, zone: &Name) -> bool {
    let next = nsec.next_domain_name();
    let types = nsec.type_set();
    // RFC 6840 §4.1: the parent's record at a delegation, or one at a DNAME, says nothing about
    // the names below it.
    let cut = types.contains(RecordType::NS) && !types.contains(RecordType::SOA);
    if owner.zone_of(name) && (cut || types.contains(RecordType::DNAME)) {
        return false;
    }
    let last = next == zone;
    zone.zone_of(owner)
        && zone.zone_of(next)
        && owner < name
        && (last || name < next)
        // An empty non-terminal exists, though no NSEC record has its name.
        && !name.zone_of(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn check(owner: &str, next: &str, types: &[RecordType], denied: &str) -> bool {
        let nsec = NSEC::new(name(next), types.iter().copied());
        denies(&name(owner), &nsec, &name(denied), &name("z.test."))
    }

    #[test]
    fn a_name_between_owner_and_next_is_denied_and_others_are_not() {
        const A: &[RecordType] = &[RecordType::A];
        assert!(check("*.w.z.test.", "x.z.test.", A, "a.w.z.test."));
        assert!(
            check("w.z.test.", "z.test.", A, "x.z.test."),
            "the last record"
        );
        assert!(
            !check("a.w.z.test.", "x.z.test.", A, "a.w.z.test."),
            "it exists"
        );
        assert!(!check("b.z.test.", "d.z.test.", A, "e.z.test."), "beyond");
        assert!(
            !check("b.z.test.", "a.c.z.test.", A, "c.z.test."),
            "an empty non-terminal"
        );
        assert!(
            !check("b.test.", "d.z.test.", A, "c.z.test."),
            "another zone"
        );
    }

    #[test]
    fn the_parents_side_of_a_delegation_denies_nothing_below() {
        let delegation = &[RecordType::NS];
        assert!(!check("b.z.test.", "d.z.test.", delegation, "a.b.z.test."));
        assert!(check("b.z.test.", "d.z.test.", delegation, "c.z.test."));
        assert!(!check(
            "b.z.test.",
            "d.z.test.",
            &[RecordType::DNAME],
            "a.b.z.test."
        ));
    }
}

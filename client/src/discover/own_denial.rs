//! A box on the way denies the resolver's names by what it was told of others.
//!
//! A validating forwarder that holds a signed proof of a gap may answer for every name in it (RFC 8198, and RFC 8020 for
//! names below one that does not exist). Both zones of a resolver lie in such gaps, of the root and of `arpa`: whoever
//! mistypes a name near by makes the box deny a resolver that it never asked about, right after it passed on the
//! resolver's own signed word.

use hickory_proto::rr::{Name, RecordType};

use super::meeting::rcode;
use crate::validate::{Reply, Rrset, covered_by};

/// A denial that somebody else than the zone denied made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnDenial {
    /// The zone above that is said to know of no such name.
    pub(super) zone: Name,
    /// Whether a record that is signed in that zone's name comes along and covers the resolver's zone. It is not
    /// validated: nothing is believed for it.
    pub(super) with_proof: bool,
}

/// Whether `reply` denies everything in the zone `apex` in the name of a zone above. It is recognised by all of this:
///
/// - the code is NXDOMAIN, and there is no answer;
/// - the one SOA record is that of a zone above `apex`;
/// - nothing else comes along but NSEC records of that zone and signatures in its name; and where there are any of these,
///   one of them covers `apex`, and is signed.
///
/// What the zone `apex` itself denies, an answer that is merely empty, and records taken out are something else.
pub(super) fn own_denial(reply: &Reply, apex: &Name) -> Option<OwnDenial> {
    if reply.rcode != rcode::NAME_ERROR || reply.answers().next().is_some() {
        return None;
    }
    let of_type = |rtype| reply.rrsets.iter().filter(move |it| it.rtype == rtype);
    let mut all_soa = of_type(RecordType::SOA);
    let (soa, None) = (all_soa.next()?, all_soa.next()) else {
        return None;
    };
    let zone = &soa.owner;
    let fits = |rrset: &Rrset| {
        matches!(rrset.rtype, RecordType::SOA | RecordType::NSEC)
            && zone.zone_of(&rrset.owner)
            && !apex.zone_of(&rrset.owner)
            && rrset.signatures.iter().all(|made| made.signer == *zone)
            && rrset.broken_signatures == 0
    };
    if !zone.zone_of(apex) || !reply.rrsets.iter().all(fits) {
        return None;
    }
    let covers = |rrset: &Rrset| !rrset.signatures.is_empty() && covered_by(rrset, apex);
    let with_proof = of_type(RecordType::NSEC).any(covers);
    let claims_proof = reply.has_signatures() || of_type(RecordType::NSEC).next().is_some();
    (with_proof || !claims_proof).then(|| OwnDenial {
        zone: zone.clone(),
        with_proof,
    })
}

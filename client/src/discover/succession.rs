//! None of the keys that are remembered signed the keys shown: do they descend from one of them?
//! (Protocol, "Change over time": a client away for a year.)
//!
//! Each key that is given up leaves a statement behind which names those that follow. The statements
//! are part of the zone, and are believed by the signature of the old key alone; the zone is
//! validated by its own keys only to know that nothing was left out on the way. What is
//! established here is descent. That the resolver is at the other end is for the rest of the walk
//! to find out, by a TLS key that was proven before, and nothing is learned until then.

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::rr::RecordType;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::owners::succession_owner;
use zzdot_zonegen::succession::{Statement, descendants};

use super::evidence::{End, is_answered};
use super::meeting::{Flight, Met, Succession};
use crate::trust::KnownIdentity;
use crate::validate::{Answered, Reply, validate_answer};

/// Judges the first flight once more, beside the statements that the zone holds; `statements` is
/// none where that question was not answered.
pub(super) fn meet_successors(
    dnskey: &Reply,
    ns: &Reply,
    statements: Option<&Reply>,
    known: &KnownIdentity,
    clock: UnixTime,
) -> Result<Met, End> {
    let mut flight = Flight::read(dnskey, ns, Some(known), clock).map_err(End::Refused)?;
    let refusal = known.distrust(&flight.shown);
    let candidates: Vec<DNSKEY> = flight.shown.valid_signers().cloned().collect();
    if candidates.is_empty() {
        return Err(refusal.into());
    }
    let statements = statements
        .filter(|reply| is_answered(reply.rcode))
        .ok_or(End::NoAnswer)?;
    // Signed by itself: whoever takes a statement out on the way cannot prove that there is none.
    let shown = flight.anchored_in(candidates, clock)?;
    let owner = succession_owner();
    let told = match validate_answer(statements, &owner, RecordType::TXT, &shown.keys, clock)? {
        Answered::Records(rrset, _) => rrset.data.as_slice(),
        Answered::Denied(_) => &[],
    };
    let told: Vec<Statement> = told.iter().filter_map(|data| read(data)).collect();
    let gone = known.anchor.keys().iter();
    let gone = gone.filter(|held| held.standing.is_gone());
    let gone: Vec<DNSKEY> = gone.map(|held| held.key.clone()).collect();
    flight.shown.succeeding = descendants(
        &known.name,
        &known.anchor.trusted(),
        &gone,
        &told,
        &flight.shown.keys,
        clock,
    );
    if known.anchor.judge(&flight.shown).is_err() {
        return Err(refusal.into());
    }
    let anchored = flight.anchored_in(flight.shown.succeeding.clone(), clock)?;
    let changed = known.anchor_changed(&flight.shown);
    let met = flight.meet(anchored, clock).map_err(End::Refused)?;
    Ok(Met {
        succession: Some(Succession {
            tlsa: known.tlsa.clone(),
            // There is a successor, so that the identity is not gone even where its keys are.
            otherwise: changed,
        }),
        ..met
    })
}

/// The statement in the data of a TXT record (RFC 1035 §3.3.14), if it is one.
fn read(data: &[u8]) -> Option<Statement> {
    let mut strings = Vec::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first() {
        let (string, after) = after.split_at_checked(usize::from(*length))?;
        strings.push(string);
        rest = after;
    }
    Statement::from_txt(strings).ok()
}

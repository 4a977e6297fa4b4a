//! What a response of an authority looks like, and what of it the recursor needs to see.
//!
//! hickory 0.26.3 validates every record set of a message, whatever it is for: a name server that
//! adds its zone's NS records and their addresses to each answer makes it verify up to six
//! signatures instead of one. Nobody asked for those; they are cut off before they are read.

use zzdot_client::wire::{Flags, Section, View, set_id};

const NOERROR: u16 = 0;
const NXDOMAIN: u16 = 3;
const HEADER_COUNTS: usize = 6;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
pub(super) const TYPE_NS: u16 = 2;
pub(super) const TYPE_SOA: u16 = 6;
pub(super) const TYPE_DS: u16 = 43;
pub(super) const TYPE_RRSIG: u16 = 46;

/// Whether a name is the top of a zone, as far as a response to a question about it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The servers of the zone above speak for it.
    No,
    /// They refer to others.
    Referral,
    /// It cannot be told.
    Unknown,
}

/// Whether the name in the question of `response` is the top of a zone. The servers asked are those
/// of a zone above, which may serve the zone below as well: then it is the signer's name, the
/// owner of the SOA record or that of the NS records that gives them away.
pub(super) fn cut(response: &[u8]) -> Cut {
    let Some((view, name)) = readable(response) else {
        return Cut::Unknown;
    };
    let mut zone: Option<Vec<u8>> = None;
    let mut referred = false;
    for record in view.records() {
        let Ok(record) = record else {
            return Cut::Unknown;
        };
        let owner = record.owner.to_folded_wire();
        let spoken_for = match (record.section, record.rtype) {
            (Section::Answer, TYPE_RRSIG) if owner == name => record
                .names_in_data()
                .next()
                .map(|(signer, _)| signer.to_folded_wire()),
            (Section::Authority, TYPE_NS) if !view.flags().has(Flags::AUTHORITATIVE) => {
                referred |= owner == name;
                None
            }
            (Section::Authority, TYPE_SOA | TYPE_NS) => Some(owner),
            _ => None,
        };
        match (spoken_for, &zone) {
            (Some(other), Some(zone)) if other != *zone => return Cut::Unknown,
            (Some(first), None) => zone = Some(first),
            _ => {}
        }
    }
    let authoritative = view.flags().has(Flags::AUTHORITATIVE);
    match zone {
        _ if referred && view.counts().answers == 0 => Cut::Referral,
        Some(zone) if authoritative && zone != name && is_at_or_below(&name, &zone) => Cut::No,
        _ => Cut::Unknown,
    }
}

/// The response without what nobody asked for: the NS records of an answer's zone, and additional
/// records unless they lead to the servers of another zone.
pub(super) fn trim(mut response: Vec<u8>) -> Vec<u8> {
    if let Some((end, counts)) = needed(&response) {
        response.truncate(end);
        for (at, count) in counts.into_iter().enumerate() {
            let at = HEADER_COUNTS + 2 * at;
            response[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
    }
    response
}

/// Where the needed part of a response ends, and the counts of its three sections.
fn needed(response: &[u8]) -> Option<(usize, [u16; 3])> {
    let (view, _) = readable(response)?;
    if !view.flags().has(Flags::AUTHORITATIVE) || view.question()?.qtype == TYPE_NS {
        return None;
    }
    let counts = view.counts();
    let mut ends = [view.records_start(); 2];
    let mut courtesy = counts.answers > 0;
    let mut negative = false;
    for record in view.records() {
        let record = record.ok()?;
        match record.section {
            Section::Answer => ends[0] = record.end(),
            Section::Authority => {
                ends[1] = record.end();
                negative |= record.rtype == TYPE_SOA;
                let about_servers = match record.rtype {
                    TYPE_RRSIG => record.data().first_chunk() == Some(&TYPE_NS.to_be_bytes()),
                    rtype => rtype == TYPE_NS,
                };
                courtesy &= about_servers;
            }
            Section::Additional => {}
        }
    }
    if courtesy {
        Some((ends[0], [counts.answers, 0, 0]))
    } else if counts.answers > 0 || negative {
        Some((
            ends[0].max(ends[1]),
            [counts.answers, counts.authorities, 0],
        ))
    } else {
        None
    }
}

/// The zone in the question of `response`, and for how many seconds it belongs to the servers that
/// are named; where it is a referral.
pub(super) fn referral(response: &[u8]) -> Option<(Vec<u8>, u32)> {
    let (view, name) = readable(response)?;
    if view.flags().has(Flags::AUTHORITATIVE) || view.counts().answers > 0 {
        return None;
    }
    let mut ttl = None;
    for record in view.records() {
        let record = record.ok()?;
        let tells = match record.section {
            Section::Authority => {
                matches!(record.rtype, TYPE_NS | TYPE_DS) && record.owner.to_folded_wire() == name
            }
            // The servers' addresses.
            Section::Additional => matches!(record.rtype, TYPE_A | TYPE_AAAA),
            Section::Answer => false,
        };
        if tells && (ttl.is_some() || record.rtype == TYPE_NS) {
            ttl = Some(ttl.map_or(record.ttl, |least: u32| least.min(record.ttl)));
        }
    }
    ttl.map(|ttl| (name, ttl))
}

/// The answer to a question for the DS records of `response`'s own name, where it is a referral
/// that holds them.
pub(super) fn delegation_signer(response: &[u8]) -> Option<Vec<u8>> {
    from_referral(response, TYPE_DS)
}

/// A referral as an answer to the question for NS records. It has no authority: nobody shall take it
/// for the zone's own.
pub(super) fn delegation(response: &[u8]) -> Option<Vec<u8>> {
    from_referral(response, TYPE_NS)
}

/// The records of the name in the question and of this type out of a referral's authority section,
/// as an answer.
fn from_referral(response: &[u8], rtype: u16) -> Option<Vec<u8>> {
    referral(response)?;
    let (view, name) = readable(response)?;
    let question = view.question()?;
    let mut answer = response.get(..view.records_start())?.to_vec();
    let qtype_at = answer.len() - 4;
    answer[qtype_at..qtype_at + 2].copy_from_slice(&rtype.to_be_bytes());
    if rtype == TYPE_DS {
        // The zone above speaks for these, and it does so here.
        answer[2..4].copy_from_slice(&(view.flags().0 | Flags::AUTHORITATIVE).to_be_bytes());
    }
    let mut kept = [0u16; 2];
    for record in view.records() {
        let record = record.ok()?;
        let signs =
            record.rtype == TYPE_RRSIG && record.data().first_chunk() == Some(&rtype.to_be_bytes());
        let wanted = record.section == Section::Authority
            && (signs || record.rtype == rtype)
            && record.owner.to_folded_wire() == name;
        if !wanted {
            continue;
        }
        answer.extend_from_slice(question.wire_name);
        let fixed_at = record.ttl_offset.checked_sub(4)?;
        match record.name_in_data(0).filter(|_| record.rtype == TYPE_NS) {
            Some(server) => {
                let server = server.to_wire();
                answer.extend_from_slice(response.get(fixed_at..record.ttl_offset + 4)?);
                answer.extend_from_slice(&(server.len() as u16).to_be_bytes());
                answer.extend_from_slice(&server);
            }
            // No name in the data of DS and RRSIG is compressed (RFC 4034 §3.1.7, §5.1).
            None => answer.extend_from_slice(response.get(fixed_at..record.end())?),
        }
        kept[usize::from(signs)] += 1;
    }
    let [records, signatures] = kept;
    if records == 0 || (rtype == TYPE_DS && signatures == 0) {
        return None;
    }
    for (at, count) in [records + signatures, 0, 0].into_iter().enumerate() {
        let at = HEADER_COUNTS + 2 * at;
        answer[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    Some(answer)
}

/// Only the first record of an answer: enough to say that there is something.
pub(super) fn first_answer(response: &[u8]) -> Option<Vec<u8>> {
    let view = View::parse(response).ok()?;
    let first = view.records().next()?.ok()?;
    if first.section != Section::Answer {
        return None;
    }
    let mut message = response.get(..first.end())?.to_vec();
    for (at, count) in [1u16, 0, 0].into_iter().enumerate() {
        let at = HEADER_COUNTS + 2 * at;
        message[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    Some(message)
}

/// The same message with another type in its question.
pub(super) fn asked_for(message: &[u8], rtype: u16) -> Option<Vec<u8>> {
    let end = View::parse(message).ok()?.records_start();
    let mut message = message.to_vec();
    message
        .get_mut(end.checked_sub(4)?..end - 2)?
        .copy_from_slice(&rtype.to_be_bytes());
    Some(message)
}

/// The id of `query` put on `response`.
pub(super) fn answering(query: &[u8], mut response: Vec<u8>) -> Vec<u8> {
    if let Ok(view) = View::parse(query) {
        set_id(&mut response, view.id());
    }
    response
}

/// Whether `name` is `zone` or below it; both uncompressed and in lower case.
pub(super) fn is_at_or_below(name: &[u8], zone: &[u8]) -> bool {
    suffixes(name).any(|suffix| suffix == zone)
}

/// The name, the name without its first label, and so on to the root.
pub(super) fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let name = rest?;
        let length = usize::from(*name.first()?);
        rest = if length > 0 {
            name.get(1 + length..)
        } else {
            None
        };
        Some(name)
    })
}

/// A whole response that says yes or no, and the name in its question.
fn readable(response: &[u8]) -> Option<(View<'_>, Vec<u8>)> {
    let view = View::parse(response).ok()?;
    let plain = matches!(view.rcode(), NOERROR | NXDOMAIN)
        && !view.truncated()
        && view
            .edns()
            .ok()?
            .is_none_or(|edns| edns.extended_rcode == 0);
    let name = view.question()?.name.to_folded_wire();
    plain.then_some((view, name))
}

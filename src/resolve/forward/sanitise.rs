//! What may go upstream, and what may come back from there.
//!
//! Everything that is not hop by hop passes untouched, bit for bit. What an upstream says beside
//! the question is not passed on: a stub or a cache behind us might believe it.

use zzdot_client::wire::{
    ChainError, Edns, MAX_PAYLOAD_SIZE, Section, View, WireError, answer_chain_ok, answers,
    with_edns,
};

/// Options that concern one hop only: cookie (RFC 7873), keepalive (RFC 7828), padding (RFC 7830).
const HOP_BY_HOP: [u16; 3] = [10, 11, 12];

const TYPE_NS: u16 = 2;
const TYPE_SOA: u16 = 6;
const TYPE_MX: u16 = 15;
const TYPE_AFSDB: u16 = 18;
const TYPE_SRV: u16 = 33;
const TYPE_OPT: u16 = 41;
const TYPE_SVCB: u16 = 64;
const TYPE_HTTPS: u16 = 65;
const TYPE_CNAME: u16 = 5;
const TYPE_DNAME: u16 = 39;

/// The query as it goes upstream: without the options that were meant for us.
pub(in crate::resolve) fn outgoing(query: &[u8]) -> Result<Vec<u8>, WireError> {
    let Some(edns) = View::parse(query)?.edns()? else {
        return Ok(query.to_vec());
    };
    let mut ours = edns.to_edns();
    ours.options.retain(|(code, _)| !HOP_BY_HOP.contains(code));
    // What we can take over UDP, whatever the asker can.
    ours.payload_size = MAX_PAYLOAD_SIZE;
    with_edns(query, Some(&ours))
}

/// The response as it may be passed on to who asked `query`, or why not.
pub(super) fn incoming(query: &[u8], response: &[u8]) -> Result<Vec<u8>, &'static str> {
    let asked = View::parse(query).map_err(|_| "the query is broken")?;
    let told = View::parse(response).map_err(|_| "the message is broken")?;
    if !answers(&asked, &told) {
        return Err("it answers another question");
    }
    told.check().map_err(|_| "the message is broken")?;
    if told.truncated() {
        return Err("it is truncated though it came over TCP");
    }
    answer_chain_ok(&asked, &told).map_err(|error| match error {
        ChainError::TooLong => "its aliases have no end",
        ChainError::OtherType => "it holds a type that was not asked for",
        ChainError::OtherClass => "it holds another class",
        _ => "it holds records that the question does not lead to",
    })?;
    let mut edns = told
        .edns()
        .map_err(|_| "its OPT record is broken")?
        .map(|edns| edns.to_edns());
    if let Some(edns) = &mut edns {
        edns.options.retain(|(code, _)| !HOP_BY_HOP.contains(code));
    }
    // RFC 6891 §6.1.1: no OPT for who sent none.
    if asked.edns().ok().flatten().is_none() {
        edns = None;
    }
    let stray = stray_records(&told)?;
    rebuild(response, &told, stray, edns.as_ref()).map_err(|_| "the message is broken")
}

/// Whether the additional section holds anything that nothing before it names. An authority section
/// about foreign names makes the whole message unfit.
fn stray_records(told: &View<'_>) -> Result<bool, &'static str> {
    let Some(question) = told.question() else {
        return Err("it has no question");
    };
    // The names that the answer is about, and those that its records point at.
    let mut about = vec![question.name.to_folded_wire()];
    let mut named: Vec<Vec<u8>> = Vec::new();
    let mut stray = false;
    for record in told.records() {
        let record = record.map_err(|_| "the message is broken")?;
        let owner = record.owner.to_folded_wire();
        match record.section {
            Section::Answer => {
                if matches!(record.rtype, TYPE_CNAME | TYPE_DNAME) {
                    about.extend(record.name_in_data(0).map(|name| name.to_folded_wire()));
                }
                about.push(owner);
            }
            Section::Authority => {
                let zone_of_answer = about.iter().any(|name| is_at_or_below(name, &owner));
                if matches!(record.rtype, TYPE_NS | TYPE_SOA) && !zone_of_answer {
                    return Err("its authority section is about another zone");
                }
            }
            Section::Additional => {
                stray |=
                    record.rtype != TYPE_OPT && !named.contains(&owner) && !about.contains(&owner);
            }
        }
        let target_at = match record.rtype {
            TYPE_NS => Some(0),
            TYPE_MX | TYPE_AFSDB | TYPE_SVCB | TYPE_HTTPS => Some(2),
            TYPE_SRV => Some(6),
            _ => None,
        };
        if record.section != Section::Additional
            && let Some(skip) = target_at
        {
            named.extend(record.name_in_data(skip).map(|name| name.to_folded_wire()));
        }
    }
    Ok(stray)
}

/// The same message with our OPT record, and without the additional section when that is stray.
/// Nothing earlier can point into what is cut off: compression points backwards.
fn rebuild(
    response: &[u8],
    told: &View<'_>,
    cut_additionals: bool,
    edns: Option<&Edns>,
) -> Result<Vec<u8>, WireError> {
    if !cut_additionals {
        return with_edns(response, edns);
    }
    let mut end = told.records_start();
    for record in told.records() {
        let record = record?;
        if record.section == Section::Additional {
            break;
        }
        end = record.end();
    }
    let mut kept = response[..end].to_vec();
    kept[10..12].copy_from_slice(&[0, 0]);
    with_edns(&kept, edns)
}

/// Whether `name` is `zone` or below it; both uncompressed and in lower case.
fn is_at_or_below(name: &[u8], zone: &[u8]) -> bool {
    let mut rest = name;
    loop {
        if rest == zone {
            return true;
        }
        match rest.split_first() {
            Some((&length, tail)) if length > 0 && tail.len() >= usize::from(length) => {
                rest = &tail[usize::from(length)..];
            }
            _ => return false,
        }
    }
}

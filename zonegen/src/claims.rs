//! The records by which a forwarder tells whom it asks (protocol.md §3).

use std::collections::BTreeSet;

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::rdata::{PTR, TXT};
use hickory_proto::rr::{Name, RData, Record};

use crate::dname::dname;
use crate::keys::key_of_dnskey;
use crate::name::ResolverName;
use crate::owners::{Claim, claim_owner, passage_owner, upstream_target, upstreams_owner};
use crate::publish::MAX_ADDRESSES;
use crate::upstream::{PublishedUpstream, UpstreamId};
use crate::wire::octets;
use crate::zone::{TTL_SECS, is_usable, svcb};

/// Stands at names that would be empty non-terminals otherwise, as `services` does at `_tcp.NAME`:
/// below such names unbound (1.17) leaves out a part of the proof of denial.
const BELOW: &str = "upstreams";

/// The most KEY and the most TLSA records of one upstream, and the most octets of their data.
const MAX_RECORDS: usize = 8;
const MAX_OCTETS: usize = 4096;

/// What `name` says about `upstreams`; nothing where there are none.
pub(crate) fn records(name: &ResolverName, upstreams: &[PublishedUpstream]) -> Vec<Record> {
    if upstreams.is_empty() {
        return Vec::new();
    }
    let mut records = vec![record(passage_owner(name), dname(&Name::root()))];
    for upstream in upstreams {
        let target = PTR(upstream_target(name, &upstream.id));
        records.push(record(upstreams_owner(name), RData::PTR(target)));
        records.extend(about(name, upstream));
    }
    let fill = empty_non_terminals(name.as_name(), &records);
    records.extend(fill.into_iter().map(|owner| record(owner, text(BELOW))));
    records
}

/// What `name` says about one of them.
fn about(name: &ResolverName, upstream: &PublishedUpstream) -> Vec<Record> {
    let at = |claim| claim_owner(name, &upstream.id, claim);
    let addresses: Vec<_> = upstream
        .addresses
        .iter()
        .copied()
        .filter(is_usable)
        .take(MAX_ADDRESSES)
        .collect();
    let mut records = vec![
        record(at(Claim::ServerType), text(upstream.kind.as_str())),
        record(at(Claim::Transport), text(upstream.transport.as_str())),
        record(at(Claim::Proof), text(&upstream.proof.to_string())),
        record(at(Claim::Passage), dname(&Name::root())),
    ];
    let own = addresses.iter().map(|address| RData::from(*address));
    records.extend(own.map(|address| record(at(Claim::Itself), address)));
    let UpstreamId::Named(its_name) = &upstream.id else {
        return records;
    };
    // One that is revoked vouches for nothing any more.
    let ksks = upstream.ksks.iter().filter(|ksk| !ksk.revoke());
    let keys = ksks.map(|ksk| RData::DNSSEC(DNSSECRData::KEY(key_of_dnskey(ksk))));
    records.extend(with_room(keys).map(|key| record(at(Claim::Itself), key)));
    if let Some(tls) = &upstream.tls {
        let service = svcb(its_name, tls.port, &addresses);
        records.push(record(at(Claim::Service), RData::SVCB(service)));
        let tlsa = tls.tlsa.iter().cloned().map(RData::TLSA);
        records.extend(with_room(tlsa).map(|tlsa| record(at(Claim::Tlsa(tls.port)), tlsa)));
    }
    records
}

/// Those that are kept: all of an honest upstream, and not so much of another one that an answer, or a record,
/// would be too long.
fn with_room(data: impl Iterator<Item = RData>) -> impl Iterator<Item = RData> {
    let mut room = MAX_OCTETS;
    data.filter(move |data| {
        let left = room.checked_sub(octets(data).len());
        room = left.unwrap_or(room);
        left.is_some()
    })
    .take(MAX_RECORDS)
}

/// The names between `origin` and the owners of `records` at which nothing stands.
fn empty_non_terminals(origin: &Name, records: &[Record]) -> BTreeSet<Name> {
    let owners: BTreeSet<&Name> = records.iter().map(|record| &record.name).collect();
    let mut empty = BTreeSet::new();
    for owner in &owners {
        let mut above = owner.base_name();
        while above.iter().len() > origin.iter().len() && !owners.contains(&above) {
            let next = above.base_name();
            empty.insert(above);
            above = next;
        }
    }
    empty
}

/// A word in one string; the longest names that prove an upstream take two (RFC 1035 §3.3).
fn text(word: &str) -> RData {
    let strings: Vec<&[u8]> = word.as_bytes().chunks(255).collect();
    RData::TXT(TXT::from_bytes(strings))
}

fn record(owner: Name, data: RData) -> Record {
    Record::from_rdata(owner, TTL_SECS, data)
}

#[cfg(test)]
mod tests;

//! What a forwarder says about one of its upstreams, out of the answers of one flight.

use std::net::IpAddr;

use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::owners::{self, claim_owner};
use zzdot_zonegen::upstream::{Proof, ServerKind, Transport, UpstreamId};

use super::flight::{Flaw, Flight};
use super::reading::Reader;
use crate::discover::{DOT_PORT, MAX_ADDRESSES, Tlsa, dot_port};
use crate::validate::{TrustedKeys, ZoneKey};

/// What is said about an upstream.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) transport: Transport,
    pub(super) proof: Proof,
    pub(super) server_type: ServerKind,
    pub(super) addresses: Vec<IpAddr>,
    /// The keys that are vouched for; none where it has no name.
    pub(super) keys: Vec<ZoneKey>,
    /// The port of its TLS service.
    pub(super) port: u16,
    pub(super) tlsa: Vec<Tlsa>,
    pub(super) ttl: u32,
    /// When the newest of the records was signed.
    pub(super) newest: UnixTime,
}

/// Places of the questions, from the first one about an upstream on.
mod place {
    pub(super) const TRANSPORT: usize = 0;
    pub(super) const PROOF: usize = 1;
    pub(super) const SERVER_TYPE: usize = 2;
    pub(super) const IPV4: usize = 3;
    pub(super) const IPV6: usize = 4;
    pub(super) const KEY: usize = 5;
    pub(super) const SERVICE: usize = 6;
    pub(super) const TLSA: usize = 7;
}

/// What `near` is asked about its upstream `id`. Of one without a name its label says the rest.
pub(super) fn claim_questions(near: &ResolverName, id: &UpstreamId) -> Vec<(Name, RecordType)> {
    let at = |claim| claim_owner(near, id, claim);
    let mut questions = vec![
        (at(owners::Claim::Transport), RecordType::TXT),
        (at(owners::Claim::Proof), RecordType::TXT),
    ];
    if let UpstreamId::Named(_) = id {
        questions.extend([
            (at(owners::Claim::ServerType), RecordType::TXT),
            (at(owners::Claim::Itself), RecordType::A),
            (at(owners::Claim::Itself), RecordType::AAAA),
            (at(owners::Claim::Itself), RecordType::KEY),
            (at(owners::Claim::Service), RecordType::SVCB),
            (at(owners::Claim::Tlsa(DOT_PORT)), RecordType::TLSA),
        ]);
    }
    questions
}

/// Where the keys of a service on another port than that of DNS over TLS stand.
pub(super) fn port_question(near: &ResolverName, id: &UpstreamId, port: u16) -> (Name, RecordType) {
    let owner = claim_owner(near, id, owners::Claim::Tlsa(port));
    (owner, RecordType::TLSA)
}

/// What the answers to [`claim_questions`] say, the first of which is in place `first`.
pub(super) fn read_claim(
    flight: &Flight,
    first: usize,
    id: &UpstreamId,
    keys: &TrustedKeys,
    clock: UnixTime,
) -> Result<Claim, Flaw> {
    let mut reader = Reader::new(flight, keys, clock);
    let transport = reader.word(first + place::TRANSPORT)?;
    let transport = transport.ok_or_else(|| flight.useless(first + place::TRANSPORT))?;
    // Who says nothing of a proof gives none.
    let proof = reader.word(first + place::PROOF)?.unwrap_or(Proof::None);
    let mut claim = Claim {
        transport,
        proof,
        server_type: ServerKind::Unknown,
        addresses: Vec::new(),
        keys: Vec::new(),
        port: DOT_PORT,
        tlsa: Vec::new(),
        ttl: reader.ttl,
        newest: reader.newest,
    };
    let name = match id {
        UpstreamId::Named(name) => name,
        UpstreamId::Unnamed(label) => {
            claim.addresses.push(label.address().ip());
            return Ok(claim);
        }
    };
    let told = reader.word(first + place::SERVER_TYPE)?;
    claim.server_type = told.ok_or_else(|| flight.useless(first + place::SERVER_TYPE))?;
    claim.addresses = reader.addresses(first + place::IPV4)?;
    claim
        .addresses
        .extend(reader.addresses(first + place::IPV6)?);
    claim.addresses.truncate(MAX_ADDRESSES);
    claim.keys = reader.key_records(first + place::KEY)?;
    let service = reader.look(first + place::SERVICE)?;
    claim.port = dot_port(service.data(), name.as_name()).unwrap_or(DOT_PORT);
    claim.tlsa = reader.tlsa(first + place::TLSA)?;
    (claim.ttl, claim.newest) = (reader.ttl, reader.newest);
    Ok(claim)
}

impl Claim {
    /// The keys of a service on another port.
    pub(super) fn take_port(
        &mut self,
        flight: &Flight,
        place: usize,
        keys: &TrustedKeys,
        clock: UnixTime,
    ) -> Result<(), Flaw> {
        let mut reader = Reader {
            flight,
            keys,
            clock,
            ttl: self.ttl,
            newest: self.newest,
        };
        self.tlsa = reader.tlsa(place)?;
        (self.ttl, self.newest) = (reader.ttl, reader.newest);
        Ok(())
    }
}

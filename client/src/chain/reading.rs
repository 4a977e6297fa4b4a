//! What a resolver's own zone says, out of the answers of one flight.

use std::net::IpAddr;

use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::owners::{
    anchor_zone, key_owner, server_type_owner, tlsa_owner, upstream_of_target, upstreams_owner,
};
use zzdot_zonegen::upstream::{ServerKind, UpstreamId};

use super::flight::{Flaw, Flight, Found};
use super::why::{Limit, Why};
use super::{MAX_SET_OCTETS, MAX_UPSTREAMS, MAX_ZONE_KEY_OCTETS};
use crate::discover::{MAX_ADDRESSES, MAX_TLSA, Tlsa, address, one_string, soa_serial};
use crate::validate::key::read_keys;
use crate::validate::{Bogus, BogusReason, MAX_KEYS, Rrset, TrustedKeys, ZoneKey, validate_keys};
use crate::wire::NameView;

/// What the zone of a resolver says.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) keys: TrustedKeys,
    /// The RRset of these, for others who vouch for them.
    pub(super) dnskey: Rrset,
    pub(super) version: Version,
    pub(super) server_type: ServerKind,
    pub(super) upstreams: Vec<UpstreamId>,
    /// It names more upstreams than are looked at.
    pub(super) too_many: bool,
    /// It names something that is no upstream.
    pub(super) odd: bool,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) tlsa: Vec<Tlsa>,
    pub(super) ttl: u32,
    /// Whether something was signed after this version was: another one took its place meanwhile.
    pub(super) mixed: bool,
}

impl Own {
    /// Why it may ask others than those that are looked at.
    pub(super) fn cut(&self) -> Option<Why> {
        let limit = Limit::Upstreams;
        self.too_many.then_some(Why::Limit { limit })
    }
}

/// Which version of a zone an answer is out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) serial: u32,
    pub(super) inception: UnixTime,
}

/// What the keys of a zone rest on.
pub(super) enum Root<'k> {
    /// Keys of this zone, which another resolver vouches for.
    Vouched(&'k [ZoneKey]),
    /// Keys of `resolver-name.arpa`, as remembered.
    Anchor(&'k [ZoneKey]),
}

/// Places of the questions.
pub(super) mod place {
    pub(in super::super) const SOA: usize = 0;
    pub(super) const UPSTREAMS: usize = 1;
    /// Where version and list are asked for once more, the claims follow.
    pub(in super::super) const CLAIMS: usize = 2;
    pub(super) const SERVER_TYPE: usize = 2;
    pub(super) const TLSA: usize = 3;
    pub(super) const DNSKEY: usize = 4;
    pub(super) const IPV4: usize = 5;
    pub(super) const IPV6: usize = 6;
    pub(super) const ANCHOR_DNSKEY: usize = 7;
    pub(super) const KEY: usize = 8;
}

/// Which version it is, and whom it names. The version comes first: what is read after it is that old at the most.
pub(super) fn frame_questions(name: &ResolverName) -> Vec<(Name, RecordType)> {
    vec![
        (name.as_name().clone(), RecordType::SOA),
        (upstreams_owner(name), RecordType::PTR),
    ]
}

/// What may change from one moment to the next, and tells whether the rest did.
pub(super) fn confirming_questions(name: &ResolverName, port: u16) -> Vec<(Name, RecordType)> {
    let mut questions = frame_questions(name);
    questions.extend([
        (server_type_owner(name), RecordType::TXT),
        (tlsa_owner(name, port), RecordType::TLSA),
    ]);
    questions
}

/// All that is asked of a resolver about itself.
pub(super) fn own_questions(
    name: &ResolverName,
    port: u16,
    by_anchor: bool,
) -> Vec<(Name, RecordType)> {
    let mut questions = confirming_questions(name, port);
    questions.extend([
        (name.as_name().clone(), RecordType::DNSKEY),
        (name.as_name().clone(), RecordType::A),
        (name.as_name().clone(), RecordType::AAAA),
    ]);
    if by_anchor {
        questions.extend([
            (anchor_zone(), RecordType::DNSKEY),
            (key_owner(name), RecordType::KEY),
        ]);
    }
    questions
}

/// What the answers to [`own_questions`] say.
pub(super) fn read_own(
    flight: &Flight,
    name: &ResolverName,
    root: &Root<'_>,
    clock: UnixTime,
) -> Result<Own, Flaw> {
    let vouched;
    let keys = match root {
        Root::Vouched(keys) => *keys,
        Root::Anchor(anchor) => {
            vouched = keys_by_anchor(flight, anchor, clock)?;
            vouched.as_slice()
        }
    };
    let zone = name.as_name();
    let dnskey = rrset(flight, place::DNSKEY, zone, RecordType::DNSKEY)?;
    if dnskey.octets() > MAX_ZONE_KEY_OCTETS {
        return Err(flight.useless(place::DNSKEY));
    }
    let (keys, secure) = validate_keys(dnskey, zone, keys, clock)?;
    let mut reader = Reader {
        flight,
        keys: &keys,
        clock,
        ttl: secure.ttl,
        newest: UnixTime(0),
    };
    let version = reader.version(place::SOA)?;
    let (upstreams, too_many, odd) = reader.upstreams(name)?;
    let server_type = reader.server_type()?;
    let mut addresses = reader.addresses(place::IPV4)?;
    addresses.extend(reader.addresses(place::IPV6)?);
    addresses.truncate(MAX_ADDRESSES);
    let tlsa = reader.tlsa(place::TLSA)?;
    let (ttl, mixed) = (reader.ttl, reader.newest > version.inception);
    Ok(Own {
        dnskey: dnskey.clone(),
        keys,
        version,
        server_type,
        upstreams,
        too_many,
        odd,
        addresses,
        tlsa,
        ttl,
        mixed,
    })
}

/// Whether the answers to [`confirming_questions`] are those that `own` was made of.
pub(super) fn confirms(
    flight: &Flight,
    own: &Own,
    name: &ResolverName,
    clock: UnixTime,
) -> Result<bool, Flaw> {
    let mut reader = Reader::new(flight, &own.keys, clock);
    let same = reader.version(place::SOA)?.serial == own.version.serial
        && reader.upstreams(name)?.0 == own.upstreams
        && reader.server_type()? == own.server_type
        && reader.tlsa(place::TLSA)? == own.tlsa;
    Ok(same)
}

/// Reads validated answers of one zone.
pub(super) struct Reader<'f> {
    pub(super) flight: &'f Flight,
    pub(super) keys: &'f TrustedKeys,
    pub(super) clock: UnixTime,
    /// The least time-to-live so far.
    pub(super) ttl: u32,
    /// When the newest of the records was signed.
    pub(super) newest: UnixTime,
}

impl<'f> Reader<'f> {
    /// Of a flight whose answers these keys are to have signed; nothing is read yet.
    pub(super) fn new(flight: &'f Flight, keys: &'f TrustedKeys, clock: UnixTime) -> Self {
        Self {
            flight,
            keys,
            clock,
            ttl: u32::MAX,
            newest: UnixTime(0),
        }
    }

    pub(super) fn look(&mut self, place: usize) -> Result<Found<'f>, Flaw> {
        let found = self.flight.look(place, self.keys, self.clock)?;
        self.ttl = self.ttl.min(found.ttl());
        if let Found::Records(_, secure) = &found {
            self.newest = self.newest.max(secure.inception);
        }
        Ok(found)
    }

    pub(super) fn version(&mut self, place: usize) -> Result<Version, Flaw> {
        match self.look(place)? {
            Found::Records(data, secure) => {
                let serial = soa_serial(data).ok_or_else(|| self.flight.useless(place))?;
                Ok(Version {
                    serial,
                    inception: secure.inception,
                })
            }
            Found::Nothing { .. } => Err(self.flight.useless(place)),
        }
    }

    /// The text of the records in this place that reads as a `T`; none where there are no records. Who says two things
    /// says nothing.
    pub(super) fn word<T: std::str::FromStr + PartialEq>(
        &mut self,
        place: usize,
    ) -> Result<Option<T>, Flaw> {
        let found = self.look(place)?;
        if found.data().is_empty() {
            return Ok(None);
        }
        let texts = found.data().iter().filter_map(|data| one_string(data));
        let mut words = texts.filter_map(|text| text.parse().ok());
        match words.next() {
            Some(word) if words.all(|other: T| other == word) => Ok(Some(word)),
            _ => Err(self.flight.useless(place)),
        }
    }

    fn server_type(&mut self) -> Result<ServerKind, Flaw> {
        let told = self.word(place::SERVER_TYPE)?;
        told.ok_or_else(|| self.flight.useless(place::SERVER_TYPE))
    }

    pub(super) fn upstreams(
        &mut self,
        name: &ResolverName,
    ) -> Result<(Vec<UpstreamId>, bool, bool), Flaw> {
        let found = self.look(place::UPSTREAMS)?;
        let (mut upstreams, mut odd) = (Vec::new(), false);
        for data in found.data().iter().take(MAX_UPSTREAMS) {
            let target = NameView::read_alone(data).map(|(target, _)| target.to_name());
            match target.and_then(|target| upstream_of_target(name, &target)) {
                Some(upstream) => upstreams.push(upstream),
                None => odd = true,
            }
        }
        Ok((upstreams, found.data().len() > MAX_UPSTREAMS, odd))
    }

    pub(super) fn addresses(&mut self, place: usize) -> Result<Vec<IpAddr>, Flaw> {
        let found = self.look(place)?;
        let addresses = found.data().iter().filter_map(|data| address(data));
        Ok(addresses.take(MAX_ADDRESSES).collect())
    }

    pub(super) fn tlsa(&mut self, place: usize) -> Result<Vec<Tlsa>, Flaw> {
        let found = self.look(place)?;
        self.check_length(place, found.data())?;
        let records = found.data().iter().take(MAX_TLSA);
        let records = records.filter_map(|data| Tlsa::from_rdata(data));
        Ok(records.filter(Tlsa::is_usable).collect())
    }

    /// The keys of KEY records that may sign.
    pub(super) fn key_records(&mut self, place: usize) -> Result<Vec<ZoneKey>, Flaw> {
        let found = self.look(place)?;
        let data = found.data();
        self.check_length(place, data)?;
        let keys = data.iter().filter_map(|data| ZoneKey::from_rdata(data));
        let usable: Vec<_> = keys.filter(ZoneKey::is_anchor_material).collect();
        if usable.is_empty() || data.len() > MAX_KEYS {
            return Err(self.flight.useless(place));
        }
        Ok(usable)
    }

    /// What is kept is bounded, however long a message may be.
    fn check_length(&self, place: usize, data: &[Vec<u8>]) -> Result<(), Flaw> {
        let octets: usize = data.iter().map(Vec::len).sum();
        match octets <= MAX_SET_OCTETS {
            true => Ok(()),
            false => Err(self.flight.useless(place)),
        }
    }
}

/// The keys of the nearest resolver's zone, as `resolver-name.arpa` names them.
fn keys_by_anchor(
    flight: &Flight,
    anchor: &[ZoneKey],
    clock: UnixTime,
) -> Result<Vec<ZoneKey>, Flaw> {
    let zone = anchor_zone();
    let dnskey = rrset(flight, place::ANCHOR_DNSKEY, &zone, RecordType::DNSKEY)?;
    let (keys, secure) = validate_keys(dnskey, &zone, anchor, clock)?;
    let mut reader = Reader {
        flight,
        keys: &keys,
        clock,
        ttl: secure.ttl,
        newest: UnixTime(0),
    };
    reader.key_records(place::KEY)
}

fn rrset<'f>(
    flight: &'f Flight,
    place: usize,
    zone: &Name,
    rtype: RecordType,
) -> Result<&'f Rrset, Flaw> {
    let reply = flight.reply(place)?;
    let missing = || Box::new(Bogus::new(BogusReason::DenialMissing, zone, rtype));
    let rrset = reply.answer(zone, rtype).ok_or_else(missing)?;
    // The number of keys is bounded before any of them is tried.
    read_keys(rrset)?;
    Ok(rrset)
}

impl From<Box<Bogus>> for Flaw {
    fn from(bogus: Box<Bogus>) -> Self {
        Self::Bogus(bogus)
    }
}

/// Whether the keys of the zone are signed by one of `keys`.
pub(super) fn is_signed_by(own: &Own, keys: &[ZoneKey], clock: UnixTime) -> bool {
    validate_keys(&own.dnskey, own.keys.zone(), keys, clock).is_ok()
}

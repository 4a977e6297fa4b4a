//! Second flight: everything about the resolver, validated, and the peer that it names.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::RecordType;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::owners::{anchor_zone, key_owner, server_type_owner, svcb_owner, tlsa_owner};
use zzdot_zonegen::zone::ServerType;

use super::action::{AskId, Step};
use super::ledger::{Ledger, Taken};
use super::meeting::{Met, rcode};
use super::refusal::Refusal;
use super::search::PeerSearch;
use super::service::{DOT_PORT, MAX_ADDRESSES, Service, address, preferred_service};
use super::tlsa::Tlsa;
use super::verdict::Discovered;
use crate::trust::{Age, KnownIdentity, ZoneVersion, ZoneVersions};
use crate::validate::bogus::shown;
use crate::validate::key::read_keys;
use crate::validate::{
    Answered, Bogus, BogusReason, Denied, Secure, TrustedKeys, ZoneKey, validate_answer,
    validate_keys,
};

/// The most TLSA records looked at.
pub const MAX_TLSA: usize = 16;

/// Bytes of an SOA's data behind its two names (RFC 1035 §3.3.13).
const SOA_NUMBERS: usize = 20;

pub(super) struct Examination {
    met: Met,
    held: Option<ZoneVersions>,

    key: AskId,
    dnskey: AskId,
    anchor_soa: AskId,
    name_soa: AskId,
    text: AskId,
    svcb: AskId,
    ipv4: AskId,
    ipv6: AskId,
    tlsa: AskId,
    search: PeerSearch,

    name_anchors: Option<Vec<ZoneKey>>,
    name_keys: Option<TrustedKeys>,
    anchor_version: Option<ZoneVersion>,
    name_version: Option<ZoneVersion>,
    server_type: Option<ServerType>,
    service: Option<Service>,
    ipv4_addresses: Option<Vec<IpAddr>>,
    ipv6_addresses: Option<Vec<IpAddr>>,
    tlsa_records: Option<Vec<Tlsa>>,
    ttl: u32,
    expires: UnixTime,
}

/// How an examination ends without success.
pub(super) enum End {
    NoAnswer,
    Refused(Box<Refusal>),
}

impl From<Box<Bogus>> for End {
    fn from(bogus: Box<Bogus>) -> Self {
        Self::Refused(bogus.into())
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Zone {
    Anchor,
    Name,
}

/// What became of one question.
enum Found {
    NotYet,
    Silent,
    /// It is proven that there is nothing.
    Denied,
    /// There is nothing, and no proof of it: something on the way took it out.
    TakenOut(Box<Bogus>),
    Records(Judged),
}

/// The data of validated records, and what their signature says.
type Judged = (Vec<Vec<u8>>, Secure);

impl Examination {
    /// Asks everything at once, and starts TLS with the configured address.
    pub(super) fn start(
        met: Met,
        server: SocketAddr,
        known: Option<&KnownIdentity>,
        ledger: &mut Ledger,
        clock: UnixTime,
    ) -> Result<Self, End> {
        let name = met.name.clone();
        // A port that is remembered saves the flight in which it is learned.
        let port = known.map_or(DOT_PORT, |known| known.endpoint.port());
        let search = PeerSearch::start(server, name.clone(), port, ledger);
        let mut ask = |owner, rtype| ledger.ask(owner, rtype);
        let examination = Self {
            held: known.map(|known| known.versions),
            key: ask(key_owner(&name), RecordType::KEY),
            dnskey: ask(name.as_name().clone(), RecordType::DNSKEY),
            anchor_soa: ask(anchor_zone(), RecordType::SOA),
            name_soa: ask(name.as_name().clone(), RecordType::SOA),
            text: ask(server_type_owner(&name), RecordType::TXT),
            svcb: ask(svcb_owner(&name), RecordType::SVCB),
            ipv4: ask(name.as_name().clone(), RecordType::A),
            ipv6: ask(name.as_name().clone(), RecordType::AAAA),
            tlsa: ask(tlsa_owner(&name, port), RecordType::TLSA),
            search,
            name_anchors: None,
            name_keys: None,
            anchor_version: None,
            name_version: None,
            server_type: None,
            service: None,
            ipv4_addresses: None,
            ipv6_addresses: None,
            tlsa_records: None,
            ttl: met.dnskey.ttl.min(met.ns.ttl),
            expires: met.dnskey.expires.min(met.ns.expires),
            met,
        };
        let (ns, received) = (examination.met.ns.clone(), examination.met.ns_ttl);
        examination.check_age(ledger, Zone::Anchor, &ns, received, None, clock)?;
        Ok(examination)
    }

    /// Judges whatever can be judged by now.
    pub(super) fn advance(
        &mut self,
        ledger: &mut Ledger,
        clock: UnixTime,
    ) -> Result<Option<Box<Discovered>>, End> {
        self.learn_anchor_zone(ledger, clock)?;
        self.learn_name_keys(ledger, clock)?;
        if let Some(keys) = self.name_keys.take() {
            let learned = self.learn_name_zone(ledger, &keys, clock);
            self.name_keys = Some(keys);
            learned?;
        }
        self.search_peer(ledger, clock);
        self.conclude(clock)
    }

    /// Whether the configured address is still the only one that is tried.
    pub(super) fn is_patient(&self) -> bool {
        self.search.is_patient()
    }

    /// From now on the addresses in the zone are tried even while the configured one may answer.
    pub(super) fn lose_patience(&mut self) {
        self.search.lose_patience();
    }

    /// Gives up waiting for TLS: what did not come by now counts as unanswered.
    pub(super) fn give_up_waiting(&mut self, ledger: &mut Ledger) {
        self.search.give_up_waiting(ledger);
    }

    fn learn_anchor_zone(&mut self, ledger: &mut Ledger, clock: UnixTime) -> Result<(), End> {
        let keys = self.met.keys.clone();
        if self.anchor_version.is_none()
            && let Some((data, secure)) =
                self.required(ledger, self.anchor_soa, Zone::Anchor, &keys, clock)?
        {
            let version = self.version_of(ledger, self.anchor_soa, &data, &secure, clock)?;
            self.anchor_version = Some(version);
        }
        if self.name_anchors.is_none()
            && let Some((data, _)) = self.required(ledger, self.key, Zone::Anchor, &keys, clock)?
        {
            self.name_anchors = Some(self.usable_keys(ledger, &data)?);
        }
        Ok(())
    }

    /// The KEY records, which stand in for the DS records that an island's parent does not have.
    fn usable_keys(&self, ledger: &Ledger, data: &[Vec<u8>]) -> Result<Vec<ZoneKey>, End> {
        let (owner, rtype) = ledger.question(self.key);
        let bogus = |reason| Box::new(Bogus::new(reason, &owner, rtype));
        if data.len() > crate::validate::MAX_KEYS {
            return Err(bogus(BogusReason::TooManyKeys).into());
        }
        let mut usable = Vec::new();
        let mut flaw = BogusReason::MalformedRecord;
        for key in data.iter().filter_map(|data| ZoneKey::from_rdata(data)) {
            match key.flaw() {
                None => usable.push(key),
                Some(reason) => flaw = flaw.max(reason),
            }
        }
        if usable.is_empty() {
            return Err(bogus(flaw).into());
        }
        Ok(usable)
    }

    fn learn_name_keys(&mut self, ledger: &mut Ledger, clock: UnixTime) -> Result<(), End> {
        let (None, Some(anchors)) = (&self.name_keys, &self.name_anchors) else {
            return Ok(());
        };
        let reply = match ledger.take(self.dnskey) {
            Taken::Waiting => return Ok(()),
            Taken::Silent => return Err(End::NoAnswer),
            Taken::Reply(reply) => reply,
        };
        if !is_answered(reply.rcode) {
            return Err(End::NoAnswer);
        }
        let zone = self.met.name.as_name();
        let rrset = reply.answer(zone, RecordType::DNSKEY).ok_or_else(|| {
            let reason = BogusReason::DenialMissing;
            Box::new(Bogus::new(reason, zone, RecordType::DNSKEY))
        })?;
        // The number of keys is bounded before any of them is tried.
        read_keys(rrset)?;
        let (keys, secure) = validate_keys(rrset, zone, anchors, clock)?;
        self.rest_on(secure.ttl, secure.expires);
        self.tell_validated(ledger, self.dnskey, &secure);
        self.name_keys = Some(keys);
        Ok(())
    }

    fn learn_name_zone(
        &mut self,
        ledger: &mut Ledger,
        keys: &TrustedKeys,
        clock: UnixTime,
    ) -> Result<(), End> {
        if self.name_version.is_none()
            && let Some((data, secure)) =
                self.required(ledger, self.name_soa, Zone::Name, keys, clock)?
        {
            let version = self.version_of(ledger, self.name_soa, &data, &secure, clock)?;
            self.name_version = Some(version);
        }
        if self.server_type.is_none()
            && let Some((data, _)) = self.required(ledger, self.text, Zone::Name, keys, clock)?
        {
            let told = data.iter().find_map(|data| server_type(data));
            self.server_type = Some(told.ok_or_else(|| self.useless(ledger, self.text))?);
        }
        if self.service.is_none()
            && let Some(data) = self.optional(ledger, self.svcb, keys, clock)?
        {
            let published = data
                .map(|data| preferred_service(&data, self.met.name.as_name()).unwrap_or_default());
            // Nothing known of a service is no reason to look for it elsewhere.
            let service = published.unwrap_or_else(|| Service::at(self.search.port()));
            self.move_to_port(ledger, service.port);
            self.service = Some(service);
        }
        if self.ipv4_addresses.is_none()
            && let Some(data) = self.optional(ledger, self.ipv4, keys, clock)?
        {
            self.ipv4_addresses = Some(addresses(&data.unwrap_or_default()));
        }
        if self.ipv6_addresses.is_none()
            && let Some(data) = self.optional(ledger, self.ipv6, keys, clock)?
        {
            self.ipv6_addresses = Some(addresses(&data.unwrap_or_default()));
        }
        // Until the port is certain this may be the TLSA of the wrong one, which may not exist.
        if self.tlsa_records.is_none()
            && self.service.is_some()
            && let Some((data, _)) = self.required(ledger, self.tlsa, Zone::Name, keys, clock)?
        {
            let records = data.iter().take(MAX_TLSA);
            let usable: Vec<_> = records
                .filter_map(|data| Tlsa::from_rdata(data))
                .filter(Tlsa::is_usable)
                .collect();
            if usable.is_empty() {
                let (owner, _) = ledger.asked(self.tlsa);
                return Err(Refusal::NoUsableTlsa { owner }.into());
            }
            self.tlsa_records = Some(usable);
        }
        Ok(())
    }

    /// The service is on another port than was thought: ask and try again there.
    fn move_to_port(&mut self, ledger: &mut Ledger, port: u16) {
        if self.search.move_to_port(ledger, port) {
            self.tlsa = ledger.ask(tlsa_owner(&self.met.name, port), RecordType::TLSA);
        }
    }

    /// Until the TLSA is validated no certificate means anything.
    fn search_peer(&mut self, ledger: &mut Ledger, clock: UnixTime) {
        let Some(tlsa) = &self.tlsa_records else {
            return;
        };
        self.search.judge(ledger, tlsa, clock);
        if self.ipv4_addresses.is_some() && self.ipv6_addresses.is_some() {
            let addresses = self.addresses();
            self.search.fall_back(ledger, &addresses);
        }
    }

    /// The addresses in the zone; the hints of the service where these were taken out on the way.
    fn addresses(&self) -> Vec<IpAddr> {
        let records = [&self.ipv4_addresses, &self.ipv6_addresses];
        let hints = self.service.iter().flat_map(|service| &service.hints);
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in records.into_iter().flatten().flatten().chain(hints) {
            if !addresses.contains(address) && addresses.len() < MAX_ADDRESSES {
                addresses.push(*address);
            }
        }
        addresses
    }

    fn conclude(&mut self, clock: UnixTime) -> Result<Option<Box<Discovered>>, End> {
        let complete = (
            &self.tlsa_records,
            self.server_type,
            self.anchor_version,
            self.name_version,
        );
        let (Some(tlsa), Some(server_type), Some(anchor_zone), Some(name_zone)) = complete else {
            return Ok(None);
        };
        if self.ipv4_addresses.is_none() || self.ipv6_addresses.is_none() {
            return Ok(None);
        }
        let Some(found) = self.search.outcome() else {
            return Ok(None);
        };
        Ok(Some(Box::new(Discovered {
            name: self.met.name.clone(),
            server_type,
            server: self.search.configured(),
            anchor: self.met.anchor.clone(),
            tlsa: tlsa.clone(),
            endpoint: found?,
            addresses: self.addresses(),
            versions: ZoneVersions {
                anchor_zone,
                name_zone,
            },
            ttl: self.ttl,
            signatures_expire: self.expires,
            validated: clock,
        })))
    }

    /// Records without which there is no upgrade.
    fn required(
        &mut self,
        ledger: &mut Ledger,
        ask: AskId,
        zone: Zone,
        keys: &TrustedKeys,
        clock: UnixTime,
    ) -> Result<Option<Judged>, End> {
        match self.look(ledger, ask, zone, keys, clock)? {
            Found::NotYet => Ok(None),
            Found::Silent => Err(End::NoAnswer),
            Found::Denied => Err(self.useless(ledger, ask).into()),
            Found::TakenOut(bogus) => Err(bogus.into()),
            Found::Records(judged) => Ok(Some(judged)),
        }
    }

    /// Records that may be missing, or taken out on the way (forwarders do so with private
    /// addresses); but what is there must validate. Empty where it is proven that there are none, nothing
    /// where that is not known.
    fn optional(
        &mut self,
        ledger: &mut Ledger,
        ask: AskId,
        keys: &TrustedKeys,
        clock: UnixTime,
    ) -> Result<Option<Option<Vec<Vec<u8>>>>, End> {
        let why = match self.look(ledger, ask, Zone::Name, keys, clock)? {
            Found::NotYet => return Ok(None),
            Found::Denied => return Ok(Some(Some(Vec::new()))),
            Found::Records((data, _)) => return Ok(Some(Some(data))),
            Found::Silent => "it was not answered".to_owned(),
            Found::TakenOut(bogus) => bogus.reason.cause().to_owned(),
        };
        let (name, rtype) = ledger.asked(ask);
        ledger.tell(Step::DoneWithout { name, rtype, why });
        Ok(Some(None))
    }

    fn look(
        &mut self,
        ledger: &mut Ledger,
        ask: AskId,
        zone: Zone,
        keys: &TrustedKeys,
        clock: UnixTime,
    ) -> Result<Found, End> {
        let reply = match ledger.take(ask) {
            Taken::Waiting => return Ok(Found::NotYet),
            Taken::Silent => return Ok(Found::Silent),
            Taken::Reply(reply) if !is_answered(reply.rcode) => return Ok(Found::Silent),
            Taken::Reply(reply) => reply,
        };
        let (owner, rtype) = ledger.question(ask);
        match validate_answer(&reply, &owner, rtype, keys, clock) {
            Ok(Answered::Records(rrset, secure)) => {
                self.check_age(ledger, zone, &secure, rrset.ttl, None, clock)?;
                self.rest_on(secure.ttl, secure.expires);
                self.tell_validated(ledger, ask, &secure);
                Ok(Found::Records((rrset.data.clone(), secure)))
            }
            Ok(Answered::Denied(Denied { ttl, expires, .. })) => {
                self.rest_on(ttl, expires);
                let (name, rtype) = ledger.asked(ask);
                ledger.tell(Step::Denied {
                    name,
                    rtype,
                    until: expires,
                });
                Ok(Found::Denied)
            }
            Err(bogus) if bogus.reason == BogusReason::DenialMissing => Ok(Found::TakenOut(bogus)),
            Err(bogus) => Err(bogus.into()),
        }
    }

    fn version_of(
        &self,
        ledger: &mut Ledger,
        ask: AskId,
        data: &[Vec<u8>],
        secure: &Secure,
        clock: UnixTime,
    ) -> Result<ZoneVersion, End> {
        let serial = match data {
            [soa] => soa
                .last_chunk::<SOA_NUMBERS>()
                .and_then(|numbers| numbers.first_chunk())
                .map(|serial| u32::from_be_bytes(*serial)),
            _ => None,
        };
        let serial = serial.ok_or_else(|| self.useless(ledger, ask))?;
        let zone = if ask == self.anchor_soa {
            Zone::Anchor
        } else {
            Zone::Name
        };
        self.check_age(ledger, zone, secure, secure.ttl, Some(serial), clock)?;
        Ok(ZoneVersion {
            serial,
            inception: secure.inception,
            accepted: clock,
        })
    }

    /// Refuses what is older than what was accepted before (protocol, "Change over time"). Only the
    /// DNSKEY RRsets are exempt: they may be signed long ahead.
    fn check_age(
        &self,
        ledger: &mut Ledger,
        zone: Zone,
        secure: &Secure,
        received_ttl: u32,
        serial: Option<u32>,
        clock: UnixTime,
    ) -> Result<(), End> {
        let Some(held) = self.held else {
            return Ok(());
        };
        let held = match zone {
            Zone::Anchor => held.anchor_zone,
            Zone::Name => held.name_zone,
        };
        let seen = ZoneVersion {
            serial: serial.unwrap_or(held.serial),
            inception: secure.inception,
            accepted: clock,
        };
        let in_caches = secure.original_ttl.saturating_sub(received_ttl);
        let zone = shown(&secure.zone);
        match seen.age_against(&held, in_caches) {
            Age::Fresh => Ok(()),
            Age::Stale => {
                ledger.tell(Step::Stale { zone });
                Ok(())
            }
            Age::RolledBack(detail) => Err(Refusal::RolledBack { zone, detail }.into()),
        }
    }

    fn rest_on(&mut self, ttl: u32, expires: UnixTime) {
        self.ttl = self.ttl.min(ttl);
        self.expires = self.expires.min(expires);
    }

    fn tell_validated(&self, ledger: &mut Ledger, ask: AskId, secure: &Secure) {
        let (name, rtype) = ledger.asked(ask);
        ledger.tell(Step::Validated {
            name,
            rtype,
            key_tag: secure.key_tag,
            zone: shown(&secure.zone),
            until: secure.expires,
        });
    }

    fn useless(&self, ledger: &Ledger, ask: AskId) -> Refusal {
        let (name, rtype) = ledger.asked(ask);
        let record = format!("{name} {rtype}");
        Refusal::RecordMissing { record }
    }
}

/// Other codes say that the server could not or would not answer.
fn is_answered(code: u16) -> bool {
    matches!(code, rcode::NO_ERROR | rcode::NAME_ERROR)
}

fn addresses(data: &[Vec<u8>]) -> Vec<IpAddr> {
    let addresses = data.iter().filter_map(|data| address(data));
    addresses.take(MAX_ADDRESSES).collect()
}

/// The server type in the data of a TXT record of one string.
fn server_type(data: &[u8]) -> Option<ServerType> {
    let (length, text) = data.split_first()?;
    if usize::from(*length) != text.len() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

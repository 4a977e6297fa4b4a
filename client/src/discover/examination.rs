//! Second flight: everything about the resolver, validated, and the peer that it names.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::RecordType;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::name::ResolverName;
use zzdot_zonegen::owners::{anchor_zone, key_owner, server_type_owner, svcb_owner, tlsa_owner};
use zzdot_zonegen::zone::ServerType;

use super::action::AskId;
use super::evidence::{End, Evidence, Zone, is_answered, useless};
use super::ledger::{Ledger, Taken};
use super::meeting::Met;
use super::refusal::Refusal;
use super::search::PeerSearch;
use super::service::{DOT_PORT, MAX_ADDRESSES, Service, address, preferred_service};
use super::tlsa::Tlsa;
use super::verdict::Discovered;
use crate::trust::{KnownIdentity, ZoneVersion, ZoneVersions};
use crate::validate::key::read_keys;
use crate::validate::{Bogus, BogusReason, TrustedKeys, ZoneKey, validate_keys};

/// The most TLSA records looked at.
pub const MAX_TLSA: usize = 16;

pub(super) struct Examination {
    met: Met,

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
    /// What the newest version accepted so far named, of a resolver that is remembered.
    held_tlsa: Vec<Tlsa>,
    evidence: Evidence,
}

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
        let mut evidence = Evidence {
            name: name.as_name().clone(),
            held: known.map(|known| known.versions),
            stale: false,
            ttl: met.dnskey.ttl.min(met.ns.ttl),
            expires: met.dnskey.expires.min(met.ns.expires),
        };
        evidence.check_age(ledger, Zone::Anchor, &met.ns, met.ns_ttl, None, clock)?;
        let search = PeerSearch::start(server, name.clone(), port, ledger);
        let mut ask = |owner, rtype| ledger.ask(owner, rtype);
        Ok(Self {
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
            held_tlsa: known.map_or_else(Vec::new, |known| known.tlsa.clone()),
            evidence,
            met,
        })
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

    /// The name that the server told.
    pub(super) fn name(&self) -> &ResolverName {
        &self.met.name
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
        if self.anchor_version.is_none() {
            let ask = &mut self.anchor_soa;
            self.anchor_version = self
                .evidence
                .version(ledger, ask, Zone::Anchor, &keys, clock)?;
        }
        if self.name_anchors.is_none()
            && let Some((data, _)) =
                self.evidence
                    .required(ledger, self.key, Zone::Anchor, &keys, clock)?
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
        self.evidence
            .check_denier(ledger, self.dnskey, Zone::Name, &reply)?;
        let zone = self.met.name.as_name();
        let rrset = reply.answer(zone, RecordType::DNSKEY).ok_or_else(|| {
            let reason = BogusReason::DenialMissing;
            Box::new(Bogus::new(reason, zone, RecordType::DNSKEY))
        })?;
        // The number of keys is bounded before any of them is tried.
        read_keys(rrset)?;
        let (keys, secure) = validate_keys(rrset, zone, anchors, clock)?;
        self.evidence.rest_on(secure.ttl, secure.expires);
        self.evidence.tell_validated(ledger, self.dnskey, &secure);
        self.name_keys = Some(keys);
        Ok(())
    }

    fn learn_name_zone(
        &mut self,
        ledger: &mut Ledger,
        keys: &TrustedKeys,
        clock: UnixTime,
    ) -> Result<(), End> {
        if self.name_version.is_none() {
            let ask = &mut self.name_soa;
            self.name_version = self
                .evidence
                .version(ledger, ask, Zone::Name, keys, clock)?;
        }
        if self.server_type.is_none()
            && let Some((data, _)) =
                self.evidence
                    .required(ledger, self.text, Zone::Name, keys, clock)?
        {
            let told = data.iter().find_map(|data| one_string(data)?.parse().ok());
            self.server_type = Some(told.ok_or_else(|| useless(ledger, self.text))?);
        }
        if self.service.is_none()
            && let Some(data) = self.evidence.optional(ledger, self.svcb, keys, clock)?
        {
            let published = data
                .map(|data| preferred_service(&data, self.met.name.as_name()).unwrap_or_default());
            // Nothing known of a service is no reason to look for it elsewhere.
            let service = published.unwrap_or_else(|| Service::at(self.search.port()));
            self.move_to_port(ledger, service.port);
            self.service = Some(service);
        }
        if self.ipv4_addresses.is_none()
            && let Some(data) = self.evidence.optional(ledger, self.ipv4, keys, clock)?
        {
            self.ipv4_addresses = Some(addresses(&data.unwrap_or_default()));
        }
        if self.ipv6_addresses.is_none()
            && let Some(data) = self.evidence.optional(ledger, self.ipv6, keys, clock)?
        {
            self.ipv6_addresses = Some(addresses(&data.unwrap_or_default()));
        }
        // Until the port is certain this may be the TLSA of the wrong one, which may not exist.
        if self.tlsa_records.is_none()
            && self.service.is_some()
            && let Some((data, _)) =
                self.evidence
                    .required(ledger, self.tlsa, Zone::Name, keys, clock)?
        {
            let records = data.iter().take(MAX_TLSA);
            let mut usable: Vec<_> = records
                .filter_map(|data| Tlsa::from_rdata(data))
                .filter(Tlsa::is_usable)
                .collect();
            if usable.is_empty() {
                let (owner, _) = ledger.asked(self.tlsa);
                return Err(Refusal::NoUsableTlsa { owner }.into());
            }
            if self.evidence.stale {
                // What a cache claims of its age nobody signs. A key that a newer version does not name any more
                // may have been stolen: a copy out of a cache brings none back.
                usable.retain(|tlsa| self.held_tlsa.contains(tlsa));
                if usable.is_empty() {
                    let zone = self.met.name.to_string();
                    let detail = "it names only keys that were replaced since".to_owned();
                    return Err(Refusal::RolledBack { zone, detail }.into());
                }
            }
            if let Some(succession) = &self.met.succession
                && !usable.iter().any(|tlsa| succession.tlsa.contains(tlsa))
            {
                return Err(succession.otherwise.clone().into());
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
        match &self.met.succession {
            None => self.search.judge(ledger, tlsa, clock),
            Some(succession) => {
                let proven_before = tlsa.iter().filter(|tlsa| succession.tlsa.contains(tlsa));
                let tlsa: Vec<Tlsa> = proven_before.cloned().collect();
                self.search.judge(ledger, &tlsa, clock);
            }
        }
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
            &self.name_anchors,
        );
        let (Some(tlsa), Some(server_type), Some(anchor_zone), Some(name_zone), Some(name_anchors)) =
            complete
        else {
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
            keys: self.met.shown.clone(),
            name_keys: name_anchors.iter().map(ZoneKey::to_dnskey).collect(),
            tlsa: tlsa.clone(),
            endpoint: found?,
            addresses: self.addresses(),
            versions: ZoneVersions {
                anchor_zone,
                name_zone,
            },
            ttl: self.evidence.ttl,
            signatures_expire: self.evidence.expires,
            validated: clock,
        })))
    }
}

fn addresses(data: &[Vec<u8>]) -> Vec<IpAddr> {
    let addresses = data.iter().filter_map(|data| address(data));
    addresses.take(MAX_ADDRESSES).collect()
}

/// The text in the data of a TXT record of one string.
pub(crate) fn one_string(data: &[u8]) -> Option<&str> {
    let (length, text) = data.split_first()?;
    if usize::from(*length) != text.len() {
        return None;
    }
    std::str::from_utf8(text).ok()
}

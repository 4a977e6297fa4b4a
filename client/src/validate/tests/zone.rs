//! Zones with wildcards and empty non-terminals, signed by hickory, and honest answers out of them.

use std::collections::BTreeMap;

use hickory_proto::dnssec::TBS;
use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG};
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, MX, NS, SOA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};
use ring::rand::SystemRandom;
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::{ALGORITHM, ZoneKey as SigningKey};

use crate::validate::{TrustedKeys, ZoneKey};

pub(super) const TTL: u32 = 300;

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(super) struct TestZone {
    pub(super) origin: Name,
    pub(super) ksk: SigningKey,
    pub(super) zsk: SigningKey,
    pub(super) now: UnixTime,
    nodes: BTreeMap<Name, BTreeMap<RecordType, Vec<RData>>>,
}

impl TestZone {
    /// A zone with records of these types at these names, besides what every zone has.
    pub(super) fn new(origin: &str, owners: &[(Name, RecordType)]) -> Self {
        let random = SystemRandom::new();
        let mut zone = Self {
            origin: name(origin),
            ksk: SigningKey::generate(257, &random).unwrap(),
            zsk: SigningKey::generate(256, &random).unwrap(),
            now: UnixTime::now(),
            nodes: BTreeMap::new(),
        };
        zone.set_owners(owners);
        zone
    }

    /// The same keys, other content.
    pub(super) fn set_owners(&mut self, owners: &[(Name, RecordType)]) {
        self.nodes.clear();
        let origin = self.origin.clone();
        let soa = SOA::new(origin.clone(), origin.clone(), 1, 2, 3, 4, TTL);
        let server = origin.prepend_label("ns").unwrap();
        self.put(&origin, RData::SOA(soa));
        self.put(&origin, RData::NS(NS(server)));
        for key in [self.ksk.dnskey().clone(), self.zsk.dnskey().clone()] {
            self.put(&origin, RData::DNSSEC(DNSSECRData::DNSKEY(key)));
        }
        for (owner, rtype) in owners {
            let target = origin.prepend_label("mail").unwrap();
            match rtype {
                RecordType::A => {
                    self.put(owner, RData::A(A::new(192, 0, 2, 2)));
                    self.put(owner, RData::A(A::new(192, 0, 2, 1)));
                }
                RecordType::MX => self.put(owner, RData::MX(MX::new(10, target))),
                _ => self.put(owner, RData::TXT(TXT::new(vec!["text".to_owned()]))),
            }
        }
    }

    fn put(&mut self, owner: &Name, data: RData) {
        let node = self.nodes.entry(owner.clone()).or_default();
        let records = node.entry(data.record_type()).or_default();
        if !records.contains(&data) {
            records.push(data);
        }
    }

    /// The keys that judge the zone, as a validator would hold them.
    pub(super) fn trusted(&self) -> TrustedKeys {
        TrustedKeys {
            zone: self.origin.clone(),
            keys: vec![self.ksk.dnskey().into(), self.zsk.dnskey().into()],
            verified: None,
        }
    }

    pub(super) fn anchors(&self) -> Vec<ZoneKey> {
        vec![self.ksk.dnskey().into()]
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = &Name> {
        self.nodes.keys()
    }

    /// An honest answer (RFC 1034 §4.3.2, RFC 4592, RFC 4035 §3.1).
    pub(super) fn answer(&self, qname: &Name, qtype: RecordType) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.queries = vec![Query::query(qname.clone(), qtype)];
        if let Some(node) = self.nodes.get(qname) {
            match node.get(&qtype) {
                Some(data) => message.answers = self.signed(qname, qname, data),
                None => self.deny(&mut message, &[qname]),
            }
            return message;
        }
        if self.is_empty_non_terminal(qname) {
            self.deny(&mut message, &[qname]);
            return message;
        }
        let mut encloser = qname.base_name();
        while !self.nodes.contains_key(&encloser) && !self.is_empty_non_terminal(&encloser) {
            encloser = encloser.base_name();
        }
        let wildcard = encloser.prepend_label("*").unwrap();
        match self.nodes.get(&wildcard).map(|node| node.get(&qtype)) {
            Some(Some(data)) => {
                message.answers = self.signed(&wildcard, qname, data);
                message.authorities = self.nsec_at_or_before(qname);
            }
            Some(None) => self.deny(&mut message, &[qname, &wildcard]),
            None => {
                if !self.is_empty_non_terminal(&wildcard) {
                    message.metadata.response_code = ResponseCode::NXDomain;
                }
                self.deny(&mut message, &[qname, &wildcard]);
            }
        }
        message
    }

    fn deny(&self, message: &mut Message, names: &[&Name]) {
        let soa = &self.nodes[&self.origin][&RecordType::SOA];
        message.authorities = self.signed(&self.origin, &self.origin, soa);
        for name in names {
            for record in self.nsec_at_or_before(name) {
                if !message.authorities.contains(&record) {
                    message.authorities.push(record);
                }
            }
        }
    }

    pub(super) fn nsec_at_or_before(&self, name: &Name) -> Vec<Record> {
        let (owner, node) = self.nodes.range(..=name).next_back().unwrap();
        let mut after = self
            .nodes
            .range((std::ops::Bound::Excluded(owner), std::ops::Bound::Unbounded));
        let next = after.next().map_or(&self.origin, |(next, _)| next);
        let types = node
            .keys()
            .copied()
            .chain([RecordType::NSEC, RecordType::RRSIG]);
        let nsec = NSEC::new(next.clone(), types);
        self.signed(owner, owner, &[RData::DNSSEC(DNSSECRData::NSEC(nsec))])
    }

    fn is_empty_non_terminal(&self, name: &Name) -> bool {
        let mut from = self.nodes.range(name..);
        !self.nodes.contains_key(name) && from.next().is_some_and(|(next, _)| name.zone_of(next))
    }

    /// Records with this data at `shown`, signed as those of `owner`, by the key that is due.
    fn signed(&self, owner: &Name, shown: &Name, data: &[RData]) -> Vec<Record> {
        let key = match data[0].record_type() {
            RecordType::DNSKEY => &self.ksk,
            _ => &self.zsk,
        };
        let input = self.input(owner, data[0].record_type(), key);
        self.signed_as(owner, shown, data, key, input)
    }

    pub(super) fn input(&self, owner: &Name, rtype: RecordType, key: &SigningKey) -> SigInput {
        SigInput {
            type_covered: rtype,
            algorithm: ALGORITHM,
            num_labels: owner.num_labels(),
            original_ttl: TTL,
            sig_expiration: SerialNumber::new(self.now.wire().wrapping_add(86_400)),
            sig_inception: SerialNumber::new(self.now.wire().wrapping_sub(3600)),
            key_tag: key.tag(),
            signer_name: self.origin.clone(),
        }
    }

    pub(super) fn signed_as(
        &self,
        owner: &Name,
        shown: &Name,
        data: &[RData],
        key: &SigningKey,
        input: SigInput,
    ) -> Vec<Record> {
        let at = |owner: &Name| -> Vec<Record> {
            data.iter()
                .map(|data| Record::from_rdata(owner.clone(), TTL, data.clone()))
                .collect()
        };
        let message = TBS::from_input(owner, DNSClass::IN, &input, at(owner).iter()).unwrap();
        let signature = key.sign(message.as_ref()).unwrap();
        let rrsig = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, signature)));
        let mut records = at(shown);
        records.push(Record::from_rdata(shown.clone(), TTL, rrsig));
        records
    }
}

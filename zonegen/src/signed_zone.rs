//! A zone with its signatures, in canonical order (RFC 4034 §6.1).

use std::collections::BTreeMap;

use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use thiserror::Error;

use crate::dname;

/// A zone that can be looked up in and written out.
///
/// It has one SOA, and neither delegations nor wildcards: the zones of the protocol need none, and denial
/// without them is simple enough to be right. Below a DNAME there is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedZone {
    origin: Name,
    nodes: BTreeMap<Name, Node>,
}

/// The RRsets of one owner name.
pub(crate) type Node = BTreeMap<RecordType, RrSet>;

/// The records of one owner and type, and the signatures over them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RrSet {
    /// The records, in canonical order, with one time-to-live.
    pub records: Vec<Record>,
    /// The RRSIG records that cover them.
    pub signatures: Vec<Record>,
}

/// Why records do not make a zone. Names are boxed: they are large, and errors are rare.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ZoneError {
    /// A zone starts with one SOA.
    #[error("there is no SOA record")]
    NoSoa,
    /// A zone has only one SOA, at its apex.
    #[error("{0} has a second SOA record")]
    SecondSoa(Box<Name>),
    /// The record belongs to another zone.
    #[error("{owner} {rtype} is not in the zone {origin}")]
    OutOfZone {
        /// The record's owner.
        owner: Box<Name>,
        /// Its type.
        rtype: RecordType,
        /// The zone.
        origin: Box<Name>,
    },
    /// The record's class is not IN.
    #[error("{owner} {rtype} is of class {class}, not IN")]
    Class {
        /// The record's owner.
        owner: Box<Name>,
        /// Its type.
        rtype: RecordType,
        /// Its class.
        class: DNSClass,
    },
    /// Delegations and wildcards are not for zones of this kind.
    #[error("{owner} {rtype}: delegations and wildcards are not supported")]
    Unsupported {
        /// The record's owner.
        owner: Box<Name>,
        /// Its type.
        rtype: RecordType,
    },
    /// A CNAME stands alone (RFC 2181 §10.1).
    #[error("{0} has a CNAME record and others beside it")]
    CnameAndOther(Box<Name>),
    /// A DNAME's data are one name, in lower case as they are signed (RFC 4034 §6.2).
    #[error("{0} has a DNAME record without a target in lower case")]
    MalformedDname(Box<Name>),
    /// A DNAME stands alone at its owner, and beside no CNAME (RFC 6672 §2.4).
    #[error("{0} has a second DNAME record, or a CNAME beside it")]
    DnameAndOther(Box<Name>),
    /// Below a DNAME there is nothing (RFC 6672 §2.4).
    #[error("{owner} is below the DNAME record of {dname}")]
    BelowDname {
        /// The owner that cannot be.
        owner: Box<Name>,
        /// The owner of the DNAME.
        dname: Box<Name>,
    },
    /// An RRset's records have one time-to-live (RFC 2181 §5.2).
    #[error("{owner} {rtype} has records with different times to live")]
    MixedTtl {
        /// The RRset's owner.
        owner: Box<Name>,
        /// Its type.
        rtype: RecordType,
    },
}

impl SignedZone {
    /// Sorts records into a zone; the SOA among them names it. Signatures are taken as they are.
    pub fn from_records(records: impl IntoIterator<Item = Record>) -> Result<Self, ZoneError> {
        let records: Vec<Record> = records.into_iter().collect();
        let origin = records
            .iter()
            .find(|record| record.record_type() == RecordType::SOA)
            .map(|record| lower(&record.name))
            .ok_or(ZoneError::NoSoa)?;
        let mut zone = Self {
            origin,
            nodes: BTreeMap::new(),
        };
        for record in records {
            zone.insert(record)?;
        }
        zone.check()?;
        Ok(zone)
    }

    /// The zone's name.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// The zone's SOA.
    pub fn soa(&self) -> &SOA {
        let records = self
            .rrset(&self.origin, RecordType::SOA)
            .map(|rrset| rrset.records.as_slice());
        match records {
            Some(
                [
                    Record {
                        data: RData::SOA(soa),
                        ..
                    },
                ],
            ) => soa,
            _ => unreachable!("a zone is made only with one SOA at its apex"),
        }
    }

    /// All records in canonical order, each RRset followed by its signatures; the SOA comes first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let soa_first = |rtype: &RecordType| (*rtype != RecordType::SOA, *rtype);
        self.nodes.values().flat_map(move |node| {
            let mut rrsets: Vec<_> = node.iter().collect();
            rrsets.sort_by_key(|(rtype, _)| soa_first(rtype));
            rrsets
                .into_iter()
                .flat_map(|(_, rrset)| rrset.records.iter().chain(&rrset.signatures))
        })
    }

    /// All RRsets in canonical order of their owners.
    pub fn rrsets(&self) -> impl Iterator<Item = (&Name, RecordType, &RrSet)> {
        self.nodes.iter().flat_map(|(owner, node)| {
            node.iter()
                .map(move |(rtype, rrset)| (owner, *rtype, rrset))
        })
    }

    /// The RRset of one owner and type.
    pub fn rrset(&self, owner: &Name, rtype: RecordType) -> Option<&RrSet> {
        self.nodes.get(owner)?.get(&rtype)
    }

    pub(crate) fn nodes(&self) -> &BTreeMap<Name, Node> {
        &self.nodes
    }

    pub(crate) fn rrsets_mut(&mut self) -> impl Iterator<Item = (&Name, RecordType, &mut RrSet)> {
        self.nodes.iter_mut().flat_map(|(owner, node)| {
            node.iter_mut()
                .map(move |(rtype, rrset)| (owner, *rtype, rrset))
        })
    }

    pub(crate) fn insert(&mut self, mut record: Record) -> Result<(), ZoneError> {
        record.name = lower(&record.name);
        let (owner, rtype) = (Box::new(record.name.clone()), record.record_type());
        if !self.origin.zone_of(&owner) {
            return Err(ZoneError::OutOfZone {
                owner,
                rtype,
                origin: Box::new(self.origin.clone()),
            });
        }
        if record.dns_class != DNSClass::IN {
            return Err(ZoneError::Class {
                owner,
                rtype,
                class: record.dns_class,
            });
        }
        let delegates = matches!(rtype, RecordType::NS | RecordType::DS) && *owner != self.origin;
        if delegates || owner.is_wildcard() {
            return Err(ZoneError::Unsupported { owner, rtype });
        }
        let node = self.nodes.entry(*owner).or_default();
        match &record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => {
                let rrset = node.entry(rrsig.input().type_covered).or_default();
                if !rrset.signatures.contains(&record) {
                    rrset.signatures.push(record);
                }
            }
            _ => {
                let records = &mut node.entry(rtype).or_default().records;
                // RFC 4034 §6.3: duplicates are dropped, the others sorted by their data.
                if let Err(place) = records.binary_search_by(|held| held.data.cmp(&record.data)) {
                    records.insert(place, record);
                }
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ZoneError> {
        for (owner, rtype, rrset) in self.rrsets() {
            if rtype == RecordType::SOA && (*owner != self.origin || rrset.records.len() != 1) {
                return Err(ZoneError::SecondSoa(Box::new(owner.clone())));
            }
            if rrset
                .records
                .windows(2)
                .any(|pair| pair[0].ttl != pair[1].ttl)
            {
                return Err(ZoneError::MixedTtl {
                    owner: Box::new(owner.clone()),
                    rtype,
                });
            }
        }
        // In canonical order whatever is below an owner comes right behind it.
        let mut redirected: Option<&Name> = None;
        for (owner, node) in &self.nodes {
            if let Some(dname) = redirected.filter(|dname| dname.zone_of(owner)) {
                let (owner, dname) = (Box::new(owner.clone()), Box::new(dname.clone()));
                return Err(ZoneError::BelowDname { owner, dname });
            }
            if let Some(rrset) = node.get(&RecordType::DNAME) {
                check_dname(owner, node, rrset)?;
                redirected = Some(owner);
            }
            let alone = |rtype: &RecordType| matches!(rtype, RecordType::CNAME | RecordType::NSEC);
            if node.contains_key(&RecordType::CNAME) && !node.keys().all(alone) {
                return Err(ZoneError::CnameAndOther(Box::new(owner.clone())));
            }
        }
        Ok(())
    }
}

/// RFC 6672 §2.4.
fn check_dname(owner: &Name, node: &Node, rrset: &RrSet) -> Result<(), ZoneError> {
    let alone = rrset.records.len() <= 1 && !node.contains_key(&RecordType::CNAME);
    if !alone {
        return Err(ZoneError::DnameAndOther(Box::new(owner.clone())));
    }
    if rrset
        .records
        .iter()
        .any(|record| dname::target(&record.data).is_none())
    {
        return Err(ZoneError::MalformedDname(Box::new(owner.clone())));
    }
    Ok(())
}

/// The signature in an RRSIG record; `None` for any other record.
pub fn rrsig_of(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig),
        _ => None,
    }
}

fn lower(name: &Name) -> Name {
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    name
}

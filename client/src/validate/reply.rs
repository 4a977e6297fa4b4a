//! The records of a message, sorted into RRsets with their signatures.

use hickory_proto::rr::{Name, RecordType};

use crate::wire::{RecordView, Section, View, WireError};

/// The most records read of one message.
pub const MAX_RECORDS: usize = 256;

const CLASS_IN: u16 = 1;
const OPT: u16 = 41;
const RRSIG: u16 = 46;

/// Why a message is not read as a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// It is broken.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It has more records than are read.
    #[error("more than {MAX_RECORDS} records")]
    TooManyRecords,
    /// The data of a record of this type is not what the type says.
    #[error("the data of a {0} record cannot be read")]
    Data(RecordType),
}

/// What a message says: response code, and the RRsets of class IN in its answer and authority
/// sections. The additional section is never evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The four bits of the header.
    pub rcode: u16,
    /// In the order of their first record.
    pub rrsets: Vec<Rrset>,
}

/// The records of one owner and type in one section, and the signatures over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rrset {
    /// In the authority section instead of the answer section.
    pub in_authority: bool,
    /// The owner in lower case.
    pub owner: Name,
    /// The type.
    pub rtype: RecordType,
    /// The least time-to-live of its records in seconds (RFC 2181 §5.2).
    pub ttl: u32,
    /// The data of each record in canonical form (RFC 4034 §6.2), sorted, without duplicates
    /// (§6.3).
    pub data: Vec<Vec<u8>>,
    /// The RRSIG records that cover it and can be read.
    pub signatures: Vec<Signature>,
    /// How many cannot.
    pub broken_signatures: usize,
}

/// The data of an RRSIG record (RFC 4034 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The type that it covers.
    pub covered: RecordType,
    /// Number of the algorithm.
    pub algorithm: u8,
    /// Labels of the owner, or of the wildcard that it was made from.
    pub labels: u8,
    /// The time-to-live in the zone.
    pub original_ttl: u32,
    /// End of the window, 32 bits of Unix time.
    pub expiration: u32,
    /// Begin of the window, 32 bits of Unix time.
    pub inception: u32,
    /// Tag of the key.
    pub key_tag: u16,
    /// The zone that signs, in lower case.
    pub signer: Name,
    /// The data up to the signature itself, in canonical form: it is part of what is signed.
    pub(super) head: Vec<u8>,
    /// The signature itself.
    pub(super) value: Vec<u8>,
}

impl Rrset {
    /// How many octets its data and signatures have.
    #[must_use]
    pub fn octets(&self) -> usize {
        let signatures = self.signatures.iter();
        let signatures = signatures.map(|it| it.head.len() + it.value.len());
        self.data.iter().map(Vec::len).sum::<usize>() + signatures.sum::<usize>()
    }
}

impl Reply {
    /// Reads a whole message.
    ///
    /// # Errors
    /// When it is broken anywhere.
    pub fn read(message: &[u8]) -> Result<Self, ReplyError> {
        let view = View::parse(message)?;
        view.check()?;
        let mut rrsets: Vec<Rrset> = Vec::new();
        let mut signatures = Vec::new();
        for (count, record) in view.records().enumerate() {
            if count >= MAX_RECORDS {
                return Err(ReplyError::TooManyRecords);
            }
            let record = record?;
            let evidence = record.section != Section::Additional
                && record.class == CLASS_IN
                && record.rtype != OPT;
            if !evidence {
                continue;
            }
            let in_authority = record.section == Section::Authority;
            let owner = record.owner.to_name();
            if record.rtype == RRSIG {
                signatures.push((in_authority, owner, Signature::read(&record), record));
                continue;
            }
            let rtype = RecordType::from(record.rtype);
            let data = canonical_data(&record).ok_or(ReplyError::Data(rtype))?;
            let held = rrsets.iter_mut().find(|rrset| {
                rrset.in_authority == in_authority && rrset.rtype == rtype && rrset.owner == owner
            });
            match held {
                Some(rrset) => {
                    rrset.ttl = rrset.ttl.min(record.ttl);
                    if let Err(place) = rrset.data.binary_search(&data) {
                        rrset.data.insert(place, data);
                    }
                }
                None => rrsets.push(Rrset {
                    in_authority,
                    owner,
                    rtype,
                    ttl: record.ttl,
                    data: vec![data],
                    signatures: Vec::new(),
                    broken_signatures: 0,
                }),
            }
        }
        for (in_authority, owner, signature, record) in signatures {
            let covered = record.data().first_chunk().copied();
            let covered = covered.map(|bytes| RecordType::from(u16::from_be_bytes(bytes)));
            let rrset = rrsets.iter_mut().find(|rrset| {
                rrset.in_authority == in_authority
                    && Some(rrset.rtype) == covered
                    && rrset.owner == owner
            });
            match (rrset, signature) {
                (Some(rrset), Some(signature)) => rrset.signatures.push(signature),
                (Some(rrset), None) => rrset.broken_signatures += 1,
                (None, _) => {}
            }
        }
        Ok(Self {
            rcode: view.rcode(),
            rrsets,
        })
    }

    /// The RRset of the answer section with this owner and type.
    #[must_use]
    pub fn answer(&self, owner: &Name, rtype: RecordType) -> Option<&Rrset> {
        self.rrsets
            .iter()
            .find(|rrset| !rrset.in_authority && rrset.rtype == rtype && rrset.owner == *owner)
    }

    /// The RRset of the authority section with this owner and type.
    #[must_use]
    pub fn authority(&self, owner: &Name, rtype: RecordType) -> Option<&Rrset> {
        self.rrsets
            .iter()
            .find(|rrset| rrset.in_authority && rrset.rtype == rtype && rrset.owner == *owner)
    }

    /// Whether any RRset of the answer or authority section is signed.
    #[must_use]
    pub fn has_signatures(&self) -> bool {
        self.rrsets
            .iter()
            .any(|rrset| !rrset.signatures.is_empty() || rrset.broken_signatures > 0)
    }

    /// The RRsets of the answer section.
    pub fn answers(&self) -> impl Iterator<Item = &Rrset> {
        self.rrsets.iter().filter(|rrset| !rrset.in_authority)
    }
}

impl Signature {
    fn read(record: &RecordView<'_>) -> Option<Self> {
        let (signer, signer_range) = record.names_in_data().next()?;
        let data = record.data();
        let value_start = signer_range.end.checked_sub(record.rdata.start)?;
        let fixed: &[u8; 18] = data.first_chunk()?;
        let word = |at: usize| Some(u16::from_be_bytes(*fixed.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u32::from_be_bytes(*fixed.get(at..)?.first_chunk()?));
        let mut head = fixed.to_vec();
        head.extend_from_slice(&signer.to_folded_wire());
        Some(Self {
            covered: RecordType::from(word(0)?),
            algorithm: *fixed.get(2)?,
            labels: *fixed.get(3)?,
            original_ttl: long(4)?,
            expiration: long(8)?,
            inception: long(12)?,
            key_tag: word(16)?,
            signer: signer.to_name(),
            head,
            value: data.get(value_start..)?.to_vec(),
        })
    }
}

/// The data with its names uncompressed and in lower case (RFC 4034 §6.2). The next name of an NSEC
/// keeps its letters (RFC 6840 §5.1).
fn canonical_data(record: &RecordView<'_>) -> Option<Vec<u8>> {
    let (skip, names) = record.names_layout();
    let data = record.data();
    let mut canonical = data.get(..skip)?.to_vec();
    let mut rest = skip;
    let mut found = 0;
    for (name, range) in record.names_in_data() {
        canonical.extend_from_slice(&name.to_folded_wire());
        rest = range.end.checked_sub(record.rdata.start)?;
        found += 1;
    }
    canonical.extend_from_slice(data.get(rest..)?);
    (found == names).then_some(canonical)
}

//! The short way: one question to a server of a zone that is known, and the answer judged here.
//!
//! Sans-IO: what to send, and what to make of the response. The rules are those of the island
//! validator of the client (RFC 4035 §5), with keys that the recursor has proved. Only the plain
//! case is taken: records of the name and type asked for, or a denial by NSEC. Whatever
//! else comes (an alias, a referral, a wildcard, NSEC3, a signature that does not hold) is
//! the recursor's, which gets the response that is already there.

use hickory_resolver::proto::rr::RecordType;
use zzdot_client::{
    validate::{Answered, DeniedWhat, Reply, validate_answer, validate_rrset},
    wire::{self, Edns, Flags, HEADER_BYTES, QuestionView, RecordView, Section, View},
};
use zzdot_zonegen::clock::UnixTime;

use super::{
    known::Trust,
    shape::{TYPE_NS, TYPE_RRSIG, TYPE_SOA, is_at_or_below},
};

const CLASS_IN: u16 = 1;
const TYPE_DS: u16 = 43;
const TYPE_NSEC: u16 = 47;
/// In seconds; the recursor believes no record for longer either.
const LONGEST_TTL: u32 = 86_400;

const NOERROR: u16 = 0;
const NXDOMAIN: u16 = 3;

/// OPT and the types that are questions only (RFC 6895 §3.1).
const NO_DATA_TYPES: [std::ops::RangeInclusive<u16>; 2] = [41..=41, 128..=255];

/// A query that may go the short way, as it came.
pub(super) struct Wanted<'q> {
    view: View<'q>,
    question: QuestionView<'q>,
    /// In wire form, in lower case.
    pub(super) name: Vec<u8>,
    has_edns: bool,
    dnssec_ok: bool,
}

impl<'q> Wanted<'q> {
    /// What is asked, where the short way may be tried for it.
    pub(super) fn read(query: &'q [u8]) -> Option<Self> {
        let view = View::parse(query).ok()?;
        let question = view.question()?;
        let edns = view.edns().ok()?;
        let qtype = question.qtype;
        let plain = question.qclass == CLASS_IN
            && view.recursion_desired()
            // Who validates himself may want what is not proved.
            && !view.checking_disabled()
            // Those of a cut are in both zones, and signatures are nobody's records.
            && ![TYPE_NS, TYPE_DS, TYPE_RRSIG].contains(&qtype)
            && !NO_DATA_TYPES.iter().any(|types| types.contains(&qtype));
        plain.then(|| Self {
            view,
            question,
            name: question.wire_name.to_ascii_lowercase(),
            has_edns: edns.is_some(),
            dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
        })
    }

    pub(super) fn rtype(&self) -> u16 {
        self.question.qtype
    }

    /// The question to an authority.
    pub(super) fn outgoing(&self) -> Option<Vec<u8>> {
        let mut message = self.view.bytes().get(..self.view.records_start())?.to_vec();
        // Id, flags and counts of its own: RD stays off towards authorities.
        message[..HEADER_BYTES].copy_from_slice(&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        wire::with_edns(&message, Some(&Edns::plain(true))).ok()
    }

    /// The response to the asker; none when this is no plain case. `response` was matched to the
    /// question and trimmed.
    pub(super) fn answer(
        &self,
        zone: &[u8],
        trust: &Trust,
        response: &[u8],
        clock: UnixTime,
    ) -> Option<Vec<u8>> {
        let told = View::parse(response).ok()?;
        let usable = told.flags().has(Flags::AUTHORITATIVE)
            && !told.truncated()
            && matches!(told.rcode(), NOERROR | NXDOMAIN);
        if !usable || !self.is_plain(&told, zone)? {
            return None;
        }
        let positive = told.counts().answers > 0;
        let (ttl, secure) = match trust {
            Trust::Insecure => (LONGEST_TTL, false),
            Trust::Keys(keys) => {
                let name = self.question.name.to_name();
                let reply = Reply::read(response).ok()?;
                let rtype = RecordType::from(self.rtype());
                let ttl = match validate_answer(&reply, &name, rtype, keys, clock).ok()? {
                    Answered::Records(_, secure) if positive && secure.expanded_from.is_none() => {
                        secure.ttl
                    }
                    Answered::Denied(denied) if !positive => {
                        let rcode = match denied.what {
                            DeniedWhat::Name => NXDOMAIN,
                            DeniedWhat::Type => NOERROR,
                        };
                        // What goes with the bit AD is proved, all of it.
                        let all_proved = reply
                            .rrsets
                            .iter()
                            .all(|rrset| validate_rrset(rrset, keys, clock).is_ok());
                        if rcode != told.rcode() || !all_proved {
                            return None;
                        }
                        denied.ttl
                    }
                    _ => return None,
                };
                (ttl, true)
            }
        };
        self.build(&told, ttl.min(LONGEST_TTL), secure)
    }

    /// Whether the message holds nothing but the records asked for, or a denial of this zone.
    fn is_plain(&self, told: &View<'_>, zone: &[u8]) -> Option<bool> {
        let positive = told.counts().answers > 0;
        let mut wanted = 0;
        let mut authorities = 0;
        for record in told.records() {
            let record = record.ok()?;
            let owner = record.owner.to_folded_wire();
            let covered = match record.rtype {
                TYPE_RRSIG => u16::from_be_bytes(*record.data().first_chunk()?),
                rtype => rtype,
            };
            let fits = match record.section {
                Section::Answer => owner == self.name && covered == self.rtype(),
                Section::Authority if covered == TYPE_SOA => {
                    authorities += u32::from(record.rtype == TYPE_SOA);
                    is_at_or_below(&self.name, &owner) && is_at_or_below(&owner, zone)
                }
                Section::Authority => covered == TYPE_NSEC && is_at_or_below(&owner, zone),
                Section::Additional => false,
            };
            if !fits || record.class != CLASS_IN {
                return Some(false);
            }
            wanted += u32::from(record.section == Section::Answer && record.rtype != TYPE_RRSIG);
        }
        Some(if positive {
            wanted > 0 && told.counts().authorities == 0 && told.rcode() == NOERROR
        } else {
            authorities > 0
        })
    }

    fn build(&self, told: &View<'_>, ttl: u32, secure: bool) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(told.bytes().len() + 16);
        let mut flags = Flags::RESPONSE | Flags::RECURSION_DESIRED | Flags::RECURSION_AVAILABLE;
        // RFC 6840 §5.8: to those who understand the bit.
        if secure && (self.dnssec_ok || self.view.authentic_data()) {
            flags |= Flags::AUTHENTIC_DATA;
        }
        out.extend_from_slice(&self.view.id().to_be_bytes());
        out.extend_from_slice(&(flags | told.rcode()).to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        let question = HEADER_BYTES..self.view.records_start();
        out.extend_from_slice(self.view.bytes().get(question)?);
        let mut counts = [0u16; 2];
        for record in told.records() {
            let record = record.ok()?;
            let proof = matches!(record.rtype, TYPE_RRSIG | TYPE_NSEC);
            if record.section == Section::Additional
                || (proof && !self.dnssec_ok && record.rtype != self.rtype())
            {
                continue;
            }
            self.push(&mut out, &record, ttl)?;
            counts[usize::from(record.section == Section::Authority)] += 1;
        }
        for (at, count) in counts.into_iter().enumerate() {
            let at = 6 + 2 * at;
            out[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
        if !self.has_edns {
            return Some(out);
        }
        wire::with_edns(&out, Some(&Edns::plain(self.dnssec_ok))).ok()
    }

    /// Appends a record. Names in it that point elsewhere in the response are written out.
    fn push(&self, out: &mut Vec<u8>, record: &RecordView<'_>, ttl: u32) -> Option<()> {
        /// The name in the question, which stands behind the header.
        const QUESTION: [u8; 2] = [0xC0, HEADER_BYTES as u8];
        if record.owner.to_folded_wire() == self.name {
            out.extend_from_slice(&QUESTION);
        } else {
            out.extend_from_slice(&record.owner.to_wire());
        }
        out.extend_from_slice(&record.rtype.to_be_bytes());
        out.extend_from_slice(&record.class.to_be_bytes());
        out.extend_from_slice(&record.ttl.min(ttl).to_be_bytes());
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        let data = record.data();
        let mut done = 0;
        for (name, range) in record.names_in_data() {
            let start = range.start.checked_sub(record.rdata.start)?;
            out.extend_from_slice(data.get(done..start)?);
            out.extend_from_slice(&name.to_wire());
            done = range.end.checked_sub(record.rdata.start)?;
        }
        out.extend_from_slice(data.get(done..)?);
        let length = u16::try_from(out.len() - length_at - 2).ok()?;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        Some(())
    }
}

#[cfg(test)]
mod tests;

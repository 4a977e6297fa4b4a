//! From an answer to something that may be relied on, and what all of it together rests on.

use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::owners::anchor_zone;

use super::action::{AskId, Step};
use super::ledger::{Ledger, Taken};
use super::meeting::rcode;
use super::own_denial::own_denial;
use super::refusal::Refusal;
use crate::trust::{Age, ZoneVersion, ZoneVersions};
use crate::validate::bogus::shown;
use crate::validate::{
    Answered, Bogus, BogusReason, Denied, Reply, Secure, TrustedKeys, validate_answer,
    validate_rrset,
};

/// What neither zone has at its origin: asked for where the SOA record is taken out on the way.
const ABSENT: RecordType = RecordType::MX;

/// Bytes of an SOA's data behind its two names (RFC 1035 §3.3.13).
const SOA_NUMBERS: usize = 20;

/// What was validated so far, in sum.
pub(super) struct Evidence {
    /// The origin of the zone of the resolver's name.
    pub(super) name: Name,
    /// The versions accepted before, of a resolver that is remembered.
    pub(super) held: Option<ZoneVersions>,
    /// Something was older than what was accepted before, as a cache's copy may be.
    pub(super) stale: bool,
    /// The least time-to-live, in seconds.
    pub(super) ttl: u32,
    /// The first end of a signature's window.
    pub(super) expires: UnixTime,
}

/// How an examination ends without success.
pub(super) enum End {
    NoAnswer,
    Refused(Box<Refusal>),
    /// A box on the way denies what the resolver told of itself.
    DeniedOnTheWay,
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

/// One of the two zones of a resolver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
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
pub(super) type Judged = (Vec<Vec<u8>>, Secure);

impl Evidence {
    /// Records without which there is no upgrade.
    pub(super) fn required(
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
            Found::Denied => Err(useless(ledger, ask).into()),
            Found::TakenOut(bogus) => Err(bogus.into()),
            Found::Records(judged) => Ok(Some(judged)),
        }
    }

    /// Records that may be missing, or taken out on the way (forwarders do so with private
    /// addresses); but what is there must validate. Empty where it is proven that there are none, nothing
    /// where that is not known.
    pub(super) fn optional(
        &mut self,
        ledger: &mut Ledger,
        ask: AskId,
        keys: &TrustedKeys,
        clock: UnixTime,
    ) -> Result<Option<Option<Vec<Vec<u8>>>>, End> {
        let why = match self.look(ledger, ask, Zone::Name, keys, clock) {
            Ok(Found::NotYet) => return Ok(None),
            Ok(Found::Denied) => return Ok(Some(Some(Vec::new()))),
            Ok(Found::Records((data, _))) => return Ok(Some(Some(data))),
            Ok(Found::Silent) => "it was not answered".to_owned(),
            Ok(Found::TakenOut(bogus)) => bogus.reason.cause().to_owned(),
            // What has to be there decides whether the box has the zone: one answer is no reason to give it all up.
            Err(End::DeniedOnTheWay) => "a box on the way denies it".to_owned(),
            Err(end) => return Err(end),
        };
        let (name, rtype) = ledger.asked(ask);
        ledger.tell(Step::DoneWithout { name, rtype, why });
        Ok(Some(None))
    }

    /// The version of a zone, by its SOA record. Some boxes take that out (dnsmasq's `filterwin2k`); then the one
    /// that comes with a denial serves as well, and `ask` becomes the question that is denied.
    pub(super) fn version(
        &mut self,
        ledger: &mut Ledger,
        ask: &mut AskId,
        zone: Zone,
        keys: &TrustedKeys,
        clock: UnixTime,
    ) -> Result<Option<ZoneVersion>, End> {
        let (owner, rtype) = ledger.question(*ask);
        let judged = if rtype == ABSENT {
            self.soa_beside_denial(ledger, *ask, zone, keys, clock)?
        } else {
            match self.look(ledger, *ask, zone, keys, clock)? {
                Found::NotYet => None,
                Found::Silent => return Err(End::NoAnswer),
                Found::Denied => return Err(useless(ledger, *ask).into()),
                Found::Records(judged) => Some(judged),
                Found::TakenOut(bogus) => {
                    let (name, rtype) = ledger.asked(*ask);
                    let why = bogus.reason.cause().to_owned();
                    ledger.tell(Step::DoneWithout { name, rtype, why });
                    *ask = ledger.ask(owner, ABSENT);
                    None
                }
            }
        };
        let version =
            judged.map(|(data, secure)| self.version_of(ledger, *ask, zone, &data, &secure, clock));
        version.transpose()
    }

    /// What a denial says about the zone is signed as the zone's own record is (RFC 4035 §3.1.3).
    fn soa_beside_denial(
        &mut self,
        ledger: &mut Ledger,
        ask: AskId,
        zone: Zone,
        keys: &TrustedKeys,
        clock: UnixTime,
    ) -> Result<Option<Judged>, End> {
        let reply = match ledger.take(ask) {
            Taken::Waiting => return Ok(None),
            Taken::Silent => return Err(End::NoAnswer),
            Taken::Reply(reply) if !is_answered(reply.rcode) => return Err(End::NoAnswer),
            Taken::Reply(reply) => reply,
        };
        self.check_denier(ledger, ask, zone, &reply)?;
        let (owner, _) = ledger.question(ask);
        let missing = || Bogus::new(BogusReason::DenialMissing, &owner, RecordType::SOA);
        let soa = reply.authority(&owner, RecordType::SOA);
        let soa = soa.ok_or_else(|| Box::new(missing()))?;
        let secure = validate_rrset(soa, keys, clock)?;
        self.check_age(ledger, zone, &secure, soa.ttl, None, clock)?;
        self.rest_on(secure.ttl, secure.expires);
        self.tell_validated(ledger, ask, &secure);
        Ok(Some((soa.data.clone(), secure)))
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
        self.check_denier(ledger, ask, zone, &reply)?;
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

    /// Ends where a box on the way denies what is asked for by what it was told of other names.
    pub(super) fn check_denier(
        &self,
        ledger: &mut Ledger,
        ask: AskId,
        zone: Zone,
        reply: &Reply,
    ) -> Result<(), End> {
        let denial = match zone {
            Zone::Anchor => own_denial(reply, &anchor_zone()),
            Zone::Name => own_denial(reply, &self.name),
        };
        let Some(denial) = denial else {
            return Ok(());
        };
        let (name, rtype) = ledger.asked(ask);
        ledger.tell(Step::DeniedOnTheWay {
            name,
            rtype,
            zone: shown(&denial.zone),
            with_proof: denial.with_proof,
        });
        Err(End::DeniedOnTheWay)
    }

    fn version_of(
        &mut self,
        ledger: &mut Ledger,
        ask: AskId,
        zone: Zone,
        data: &[Vec<u8>],
        secure: &Secure,
        clock: UnixTime,
    ) -> Result<ZoneVersion, End> {
        let serial = soa_serial(data).ok_or_else(|| useless(ledger, ask))?;
        self.check_age(ledger, zone, secure, secure.ttl, Some(serial), clock)?;
        Ok(ZoneVersion {
            serial,
            inception: secure.inception,
            accepted: clock,
        })
    }

    /// Refuses what is older than what was accepted before (protocol, "Change over time"). Only the
    /// DNSKEY RRsets are exempt: they may be signed long ahead.
    pub(super) fn check_age(
        &mut self,
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
                self.stale = true;
                ledger.tell(Step::Stale { zone });
                Ok(())
            }
            Age::RolledBack(detail) => Err(Refusal::RolledBack { zone, detail }.into()),
        }
    }

    pub(super) fn rest_on(&mut self, ttl: u32, expires: UnixTime) {
        self.ttl = self.ttl.min(ttl);
        self.expires = self.expires.min(expires);
    }

    pub(super) fn tell_validated(&self, ledger: &mut Ledger, ask: AskId, secure: &Secure) {
        let (name, rtype) = ledger.asked(ask);
        ledger.tell(Step::Validated {
            name,
            rtype,
            key_tag: secure.key_tag,
            zone: shown(&secure.zone),
            until: secure.expires,
        });
    }
}

/// The serial in the data of the one SOA record that a zone has.
pub(crate) fn soa_serial(data: &[Vec<u8>]) -> Option<u32> {
    let [soa] = data else {
        return None;
    };
    let numbers = soa.last_chunk::<SOA_NUMBERS>()?;
    Some(u32::from_be_bytes(*numbers.first_chunk()?))
}

/// The record that was asked for is of no use, or does not exist.
pub(super) fn useless(ledger: &Ledger, ask: AskId) -> Refusal {
    let (name, rtype) = ledger.asked(ask);
    let record = format!("{name} {rtype}");
    Refusal::RecordMissing { record }
}

/// Other codes say that the server could not or would not answer.
pub(super) fn is_answered(code: u16) -> bool {
    matches!(code, rcode::NO_ERROR | rcode::NAME_ERROR)
}

//! A graph without an end: each forwarder names ten others that nobody has heard of before, and each of those is there, at
//! an address of its own, with zones that are validly signed and the TLS key that these name. They are made when somebody
//! asks for them, so that there are as many as somebody cares to look at: ten thousand within four hops.

use std::{
    fmt,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, Record, RecordType,
        rdata::{
            TLSA,
            tlsa::{CertUsage, Matching, Selector},
        },
    },
};
use ring::rand::SystemRandom;
use thiserror::Error;
use zzdot_zonegen::{
    clock::UnixTime,
    identity::{Identity, IdentityError},
    owners::{Claim, DEFAULT_SUFFIX, claim_owner, passage_owner},
    publication::{ClockBelowFloor, Stamp},
    publish::{PublishError, Published, publish},
    upstream::{Proof, PublishedTls, PublishedUpstream, ServerKind, Transport, UpstreamId},
    zone::{Publication, ServerType},
};

use super::{Answerer, Impostor, ImpostorError, Said, answers};

/// How many each names.
pub const CHILDREN: usize = 10;
const DOT_PORT: u16 = 853;

/// Why there is no brood.
#[derive(Debug, Error)]
pub enum BroodError {
    /// A resolver cannot be invented.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its zones have no version.
    #[error(transparent)]
    Stamp(#[from] ClockBelowFloor),
    /// Its zones cannot be signed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Its TLS.
    #[error(transparent)]
    Impostor(#[from] ImpostorError),
}

/// All of them. The first one is who is configured; the address of any other tells its number.
pub struct Brood {
    first: Ipv4Addr,
    /// The first half of the addresses of all others.
    prefix: [u8; 2],
    members: Mutex<Vec<Arc<Member>>>,
}

struct Member {
    identity: Identity,
    address: Ipv4Addr,
    /// What it says, and the number of the first one that it names; none while nobody asked.
    grown: Mutex<Option<(Arc<Published>, usize)>>,
}

impl Brood {
    /// One who is configured at `first`; the others are in the network of 16 bits that `prefix` begins.
    ///
    /// # Errors
    /// Its keys cannot be made.
    pub fn new(first: Ipv4Addr, prefix: [u8; 2]) -> Result<Arc<Self>, BroodError> {
        let brood = Self {
            first,
            prefix,
            members: Mutex::default(),
        };
        let nearest = brood.member(first)?;
        lock(&brood.members).push(nearest);
        Ok(Arc::new(brood))
    }

    /// How many were named so far.
    #[must_use]
    pub fn named(&self) -> usize {
        lock(&self.members).len()
    }

    /// What the one at this address says; names that are none of discovery are `otherwise`'s.
    #[must_use]
    pub fn answerer(self: &Arc<Self>, at: Ipv4Addr, otherwise: Answerer) -> Answerer {
        let brood = Arc::clone(self);
        let own = Answerer::new(move |query, _| {
            let Some((name, rtype)) = answers::question(query) else {
                return Said::Nothing;
            };
            let found = brood.number(at);
            let said = found.and_then(|number| brood.say(number, &name, rtype).ok());
            let Some(told) = said else {
                return Said::Nothing;
            };
            answers::reply(query, |message, _, _| {
                message.metadata.response_code = told.rcode;
                message.metadata.authoritative = true;
                message.answers = told.answers;
                message.authorities = told.authorities;
            })
        });
        own.for_the_walk(otherwise)
    }

    /// TLS of the one at this address; none where nobody is.
    pub(super) fn impostor(&self, at: Ipv4Addr) -> Option<Impostor> {
        let member = self.get(self.number(at)?)?;
        Impostor::with_key_of(&member.identity).ok()
    }

    fn number(&self, at: Ipv4Addr) -> Option<usize> {
        match at.octets() {
            _ if at == self.first => Some(0),
            [first, second, high, low] if [first, second] == self.prefix => {
                Some(usize::from(u16::from_be_bytes([high, low])))
            }
            _ => None,
        }
    }

    fn get(&self, number: usize) -> Option<Arc<Member>> {
        lock(&self.members).get(number).cloned()
    }

    fn member(&self, address: Ipv4Addr) -> Result<Arc<Member>, BroodError> {
        let suffix = Name::from_ascii(DEFAULT_SUFFIX).expect("a constant is a name");
        Ok(Arc::new(Member {
            identity: Identity::invent(&suffix, &SystemRandom::new())?,
            address,
            grown: Mutex::default(),
        }))
    }

    /// What a member says about itself and others, made now if nobody asked before.
    fn grown(&self, member: &Member) -> Result<(Arc<Published>, usize), BroodError> {
        let mut grown = lock(&member.grown);
        if let Some(grown) = &*grown {
            return Ok(grown.clone());
        }
        let mut children = Vec::new();
        let first = {
            let mut members = lock(&self.members);
            let first = members.len();
            for number in (first..).take(CHILDREN) {
                let [one, other] = self.prefix;
                let low = u16::try_from(number).unwrap_or(u16::MAX);
                let [high, low] = low.to_be_bytes();
                let child = self.member(Ipv4Addr::new(one, other, high, low))?;
                children.push(Arc::clone(&child));
                members.push(child);
            }
            first
        };
        let publication = Publication {
            server_type: ServerType::Forwarder,
            addresses: vec![member.address.into()],
            dot_port: DOT_PORT,
            upstreams: children.iter().map(|child| child.claim()).collect(),
        };
        let stamp = Stamp::next_above(UnixTime(0), None, UnixTime::now())?;
        let published = Arc::new(publish(&member.identity, &publication, &stamp)?);
        Ok(grown.insert((published, first)).clone())
    }

    fn say(&self, number: usize, name: &Name, rtype: RecordType) -> Result<Told, BroodError> {
        let Some(member) = self.get(number) else {
            return Ok(Told::nothing(ResponseCode::Refused));
        };
        let (published, children) = self.grown(&member)?;
        let zones = [&published.name_zone, &published.anchor_zone];
        let Some(found) = zones.iter().find_map(|zone| zone.lookup(name, rtype)) else {
            return Ok(Told::nothing(ResponseCode::NXDomain));
        };
        let mut told = Told {
            rcode: found.rcode,
            answers: found.answers,
            authorities: found.authorities,
        };
        if let Some(onwards) = found.redirected {
            let child = (children..children + CHILDREN).find(|child| {
                onwards.owner == passage_owner(member.identity.name())
                    || self.get(*child).is_some_and(|child| {
                        let id = UpstreamId::Named(child.identity.name().clone());
                        onwards.owner == claim_owner(member.identity.name(), &id, Claim::Passage)
                    })
            });
            let further = match child {
                // Each step makes the name shorter.
                Some(child) => self.say(child, &onwards.target, rtype)?,
                None => Told::nothing(ResponseCode::Refused),
            };
            told.rcode = further.rcode;
            told.answers.extend(further.answers);
            told.authorities = further.authorities;
        }
        Ok(told)
    }
}

impl Member {
    /// What whoever names it says about it.
    fn claim(&self) -> PublishedUpstream {
        let key = TLSA::new(
            CertUsage::DaneEe,
            Selector::Spki,
            Matching::Sha256,
            self.identity.spki_sha256().to_vec(),
        );
        PublishedUpstream {
            id: UpstreamId::Named(self.identity.name().clone()),
            kind: ServerKind::Forwarder,
            transport: Transport::Dot,
            proof: Proof::Dane,
            addresses: vec![self.address.into()],
            ksks: vec![self.identity.name_keys().ksk.dnskey().clone()],
            tls: Some(PublishedTls {
                port: DOT_PORT,
                tlsa: vec![key],
            }),
        }
    }
}

/// An answer.
struct Told {
    rcode: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
}

impl Told {
    fn nothing(rcode: ResponseCode) -> Self {
        Self {
            rcode,
            answers: Vec::new(),
            authorities: Vec::new(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Brood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brood")
            .field("first", &self.first)
            .field("named", &self.named())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use zzdot_zonegen::owners::{passage_name, upstreams_owner};

    use super::*;

    #[test]
    fn whoever_is_asked_names_ten_others_and_passes_on_what_is_for_them() {
        let first = Ipv4Addr::new(10, 53, 0, 90);
        let brood = Brood::new(first, [10, 66]).unwrap();
        let nearest = brood.get(0).unwrap().identity.name().clone();
        let said = brood.say(0, &upstreams_owner(&nearest), RecordType::PTR);
        assert_eq!(
            said.unwrap().answers.len(),
            CHILDREN + 1,
            "with a signature"
        );
        assert_eq!(brood.named(), 1 + CHILDREN);
        let seventh = brood.get(7).unwrap();
        assert_eq!(brood.number(seventh.address), Some(7));
        let far = seventh.identity.name().clone();
        let id = UpstreamId::Named(far.clone());
        let asked = passage_name(&upstreams_owner(&far), &nearest, Some(&id)).unwrap();
        let through = brood.say(0, &asked, RecordType::PTR).unwrap();
        let owner = upstreams_owner(&far);
        let named = through.answers.iter().filter(|record| record.name == owner);
        assert_eq!(named.count(), CHILDREN + 1);
        assert_eq!(brood.named(), 1 + 2 * CHILDREN);
        assert!(brood.impostor(seventh.address).is_some());
        assert!(brood.impostor(Ipv4Addr::new(10, 66, 1, 0)).is_none());
    }
}

//! Questions that go out together, and what came back.

use hickory_proto::rr::{Name, RecordType};
use zzdot_zonegen::clock::UnixTime;

use crate::validate::bogus::shown;
use crate::validate::{Answered, Bogus, Reply, Secure, TrustedKeys, validate_answer};

/// Response codes (RFC 1035 §4.1.1) of answers that say something about a name.
const NO_ERROR: u16 = 0;
const NAME_ERROR: u16 = 3;

/// Questions that are judged together.
#[derive(Debug)]
pub(super) struct Flight {
    /// No two flights of a survey have the same.
    pub(super) serial: u32,
    /// Those that passed it on to whomever they prefer, without being told that it is for somebody else.
    pub(super) preferred: Vec<usize>,
    slots: Vec<Slot>,
    waiting: usize,
}

#[derive(Debug)]
struct Slot {
    owner: Name,
    qtype: RecordType,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Waiting,
    Reply(Reply, usize),
    Nothing(Lack),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// None came, or one that says that there is none.
    Silent(&'static str),
    /// A response code that is no answer.
    Code(u16),
    /// It was not asked: the bound of questions.
    Questions,
    /// It was not kept: the bound of octets.
    Octets,
}

/// Why something cannot be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Lacking(Lack, String),
    Bogus(Box<Bogus>),
    /// The records say nothing that has a meaning here.
    Useless(String),
    /// The way to whom it was for is too long.
    TooFar,
}

/// What was validated.
pub(super) enum Found<'f> {
    Records(&'f [Vec<u8>], Secure),
    /// It is proven that there are none.
    Nothing {
        ttl: u32,
    },
}

impl Found<'_> {
    pub(super) fn data(&self) -> &[Vec<u8>] {
        match self {
            Self::Records(data, _) => data,
            Self::Nothing { .. } => &[],
        }
    }

    pub(super) fn ttl(&self) -> u32 {
        match self {
            Self::Records(_, secure) => secure.ttl,
            Self::Nothing { ttl } => *ttl,
        }
    }
}

impl Flight {
    pub(super) fn new(serial: u32, questions: Vec<(Name, RecordType)>) -> Self {
        let slots = questions.into_iter().map(|(owner, qtype)| Slot {
            owner,
            qtype,
            outcome: Outcome::Waiting,
        });
        let slots: Vec<_> = slots.collect();
        Self {
            serial,
            preferred: Vec::new(),
            waiting: slots.len(),
            slots,
        }
    }

    /// Whether there is an outcome for each question.
    pub(super) fn is_back(&self) -> bool {
        self.waiting == 0
    }

    /// Octets of the answers that are held.
    pub(super) fn octets(&self) -> usize {
        let held = self.slots.iter().map(|slot| match slot.outcome {
            Outcome::Reply(_, octets) => octets,
            _ => 0,
        });
        held.sum()
    }

    pub(super) fn on_reply(&mut self, place: usize, reply: Reply, octets: usize) {
        self.fill(
            place,
            match reply.rcode {
                NO_ERROR | NAME_ERROR => Outcome::Reply(reply, octets),
                code => Outcome::Nothing(Lack::Code(code)),
            },
        );
    }

    pub(super) fn on_lack(&mut self, place: usize, lack: Lack) {
        self.fill(place, Outcome::Nothing(lack));
    }

    fn fill(&mut self, place: usize, outcome: Outcome) {
        if let Some(slot) = self.slots.get_mut(place)
            && matches!(slot.outcome, Outcome::Waiting)
        {
            slot.outcome = outcome;
            self.waiting -= 1;
        }
    }

    /// The reply in this place, not judged.
    pub(super) fn reply(&self, place: usize) -> Result<&Reply, Flaw> {
        let Some(slot) = self.slots.get(place) else {
            let lack = Lack::Silent("not asked");
            return Err(Flaw::Lacking(lack, String::new()));
        };
        match &slot.outcome {
            Outcome::Reply(reply, _) => Ok(reply),
            Outcome::Nothing(lack) => Err(Flaw::Lacking(lack.clone(), self.asked(place))),
            Outcome::Waiting => {
                let lack = Lack::Silent("not answered in time");
                Err(Flaw::Lacking(lack, self.asked(place)))
            }
        }
    }

    /// The records in this place or the proof that there are none, judged by `keys`.
    pub(super) fn look(
        &self,
        place: usize,
        keys: &TrustedKeys,
        clock: UnixTime,
    ) -> Result<Found<'_>, Flaw> {
        let reply = self.reply(place)?;
        let slot = self.slots.get(place).ok_or_else(|| self.useless(place))?;
        match validate_answer(reply, &slot.owner, slot.qtype, keys, clock) {
            Ok(Answered::Records(rrset, secure)) => Ok(Found::Records(&rrset.data, secure)),
            Ok(Answered::Denied(denied)) => Ok(Found::Nothing { ttl: denied.ttl }),
            Err(bogus) => Err(Flaw::Bogus(bogus)),
        }
    }

    /// What was asked in this place, as shown to people.
    pub(super) fn asked(&self, place: usize) -> String {
        let slot = self.slots.get(place);
        slot.map_or_else(String::new, |slot| {
            format!("{} {}", shown(&slot.owner), slot.qtype)
        })
    }

    pub(super) fn useless(&self, place: usize) -> Flaw {
        Flaw::Useless(self.asked(place))
    }
}

impl Lack {
    /// Whether nothing was heard, rather than that a bound was met.
    pub(super) fn is_of_others(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Code(_))
    }

    fn text(&self) -> String {
        match self {
            Self::Silent(how) => (*how).to_owned(),
            Self::Code(code) => match code {
                1 => "FORMERR".to_owned(),
                2 => "SERVFAIL".to_owned(),
                4 => "NOTIMP".to_owned(),
                5 => "REFUSED".to_owned(),
                6 => "YXDOMAIN".to_owned(),
                other => format!("response code {other}"),
            },
            Self::Questions => "not asked".to_owned(),
            Self::Octets => "not kept".to_owned(),
        }
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lacking(lack, asked) => write!(f, "{asked}: {}", lack.text()),
            Self::Bogus(bogus) => bogus.fmt(f),
            Self::Useless(asked) => write!(f, "{asked}: nothing that has a meaning here"),
            Self::TooFar => f.write_str("the way is too long"),
        }
    }
}

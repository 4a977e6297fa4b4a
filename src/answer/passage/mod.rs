//! Questions below `q` in our own zone: they are asked of an upstream, for whoever wants to see behind
//! this server (protocol.md §3).
//!
//! Through here nothing goes but what is needed for that. A server that asks others whatever it is told
//! to would be a way around everything that is forbidden here, and a cannon for whoever invents his
//! address.

mod gate;
mod names;

use std::sync::Arc;

use hickory_proto::rr::{Name, RecordType};
use zzdot_client::{
    cache::Image,
    wire::{self, Edns, QuestionFlags, Section, View},
};
use zzdot_zonegen::{
    lookup::Redirection,
    name::ResolverName,
    owners::{passage_owner, upstream_of_owner},
    upstream::UpstreamId,
};

use self::{
    gate::{Full, Gate},
    names::Unfit,
};
use super::{
    Asker,
    refusal::{Refusal, ede, rcode},
};
use crate::{counters::Event, resolve::Through};

/// RFC 8914 §2: the options of the upstream's OPT record that concern more than one hop.
const EXTENDED_ERROR: u16 = 15;

pub(super) const NO_UPSTREAM: Refusal = Refusal::new(Event::PassageRefused, rcode::REFUSED)
    .because(
        ede::NOT_SUPPORTED,
        "there is no such upstream to pass a question on to",
    );
const OTHER_NAME: Refusal = Refusal::new(Event::PassageRefused, rcode::REFUSED).because(
    ede::PROHIBITED,
    "only names by which resolvers are discovered are passed on",
);
const OTHER_TYPE: Refusal = Refusal::new(Event::PassageRefused, rcode::REFUSED)
    .because(ede::PROHIBITED, "questions of this type are not passed on");
const TOO_MANY_STEPS: Refusal = Refusal::new(Event::PassageRefused, rcode::REFUSED)
    .because(ede::PROHIBITED, "the name leads through too many servers");
const TOO_MANY_OF_ASKER: Refusal = Refusal::new(Event::PassagesAddress, rcode::SERVFAIL)
    .because(ede::OTHER, "too many questions of yours are passed on");
const TOO_MANY: Refusal = Refusal::new(Event::PassagesAll, rcode::SERVFAIL)
    .because(ede::OTHER, "too many questions are passed on");

/// Who may have a question passed on.
#[derive(Debug)]
pub(super) struct Passages {
    connected: Gate,
    datagrams: Gate,
}

/// A question on its way through an upstream.
#[derive(Debug, Clone)]
pub(super) struct Errand {
    pub(super) through: Through,
    pub(super) query: Arc<[u8]>,
    /// Below these, too, there are names of resolvers.
    suffixes: Arc<[Name]>,
    /// Our own part of the response: the question as it came, the DNAME, and the CNAME made from it.
    alias: Arc<[u8]>,
}

/// What the responder knows of a question below `q`.
pub(super) struct Wish<'a> {
    /// The zone in which the DNAME stands.
    pub(super) origin: &'a Name,
    pub(super) redirection: &'a Redirection,
    pub(super) qtype: RecordType,
    pub(super) dnssec_ok: bool,
}

impl Passages {
    pub(super) fn new() -> Self {
        Self {
            connected: Gate::new(),
            datagrams: Gate::new(),
        }
    }

    /// What to ask, and of whom, where that may be asked. `alias` is our own part of the response.
    pub(super) fn admit(
        &self,
        asker: &Asker,
        wish: &Wish<'_>,
        alias: Vec<u8>,
    ) -> Result<Errand, Refusal> {
        let own = ResolverName::try_from(wish.origin).map_err(|_| NO_UPSTREAM)?;
        let through = through(&own, &wish.redirection.owner).ok_or(NO_UPSTREAM)?;
        let mut suffixes = vec![own.suffix()];
        if let Through::Upstream(UpstreamId::Named(upstream)) = &through {
            suffixes.push(upstream.suffix());
        }
        let target = &wish.redirection.target;
        names::judge(target, wish.qtype, &suffixes).map_err(|unfit| match unfit {
            Unfit::Name => OTHER_NAME,
            Unfit::Type => OTHER_TYPE,
            Unfit::Steps => TOO_MANY_STEPS,
        })?;
        let gate = match asker.transport.is_stream() {
            true => &self.connected,
            false => &self.datagrams,
        };
        gate.pass(asker.address, asker.instant)
            .map_err(|full| match full {
                Full::Asker => TOO_MANY_OF_ASKER,
                Full::All => TOO_MANY,
            })?;
        // CD: what is behind the upstream has anchors of its own, by which nobody in between can judge.
        let flags = QuestionFlags {
            rd: true,
            cd: true,
            ad: false,
        };
        let edns = Edns::plain(wish.dnssec_ok);
        Ok(Errand {
            through,
            query: wire::question(0, target, wish.qtype, flags, Some(&edns)).into(),
            suffixes: suffixes.into(),
            alias: alias.into(),
        })
    }
}

/// Through which upstream a DNAME at `owner` leads.
fn through(own: &ResolverName, owner: &Name) -> Option<Through> {
    if *owner == passage_owner(own) {
        return Some(Through::Preferred);
    }
    upstream_of_owner(own, &owner.base_name()).map(Through::Upstream)
}

impl Errand {
    /// The response, made of our own part and of what the upstream said; none where that is no answer to
    /// what it was asked. `clock` is Unix time in seconds.
    pub(super) fn image(&self, response: &[u8], clock: u64) -> Option<Image> {
        let (asked, told) = (View::parse(&self.query).ok()?, View::parse(response).ok()?);
        let same = told.is_response()
            && !told.truncated()
            && told.opcode() == 0
            && told.question()?.eq_ignore_case(&asked.question()?);
        let edns = told.edns().ok()?.map(|edns| edns.to_edns());
        // Those codes (BADVERS, BADCOOKIE) are between us and the upstream.
        if !same || edns.as_ref().is_some_and(|edns| edns.extended_rcode != 0) {
            return None;
        }
        if !self.is_about_resolvers(&told) {
            return None;
        }
        let joined = wire::join(&View::parse(&self.alias).ok()?, &told).ok()?;
        let errors = edns.into_iter().flat_map(|edns| edns.options);
        let edns = Edns {
            options: errors.filter(|(code, _)| *code == EXTENDED_ERROR).collect(),
            ..Edns::plain(false)
        };
        let joined = wire::with_edns(&joined, Some(&edns)).ok()?;
        Image::read(&joined, clock).ok()
    }

    /// Whether all that is answered stands at names by which resolvers are discovered. An alias may lead away from them,
    /// and then the upstream, which may be one that nobody asks for anything else, would get ordinary names into the
    /// caches before us.
    fn is_about_resolvers(&self, told: &View<'_>) -> bool {
        let mut answered = told.records().filter_map(|record| match record {
            Ok(record) => (record.section == Section::Answer).then(|| Some(record.owner.to_name())),
            Err(_) => Some(None),
        });
        answered.all(|owner| owner.is_some_and(|owner| names::is_passed_on(&owner, &self.suffixes)))
    }
}

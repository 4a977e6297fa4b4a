//! Getting to know zones, and asking those that are known.

use std::sync::Arc;

use hickory_resolver::proto::{
    dnssec::{Proof, rdata::DNSSECRData},
    op::Query,
    rr::{Name, RData, RecordType},
};
use tokio::time::Instant;
use zzdot_client::{
    exchange::{ExchangeLimits, udp_once},
    validate::{TrustedKeys, ZoneKey},
    wire::View,
};
use zzdot_zonegen::clock::UnixTime;

use super::{
    Work,
    errand::{Asked, Errand, folded},
    insecure::is_insecure,
    known::Trust,
    provider::Budget,
    shape,
    short::Wanted,
    verdict::{self, Verdict},
    wire_clock,
};

/// What the short way came to.
pub(super) enum Short {
    /// An answer.
    Answered(Vec<u8>),
    /// A response that the recursor has to look at.
    Told(Asked, Vec<u8>),
    /// There is none, or nobody answered on it.
    NoWay,
}

impl Work {
    /// Asks a server of the zone that the name is in, where that zone is known.
    pub(super) async fn go_short(
        &self,
        query: &[u8],
        budget: &Arc<Budget>,
        deadline: Instant,
    ) -> Short {
        let now = Instant::now();
        let Some(wanted) = Wanted::read(query) else {
            return Short::NoWay;
        };
        let Some(zone) = self.zones.find(&wanted.name, now.into_std()) else {
            return Short::NoWay;
        };
        let Some(outgoing) = wanted.outgoing() else {
            return Short::NoWay;
        };
        if !budget.take() {
            return Short::NoWay;
        }
        let until = deadline.min(now + zone.patience());
        let limits = ExchangeLimits::default();
        let reply = udp_once(zone.server, &outgoing, &limits, until.into_std()).await;
        let Ok(reply) = reply else {
            self.zones.forget(&zone);
            return Short::NoWay;
        };
        zone.on_answer(now.elapsed());
        let asked = Asked {
            rtype: wanted.rtype(),
            name: wanted.name.clone(),
        };
        let response = shape::trim(reply.message.clone());
        match wanted.answer(&zone.name, &zone.trust, &response, UnixTime::now()) {
            Some(answer) => Short::Answered(answer),
            None => {
                if !is_yes_or_no(&reply.message) {
                    // It does not serve this zone any more, or does not serve us.
                    self.zones.forget(&zone);
                }
                Short::Told(asked, reply.message)
            }
        }
    }

    /// Takes from a look-up what it says about zones.
    pub(super) async fn learn_from(&self, question: &Query, errand: &Errand, verdict: &Verdict) {
        let now = Instant::now().into_std();
        for (zone, ttl) in errand.referrals() {
            self.zones.on_referral(zone, ttl, now);
        }
        // For those of a cut the zone above speaks, or may speak.
        if matches!(question.query_type(), RecordType::DS | RecordType::NS) {
            return;
        }
        let (Some(server), Verdict::Answered(answer)) = (errand.witness(), verdict) else {
            return;
        };
        let Some(zone) = self.zones.on_answer(&folded(question.name()), now) else {
            return;
        };
        let labels = shape::suffixes(&zone).count() - 1;
        let name = question.name().trim_to(labels);
        let learnt = if answer.secure {
            self.proved_keys(&name).await
        } else {
            self.proved_insecure(&name).await
        };
        if let Some((trust, ttl)) = learnt {
            self.zones.learn(zone, server, trust, ttl, now);
        }
    }

    /// The keys of a zone, where the recursor has proved them; it has them at hand.
    async fn proved_keys(&self, zone: &Name) -> Option<(Trust, u32)> {
        let question = Query::query(zone.clone(), RecordType::DNSKEY);
        let now = std::time::Instant::now();
        let message = self.validating.resolve(question, now, true).await.ok()?;
        let mut keys = Vec::new();
        let mut ttl = u32::MAX;
        for record in &message.answers {
            let RData::DNSSEC(DNSSECRData::DNSKEY(key)) = &record.data else {
                continue;
            };
            if record.proof != Proof::Secure || record.name != *zone {
                return None;
            }
            ttl = ttl.min(record.ttl);
            keys.push(ZoneKey::from(key));
        }
        if keys.is_empty() {
            return None;
        }
        Some((Trust::Keys(TrustedKeys::proved(zone.clone(), keys)?), ttl))
    }

    /// Whether a zone is proved to be insecure. Its own SOA record tells: that a name in it is, does
    /// not tell, since the name may be in a zone below.
    async fn proved_insecure(&self, zone: &Name) -> Option<(Trust, u32)> {
        let question = Query::query(zone.clone(), RecordType::SOA);
        let now = std::time::Instant::now();
        let outcome = self.validating.resolve(question.clone(), now, true).await;
        let Verdict::Answered(answer) = verdict::judge(&question, outcome, true, wire_clock())
        else {
            return None;
        };
        is_insecure(zone, &answer).then_some((Trust::Insecure, u32::MAX))
    }
}

fn is_yes_or_no(response: &[u8]) -> bool {
    const NOERROR: u16 = 0;
    const NXDOMAIN: u16 = 3;
    View::parse(response).is_ok_and(|view| matches!(view.rcode(), NOERROR | NXDOMAIN))
}

//! Notices that an upgraded upstream says something new of itself: what we say of it has to stay true, though what was
//! validated would do for questions for another hour.

use std::{
    sync::Weak,
    time::{Duration, Instant},
};

use hickory_proto::{op::Message, rr::RData};
use tokio::sync::watch;
use zzdot_client::{
    discover::Discovered,
    exchange::ExchangeLimits,
    upstream::{Standing, Upstream},
};

use super::probe::about_itself;

/// How often it is looked: what it says is in our zone within a TTL (60 s), with time to validate, to sign and to be late.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// How long the answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// What came of looking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) began: Instant,
    pub(super) answered: bool,
}

/// Looks until the upstream is let go of, and tells whether it answered.
pub(super) async fn follow(upstream: Weak<Upstream>, told: watch::Sender<Option<Look>>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let Standing::Upgraded {
            found: Some(found),
            asked: true,
            ..
        } = upstream.standing()
        else {
            continue;
        };
        let query = about_itself(&found.name);
        // Over TLS: questions to whoever is upgraded go nowhere else.
        let began = tokio::time::Instant::now().into_std();
        let asked = upstream
            .ask(&query, ExchangeLimits::default(), began + ANSWER_WITHIN)
            .await;
        let answered = asked.answer.is_ok();
        told.send_replace(Some(Look { began, answered }));
        if asked.answer.is_ok_and(|answer| is_news(&found, &answer)) {
            upstream.look_again();
        }
    }
}

/// Whether `answer` has another serial than the zone had that was validated. Nothing else is believed of it.
fn is_news(found: &Discovered, answer: &[u8]) -> bool {
    let Ok(answer) = Message::from_vec(answer) else {
        return false;
    };
    let serial = answer.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) if record.name == *found.name.as_name() => Some(soa.serial),
        _ => None,
    });
    serial.is_some_and(|serial| serial != found.versions.name_zone.serial)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hickory_proto::rr::{Name, Record, rdata::SOA};
    use zzdot_client::trust::{KeySet, ZoneVersion, ZoneVersions};
    use zzdot_zonegen::{clock::UnixTime, zone::ServerType};

    use super::*;

    #[test]
    fn another_serial_is_news_and_nothing_else_is() {
        let version = ZoneVersion {
            serial: 7,
            inception: UnixTime(1),
            accepted: UnixTime(1),
        };
        let found = Discovered {
            name: "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap(),
            server_type: ServerType::Resolver,
            server: "192.0.2.1:53".parse().unwrap(),
            anchor: Vec::new(),
            keys: KeySet::default(),
            name_keys: Vec::new(),
            tlsa: Vec::new(),
            endpoint: "192.0.2.1:853".parse().unwrap(),
            addresses: Vec::new(),
            versions: ZoneVersions {
                anchor_zone: version,
                name_zone: version,
            },
            ttl: 60,
            signatures_expire: UnixTime(2),
            validated: UnixTime(1),
        };
        let answer = |owner: &str, serial| {
            let root = Name::root;
            let soa = SOA::new(root(), root(), serial, 1, 1, 1, 1);
            let owner = Name::from_ascii(owner).unwrap();
            let mut message = Message::query();
            message.answers = vec![Record::from_rdata(owner, 60, RData::SOA(soa))];
            message.to_vec().unwrap()
        };
        let own = "8g2l0qv7c4m1t5b9r3se.zz.";
        assert!(is_news(&found, &answer(own, 8)));
        assert!(is_news(&found, &answer(own, 6)), "the walk judges it");
        assert!(!is_news(&found, &answer(own, 7)));
        assert!(!is_news(&found, &answer("another.zz.", 8)));
        assert!(!is_news(&found, b"rubbish"));
    }
}

//! What was on the links of a chain, from one moment to another.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::SystemTime,
};

use hickory_proto::rr::Name;

use super::{
    super::{
        Failure, Scene, Teller, Told,
        checks::ensure,
        scene::{ISP, LAN},
    },
    ground::Machine,
};
use crate::{capture::Capture, internet};

/// The host that passes on what the provider's link and the internet have for each other.
const CORE: &str = "core";

/// From one moment to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    from: SystemTime,
    to: SystemTime,
}

impl Period {
    /// From then until now.
    pub(super) fn since(from: SystemTime) -> Self {
        Self {
            from,
            to: SystemTime::now(),
        }
    }

    pub(super) fn of(self, capture: &Capture) -> Capture {
        capture.between(self.from, self.to)
    }
}

/// The captures of all links.
pub(super) struct Links {
    pub(super) lan: Capture,
    pub(super) isp: Capture,
    pub(super) net: Capture,
}

impl Links {
    /// Ends all captures.
    pub(super) fn end(scene: &mut Scene) -> Result<Self, Failure> {
        Ok(Self {
            lan: scene.lab.end_capture(LAN)?,
            isp: scene.lab.end_capture(ISP)?,
            net: scene.lab.end_capture(internet::LINK)?,
        })
    }

    fn during(&self, period: Period) -> Self {
        Self {
            lan: period.of(&self.lan),
            isp: period.of(&self.isp),
            net: period.of(&self.net),
        }
    }

    /// Nobody but the end of the chain asked anything in cleartext, on any link, or spelled a name of the internet; and
    /// behind the end there is nothing of anybody else in front of it.
    pub(super) fn are_quiet(
        &self,
        scene: &Scene,
        period: Period,
        end: &Machine,
        teller: &Teller,
    ) -> Told {
        let during = self.during(period);
        let ends = end.addresses();
        let mut hosts = 0;
        for capture in [&during.lan, &during.isp] {
            let queries = capture.cleartext_queries();
            let strange = queries
                .iter()
                .find(|query| !ends.contains(&query.source.ip()));
            ensure(strange.is_none(), || {
                let told = strange.map(ToString::to_string).unwrap_or_default();
                format!("a cleartext query on {}: {told}", capture.link())
            })?;
            for host in capture.hosts() {
                // What is said to and by authoritative servers is in cleartext.
                if host == end.name || host == CORE {
                    continue;
                }
                let spelled =
                    capture.names_spelled(scene.internet.names(), host, SystemTime::UNIX_EPOCH);
                ensure(spelled.is_empty(), || {
                    format!("packets of {host} on {} spell {spelled:?}", capture.link())
                })?;
                hosts += 1;
            }
        }
        let at_home = |address: &IpAddr| match address {
            IpAddr::V4(address) => *address != Ipv4Addr::UNSPECIFIED && address.is_private(),
            IpAddr::V6(address) => address.is_unique_local(),
        };
        let net = during.net.packets();
        let outside = net.iter().flat_map(|packet| {
            let between = [packet.source.ip(), packet.destination.ip()];
            between.into_iter().filter(at_home)
        });
        let outside: Vec<_> = outside.collect();
        let stranger = outside.iter().find(|address| !ends.contains(address));
        ensure(stranger.is_none(), || {
            format!("a packet of or for {stranger:?} behind the end of the chain")
        })?;
        ensure(!outside.is_empty() && hosts > 0, || {
            "nothing was asked at all".into()
        })?;
        let packets = during.lan.packets().len() + during.isp.packets().len();
        teller.tell(format!(
            "of {packets} packets on both links in front of the end none is a cleartext query but its own or spells a name; \
             behind it all of {} are its own",
            net.len()
        ));
        Ok(())
    }

    /// Who asked for these names in cleartext, on any link and at any time.
    pub(super) fn askers_of<'a>(&'a self, names: &'a [Name]) -> impl Iterator<Item = String> + 'a {
        let links = [&self.lan, &self.isp, &self.net];
        let queries = links.into_iter().flat_map(Capture::cleartext_queries);
        let asked = queries.filter(|query| {
            let mut names = names.iter();
            names.any(|name| query.asks_for(&name.to_lowercase()))
        });
        asked.map(|query| query.host.unwrap_or_default())
    }
}

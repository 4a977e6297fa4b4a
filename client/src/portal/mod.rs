//! Networks that let nobody through who did not log in first. Without IO: what the network says, what probes found and
//! times in; who may pass out.
//!
//! ```text
//!                        ┌── clear ────────────► Clear: as in any network
//!   Unheld ── probe ──►  ├── nothing ──────────► Clear for now, probed again
//!   (learning waits)     └── redirected ───────► Captive: the portal's own names alone, for ten minutes
//! ```
//!
//! Only networks that are new are looked at, so that nobody opens a known one by playing a portal. While captive nothing
//! is learned. What may pass are whole names that the portal itself told: never the names below them, or a portal at
//! `co.uk` would read half a country.

mod url;

use std::time::{Duration, Instant};

use hickory_proto::rr::Name;

pub use url::{Host, ProbeUrl, UrlError, host_of};

/// How long the portal's names pass.
pub const OPEN_FOR: Duration = Duration::from_secs(600);
/// How often it is looked whether somebody logged in.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// How often where no answer came: perhaps the network leads nowhere.
const PROBE_SELDOM: Duration = Duration::from_secs(30);
/// The most names that pass.
const MAX_NAMES: usize = 4;
/// What the option says on networks without a portal (RFC 8910 §2).
const UNRESTRICTED: &str = "urn:ietf:params:capport:unrestricted";

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// What was to be found is there.
    Clear,
    /// Somebody answered in its place.
    Captive {
        /// Where he wants people to go, where he said so.
        address: Option<String>,
    },
    /// Nobody answered.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unheld,
    Captive,
    Clear,
}

/// A new network, as far as portals go.
#[derive(Clone, Debug)]
pub struct Portal {
    closes: Instant,
    state: State,
    address: Option<String>,
    names: Vec<Name>,
    /// None where nobody wants probes, or none are needed any more.
    next_probe: Option<Instant>,
}

impl Portal {
    /// A new network was entered. `advertised` is the address that it gave for a portal (RFC 8910); `probes` says whether
    /// somebody configured where to look.
    #[must_use]
    pub fn new(now: Instant, advertised: Option<&str>, probes: bool) -> Self {
        let mut portal = Self {
            closes: now + OPEN_FOR,
            state: if probes { State::Unheld } else { State::Clear },
            address: None,
            names: Vec::new(),
            next_probe: probes.then_some(now),
        };
        if let Some(advertised) = advertised.filter(|uri| *uri != UNRESTRICTED) {
            portal.told(advertised);
        }
        portal
    }

    /// When to probe next.
    #[must_use]
    pub fn next_probe(&self) -> Option<Instant> {
        self.next_probe
    }

    /// What a probe found.
    pub fn on_probe(&mut self, now: Instant, probed: Probed) {
        let over = now >= self.closes;
        match probed {
            Probed::Clear => {
                self.state = State::Clear;
                self.next_probe = None;
            }
            Probed::Captive { address } => {
                self.state = State::Captive;
                if let Some(address) = address {
                    self.told(&address);
                }
                self.next_probe = (!over).then(|| now + PROBE_EVERY);
            }
            Probed::Nothing => {
                // A portal that was there does not go away by silence.
                if self.state == State::Unheld {
                    self.state = State::Clear;
                }
                self.next_probe = (!over).then(|| now + PROBE_SELDOM);
            }
        }
    }

    /// Whether nothing is to be learned: it is not known yet whether there is a portal, or there is one.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        self.state == State::Unheld && now < self.closes || self.is_captive(now)
    }

    /// Whether a probe met a portal, and its ten minutes are not over.
    #[must_use]
    pub fn is_captive(&self, now: Instant) -> bool {
        self.state == State::Captive && now < self.closes
    }

    /// Whether a question about `name` may go to the network's own server, in cleartext.
    #[must_use]
    pub fn lets_pass(&self, now: Instant, name: &Name) -> bool {
        now < self.closes && self.names.contains(name)
    }

    /// Where people log in, as far as somebody said.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// How long its names pass still.
    #[must_use]
    pub fn closes_in(&self, now: Instant) -> Duration {
        self.closes.saturating_duration_since(now)
    }

    /// The portal said where it is. What makes no sense is passed over.
    fn told(&mut self, address: &str) {
        let Some(host) = host_of(address) else {
            return;
        };
        if let Host::Name(name) = host
            && !self.names.contains(&name)
            && self.names.len() < MAX_NAMES
        {
            self.names.push(name);
        }
        self.address = Some(address.to_owned());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LOGIN: &str = "https://login.portal.example/start?x=1";

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn redirected(address: &str) -> Probed {
        Probed::Captive {
            address: Some(address.to_owned()),
        }
    }

    #[test]
    fn an_advertised_portal_lets_its_own_name_pass_for_ten_minutes_and_holds_nothing() {
        let now = Instant::now();
        let portal = Portal::new(now, Some(LOGIN), false);
        assert!(portal.lets_pass(now, &name("login.portal.example.")));
        assert!(!portal.lets_pass(now, &name("portal.example.")));
        assert!(!portal.lets_pass(now, &name("a.login.portal.example.")));
        assert!(!portal.holds(now) && !portal.is_captive(now));
        assert_eq!(portal.next_probe(), None);
        assert!(!portal.lets_pass(now + OPEN_FOR, &name("login.portal.example.")));
    }

    #[test]
    fn a_network_that_says_it_has_no_portal_has_none() {
        let now = Instant::now();
        let portal = Portal::new(now, Some(UNRESTRICTED), false);
        assert_eq!(portal.address(), None);
        assert!(portal.names.is_empty());
    }

    #[test]
    fn learning_waits_for_the_first_probe_and_goes_on_when_the_way_is_clear() {
        let now = Instant::now();
        let mut portal = Portal::new(now, None, true);
        assert!(portal.holds(now));
        assert_eq!(portal.next_probe(), Some(now));
        portal.on_probe(now, Probed::Clear);
        assert!(!portal.holds(now));
        assert_eq!(portal.next_probe(), None);
    }

    #[test]
    fn a_captive_network_is_left_by_logging_in_or_after_ten_minutes() {
        let now = Instant::now();
        let mut portal = Portal::new(now, None, true);
        portal.on_probe(now, redirected(LOGIN));
        assert!(portal.is_captive(now) && portal.holds(now));
        assert!(portal.lets_pass(now, &name("login.portal.example.")));
        assert_eq!(portal.next_probe(), Some(now + PROBE_EVERY));
        portal.on_probe(now, Probed::Nothing);
        assert!(portal.is_captive(now), "silence is no way out");
        let mut logged_in = portal.clone();
        logged_in.on_probe(now, Probed::Clear);
        assert!(!logged_in.holds(now));
        let later = now + OPEN_FOR;
        assert!(!portal.is_captive(later) && !portal.holds(later));
        portal.on_probe(later, redirected(LOGIN));
        assert_eq!(portal.next_probe(), None, "no probes after its time");
        assert!(!portal.is_captive(later));
    }

    #[test]
    fn a_network_that_leads_nowhere_is_no_portal_and_is_probed_seldom() {
        let now = Instant::now();
        let mut portal = Portal::new(now, None, true);
        portal.on_probe(now, Probed::Nothing);
        assert!(!portal.holds(now));
        assert_eq!(portal.next_probe(), Some(now + PROBE_SELDOM));
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let now = Instant::now();
        let mut portal = Portal::new(now, None, true);
        for number in 0..20 {
            portal.on_probe(
                now,
                redirected(&format!("http://p{number}.portal.example/")),
            );
        }
        assert_eq!(portal.names.len(), MAX_NAMES);
    }
}

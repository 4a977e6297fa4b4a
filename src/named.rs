//! The name under which the appliance is known, and what proves it: keys, signed zones, certificate, tickets. An
//! appliance that publishes nothing has none of it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use serde_json::{Value, json};
use zzdot_zonegen::{
    clock::UnixTime,
    exit::{Exit, Failure},
    identity::Identity,
    publish::Published,
    rollover::{Intervals, Keeper, Rotation, What},
    summary::Summary,
    zone::Publication,
};

use crate::{
    config::Config,
    publish::{self, Publisher},
    rollover,
    tls::{Tickets, server_config},
};

/// The file below the state directory that keeps the keys of session tickets.
const TICKET_KEYS: &str = "tickets.keys";

/// An identity that is published and served.
pub struct Named {
    publisher: Publisher,
    tickets: Arc<Tickets>,
    tls: Arc<ArcSwap<ServerConfig>>,
    /// The digest of the key whose certificate is served.
    served: [u8; 32],
    /// The key before that is in wrong hands, and connections still use it.
    exposed: bool,
    /// Signed, and not served before the certificate is that they name.
    waiting: Option<Published>,
}

/// What is new after a look at what is due.
#[derive(Default)]
pub struct Renewed {
    /// The zones, to be served from now on.
    pub zones: Option<Published>,
    /// Connections of before use a key in wrong hands: they are to end, once the zones are served.
    pub ends_connections: bool,
}

/// Loads the identity of `config`, or makes it.
///
/// # Errors
/// Why there is none.
pub fn identity(config: &Config) -> Result<Keeper, Failure> {
    let dir = config.identity_dir();
    let (keeper, made) = publish::identity(&dir, &config.suffix)?;
    if made {
        let name = keeper.identity().name();
        tracing::info!(%name, folder = %dir.display(), "identity made");
    }
    Ok(keeper)
}

impl Named {
    /// Signs the zones for the first time since the start, and takes the certificate. When all of it is served,
    /// [`Named::serves`] is to be called.
    ///
    /// # Errors
    /// Why there is no certificate.
    pub fn start(
        keeper: Keeper,
        config: &Config,
        publication: &Publication,
    ) -> Result<(Self, Option<Published>), Failure> {
        let mut publisher = Publisher::new(keeper, config.identity_dir(), config.rotation);
        // Before the certificate is taken: a step that is due may bring another.
        let published = publisher.renew(publication, UnixTime::now());
        let served = publisher.identity().spki_sha256();
        let tickets = Tickets::open(&config.state_dir.join(TICKET_KEYS), served, UnixTime::now())
            .map_err(|error| Failure::new(Exit::CannotRun, error.to_string()))?;
        let tls = Arc::new(ArcSwap::from_pointee(tls(publisher.identity(), &tickets)?));
        let named = Self {
            publisher,
            tickets,
            tls,
            served,
            exposed: false,
            waiting: None,
        };
        Ok((named, published))
    }

    /// Who serves.
    pub fn identity(&self) -> &Identity {
        self.publisher.identity()
    }

    /// How TLS is spoken; replaced while running.
    pub fn tls(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.tls)
    }

    /// Signs the zones when that is due, and takes another key for session tickets when that is.
    pub fn renew(&mut self, publication: &Publication) -> Renewed {
        let now = UnixTime::now();
        if let Err(error) = self.tickets.turn(now) {
            tracing::warn!(%error, "no new ticket key; the old one goes on");
        }
        if let Some(zones) = self.publisher.renew(publication, now) {
            self.waiting = Some(zones);
        }
        // The certificate goes first: its TLSA was announced, and the zones may name no other any more.
        if let Err(failure) = self.serve_certificate(now) {
            tracing::error!(error = %failure, "the old certificate goes on");
            return Renewed::default();
        }
        let zones = self.waiting.take();
        // Not before the zones name the other certificate: whoever comes back looks there.
        let ends_connections = zones.is_some() && std::mem::take(&mut self.exposed);
        Renewed {
            zones,
            ends_connections,
        }
    }

    /// Whether the zones that were to be served last say whom `publication` asks.
    pub fn tells_whom_it_asks(&self, publication: &Publication) -> bool {
        self.waiting.is_none() && self.publisher.tells_whom_it_asks(publication)
    }

    /// To be called when everything new is served: what waits for that waits from now on.
    pub fn serves(&mut self) {
        let now = UnixTime::now();
        if self.identity().spki_sha256() == self.served {
            self.publisher.served(now);
        }
    }

    /// Serves the identity's certificate from the next handshake on, if it is another; connections stay.
    fn serve_certificate(&mut self, now: UnixTime) -> Result<(), Failure> {
        let spki = self.identity().spki_sha256();
        if spki == self.served {
            return Ok(());
        }
        let tls = tls(self.identity(), &self.tickets)?;
        self.tickets
            .start_anew(spki, now)
            .map_err(|error| Failure::new(Exit::CannotRun, error.to_string()))?;
        self.tls.store(Arc::new(tls));
        self.served = spki;
        tracing::info!("another certificate is served");
        Ok(())
    }

    /// Begins a roll-over; its first steps are taken at the next [`Named::renew`].
    ///
    /// # Errors
    /// Why it is not begun.
    pub fn rotate(&mut self, rotation: &Rotation) -> Result<(), Failure> {
        self.publisher.rotate(rotation, UnixTime::now())?;
        self.exposed |= rotation.compromised && rotation.what == What::Certificate;
        Ok(())
    }

    /// How often keys are to be replaced from now on.
    pub fn replace_intervals(&mut self, intervals: Intervals) {
        self.publisher.replace_intervals(intervals);
    }

    /// What happens to the keys next, as `zzdot status` and `zzdot rotate` tell it.
    pub fn roll_overs(&self) -> Vec<Value> {
        let now = UnixTime::now();
        let planned = self.publisher.plan(now);
        planned
            .iter()
            .map(|planned| rollover::json(planned, now))
            .collect()
    }

    /// What `zzdot identity` shows.
    pub fn summary(&self) -> Summary {
        Summary::new(self.identity(), self.publisher.stamp())
    }

    /// The zones that are served, for `zzdot status`.
    pub fn zones(&self) -> Value {
        let stamp = self.publisher.stamp().map(|stamp| {
            json!({
                "serial": stamp.serial,
                "inception": stamp.inception.0,
                "signed": stamp.made.0,
            })
        });
        json!(stamp)
    }

    /// Why the zones are not renewed at the moment.
    pub fn trouble(&self) -> Option<&Failure> {
        self.publisher.trouble()
    }
}

fn tls(identity: &Identity, tickets: &Arc<Tickets>) -> Result<ServerConfig, Failure> {
    let chain = vec![identity.certificate()];
    server_config(chain, identity.tls_key(), Arc::clone(tickets))
        .map_err(|error| Failure::new(Exit::CannotRun, format!("the certificate: {error}")))
}

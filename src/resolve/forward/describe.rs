//! What people are told about upstreams: `zzdot status` and `zzdot upstreams`.

use serde_json::{Value, json};
use zzdot_client::upstream::Standing;

use super::{Forward, Reach, Server, health::Health};

impl Forward {
    /// Each upstream, as `zzdot status --json` tells it; in the order of the configuration.
    pub(super) fn describe_upstreams(&self) -> Vec<Value> {
        let health = self.shared.health();
        let servers = self.shared.servers.iter().zip(health.iter());
        servers
            .map(|(server, health)| server.describe(health))
            .collect()
    }

    /// The same with all that discovery knows, for `zzdot upstreams --json`.
    pub fn describe_in_full(&self) -> Vec<Value> {
        let mut all = self.describe_upstreams();
        for (told, server) in all.iter_mut().zip(&self.shared.servers) {
            if let Reach::Discovered(discovered) = &server.reach {
                told["discovery"] = discovered.upstream().status();
            }
        }
        all
    }
}

impl Server {
    fn describe(&self, health: &Health) -> Value {
        let published = self.published();
        let mut told = json!({
            "address": self.address.to_string(),
            "state": "configured",
            "name": null,
            "server-type": null,
            "transport": self.reach.transport(),
            "on-this-machine": self.address.ip().to_canonical().is_loopback(),
            "proof": published.as_ref().map(|upstream| upstream.proof.to_string()),
            "published-as": published.as_ref().map(|upstream| upstream.id.to_string()),
            "why": null,
            "resting": health.rests(),
            "suspect": health.is_suspect(),
            "latency-ms": health.latency().map(|time| time.as_millis() as u64),
            "answered": health.answered,
            "failed": health.failed,
            "probes": health.probes,
            "probes-failed": health.probes_failed,
        });
        if let Reach::Discovered(discovered) = &self.reach {
            let standing = discovered.standing();
            told["state"] = match &standing {
                _ if discovered.is_us() => "ourselves",
                Standing::Configured => "configured",
                Standing::Unknown => "unknown",
                Standing::Upgraded { .. } => "upgraded",
                Standing::Legacy { .. } => "legacy",
                Standing::Refused { .. } => "refused",
            }
            .into();
            if let Standing::Upgraded {
                identity, fault, ..
            } = &standing
            {
                told["name"] = json!(identity.name);
                told["server-type"] = json!(identity.server_type);
                told["why"] = json!(fault.as_ref().map(ToString::to_string));
            }
            // What a question that came now would be told, where that says more.
            let down = discovered.upstream().status()["down"]["cause"].take();
            if let Standing::Refused { refusal } = &standing {
                told["why"] = refusal.to_string().into();
            } else if !down.is_null() {
                told["why"] = down;
            }
        }
        told
    }
}

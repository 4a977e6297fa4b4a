//! The numbers of the appliance, for `metrics` in the configuration.

use serde_json::Value;
use zzdot_client::metrics::{Exposition, Kind};

use crate::control::Shared;

/// The page; all but empty while the appliance stops.
pub async fn page(appliance: Shared) -> Exposition {
    let status = appliance
        .lock()
        .await
        .as_ref()
        .map(|appliance| appliance.status());
    told(&status.unwrap_or_default())
}

/// The same, of a status as `zzdot status --json` tells it.
fn told(status: &Value) -> Exposition {
    let mut page = Exposition::new();
    page.family("zzdot_info", Kind::Gauge, "Which program this is.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let mut gauge = |name, help, value: &Value| {
        if let Some(value) = value.as_u64() {
            page.family(name, Kind::Gauge, help).value(value);
        }
    };
    gauge(
        "zzdot_uptime_seconds",
        "Seconds since the start.",
        &status["uptime-secs"],
    );
    gauge(
        "zzdot_connections",
        "TCP and TLS connections that are open.",
        &status["listen"]["connections"],
    );
    gauge(
        "zzdot_cache_entries",
        "Answers that are kept.",
        &status["cache"]["entries"],
    );
    gauge(
        "zzdot_cache_bytes",
        "Memory that they take.",
        &status["cache"]["bytes"],
    );
    gauge(
        "zzdot_zone_serial",
        "Serial number of the zones that say who this resolver is.",
        &status["zones"]["serial"],
    );
    gauge(
        "zzdot_zones_signed_timestamp_seconds",
        "When those zones were signed.",
        &status["zones"]["signed"],
    );
    page.family(
        "zzdot_zones_in_trouble",
        Kind::Gauge,
        "1 while the zones cannot be signed anew.",
    )
    .value(status["zones-trouble"].is_string().into());
    upstreams(&mut page, &status["resolve"]["upstreams"]);
    let mut events = page.family(
        "zzdot_events_total",
        Kind::Counter,
        "What happened, by the names that the status has.",
    );
    for (event, count) in status["counters"].as_object().into_iter().flatten() {
        events.sample(&[("event", event)], count.as_u64().unwrap_or(0));
    }
    page
}

fn upstreams(page: &mut Exposition, upstreams: &Value) {
    let Some(upstreams) = upstreams.as_array().filter(|all| !all.is_empty()) else {
        return;
    };
    for (name, field, help) in [
        (
            "zzdot_upstream_answered_total",
            "answered",
            "Questions that an upstream answered.",
        ),
        (
            "zzdot_upstream_failed_total",
            "failed",
            "Questions that it did not.",
        ),
    ] {
        let mut family = page.family(name, Kind::Counter, help);
        for upstream in upstreams {
            let text = |field: &str| upstream[field].as_str().unwrap_or_default().to_owned();
            let (address, transport) = (text("address"), text("transport"));
            family.sample(
                &[("address", &address), ("transport", &transport)],
                upstream[field].as_u64().unwrap_or(0),
            );
        }
    }
}

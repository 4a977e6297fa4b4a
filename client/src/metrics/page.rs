//! The numbers of the client.

use serde_json::Value;

use super::{Exposition, Kind};
use crate::ladder::Rung;
use crate::tally::{REASONS, TALLY};

/// The page, of what the process counted and of its status as `zzdot-client status --json` tells it.
#[must_use]
pub fn page(status: &Value) -> Exposition {
    let mut page = Exposition::new();
    page.family("zzdot_client_info", Kind::Gauge, "Which program this is.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    questions(&mut page, status);
    state(&mut page, status);
    listener(&mut page, &status["listener"]);
    page
}

fn questions(page: &mut Exposition, status: &Value) {
    let mut answered = page.family(
        "zzdot_client_questions_total",
        Kind::Counter,
        "Questions by how they were asked: identity, designated and opportunistic are answered ones over TLS, cleartext \
         are those that anybody could read.",
    );
    for (name, rung) in [
        ("identity", Rung::Known),
        ("designated", Rung::Designated),
        ("opportunistic", Rung::Opportunistic),
        ("cleartext", Rung::Cleartext),
    ] {
        answered.sample(&[("rung", name)], TALLY.on(rung));
    }
    page.family(
        "zzdot_client_cleartext_since_boot",
        Kind::Gauge,
        "Questions that anybody could read since this machine was booted.",
    )
    .value(number(&status["cleartext-since-boot"]));
    let counted = TALLY.failed();
    let mut failed = page.family(
        "zzdot_client_failures_total",
        Kind::Counter,
        "Questions without an answer, by reason.",
    );
    for reason in REASONS {
        let count = counted.get(reason).copied().unwrap_or(0);
        failed.sample(&[("reason", reason)], count);
    }
}

fn state(page: &mut Exposition, status: &Value) {
    let mut rungs = page.family(
        "zzdot_client_rung",
        Kind::Gauge,
        "1 for how a question would be asked now; none is 1 where it would not be asked.",
    );
    for rung in Rung::ALL {
        let here = status["rung"] == rung.name();
        rungs.sample(&[("rung", rung.name())], here.into());
    }
    page.family(
        "zzdot_client_down",
        Kind::Gauge,
        "1 while a question would not be answered.",
    )
    .value(status["down"].is_object().into());
    let tls = match &status["tls"] {
        Value::Null => &status["legacy"]["ladder"]["tls"],
        tls => tls,
    };
    route(page, status);
    page.family(
        "zzdot_client_tls_connected",
        Kind::Gauge,
        "1 while there is a TLS connection for questions.",
    )
    .value((tls["connected"] == true).into());
    page.family(
        "zzdot_client_tls_in_flight",
        Kind::Gauge,
        "Questions on that connection that wait for an answer.",
    )
    .value(number(&tls["in-flight"]));
}

fn route(page: &mut Exposition, status: &Value) {
    let mut asks = page.family(
        "zzdot_client_asks",
        Kind::Gauge,
        "1 for whom an upgraded resolver's questions go to now: itself, or the end of the chain behind it.",
    );
    for whom in ["nearest", "end"] {
        asks.sample(&[("whom", whom)], (status["route"]["asks"] == whom).into());
    }
    page.family(
        "zzdot_client_chain_encrypted_to_end",
        Kind::Gauge,
        "1 while the last look at the chain holds and showed each hop to be encrypted.",
    )
    .value({
        let chain = &status["route"]["chain"];
        (chain["encrypted-to-end"] == true && number(&chain["holds-secs"]) > 0).into()
    });
    page.family(
        "zzdot_client_answered_by_end_total",
        Kind::Counter,
        "Questions answered by the end of a chain; they are among those of the rung identity.",
    )
    .value(number(&status["queries"]["end"]));
}

fn listener(page: &mut Exposition, listener: &Value) {
    let mut events = page.family(
        "zzdot_client_listener_events_total",
        Kind::Counter,
        "What happened at the sockets that applications ask.",
    );
    for (event, count) in listener.as_object().into_iter().flatten() {
        events.sample(&[("event", event)], number(count));
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

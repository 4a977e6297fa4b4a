//! Roll-overs as they are asked for and told: between the control socket and [`zzdot_zonegen::rollover`].

use serde_json::{Value, json};
use zzdot_client::control::Request;
use zzdot_zonegen::{
    clock::UnixTime,
    exit::{Exit, Failure},
    keys::{KSK_FLAGS, ZoneKey},
    rollover::{Planned, Rotation, Wait, What},
};

/// The request that asks for a roll-over; `standby_key` is a PEM text.
#[must_use]
pub fn request(what: What, compromised: bool, standby_key: Option<String>) -> Request {
    let request = Request::new("rotate")
        .with("what", what.as_str())
        .with("compromised", compromised);
    match standby_key {
        Some(pem) => request.with("standby-key", pem),
        None => request,
    }
}

/// What such a request asks for.
///
/// # Errors
/// What is wrong with it.
pub fn rotation(request: &Request) -> Result<Rotation, Failure> {
    let refuse = |message: String| Failure::new(Exit::Usage, message);
    let what = request.text("what").unwrap_or_default();
    let standby_key = request
        .text("standby-key")
        .map(|pem| ZoneKey::from_pem(KSK_FLAGS, pem))
        .transpose()
        .map_err(|error| refuse(format!("the stand-by key {error}")))?;
    Ok(Rotation {
        what: what.parse().map_err(refuse)?,
        compromised: request.arguments.get("compromised") == Some(&Value::Bool(true)),
        standby_key,
    })
}

/// A planned step as `zzdot status --json` has it.
#[must_use]
pub fn json(planned: &Planned, now: UnixTime) -> Value {
    let waits_for = match planned.wait {
        Wait::Nothing => Value::Null,
        Wait::Served => "publication".into(),
        Wait::Air(_) | Wait::Date(_) => "time".into(),
        Wait::StandbyKey => "standby-key".into(),
    };
    json!({
        "what": planned.step.what().as_str(),
        "step": planned.step.describe(),
        "under-way": planned.wanted,
        "at": planned.wait.ends(now).map(|at| at.0),
        "waits-for": waits_for,
    })
}

/// A step out of that JSON as a line for people.
#[must_use]
pub fn line(step: &Value) -> String {
    let what = step["step"].as_str().unwrap_or_default();
    match (step["at"].as_u64(), step["waits-for"].as_str()) {
        (_, Some("standby-key")) => {
            format!("{what}: waits for \"zzdot rotate --what anchor --standby-key FILE\"")
        }
        (Some(at), _) => format!("{} {what}", UnixTime(at)),
        (None, _) => format!("{what}: waits for the step before it to be served"),
    }
}

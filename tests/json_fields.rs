//! What `--json` prints is what docs/json.md says.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::daemon::Place;

#[test]
fn every_field_of_status_and_identity_is_documented() {
    let documented = include_str!("../docs/json.md");
    let place = Place::new("[resolve]\nupstreams = [\"127.0.0.1:9\"]\n");
    let _daemon = place.serve();
    let identity = place.told("identity", &["--json"]);
    for printed in [place.status(), serde_json::from_str(&identity).unwrap()] {
        let mut fields = Vec::new();
        collect(&printed, &mut fields);
        assert!(fields.len() > 7, "{printed}");
        for field in fields {
            assert!(
                documented.contains(&format!("`{field}`")),
                "docs/json.md says nothing of {field}"
            );
        }
    }
}

/// The names of all fields, but those of the counters, which are a list.
fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                into.push(name.clone());
                if name != "counters" {
                    collect(value, into);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}

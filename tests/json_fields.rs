//! What `--json` prints is what docs/json.md says.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;

use serde_json::Value;
use support::{daemon::Place, program};

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

#[test]
fn flush_forgets_what_is_kept_about_a_name_or_everything() {
    let place = Place::new("[resolve]\nupstreams = [\"127.0.0.1:9\"]\n");
    let _daemon = place.serve();
    for name in ["localhost", "app.localhost", "www.invalid"] {
        let server = format!("@{}", place.address);
        let asked = Command::new(program::find("dig", "bind9-dnsutils"))
            .args(["-p", "5300", &server, name])
            .output()
            .unwrap();
        assert!(asked.status.success(), "{asked:?}");
    }
    assert_eq!(place.status()["cache"]["entries"], 3);
    assert_eq!(place.told("flush", &["LocalHost"]), "1 answer forgotten\n");
    assert_eq!(
        place.told("flush", &["nothing.example."]),
        "0 answers forgotten\n"
    );
    let all: Value = serde_json::from_str(&place.told("flush", &["--json"])).unwrap();
    assert_eq!(all["forgotten"], 2);
    assert_eq!(place.status()["cache"]["entries"], 0);
    assert_eq!(place.run("flush", &["a..b"]).status.code(), Some(2));
}

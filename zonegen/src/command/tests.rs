#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use ring::rand::SystemRandom;
use tempfile::TempDir;

use super::*;
use crate::clock::build_date;

struct Lab {
    folder: TempDir,
    now: UnixTime,
}

impl Lab {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            now: UnixTime(build_date().0 + 1_000_000),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command line in which `@x` stands for a path below the lab's folder.
    fn run(&self, line: &str) -> Result<String, Failure> {
        let words = line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name).display().to_string(),
            None => word.to_owned(),
        });
        let words = std::iter::once("zzdot-zonegen".to_owned()).chain(words);
        let mut out = Vec::new();
        let mut env = Env {
            now: self.now,
            rng: &SystemRandom::new(),
            out: &mut out,
        };
        Cli::try_parse_from(words).unwrap().run(&mut env)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn refuse(&self, line: &str) -> Failure {
        self.run(line).unwrap_err()
    }
}

fn edit(path: &Path, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed);
    fs::write(path, changed).unwrap();
}

#[test]
fn an_identity_is_made_shown_and_verified() {
    let lab = Lab::new();
    let name = lab.run("new @id").unwrap();
    assert!(name.ends_with(".zz\n"));
    let shown = lab.run("show @id").unwrap();
    assert!(shown.starts_with(&format!("name         {name}pin          sha256/")));
    assert!(shown.ends_with("standby key  on this machine\npublished    not yet\n"));
    assert_eq!(
        lab.run("verify @id").unwrap(),
        format!("{}: the identity is whole\n", name.trim())
    );
}

#[test]
fn the_json_of_show_has_its_promised_fields() {
    let lab = Lab::new();
    lab.run("new @id").unwrap();
    lab.run("zones @id --out @zones --address 192.0.2.1")
        .unwrap();
    let json: serde_json::Value =
        serde_json::from_str(&lab.run("show @id --json").unwrap()).unwrap();
    let fields: Vec<&String> = json.as_object().unwrap().keys().collect();
    let expected = [
        "name",
        "pin",
        "tlsa",
        "trust-anchor",
        "phrase",
        "phrase-digits",
        "uri",
        "standby-key-present",
        "publication",
        "trust-anchor-text",
    ];
    assert_eq!(fields, expected);
    assert_eq!(json["trust-anchor"][0]["role"], "active");
    assert_eq!(json["trust-anchor"][1]["role"], "standby");
    assert_eq!(json["publication"]["serial"], lab.now.wire());
}

#[test]
fn the_trust_anchor_is_printed_in_both_forms() {
    let lab = Lab::new();
    lab.run("new @id").unwrap();
    let master = lab.run("show @id --trust-anchor").unwrap();
    let records = crate::master_file::read(&master, None).unwrap();
    let types: Vec<String> = records
        .iter()
        .map(|r| r.record_type().to_string())
        .collect();
    assert_eq!(types, ["DNSKEY", "DS", "DNSKEY", "DS", "DNSKEY", "DS"]);
    let bind = lab.run("show @id --trust-anchor=bind").unwrap();
    assert_eq!(bind.matches("static-key 257 3 13").count(), 3);
}

#[test]
fn an_identity_is_never_replaced() {
    let lab = Lab::new();
    let name = lab.run("new @id").unwrap();
    let failure = lab.refuse("new @id");
    assert_eq!(failure.exit, Exit::CannotRun);
    assert!(failure.hint.unwrap().contains("never replaced"));
    assert!(lab.run("show @id").unwrap().contains(name.trim()));
}

#[test]
fn a_suffix_that_makes_no_name_is_a_usage_error() {
    let lab = Lab::new();
    for suffix in ["a..b", "a_b", "."] {
        let failure = lab.refuse(&format!("new @id --suffix {suffix}"));
        assert_eq!(failure.exit, Exit::Usage, "{suffix}");
    }
    assert!(!lab.path("id").exists());
    let name = lab.run("new @id --suffix home.example").unwrap();
    assert!(name.ends_with(".home.example\n"));
}

#[test]
fn zones_are_written_and_verify_until_they_expire() {
    let mut lab = Lab::new();
    lab.run("new @id").unwrap();
    let files = lab
        .run("zones @id --out @zones --address 192.0.2.1 --address 2001:db8::1 --dot-port 8853 --server-type forwarder")
        .unwrap();
    assert_eq!(files.lines().count(), 2);
    for file in files.lines() {
        assert!(Path::new(file).exists());
    }
    let report = lab.run("verify @id --zones @zones").unwrap();
    assert_eq!(report.lines().count(), 3);
    lab.now = UnixTime(lab.now.0 + 7 * 86_400);
    let failure = lab.refuse("verify @id --zones @zones");
    assert_eq!(failure.exit, Exit::Distrust);
    assert!(
        failure.message.contains("the signature has expired, key "),
        "{failure}"
    );
    assert!(failure.message.contains(", valid from "), "{failure}");
}

#[test]
fn zone_files_that_were_tampered_with_are_refused() {
    let lab = Lab::new();
    lab.run("new @id").unwrap();
    lab.run("new @other").unwrap();
    let zones = |id: &str| {
        let line = format!("zones @{id} --out @zones-{id} --address 192.0.2.1");
        lab.run(&line).unwrap()
    };
    let own = zones("id");
    let other = zones("other");
    let [own_name, own_anchor] = [0, 1].map(|n| PathBuf::from(own.lines().nth(n).unwrap()));
    let other_anchor = PathBuf::from(other.lines().nth(1).unwrap());
    edit(&own_name, |text| text.replace("192.0.2.1", "192.0.2.9"));
    let failure = lab.refuse("verify @id --zones @zones-id");
    assert_eq!(failure.exit, Exit::Distrust);
    assert!(
        failure.message.contains("A: the signature is wrong"),
        "{failure}"
    );
    zones("id");
    fs::copy(other_anchor, &own_anchor).unwrap();
    let failure = lab.refuse("verify @id --zones @zones-id");
    assert!(
        failure.message.contains("not signed by a trust anchor"),
        "{failure}"
    );
    edit(&own_anchor, |text| text.replace(" 60 IN ", " 60 XX "));
    let failure = lab.refuse("verify @id --zones @zones-id");
    assert!(
        failure
            .message
            .contains("line 2: found \"XX\", expected a record type"),
        "{failure}"
    );
    fs::remove_file(&own_anchor).unwrap();
    assert_eq!(
        lab.refuse("verify @id --zones @zones-id").exit,
        Exit::CannotRun
    );
}

#[test]
fn nothing_is_signed_while_the_clock_is_behind() {
    let mut lab = Lab::new();
    lab.run("new @id").unwrap();
    lab.run("zones @id --out @zones --address 192.0.2.1")
        .unwrap();
    lab.now = UnixTime(lab.now.0 - 3600);
    let failure = lab.refuse("zones @id --out @zones --address 192.0.2.1");
    assert_eq!(failure.exit, Exit::CannotRun);
    assert!(failure.hint.unwrap().starts_with("set the clock"));
}

#[test]
fn each_server_gets_its_files_with_the_key_private() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    lab.run("new @id").unwrap();
    for server in ["unbound", "knot-resolver", "bind", "nsd"] {
        let line = format!("export @id --for {server} --out @{server} --address 192.0.2.1");
        let files = lab.run(&line).unwrap();
        assert!(files.lines().count() >= 3, "{files}");
        for file in files.lines() {
            let mode = fs::metadata(file).unwrap().permissions().mode() & 0o777;
            let expected = if file.ends_with("tls-key.pem") {
                0o600
            } else {
                0o644
            };
            assert_eq!(mode, expected, "{file}");
        }
        let configuration = fs::read_to_string(files.lines().next().unwrap()).unwrap();
        let key = lab.path(server).join("tls-key.pem");
        assert!(
            configuration.contains(key.to_str().unwrap()),
            "{configuration}"
        );
    }
}

#[test]
fn a_group_that_was_let_read_the_key_stays_and_others_do_not() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    lab.run("new @id").unwrap();
    let line = "export @id --for nsd --out @x --address 192.0.2.1";
    lab.run(line).unwrap();
    let key = lab.path("x").join("tls-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    lab.run(line).unwrap();
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn an_export_can_be_for_another_place() {
    let lab = Lab::new();
    lab.run("new @id").unwrap();
    lab.run("export @id --for unbound --out @x --address ::1 --installed-at /etc/zzdot --allow fd00::/8")
        .unwrap();
    let text = fs::read_to_string(lab.path("x").join("unbound.conf")).unwrap();
    assert!(text.contains("tls-service-key: \"/etc/zzdot/tls-key.pem\""));
    assert!(text.contains("access-control: fd00::/8 allow"));
    let failure = lab.refuse("export @id --for nsd --out @x --address ::1 --allow ::/0");
    assert_eq!(failure.exit, Exit::Usage);
    let failure = lab.refuse("export @id --for nsd --out @x --address ::1 --installed-at /a\"b");
    assert_eq!(failure.exit, Exit::Usage);
}

#[test]
fn an_identity_that_others_can_read_is_refused_with_the_cure() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    lab.run("new @id").unwrap();
    let key = lab.path("id").join("tls-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    for (line, exit) in [
        ("show @id", Exit::CannotRun),
        ("zones @id --out @z --address ::1", Exit::CannotRun),
        ("verify @id", Exit::Distrust),
    ] {
        let failure = lab.refuse(line);
        assert_eq!(failure.exit, exit, "{line}");
        assert_eq!(failure.hint, Some(format!("chmod 0600 {}", key.display())));
    }
}

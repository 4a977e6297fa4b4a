//! The program itself: exit codes, and what goes to which stream.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn zonegen(folder: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zzdot-zonegen"))
        .current_dir(folder)
        .args(line.split(' '))
        .output()
        .unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

#[test]
fn data_goes_to_standard_output_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for line in [
        "new id",
        "show id",
        "zones id --out z --address ::1",
        "verify id --zones z",
        "--help",
    ] {
        let output = zonegen(folder.path(), line);
        assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
        assert!(
            output.stderr.is_empty() && !output.stdout.is_empty(),
            "{line}: {output:?}"
        );
    }
}

#[test]
fn each_failure_has_its_exit_code_and_tells_why_on_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    zonegen(folder.path(), "new id");
    zonegen(folder.path(), "new open");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path().join("open"), open).unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(folder.path().join("empty"), private).unwrap();
    for (line, code, message) in [
        (
            "new",
            2,
            "error: the following required arguments were not provided",
        ),
        (
            "zones id --out z --address x",
            2,
            "error: invalid value 'x' for '--address <ADDRESS>'",
        ),
        (
            "zones id --out z --address 0.0.0.0",
            2,
            "zzdot-zonegen: 0.0.0.0 cannot be the address of a service",
        ),
        (
            "zones id --out z --address ::1 --dot-port 0",
            2,
            "error: invalid value '0' for '--dot-port <PORT>'",
        ),
        (
            "new id",
            3,
            "zzdot-zonegen: id: holds an identity already\nzzdot-zonegen: hint: ",
        ),
        ("verify id --zones none", 3, "zzdot-zonegen: none/"),
        (
            "show none",
            3,
            "zzdot-zonegen: none: there is no identity\n",
        ),
        (
            "show empty",
            3,
            "zzdot-zonegen: empty/name: is missing, the identity is incomplete\nzzdot-zonegen: hint: ",
        ),
        (
            "show open",
            3,
            "zzdot-zonegen: open: has mode 0755, must be 0700\nzzdot-zonegen: hint: chmod 0700 open",
        ),
        (
            "verify open",
            4,
            "zzdot-zonegen: open: has mode 0755, must be 0700\nzzdot-zonegen: hint: chmod 0700 open",
        ),
    ] {
        let output = zonegen(folder.path(), line);
        assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.starts_with(message), "{line}: {stderr}");
    }
}

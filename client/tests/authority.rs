//! Who may change whom this machine trusts: real users, the real `dbus-daemon` and the real `polkitd`.
//!
//! As root; it fails without. There is one user only then, who is the daemon's own; that case is the rest of the tests.
#![allow(clippy::unwrap_used)]

#[path = "support/bus.rs"]
mod bus;
mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use bus::{Bus, program};
use common::{Manner, Resolver, code, stderr, stdout, wait_until};
use serde_json::Value;
use zzdot_zonegen::summary::Summary;

/// Users that every Debian has. The daemon runs as the first one.
const SERVICE: &str = "daemon";
/// May, by a rule of the administrator.
const TRUSTED: &str = "games";
/// May not, by another one.
const BANNED: &str = "nobody";
/// About whom no rule says anything: a password is needed.
const ANYBODY: &str = "mail";

const RULES: &str = "polkit.addRule(function(action, subject) {\n\
    if (action.id == \"org.zzdot.client.approve\") {\n\
        if (subject.user == \"games\") return polkit.Result.YES;\n\
        if (subject.user == \"nobody\") return polkit.Result.NO;\n\
    }\n});\n";

/// The policy that is shipped; its annotation names the user that the daemon runs as.
const POLICY: &str = include_str!("../../systemd/org.zzdot.client.policy");

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine with a daemon of another user than those who use it.
struct Machine {
    folder: tempfile::TempDir,
    bus: Bus,
    _daemon: Running,
}

impl Machine {
    fn start(resolver: &Resolver) -> Self {
        let bus = Bus::start();
        let folder = tempfile::tempdir().unwrap();
        open(folder.path());
        // Where it was built others may not go.
        let binary = folder.path().join("zzdot-client");
        fs::copy(env!("CARGO_BIN_EXE_zzdot-client"), &binary).unwrap();
        open(&binary);
        for owned in ["state", "run"] {
            let owned = folder.path().join(owned);
            fs::create_dir(&owned).unwrap();
            let user = nix::unistd::User::from_name(SERVICE).unwrap().unwrap();
            chown(&owned, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        fs::set_permissions(folder.path().join("state"), Permissions::from_mode(0o700)).unwrap();
        let config = folder.path().join("client.toml");
        fs::write(
            &config,
            format!(
                "listen = [\"127.0.0.1:0\"]\nstate-dir = {:?}\ncontrol-socket = {:?}\nserver = \"{}\"\n",
                folder.path().join("state"),
                folder.path().join("run/control.sock"),
                resolver.address
            ),
        )
        .unwrap();
        open(&config);
        let mut daemon = Self::command(folder.path(), &bus, SERVICE, &["run"]);
        let daemon = daemon.stderr(Stdio::null()).spawn().unwrap();
        let machine = Self {
            folder,
            bus,
            _daemon: Running(daemon),
        };
        let ready = || code(&machine.tool(BANNED, &["status"])) == 0;
        wait_until(ready, || "the daemon".to_owned());
        machine
    }

    fn command(folder: &Path, bus: &Bus, user: &str, arguments: &[&str]) -> Command {
        let user = nix::unistd::User::from_name(user).unwrap().unwrap();
        let mut command = Command::new(program("setpriv", "util-linux"));
        command
            .arg(format!("--reuid={}", user.uid))
            .arg(format!("--regid={}", user.gid))
            .args(["--clear-groups", "--"])
            .arg(folder.join("zzdot-client"))
            .args(arguments)
            .arg("--config")
            .arg(folder.join("client.toml"))
            .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
            .current_dir("/");
        command
    }

    fn tool(&self, user: &str, arguments: &[&str]) -> Output {
        let mut command = Self::command(self.folder.path(), &self.bus, user, arguments);
        command.output().unwrap()
    }

    fn trust(&self) -> String {
        let output = self.tool(BANNED, &["resolvers", "list", "--json"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        told["resolvers"][0]["trust"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// polkitd with the policy that is shipped and the administrator's rules, which it looks for at fixed places: in a mount
    /// namespace of its own.
    fn polkit(&self) -> Running {
        let actions = self.folder.path().join("actions");
        let rules = self.folder.path().join("rules");
        let none = self.folder.path().join("none");
        for folder in [&actions, &rules, &none] {
            fs::create_dir(folder).unwrap();
            open(folder);
        }
        let owner = format!("unix-user:{SERVICE}");
        let policy = POLICY.replace("unix-user:zzdot-client", &owner);
        assert!(policy.contains(&owner));
        put(&actions.join("org.zzdot.client.policy"), &policy);
        put(&rules.join("50-zzdot.rules"), RULES);
        let polkitd = program("polkitd", "polkitd");
        let script = "mount --bind \"$1\" /usr/share/polkit-1/actions && mount --bind \"$2\" /etc/polkit-1/rules.d && \
                      mount --bind \"$3\" /usr/share/polkit-1/rules.d && exec \"$4\" --no-debug";
        let child = Command::new(program("unshare", "util-linux"))
            .args(["--mount", "sh", "-c", script, "sh"])
            .args([&actions, &rules, &none, &polkitd])
            .env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Running(child);
        self.wait_for_owner(true);
        running
    }

    fn wait_for_owner(&self, wanted: bool) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let has_owner = || {
            runtime.block_on(async {
                let bus = zbus::connection::Builder::address(self.bus.address().as_str()).unwrap();
                let bus = bus.build().await.unwrap();
                let bus = zbus::fdo::DBusProxy::new(&bus).await.unwrap();
                let name = "org.freedesktop.PolicyKit1".try_into().unwrap();
                bus.name_has_owner(name).await.unwrap()
            })
        };
        wait_until(|| has_owner() == wanted, || "polkitd".to_owned());
    }
}

fn open(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

fn put(path: &PathBuf, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn root_and_whom_polkit_lets_change_trust_and_nobody_else_does() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "without root there are no other users to be told apart, and nothing would be shown: run this test as root, \
         or leave it out by its name (cargo nextest run -E 'not test(whom_polkit_lets)')"
    );
    let resolver = Resolver::start(Manner::Upgraded);
    let machine = Machine::start(&resolver);
    assert_eq!(code(&machine.tool(BANNED, &["query", "www.example"])), 0);
    wait_until(
        || machine.trust() == "provisional",
        || "the first meeting".to_owned(),
    );
    let theirs = Summary::new(&resolver.identity, None);
    let mut approve = vec!["approve", "--phrase"];
    approve.extend(theirs.phrase.split(' '));

    // Everybody may look.
    let output = machine.tool(BANNED, &["pending"]);
    assert!(
        stdout(&output).contains(&theirs.phrase),
        "{}",
        stderr(&output)
    );
    // Without polkit nobody but root and the daemon's own user decides, and that is said.
    let output = machine.tool(TRUSTED, &approve);
    assert_eq!(code(&output), 3);
    let text = stderr(&output);
    assert!(
        text.contains("only root may") && text.contains("polkit cannot be asked"),
        "{text}"
    );
    assert_eq!(machine.trust(), "provisional");

    let polkit = machine.polkit();
    for user in [BANNED, ANYBODY] {
        for order in [&approve[..], &["verify", &theirs.uri], &["export"]] {
            let output = machine.tool(user, order);
            assert_eq!(code(&output), 3, "{user} {order:?}");
            let text = stderr(&output);
            assert!(text.contains("not authorised"), "{user}: {text}");
            assert!(text.contains("sudo"), "{user}: {text}");
            assert_eq!(
                text.contains("no agent asks"),
                user == ANYBODY,
                "{user}: {text}"
            );
            assert_eq!(stdout(&output), "", "{user}");
        }
    }
    let name = theirs.name.to_string();
    assert_eq!(code(&machine.tool(BANNED, &["forget", &name])), 3);
    assert_eq!(machine.trust(), "provisional");

    let output = machine.tool(TRUSTED, &approve);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    wait_until(
        || machine.trust() == "verified",
        || "the decision".to_owned(),
    );

    // polkit is gone again, and with it whoever depended on it; the daemon's own user and root are not.
    drop(polkit);
    machine.wait_for_owner(false);
    assert_eq!(code(&machine.tool(TRUSTED, &["forget", &name])), 3);
    assert_eq!(machine.trust(), "verified");
    assert_eq!(code(&machine.tool(SERVICE, &["export"])), 0);
    let output = machine.tool("root", &["forget", &name]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

//! Getting in front of the host's resolvers and back, killed or failing at each call: what stood there before is put back
//! by the next `restore`, always.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use zzdot_testnet::faults::{self, End, Fault, Kind, Outcome, Traced, example, walk};

/// Another machine than the one that runs the tests: nobody's bus may be told anything.
const NO_BUS: (&str, &str) = ("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus");
const BY_PERSON: &str = "# mine\nnameserver 192.168.1.1\nsearch lan\n";

struct Machine {
    _folder: TempDir,
    root: PathBuf,
    linked: bool,
}

impl Machine {
    /// `/etc/resolv.conf` is a file, or a link to one.
    fn new(linked: bool) -> Self {
        let folder = faults::folder().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for path in ["etc", "run", "var/lib"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        if linked {
            fs::write(root.join("run/resolv.conf"), BY_PERSON).unwrap();
            symlink("../run/resolv.conf", root.join("etc/resolv.conf")).unwrap();
        } else {
            fs::write(root.join("etc/resolv.conf"), BY_PERSON).unwrap();
        }
        Self {
            _folder: folder,
            root,
            linked,
        }
    }

    fn run(&self, task: &[&str], fault: Option<Fault>) -> Outcome {
        Traced::new(&example("front_walk").unwrap(), &self.root)
            .arg(self.root.to_str().unwrap())
            .args(task.iter().copied())
            .env(NO_BUS.0, NO_BUS.1)
            .run(fault)
            .unwrap()
    }

    fn must(&self, task: &[&str], context: &str) {
        let outcome = self.run(task, None);
        assert_eq!(
            outcome.end,
            End::Exited(0),
            "{task:?}: {}: {context}",
            outcome.stderr
        );
    }

    fn resolv_conf(&self) -> PathBuf {
        self.root.join("etc/resolv.conf")
    }

    fn is_in_front(&self) -> bool {
        let says =
            |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.contains("127.0.0.1"));
        let drop_ins = [
            "run/systemd/resolved.conf.d/zzdot.conf",
            "run/NetworkManager/conf.d/zzdot.conf",
        ];
        says(&self.resolv_conf()) || drop_ins.iter().any(|path| says(&self.root.join(path)))
    }

    fn is_as_before(&self, context: &str) {
        assert!(!self.is_in_front(), "{context}");
        assert_eq!(
            fs::read_to_string(self.resolv_conf()).unwrap(),
            BY_PERSON,
            "{context}"
        );
        assert_eq!(self.resolv_conf().is_symlink(), self.linked, "{context}");
        let journal = self.root.join("var/lib/zzdot-front/journal.json");
        assert!(!journal.exists(), "{context}");
    }
}

fn fails_in_words(outcome: &Outcome, kind: Kind) -> String {
    let context = format!(
        "{kind:?} at {:?}: {:?} {}",
        outcome.hit, outcome.end, outcome.stderr
    );
    let expected = match outcome.end {
        End::Exited(0) => true,
        End::Exited(3) => kind.is_error() && !outcome.stderr.is_empty(),
        End::Signaled(9) => !kind.is_error(),
        _ => false,
    };
    assert!(expected, "{context}");
    context
}

fn walk_put(method: &str, kind: Kind, linked: bool) -> usize {
    walk(kind, |fault| {
        let machine = Machine::new(linked);
        let outcome = machine.run(&["put", method], Some(fault));
        let context = fails_in_words(&outcome, kind);
        // The service is started again, or it is not.
        if fault.after % 2 == 0 {
            machine.must(&["put", method], &context);
            assert!(machine.is_in_front(), "{context}");
        }
        machine.must(&["restore"], &context);
        machine.is_as_before(&context);
        outcome
    })
}

fn walk_restore(method: &str, kind: Kind, linked: bool) -> usize {
    walk(kind, |fault| {
        let machine = Machine::new(linked);
        machine.must(&["put", method], "");
        assert!(machine.is_in_front());
        let outcome = machine.run(&["restore"], Some(fault));
        let context = fails_in_words(&outcome, kind);
        machine.must(&["restore"], &context);
        machine.is_as_before(&context);
        outcome
    })
}

#[test]
fn killed_at_any_call_on_the_way_to_the_front_the_next_restore_puts_back_what_stood_there() {
    let mut points = 0;
    for linked in [false, true] {
        points += walk_put("file", Kind::Kill, linked) + walk_put("file", Kind::Torn, linked);
    }
    points +=
        walk_put("resolved", Kind::Kill, true) + walk_put("network-manager", Kind::Kill, false);
    println!("{points} points");
    assert!(points > 40, "{points}");
}

#[test]
fn killed_at_any_call_on_the_way_back_the_next_restore_goes_on() {
    let mut points = 0;
    for linked in [false, true] {
        points +=
            walk_restore("file", Kind::Kill, linked) + walk_restore("file", Kind::Torn, linked);
    }
    points += walk_restore("resolved", Kind::Kill, true)
        + walk_restore("network-manager", Kind::Kill, false);
    println!("{points} points");
    assert!(points > 10, "{points}");
}

#[test]
fn a_disk_that_fails_at_any_call_loses_nothing_of_what_stood_there() {
    let mut points = 0;
    // What stood there makes no difference to a disk.
    for (kind, linked) in [
        (Kind::NoSpace, false),
        (Kind::BadSector, true),
        (Kind::DeadDisk, false),
    ] {
        points += walk_put("file", kind, linked) + walk_restore("file", kind, linked);
    }
    println!("{points} points");
    assert!(points > 100, "{points}");
}

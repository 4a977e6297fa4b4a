//! How a machine is made and started: disks that survive a power cut, and a root of their own in which the real service
//! manager is the first process.
//!
//! ```text
//!  outside of it    disk/{etc,var}, packaged/           what a power cut leaves
//!  boot (hidden)    cgroup -> mounts -> pivot_root -> systemd
//! ```

use std::{
    convert::Infallible,
    env,
    fs::{self, File},
    io,
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::pivot_root,
};

use crate::{
    products, programs,
    story::{Failure, Told},
};

/// Where the sources keep what is installed.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd");
/// Where a machine's root is put together.
const ROOT: &str = "/run/lab/root";
/// Where the box keeps its own sight of control groups.
const CGROUPS: &str = "/run/lab/cgroup";
/// What the service manager has said since it was started, below a machine's folder.
pub(super) const WORDS: &str = "manager.log";
const MANAGER: &str = "/usr/lib/systemd/systemd";

/// What a target starts by itself, below `/usr/lib/systemd/system`. Whatever else is installed around the lab stays out.
const WANTED: [(&str, &[&str]); 5] = [
    ("multi-user.target.wants", &["dbus.service"]),
    (
        "sysinit.target.wants",
        &[
            "systemd-journald.service",
            "systemd-sysusers.service",
            "systemd-tmpfiles-setup.service",
        ],
    ),
    ("timers.target.wants", &[]),
    ("graphical.target.wants", &[]),
    ("getty.target.wants", &[]),
];

/// Installs the programs and units as `docs/operations.md` says, on disks that are new.
pub(super) fn install(folder: &Path) -> Told {
    let (etc, usr) = (folder.join("disk/etc"), folder.join("packaged"));
    let units = etc.join("systemd/system");
    let folders = [
        ("", &units),
        ("lib/sysusers.d", &usr),
        ("lib/tmpfiles.d", &usr),
        ("lib/systemd/system-preset", &usr),
        ("share/polkit-1/actions", &usr),
        ("bin", &usr),
        ("disk/var/lib", &folder.to_owned()),
    ];
    for (below, folder) in folders {
        fs::create_dir_all(folder.join(below))?;
    }
    let shipped = Path::new(SHIPPED);
    for entry in fs::read_dir(shipped)? {
        let path = entry?.path();
        let is_unit = ["service", "socket", "path"]
            .iter()
            .any(|ending| path.extension().is_some_and(|found| found == *ending));
        if is_unit {
            fs::copy(&path, units.join(path.file_name().unwrap_or_default()))?;
        }
    }
    for (file, to) in [
        ("zzdot.sysusers", "lib/sysusers.d/zzdot.conf"),
        ("zzdot.tmpfiles", "lib/tmpfiles.d/zzdot.conf"),
        ("zzdot.preset", "lib/systemd/system-preset/90-zzdot.preset"),
        (
            "org.zzdot.client.policy",
            "share/polkit-1/actions/org.zzdot.client.policy",
        ),
    ] {
        fs::copy(shipped.join(file), usr.join(to))?;
    }
    // Over these the programs are bound; a copy of them all would take longer than the boot.
    for program in PROGRAMS {
        File::create(usr.join("bin").join(program))?;
    }
    // A machine that has been set up: with a number of its own, it is no first boot.
    for (file, contents) in [
        ("machine-id", "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\n"),
        ("hostname", "machine\n"),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
        ),
    ] {
        fs::write(etc.join(file), contents)?;
    }
    fs::copy("/etc/ld.so.cache", etc.join("ld.so.cache"))?;
    Ok(())
}

const PROGRAMS: [&str; 3] = ["zzdot", "zzdot-client", "zzdot-zonegen"];

/// A control group for one machine, below that of the box; gone with its value.
pub(super) struct ControlGroup(PathBuf);

impl ControlGroup {
    pub(super) fn new() -> Result<Self, Failure> {
        fs::create_dir_all(CGROUPS)?;
        if !Path::new(CGROUPS).join("cgroup.procs").exists() {
            put(
                "cgroup2",
                Path::new(CGROUPS),
                "cgroup2",
                MsFlags::empty(),
                "",
            )?;
        }
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let own =
            own.ok_or_else(|| Failure::new("this kernel has no control groups, version 2"))?;
        // Processes have the same numbers in every box; the box's own number is no other's.
        let number = fs::read_link("/proc/self/ns/pid")?;
        let number: String = number
            .to_string_lossy()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        let group = Self(
            Path::new(CGROUPS)
                .join(own)
                .join(format!("zzdot-lab-{number}")),
        );
        group.remove();
        fs::create_dir(&group.0)?;
        Ok(group)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Ends everything in it at once, as when the power goes.
    pub(super) fn kill(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.kill"), "1")
    }

    /// Nothing runs in it, nor in any below.
    pub(super) fn is_empty(&self) -> bool {
        fs::read_to_string(self.0.join("cgroup.events"))
            .map_or(true, |events| events.contains("populated 0"))
    }

    /// Takes away the groups that the machine made, from the leaves up.
    pub(super) fn remove(&self) {
        fn below(folder: &Path) {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.path().is_dir()) {
                below(&entry.path());
            }
            // One that is not empty belongs to somebody who is alive: it stays.
            let _ = fs::remove_dir(folder);
        }
        below(&self.0);
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Becomes the machine's first process. The caller is alone in new mount, process, UTS and IPC namespaces, and on the
/// machine's network.
///
/// # Errors
/// A step that the kernel refused; there is no return otherwise.
pub fn boot(folder: &Path, group: &Path) -> Result<Infallible, Failure> {
    fs::write(group.join("cgroup.procs"), "0")?;
    unshare(CloneFlags::CLONE_NEWCGROUP)?;
    let root = Path::new(ROOT);
    fs::create_dir_all(root)?;
    put("tmpfs", root, "tmpfs", MsFlags::empty(), "mode=755")?;
    for below in [
        "usr", "etc", "var", "run", "tmp", "dev", "proc", "sys", "root",
    ] {
        fs::create_dir(root.join(below))?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), root.join(link))?;
    }
    lay_usr(root, folder)?;
    for disk in ["etc", "var"] {
        bind(&folder.join("disk").join(disk), &root.join(disk))?;
    }
    put(
        "tmpfs",
        &root.join("run"),
        "tmpfs",
        MsFlags::empty(),
        "mode=755",
    )?;
    put(
        "tmpfs",
        &root.join("tmp"),
        "tmpfs",
        MsFlags::empty(),
        "mode=1777",
    )?;
    put("proc", &root.join("proc"), "proc", MsFlags::empty(), "")?;
    // Hardware that cannot be changed is a container's: nobody waits for its events.
    put("sysfs", &root.join("sys"), "sysfs", MsFlags::MS_RDONLY, "")?;
    put(
        "cgroup2",
        &root.join("sys/fs/cgroup"),
        "cgroup2",
        MsFlags::empty(),
        "",
    )?;
    fill_dev(&root.join("dev"), &folder.join(WORDS))?;
    env::set_current_dir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    env::set_current_dir("/")?;
    let error = Command::new(MANAGER)
        .args([
            "--unit=multi-user.target",
            "--show-status=no",
            "--log-target=kmsg",
        ])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        .env("container", "lab")
        .exec();
    Err(Failure::new(format!("{MANAGER}: {error}")))
}

/// What is packaged, over what is unpacked, over what is installed around the lab.
fn lay_usr(root: &Path, folder: &Path) -> Told {
    let usr = root.join("usr");
    let layers = format!(
        "lowerdir={}:{}:/usr",
        folder.join("packaged").display(),
        programs::unpacked()?.join("usr").display()
    );
    put("overlay", &usr, "overlay", MsFlags::empty(), &layers)?;
    for program in PROGRAMS {
        bind(&products::find(program)?, &usr.join("bin").join(program))?;
    }
    let units = usr.join("lib/systemd/system");
    for (target, wanted) in WANTED {
        let target = units.join(target);
        if !target.exists() {
            continue;
        }
        put("tmpfs", &target, "tmpfs", MsFlags::empty(), "mode=755")?;
        for unit in wanted {
            symlink(format!("../{unit}"), target.join(unit))?;
        }
    }
    Ok(())
}

/// The few devices that every container has.
fn fill_dev(dev: &Path, words: &Path) -> Told {
    put("tmpfs", dev, "tmpfs", MsFlags::empty(), "mode=755")?;
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        File::create(dev.join(device))?;
        bind(&Path::new("/dev").join(device), &dev.join(device))?;
    }
    for folder in ["shm", "pts"] {
        fs::create_dir(dev.join(folder))?;
    }
    // What the manager says before there is a journal goes to the kernel's log, which is that of the machine around.
    File::create(words)?;
    File::create(dev.join("kmsg"))?;
    bind(words, &dev.join("kmsg"))?;
    let terminals = "newinstance,ptmxmode=0666,mode=620";
    put(
        "devpts",
        &dev.join("pts"),
        "devpts",
        MsFlags::empty(),
        terminals,
    )?;
    symlink("pts/ptmx", dev.join("ptmx"))?;
    put(
        "tmpfs",
        &dev.join("shm"),
        "tmpfs",
        MsFlags::empty(),
        "mode=1777",
    )
}

fn bind(from: &Path, to: &Path) -> Told {
    let bound = mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    bound.map_err(|errno| {
        let what = format!("bind {} to {}", from.display(), to.display());
        Failure::new(format!("{what}: {errno}"))
    })
}

fn put(kind: &str, to: &Path, source: &str, flags: MsFlags, options: &str) -> Told {
    let options = Some(options).filter(|options| !options.is_empty());
    mount(Some(source), to, Some(kind), flags, options)
        .map_err(|errno| Failure::new(format!("mount {kind} on {}: {errno}", to.display())))
}

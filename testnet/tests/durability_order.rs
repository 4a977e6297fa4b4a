//! The order in which files reach the disk, as strace sees it: write, fsync, rename, fsync of the folder; only then
//! is anything acknowledged. A killed process keeps what the kernel had; only this order survives a power cut.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use zzdot_client::store::{MARKER_FILE, SNAPSHOT_FILE};
use zzdot_testnet::{
    faults::{self, memory::life},
    products, programs,
};

/// What a program did, and succeeded in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// Created a file that did not exist.
    Create(PathBuf),
    /// Made a folder.
    MakeFolder(PathBuf),
    /// Wrote to a file.
    Write(PathBuf),
    /// Waited until a file or folder was on the disk.
    Sync(PathBuf),
    /// Gave a file or folder another name.
    Rename(PathBuf, PathBuf),
    /// Said something on standard output: an acknowledgement.
    Say,
}

struct Lab {
    _folder: TempDir,
    path: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    /// Runs `program` under strace.
    fn trace(&self, program: &Path, arguments: &[&OsStr]) -> Vec<Event> {
        const CALLS: &str = "trace=openat,open,mkdir,mkdirat,write,pwrite64,writev,fsync,fdatasync,\
                             rename,renameat,renameat2";
        let strace = programs::find("strace")
            .unwrap_or_else(|_| panic!("strace is missing; mend it with: apt-get install strace"));
        let log = env::temp_dir().join(format!("zzdot-trace-{}", std::process::id()));
        let output = Command::new(strace)
            .args(["-f", "-qq", "-y", "-e", "signal=none", "-e", CALLS, "-o"])
            .arg(&log)
            .arg("--")
            .arg(program)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = fs::read_to_string(&log).unwrap();
        fs::remove_file(&log).unwrap();
        events(&text, &self.path)
    }
}

/// The events below `folder` in what strace wrote, each where it was over.
fn events(text: &str, folder: &Path) -> Vec<Event> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut events = Vec::new();
    for line in text.lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        let call = if let Some(beginning) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, beginning);
            continue;
        } else if let Some(ending) = rest.strip_prefix("<... ") {
            let ending = ending.split_once("resumed>").unwrap().1;
            format!("{}{ending}", begun.remove(thread).unwrap())
        } else {
            rest.to_owned()
        };
        let Some((call, result)) = call.rsplit_once(" = ") else {
            continue;
        };
        if !result.starts_with('-') {
            events.extend(event(call, folder));
        }
    }
    events
}

fn event(call: &str, folder: &Path) -> Option<Event> {
    let (name, arguments) = call.split_once('(')?;
    let quoted: Vec<PathBuf> = arguments
        .split('"')
        .skip(1)
        .step_by(2)
        .map(PathBuf::from)
        .collect();
    let descriptor = || {
        let path = arguments.split_once('<')?.1.split_once('>')?.0;
        Some(PathBuf::from(path))
    };
    let inside = |path: PathBuf| path.starts_with(folder).then_some(path);
    match name {
        "open" | "openat" if arguments.contains("O_EXCL") => {
            Some(Event::Create(inside(quoted.into_iter().next()?)?))
        }
        "mkdir" | "mkdirat" => Some(Event::MakeFolder(inside(quoted.into_iter().next()?)?)),
        "write" | "writev" if arguments.starts_with("1<") => Some(Event::Say),
        "write" | "writev" | "pwrite64" => Some(Event::Write(inside(descriptor()?)?)),
        "fsync" | "fdatasync" => Some(Event::Sync(inside(descriptor()?)?)),
        "rename" | "renameat" | "renameat2" => {
            let [from, to] = quoted.try_into().ok()?;
            Some(Event::Rename(inside(from)?, inside(to)?))
        }
        _ => None,
    }
}

/// What came in a wrong order, or did not come.
type Disorder = String;

/// Each step after the one before it; returns the place behind the last.
fn in_order(events: &[Event], steps: &[(&str, Event)]) -> Result<usize, Disorder> {
    let mut from = 0;
    for (step, wanted) in steps {
        let position = events[from..].iter().position(|event| event == wanted);
        let position = position.ok_or_else(|| format!("no {step} ({wanted:?}) at its place"))?;
        from += position + 1;
    }
    Ok(from)
}

/// A file that was renamed into its place is whole on the disk before, and its name is before anything is said.
fn each_replacement(events: &[Event], file: &Path) -> Result<usize, Disorder> {
    let mut replacements = 0;
    let mut start = 0;
    for (position, event) in events.iter().enumerate() {
        let Event::Rename(aside, to) = event else {
            continue;
        };
        if to != file {
            continue;
        }
        in_order(
            &events[start..=position],
            &[
                ("exclusive creation", Event::Create(aside.clone())),
                ("write", Event::Write(aside.clone())),
                ("fsync of the file", Event::Sync(aside.clone())),
                ("rename", event.clone()),
            ],
        )?;
        nothing_after_its_sync(&events[start..=position], aside)?;
        let folder = file.parent().unwrap().to_owned();
        let after = &events[position..];
        let said = after.iter().position(|event| *event == Event::Say);
        let before_it_is_said = &after[..said.ok_or("it is never acknowledged")?];
        in_order(
            before_it_is_said,
            &[("fsync of the folder", Event::Sync(folder))],
        )?;
        replacements += 1;
        start = position + 1;
    }
    Ok(replacements)
}

fn nothing_after_its_sync(events: &[Event], file: &Path) -> Result<(), Disorder> {
    let last = |wanted: Event| events.iter().rposition(|event| *event == wanted);
    match (
        last(Event::Write(file.to_owned())),
        last(Event::Sync(file.to_owned())),
    ) {
        (Some(write), Some(sync)) if write < sync => Ok(()),
        _ => Err(format!(
            "{}: a write is not followed by fsync",
            file.display()
        )),
    }
}

/// An identity's folder is filled aside, whole on the disk, renamed, and its name on the disk before it is said.
fn whole_identity(events: &[Event], dir: &Path) -> Result<usize, Disorder> {
    let renamed = events
        .iter()
        .find(|event| matches!(event, Event::Rename(_, to) if to == dir))
        .ok_or("it is not renamed into its place")?;
    let Event::Rename(aside, _) = renamed else {
        unreachable!("just matched");
    };
    let parent = dir.parent().unwrap();
    let files: Vec<&PathBuf> = events
        .iter()
        .filter_map(|event| match event {
            Event::Create(path) if path.starts_with(aside) => Some(path),
            _ => None,
        })
        .collect();
    for file in &files {
        in_order(
            events,
            &[
                ("folder", Event::MakeFolder(aside.clone())),
                ("exclusive creation", Event::Create((*file).clone())),
                ("write", Event::Write((*file).clone())),
                ("fsync of the file", Event::Sync((*file).clone())),
                ("fsync of its folder", Event::Sync(aside.clone())),
                ("rename", renamed.clone()),
                ("fsync of the folder above", Event::Sync(parent.to_owned())),
                ("acknowledgement", Event::Say),
            ],
        )?;
        nothing_after_its_sync(events, file)?;
    }
    in_order(
        events,
        &[
            ("state folder", Event::MakeFolder(parent.to_owned())),
            (
                "fsync of the one above",
                Event::Sync(parent.parent().unwrap().to_owned()),
            ),
            ("rename", renamed.clone()),
        ],
    )?;
    let strays = events
        .iter()
        .filter(|event| matches!(event, Event::Create(path) if !path.starts_with(aside)));
    match strays.count() {
        0 => Ok(files.len()),
        strays => Err(format!("{strays} files are not made aside")),
    }
}

fn stamps(lab: &Lab) -> Vec<Event> {
    let times = OsStr::new("4");
    lab.trace(
        &faults::example("stamp_walk").unwrap(),
        &[lab.path.as_os_str(), times],
    )
}

#[test]
fn a_stamp_is_written_synchronised_renamed_and_its_folder_synchronised_before_it_is_used() {
    let lab = Lab::new();
    let file = lab.path.join(zzdot_zonegen::publication::STATE_FILE);
    assert_eq!(each_replacement(&stamps(&lab), &file), Ok(4));
}

#[test]
fn an_identity_is_on_the_disk_before_its_name_is_said() {
    let lab = Lab::new();
    let dir = lab.path.join("state/identity");
    let zonegen = products::find("zzdot-zonegen").unwrap();
    let events = lab.trace(&zonegen, &[OsStr::new("new"), dir.as_os_str()]);
    assert_eq!(whole_identity(&events, &dir), Ok(13), "{events:#?}");
}

#[test]
fn what_the_client_remembers_is_on_the_disk_before_it_is_acknowledged() {
    let lab = Lab::new();
    let state = lab.path.join("state");
    let steps = life().len();
    let numbers = ["0", &steps.to_string(), "1"].map(OsString::from);
    let mut arguments = vec![state.as_os_str()];
    arguments.extend(numbers.iter().map(OsString::as_os_str));
    let events = lab.trace(&faults::example("store_walk").unwrap(), &arguments);
    // The first of each is that of the empty store.
    for file in [SNAPSHOT_FILE, MARKER_FILE] {
        assert_eq!(each_replacement(&events, &state.join(file)), Ok(1 + steps));
    }
    let renamed = |file: &str| {
        let file = state.join(file);
        let renames = events.iter().enumerate();
        let renames =
            renames.filter(|(_, event)| matches!(event, Event::Rename(_, to) if *to == file));
        renames.map(|(position, _)| position).collect::<Vec<_>>()
    };
    let (snapshots, marks) = (renamed(SNAPSHOT_FILE), renamed(MARKER_FILE));
    for (snapshot, mark) in snapshots.iter().zip(&marks) {
        assert!(snapshot < mark, "acknowledged before it was written");
    }
}

#[test]
fn a_step_left_out_or_two_exchanged_would_be_noticed() {
    let lab = Lab::new();
    let file = lab.path.join(zzdot_zonegen::publication::STATE_FILE);
    let events = stamps(&lab);
    assert_eq!(events.len(), 4 * 6, "{events:#?}");
    // All steps but the acknowledgement, which ends the first of four rounds.
    for position in 0..5 {
        let mut without = events.clone();
        let left_out = without.remove(position);
        assert_ne!(
            each_replacement(&without, &file),
            Ok(4),
            "without {left_out:?}"
        );
    }
    for position in 0..5 {
        let mut exchanged = events.clone();
        exchanged.swap(position, position + 1);
        assert!(
            each_replacement(&exchanged, &file).is_err(),
            "{:?} too early",
            events[position + 1]
        );
    }
}

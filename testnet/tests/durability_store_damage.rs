//! Not one octet of the client's store changes unnoticed: what is remembered is the same, or it is refused. It is
//! never another memory, and never a first use.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use zzdot_client::store::{DATABASE_FOLDER, MARKER_FILE, SNAPSHOT_FILE, Store};
use zzdot_testnet::faults::{self, example, memory::life};

/// Two identities, one of them met at two servers.
const STEPS: usize = 6;

/// How many of the places came to which end.
type Tally = BTreeMap<String, usize>;

/// A closed store, of which copies are damaged.
struct Template {
    folder: TempDir,
}

impl Template {
    fn whole() -> Self {
        let folder = faults::folder().unwrap();
        let (store, _) = Store::open(&folder.path().join("state")).unwrap();
        for step in &life()[..STEPS] {
            step.apply(&store).unwrap();
        }
        drop(store);
        Self { folder }
    }

    fn without_snapshot() -> Self {
        let template = Self::whole();
        fs::remove_file(template.path().join(SNAPSHOT_FILE)).unwrap();
        template
    }

    fn without_database() -> Self {
        let template = Self::whole();
        fs::remove_dir_all(template.path().join(DATABASE_FOLDER)).unwrap();
        template
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The database's files, relative to the state folder.
    fn database_files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.path().join(DATABASE_FOLDER)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = entry.file_name().into_string().unwrap();
                files.push(format!("{DATABASE_FOLDER}/{name}"));
            }
        }
        files.sort();
        files
    }

    /// Damages each `step`th place of a file in turn.
    fn damage(&self, file: &str, manner: &str, step: usize) -> Tally {
        let end = usize::try_from(fs::metadata(self.path().join(file)).unwrap().len()).unwrap();
        let mut tally = Tally::new();
        let mut next = 0;
        while next < end {
            let scratch = faults::folder().unwrap();
            let said = places(
                &self.path(),
                scratch.path(),
                file,
                manner,
                [next, end, step],
            );
            let before = next;
            for (place, verdict) in said {
                assert_eq!(place, next, "{file}");
                let fine = ["whole", "mended", "refused"].contains(&verdict.as_str());
                assert!(fine, "{file}, {manner} at {place}: {verdict}");
                *tally.entry(verdict).or_default() += 1;
                next += step;
            }
            assert!(next > before, "{file}, {manner} at {next}: no verdict");
        }
        println!("{file}, {manner}: {tally:?}");
        tally
    }
}

fn places(
    template: &Path,
    scratch: &Path,
    file: &str,
    manner: &str,
    range: [usize; 3],
) -> Vec<(usize, String)> {
    let output = Command::new(example("store_damage").unwrap())
        .arg(template)
        .arg(scratch)
        .args([file, manner])
        .args(range.map(|number| number.to_string()))
        // Panics of the database library, which need no word on where they came from.
        .env("RUST_BACKTRACE", "0")
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{file}, {manner}: {output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let (place, verdict) = line.split_once(' ').unwrap();
            (place.parse().unwrap(), verdict.to_owned())
        })
        .collect()
}

fn total(tally: &Tally) -> usize {
    tally.values().sum()
}

fn count(tally: &Tally, verdict: &str) -> usize {
    tally.get(verdict).copied().unwrap_or_default()
}

#[test]
fn each_flipped_octet_of_the_snapshot_is_mended_out_of_the_database() {
    let tally = Template::whole().damage(SNAPSHOT_FILE, "flip", 1);
    assert_eq!(count(&tally, "refused"), 0, "{tally:?}");
    assert!(count(&tally, "mended") > 1500, "{tally:?}");
}

#[test]
fn each_flipped_octet_of_the_database_is_mended_out_of_the_snapshot() {
    let template = Template::whole();
    let mut all = 0;
    for file in template.database_files() {
        let tally = template.damage(&file, "flip", 1);
        assert_eq!(count(&tally, "refused"), 0, "{file}: {tally:?}");
        all += total(&tally);
    }
    assert!(all > 4000, "{all}");
}

#[test]
fn each_flipped_octet_of_a_snapshot_without_a_database_is_refused() {
    let tally = Template::without_database().damage(SNAPSHOT_FILE, "flip", 1);
    assert!(count(&tally, "refused") > 1500, "{tally:?}");
}

#[test]
fn each_flipped_octet_of_a_database_without_a_snapshot_is_refused_or_changes_nothing() {
    let template = Template::without_snapshot();
    let mut refused = 0;
    for file in template.database_files() {
        refused += count(&template.damage(&file, "flip", 1), "refused");
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn each_flipped_octet_of_the_mark_of_an_earlier_use_changes_nothing() {
    let template = Template::whole();
    let tally = template.damage(MARKER_FILE, "flip", 1);
    assert_eq!(count(&tally, "whole"), total(&tally), "{tally:?}");
}

#[test]
fn a_file_cut_anywhere_is_mended_out_of_the_other_copy() {
    let template = Template::whole();
    let mut files = template.database_files();
    files.extend([SNAPSHOT_FILE.to_owned(), MARKER_FILE.to_owned()]);
    for file in files {
        let tally = template.damage(&file, "cut", 7);
        assert_eq!(count(&tally, "refused"), 0, "{file}: {tally:?}");
    }
}

#[test]
fn the_only_copy_cut_anywhere_is_refused_or_has_lost_nothing() {
    let tally = Template::without_database().damage(SNAPSHOT_FILE, "cut", 7);
    // At the most the line's end behind it.
    assert!(count(&tally, "refused") + 1 >= total(&tally), "{tally:?}");
    let template = Template::without_snapshot();
    for file in template.database_files() {
        template.damage(&file, "cut", 7);
    }
}

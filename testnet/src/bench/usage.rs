//! What processes have used, as the kernel tells in `/proc`.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

/// CPU time of all threads of a process and of its descendants, to the nanosecond, as the scheduler counts it.
///
/// A thread that ended takes its time along; the difference of two readings is meaningful while threads come and go only when it
/// is long. What is no longer there counts as nothing.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    tree(pid)
        .into_iter()
        .flat_map(|process| thread_times(process).into_values())
        .sum()
}

/// CPU time of each thread of a process, by the thread's number.
#[must_use]
pub fn thread_times(pid: u32) -> BTreeMap<u32, Duration> {
    numbered(Path::new(&format!("/proc/{pid}/task")))
        .filter_map(|task| {
            let stat = fs::read_to_string(format!("/proc/{pid}/task/{task}/schedstat")).ok()?;
            let nanoseconds = stat.split_whitespace().next()?.parse().ok()?;
            Some((task, Duration::from_nanos(nanoseconds)))
        })
        .collect()
}

/// Octets of memory that a process and its descendants have in RAM (VmRSS).
#[must_use]
pub fn resident_octets(pid: u32) -> u64 {
    tree(pid).into_iter().map(own_resident_octets).sum()
}

/// A process and its descendants.
fn tree(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for process in numbered(Path::new("/proc")) {
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else {
            continue;
        };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(process).unwrap_or_default());
        next += 1;
    }
    found
}

fn own_resident_octets(pid: u32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| resident(&status))
        .unwrap_or_default()
}

/// Field 4 of `stat`; the name in field 2 may hold blanks and parentheses.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn numbered(folder: &Path) -> impl Iterator<Item = u32> + use<> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_name_may_hold_anything() {
        assert_eq!(parent("77 (a) 5 (b) S 12 77 77 0"), Some(12));
        assert_eq!(parent("77"), None);
    }

    #[test]
    fn memory_is_read_in_octets() {
        assert_eq!(
            resident("Name:\tx\nVmRSS:\t    5876 kB\nThreads:\t1\n"),
            Some(5876 * 1024)
        );
        assert_eq!(resident("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn the_work_of_a_child_is_counted_for_its_parent() {
        // The inner shell works until its input ends, and tells when it has done something.
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "(i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; read line); true",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(shell.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        let pid = shell.id();
        assert_eq!(line, "done\n");
        assert!(tree(pid).len() >= 2);
        assert!(
            cpu_time(pid) > Duration::from_millis(1),
            "{:?}",
            cpu_time(pid)
        );
        assert!(resident_octets(pid) > 100_000);
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}

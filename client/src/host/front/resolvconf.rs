//! A record with `resolvconf(8)`: Debian's, or openresolv's.
//!
//! Both put a server of the loopback before all others and cut the list behind it. Neither's exit status says whether it
//! did: scripts of other packages count there too. So the file is looked at. In openresolv a record can be exclusive, as
//! those of `wg-quick` are, and then ours counts only when it is exclusive as well, and later.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::RESOLV_CONF;
use super::steps::FrontError;
use crate::host::files::{named_in, read};
use crate::host::records::{RECORD, records};
use crate::host::{Domain, Places};

const TEXT_MAX: usize = 64 * 1024;

/// Has our record there, and in front.
pub(super) fn put(
    places: &Places,
    own: &[IpAddr],
    notes: &mut Vec<String>,
) -> Result<(), FrontError> {
    let text: String = own.iter().map(|ip| format!("nameserver {ip}\n")).collect();
    let all = records(places);
    let here = all.iter().any(|record| record.name == RECORD);
    if here && asks_us_alone(places, own) {
        return Ok(());
    }
    let program = find().ok_or_else(|| failed("not installed"))?;
    let mut said = run(&program, &["-a", RECORD], &text)?;
    if !asks_us_alone(places, own) {
        // One exclusive record at the most: of two, openresolv forgets one.
        run(&program, &["-d", RECORD], "")?;
        let search: Vec<_> = all
            .iter()
            .filter(|record| record.name != RECORD)
            .flat_map(|record| record.search.iter().map(Domain::to_string))
            .collect();
        let text = match search.is_empty() {
            true => text,
            false => format!("{text}search {}\n", search.join(" ")),
        };
        let exclusive = run(&program, &["-x", "-a", RECORD], &text)?;
        if !asks_us_alone(places, own) {
            let said = [said, exclusive].into_iter().flatten();
            let said = said.collect::<Vec<_>>().join("; ");
            let problem = format!("{RESOLV_CONF} does not name this program alone; {said}");
            return Err(failed(problem.trim_end_matches("; ")));
        }
        said = exclusive;
    }
    // Somebody's script, not the file's.
    notes.extend(said.map(|said| format!("resolvconf: {said}")));
    Ok(())
}

/// Takes our record away, where there is one.
pub(super) fn take_back(places: &Places) -> Result<(), FrontError> {
    // A resolvconf that was removed itself keeps nothing.
    let Some(program) = find() else {
        return Ok(());
    };
    let is_there = || records(places).iter().any(|record| record.name == RECORD);
    if !is_there() {
        // Whatever stopped us before may have stopped it before it wrote the file.
        run(&program, &["-u"], "")?;
        return Ok(());
    }
    let said = run(&program, &["-d", RECORD], "")?;
    match is_there() {
        true => Err(failed(&said.unwrap_or_else(|| "keeps our record".into()))),
        false => Ok(()),
    }
}

fn asks_us_alone(places: &Places, own: &[IpAddr]) -> bool {
    let text = read(&places.at(RESOLV_CONF), TEXT_MAX).unwrap_or_default();
    let servers = named_in(&text);
    !servers.is_empty() && servers.iter().all(|server| own.contains(&server.ip()))
}

/// What it said when it was not content.
fn run(program: &Path, arguments: &[&str], input: &str) -> Result<Option<String>, FrontError> {
    let failed = |error: io::Error| failed(&error.to_string());
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        match io::Write::write_all(&mut stdin, input.as_bytes()) {
            // It may have seen enough, or need none.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => {}
        }
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(Some(format!("{}: {}", output.status, said.trim())))
}

fn failed(problem: &str) -> FrontError {
    FrontError::Resolvconf(problem.to_owned())
}

/// Not resolved's own, which is another name for `resolvectl` and keeps nothing of a loopback.
pub(super) fn find() -> Option<PathBuf> {
    [
        "/usr/sbin/resolvconf",
        "/sbin/resolvconf",
        "/usr/bin/resolvconf",
    ]
    .iter()
    .map(Path::new)
    .filter(|path| path.is_file())
    .find(|path| std::fs::canonicalize(path).is_ok_and(|found| !found.ends_with("resolvectl")))
    .map(Path::to_owned)
}

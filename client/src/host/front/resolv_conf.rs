//! `/etc/resolv.conf` with this program in it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use data_encoding::BASE64;
use nix::errno::Errno;
use zzdot_zonegen::durable;

use super::journal::{ORIGINAL_BYTES_MAX, Original, read_exactly};

/// By this line our own file is known.
const MARK: &str =
    "# zzdot-client is in front; `zzdot-client front restore` puts back what stood here.";
/// The C library looks at three (`resolv.conf(5)`).
const SERVERS_MAX: usize = 3;

/// Our text. Search list and options stay as they were; the options that say how to treat several servers go, since
/// there is one, and so does `trust-ad`: nobody vouched for it.
pub(super) fn text(listen: &[SocketAddr], original: Option<&str>) -> String {
    let mut text = format!("{MARK}\n");
    for server in listen.iter().take(SERVERS_MAX) {
        text.push_str(&format!("nameserver {}\n", server.ip()));
    }
    let kept = |line: &&str| {
        ["search", "domain", "sortlist", "options"]
            .iter()
            .any(|word| {
                line.strip_prefix(word)
                    .is_some_and(|rest| rest.starts_with([' ', '\t']))
            })
    };
    for line in original.unwrap_or_default().lines().filter(kept) {
        let words: Vec<_> = line
            .split_whitespace()
            .filter(|word| !matches!(*word, "rotate" | "trust-ad"))
            .collect();
        if words.len() > 1 {
            text.push_str(&words.join(" "));
            text.push('\n');
        }
    }
    text
}

/// Is what stands there ours? A link is not, wherever it leads.
pub(super) fn is_ours(path: &Path) -> io::Result<bool> {
    if path.is_symlink() {
        return Ok(false);
    }
    let text = read_exactly(path, ORIGINAL_BYTES_MAX)?;
    Ok(text.is_some_and(|text| text.lines().next() == Some(MARK)))
}

/// Puts a text there, in the place of a link too; leaves alone what is the same.
pub(super) fn write(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let same = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
        && fs::read(path).is_ok_and(|found| found == contents);
    if same {
        return Ok(());
    }
    match durable::replace(path, contents, mode) {
        Err(error) if is_mounted(&error) => fill(path, contents),
        replaced => replaced,
    }
}

/// A container's file is mounted from outside: it can be filled and not exchanged. One write covers all that stood there,
/// so that a crash leaves nothing worse than empty lines at the end.
fn fill(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let found = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut padded = contents.to_vec();
    padded.resize(contents.len().max(found.min(ORIGINAL_BYTES_MAX)), b'\n');
    file.write_all(&padded)?;
    file.set_len(contents.len() as u64)?;
    file.sync_all()
}

/// Puts back what stood there, but where somebody else has written since: that is newer than ours.
pub(super) fn put_back(path: &Path, original: &Original) -> io::Result<()> {
    if !is_ours(path)? {
        return Ok(());
    }
    match original {
        Original::Absent => match fs::remove_file(path) {
            Err(error) if is_mounted(&error) => fill(path, b""),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => durable::sync_folder(durable::parent(path)),
        },
        Original::Link(target) => {
            let beside = path.with_file_name(".resolv.conf.zzdot");
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::os::unix::fs::symlink(target, &beside)?;
            fs::rename(&beside, path)?;
            durable::sync_folder(durable::parent(path))
        }
        Original::File { contents, mode } => {
            let contents = BASE64
                .decode(contents.as_bytes())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            write(path, &contents, *mode)
        }
    }
}

fn is_mounted(error: &io::Error) -> bool {
    [Errno::EBUSY, Errno::EXDEV]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn listen() -> [SocketAddr; 2] {
        ["127.0.0.1:53", "[::1]:53"].map(|address| address.parse().unwrap())
    }

    #[test]
    fn our_file_keeps_what_says_nothing_about_servers() {
        let before = "nameserver 192.168.1.1\nsearch lan example\noptions edns0 trust-ad rotate\noptions trust-ad\n";
        let ours = text(&listen(), Some(before));
        let expected = "nameserver 127.0.0.1\nnameserver ::1\nsearch lan example\noptions edns0\n";
        assert_eq!(ours.strip_prefix(MARK).unwrap().trim_start(), expected);
    }

    #[test]
    fn whatever_stood_there_stands_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let ours = text(&listen(), None);
        let make: [&dyn Fn(); 3] = [
            &|| {},
            &|| fs::write(&path, "nameserver 192.168.1.1\n\u{0}").unwrap(),
            &|| {
                fs::remove_file(&path).unwrap();
                std::os::unix::fs::symlink("../run/elsewhere", &path).unwrap();
            },
        ];
        for make in make {
            make();
            let before = Original::of(&path).unwrap();
            write(&path, ours.as_bytes(), 0o644).unwrap();
            assert!(is_ours(&path).unwrap());
            put_back(&path, &before).unwrap();
            assert_eq!(Original::of(&path).unwrap(), before);
            assert!(!is_ours(&path).unwrap());
        }
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn what_somebody_else_wrote_since_is_newer_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        write(&path, text(&listen(), None).as_bytes(), 0o644).unwrap();
        fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
        put_back(&path, &Original::Absent).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "nameserver 10.0.0.1\n");
    }

    #[test]
    fn a_mounted_file_is_filled_and_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        fs::write(&path, "a long text that stood there before\n").unwrap();
        fill(&path, b"short\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short\n");
        fill(&path, b"and a longer one again\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"and a longer one again\n");
    }
}

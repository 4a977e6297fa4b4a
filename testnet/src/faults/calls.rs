//! Which system calls have to do with files, and which file a call has to do with.

use std::{
    fs::{self, File},
    os::unix::{ffi::OsStringExt, fs::FileExt},
    path::{Path, PathBuf},
};

use nix::{
    libc::{self, c_long},
    unistd::Pid,
};

/// No path is longer (PATH_MAX).
const MAX_PATH_OCTETS: usize = 4096;

/// A system call that concerns a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What it does.
    pub effect: Effect,
    /// How many octets it writes, where it does that.
    pub octets: Option<u64>,
}

/// What a call does to the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It looks.
    Read,
    /// It changes something and needs no space for that.
    Change,
    /// It may need space.
    Grow,
}

/// Where a call's arguments name its file.
#[derive(Clone, Copy)]
enum Place {
    /// A descriptor.
    Descriptor,
    /// A path.
    Path,
    /// Two paths, of which the second says where something will be.
    TwoPaths,
    /// A folder's descriptor, and a path from there; an empty one means the descriptor.
    At,
    /// The same twice.
    TwoAt,
}

/// How the effect of a call is known.
#[derive(Clone, Copy)]
enum Doing {
    /// It is always this.
    Always(Effect),
    /// The flags of `open` are in this argument.
    Open(usize),
    /// The length is in the third argument.
    Write,
}

use Doing::{Always, Open, Write};
use Effect::{Change, Grow, Read};
use Place::{At, Descriptor, TwoAt, TwoPaths};

/// `flock` is not among them: it has to do with other processes, not with the disk.
const CALLS: &[(c_long, &str, Place, Doing)] = &[
    (libc::SYS_open, "open", Place::Path, Open(1)),
    (libc::SYS_openat, "openat", At, Open(2)),
    (libc::SYS_write, "write", Descriptor, Write),
    (libc::SYS_pwrite64, "pwrite64", Descriptor, Write),
    (libc::SYS_writev, "writev", Descriptor, Always(Grow)),
    (libc::SYS_pwritev, "pwritev", Descriptor, Always(Grow)),
    (libc::SYS_ftruncate, "ftruncate", Descriptor, Always(Grow)),
    (libc::SYS_fallocate, "fallocate", Descriptor, Always(Grow)),
    (libc::SYS_fsync, "fsync", Descriptor, Always(Grow)),
    (libc::SYS_fdatasync, "fdatasync", Descriptor, Always(Grow)),
    (
        libc::SYS_sync_file_range,
        "sync_file_range",
        Descriptor,
        Always(Grow),
    ),
    (libc::SYS_mkdir, "mkdir", Place::Path, Always(Grow)),
    (libc::SYS_mkdirat, "mkdirat", At, Always(Grow)),
    (libc::SYS_rename, "rename", TwoPaths, Always(Grow)),
    (libc::SYS_renameat, "renameat", TwoAt, Always(Grow)),
    (libc::SYS_renameat2, "renameat2", TwoAt, Always(Grow)),
    (libc::SYS_link, "link", TwoPaths, Always(Grow)),
    (libc::SYS_linkat, "linkat", TwoAt, Always(Grow)),
    (libc::SYS_unlink, "unlink", Place::Path, Always(Change)),
    (libc::SYS_unlinkat, "unlinkat", At, Always(Change)),
    (libc::SYS_rmdir, "rmdir", Place::Path, Always(Change)),
    (libc::SYS_chmod, "chmod", Place::Path, Always(Change)),
    (libc::SYS_fchmod, "fchmod", Descriptor, Always(Change)),
    (libc::SYS_fchmodat, "fchmodat", At, Always(Change)),
    (libc::SYS_read, "read", Descriptor, Always(Read)),
    (libc::SYS_pread64, "pread64", Descriptor, Always(Read)),
    (libc::SYS_getdents64, "getdents64", Descriptor, Always(Read)),
    (libc::SYS_stat, "stat", Place::Path, Always(Read)),
    (libc::SYS_lstat, "lstat", Place::Path, Always(Read)),
    (libc::SYS_fstat, "fstat", Descriptor, Always(Read)),
    (libc::SYS_newfstatat, "newfstatat", At, Always(Read)),
    (libc::SYS_statx, "statx", At, Always(Read)),
    (libc::SYS_access, "access", Place::Path, Always(Read)),
    (libc::SYS_faccessat, "faccessat", At, Always(Read)),
    (libc::SYS_faccessat2, "faccessat2", At, Always(Read)),
];

/// What thread `tid` is about to do, if it has to do with `folder`.
pub(super) fn decode(tid: Pid, number: c_long, arguments: [u64; 6], folder: &Path) -> Option<Call> {
    let (_, name, place, doing) = CALLS.iter().find(|call| call.0 == number)?;
    let process = Process(tid);
    let paths = match place {
        Descriptor => vec![process.descriptor(arguments[0])?],
        Place::Path => vec![process.path(arguments[0])?],
        TwoPaths => vec![process.path(arguments[1])?, process.path(arguments[0])?],
        At => vec![process.at(arguments[0], arguments[1])?],
        TwoAt => vec![
            process.at(arguments[2], arguments[3])?,
            process.at(arguments[0], arguments[1])?,
        ],
    };
    let path = paths.into_iter().find(|path| path.starts_with(folder))?;
    let (effect, octets) = match *doing {
        Always(effect) => (effect, None),
        Write => (Grow, Some(arguments[2])),
        Open(flags) => (opening(arguments[flags]), None),
    };
    Some(Call {
        name,
        path,
        effect,
        octets,
    })
}

fn opening(flags: u64) -> Effect {
    let has = |flag: i32| flags & u64::from(flag.unsigned_abs()) != 0;
    if has(libc::O_CREAT) {
        Grow
    } else if has(libc::O_TRUNC) {
        Change
    } else {
        Read
    }
}

/// A stopped process, seen through `/proc`.
struct Process(Pid);

impl Process {
    fn descriptor(&self, number: u64) -> Option<PathBuf> {
        let number = number as u32;
        fs::read_link(format!("/proc/{}/fd/{number}", self.0)).ok()
    }

    fn at(&self, folder: u64, address: u64) -> Option<PathBuf> {
        let path = self.text(address)?;
        if path.is_absolute() {
            return Some(path);
        }
        let base = if folder as u32 as i32 == libc::AT_FDCWD {
            self.current_folder()?
        } else {
            self.descriptor(folder)?
        };
        Some(if path.as_os_str().is_empty() {
            base
        } else {
            base.join(path)
        })
    }

    fn path(&self, address: u64) -> Option<PathBuf> {
        Some(self.current_folder()?.join(self.text(address)?))
    }

    fn current_folder(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/cwd", self.0)).ok()
    }

    fn text(&self, address: u64) -> Option<PathBuf> {
        let memory = File::open(format!("/proc/{}/mem", self.0)).ok()?;
        let mut text = vec![0; MAX_PATH_OCTETS];
        // Less than that may be mapped.
        let octets = memory.read_at(&mut text, address).ok()?;
        let end = text[..octets].iter().position(|octet| *octet == 0)?;
        text.truncate(end);
        Some(PathBuf::from(std::ffi::OsString::from_vec(text)))
    }
}

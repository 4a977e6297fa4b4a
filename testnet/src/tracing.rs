//! Follows a program from system call to system call (ptrace(2)), and lets somebody have a hand in each.

use std::{
    ffi::OsStr,
    io::Write,
    process::{Child, Command, Stdio},
};

use nix::{
    errno::Errno,
    libc::{self, user_regs_struct},
    sys::{
        ptrace::{self, Options},
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// Waits until it is being traced before it becomes the program.
const LAUNCHER: &str = "read -r go && exec \"$0\" \"$@\"";

/// Not a system call: the kernel does nothing.
pub(crate) const NO_CALL: u64 = u64::MAX;

/// Who has a hand in the system calls of a program.
pub(crate) trait Watch {
    /// A thread is about to make a call.
    fn before_call(&mut self, tid: Pid) -> Result<(), Errno>;

    /// The call of a thread is about to return.
    fn after_call(&mut self, tid: Pid) -> Result<(), Errno>;
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// The command that waits for [`follow`], and becomes `program` then.
pub(crate) fn launcher(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", LAUNCHER]).arg(program);
    command.stdin(Stdio::piped());
    command
}

/// Follows what a [`launcher`] becomes until it ends. It dies with the caller.
pub(crate) fn follow(child: &mut Child, watch: &mut impl Watch) -> Result<End, Errno> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options)?;
    if let Some(mut stdin) = child.stdin.take() {
        let told = stdin.write_all(b"go\n");
        told.map_err(|error| error.raw_os_error().map_or(Errno::EPIPE, Errno::from_raw))?;
    }
    // Other tests' children are not ours to wait for.
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    // The launcher has become the program.
    let mut running = false;
    loop {
        let (tid, signal) = match waitpid(Pid::from_raw(-1), Some(flags))? {
            WaitStatus::Exited(ended, code) if ended == pid => return Ok(End::Exited(code)),
            WaitStatus::Signaled(ended, signal, _) if ended == pid => {
                return Ok(End::Signaled(signal as i32));
            }
            WaitStatus::PtraceSyscall(tid) => {
                at_call(tid, watch)?;
                (tid, None)
            }
            WaitStatus::PtraceEvent(tid, _, event) => {
                running |= event == libc::PTRACE_EVENT_EXEC;
                (tid, None)
            }
            WaitStatus::Stopped(tid, signal) => (tid, Some(signal)),
            _ => continue,
        };
        resume(tid, signal, running)?;
    }
}

fn resume(tid: Pid, signal: Option<Signal>, running: bool) -> Result<(), Errno> {
    let resumed = if running {
        ptrace::syscall(tid, signal)
    } else {
        ptrace::cont(tid, signal)
    };
    alive(resumed).map(drop)
}

fn at_call(tid: Pid, watch: &mut impl Watch) -> Result<(), Errno> {
    let Some(info) = alive(ptrace::syscall_info(tid))? else {
        return Ok(());
    };
    match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => watch.before_call(tid),
        libc::PTRACE_SYSCALL_INFO_EXIT => watch.after_call(tid),
        _ => Ok(()),
    }
}

/// The number of a call and its arguments.
pub(crate) fn call(registers: &user_regs_struct) -> (i64, [u64; 6]) {
    let arguments = [
        registers.rdi,
        registers.rsi,
        registers.rdx,
        registers.r10,
        registers.r8,
        registers.r9,
    ];
    (registers.orig_rax.cast_signed(), arguments)
}

/// A thread may have been killed at any moment: then there is nothing to do, and nothing to tell.
pub(crate) fn alive<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ESRCH) => Ok(None),
        Err(errno) => Err(errno),
    }
}

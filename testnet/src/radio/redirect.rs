//! Has a program speak with the radio where it believes that it speaks with the kernel.
//!
//! Sockets stay what they are, sockets of generic netlink, which a program waits for, reads and closes as ever. Two numbers are
//! changed, both in addresses: a message to port 0, which is the kernel's, goes to the radio's port, and one from there
//! comes from port 0. Groups that the kernel does not have are joined here.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    errno::Errno,
    libc,
    sys::ptrace::{self, AddressType},
    unistd::Pid,
};

use super::answers::{FIRST_GROUP, MLME};
use crate::tracing::{NO_CALL, Watch, alive, call};

/// `struct sockaddr_nl`: where its port is.
const PORT_AT: u64 = 4;
const KERNEL: u32 = 0;
/// Every kernel of Linux has fewer groups in front of those of nl80211.
const GROUPS: std::ops::Range<u32> = FIRST_GROUP..FIRST_GROUP + 7;

/// The ports of sockets that want to hear of associations.
pub(super) type Listeners = Arc<Mutex<BTreeSet<u32>>>;

pub(super) struct Redirect {
    /// The radio's.
    port: u32,
    listeners: Listeners,
    /// Sockets of generic netlink by descriptor, which all threads share, and their ports once they are known.
    sockets: HashMap<u64, Option<u32>>,
    /// What is to be done when a thread's call returns.
    pending: HashMap<Pid, Pending>,
}

#[derive(Clone, Copy)]
enum Pending {
    /// It is a socket of generic netlink.
    Opened,
    /// The kernel's port stood in the address there.
    Sent { address: u64 },
    /// The sender's address is to be found there.
    Received { address: u64 },
    /// The socket's own is.
    Named { socket: u64, address: u64 },
    /// It did not happen, and went well.
    Pretended,
}

impl Redirect {
    pub(super) fn new(port: u32, listeners: Listeners) -> Self {
        Self {
            port,
            listeners,
            sockets: HashMap::new(),
            pending: HashMap::new(),
        }
    }

    /// What a call means; `Sent` and `Pretended` are not done yet.
    fn meaning(
        &self,
        tid: Pid,
        number: i64,
        arguments: [u64; 6],
    ) -> Result<Option<Pending>, Errno> {
        const GENERIC: [u64; 2] = [libc::AF_NETLINK as u64, libc::NETLINK_GENERIC as u64];
        let [socket, second, third, _, fifth, _] = arguments;
        if number == libc::SYS_socket {
            return Ok((GENERIC == [socket, third]).then_some(Pending::Opened));
        }
        if !self.sockets.contains_key(&socket) {
            return Ok(None);
        }
        let found = |address: u64| (address != 0).then_some(address);
        // The pointer to the address is the first field of `struct msghdr`.
        let in_header = || read(tid, second).map(|address| found(address.unwrap_or(0)));
        Ok(match number {
            libc::SYS_sendto => found(fifth).map(|address| Pending::Sent { address }),
            libc::SYS_sendmsg => in_header()?.map(|address| Pending::Sent { address }),
            libc::SYS_recvfrom => found(fifth).map(|address| Pending::Received { address }),
            libc::SYS_recvmsg => in_header()?.map(|address| Pending::Received { address }),
            libc::SYS_getsockname => Some(Pending::Named {
                socket,
                address: second,
            }),
            libc::SYS_setsockopt => self.joins(tid, arguments)?.then_some(Pending::Pretended),
            _ => None,
        })
    }

    /// Whether somebody joins a group of the radio; who wants to hear of associations is noted.
    fn joins(&self, tid: Pid, arguments: [u64; 6]) -> Result<bool, Errno> {
        const JOIN: [u64; 2] = [
            libc::SOL_NETLINK as u64,
            libc::NETLINK_ADD_MEMBERSHIP as u64,
        ];
        let [socket, level, option, value, ..] = arguments;
        if JOIN != [level, option] {
            return Ok(false);
        }
        let group = read(tid, value)?.unwrap_or(0) as u32;
        if group == MLME
            && let Some(Some(port)) = self.sockets.get(&socket)
        {
            let listeners = self.listeners.lock();
            listeners
                .unwrap_or_else(PoisonError::into_inner)
                .insert(*port);
        }
        Ok(GROUPS.contains(&group))
    }
}

impl Watch for Redirect {
    fn before_call(&mut self, tid: Pid) -> Result<(), Errno> {
        let Some(mut registers) = alive(ptrace::getregs(tid))? else {
            return Ok(());
        };
        let (number, arguments) = call(&registers);
        if number == libc::SYS_close {
            self.sockets.remove(&arguments[0]);
            return Ok(());
        }
        let Some(pending) = self.meaning(tid, number, arguments)? else {
            return Ok(());
        };
        match pending {
            Pending::Sent { address } if !turn(tid, address, KERNEL, self.port)? => return Ok(()),
            Pending::Pretended => {
                registers.orig_rax = NO_CALL;
                alive(ptrace::setregs(tid, registers))?;
            }
            _ => {}
        }
        self.pending.insert(tid, pending);
        Ok(())
    }

    fn after_call(&mut self, tid: Pid) -> Result<(), Errno> {
        let Some(pending) = self.pending.remove(&tid) else {
            return Ok(());
        };
        let Some(mut registers) = alive(ptrace::getregs(tid))? else {
            return Ok(());
        };
        let failed = registers.rax.cast_signed() < 0;
        match pending {
            Pending::Sent { address } => turn(tid, address, self.port, KERNEL).map(drop),
            Pending::Pretended => {
                registers.rax = 0;
                alive(ptrace::setregs(tid, registers)).map(drop)
            }
            _ if failed => Ok(()),
            Pending::Opened => {
                self.sockets.insert(registers.rax, None);
                Ok(())
            }
            Pending::Received { address } => turn(tid, address, self.port, KERNEL).map(drop),
            Pending::Named { socket, address } => {
                let port = read(tid, address + PORT_AT)?.map(|word| word as u32);
                self.sockets.insert(socket, port);
                Ok(())
            }
        }
    }
}

/// The port in an address becomes another one; whether it was the one that it is believed to be.
fn turn(tid: Pid, address: u64, from: u32, to: u32) -> Result<bool, Errno> {
    let at = address + PORT_AT;
    // The groups come along.
    let Some(word) = read(tid, at)? else {
        return Ok(false);
    };
    if word as u32 != from {
        return Ok(false);
    }
    let word = (word & !u64::from(u32::MAX)) | u64::from(to);
    alive(ptrace::write(tid, at as AddressType, word.cast_signed()))?;
    Ok(true)
}

/// Eight octets of the program's memory; none where it has none there.
fn read(tid: Pid, address: u64) -> Result<Option<u64>, Errno> {
    match ptrace::read(tid, address as AddressType) {
        Ok(word) => Ok(Some(word.cast_unsigned())),
        Err(Errno::ESRCH | Errno::EIO | Errno::EFAULT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

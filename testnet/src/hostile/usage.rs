//! What a process holds: memory and descriptors, read from `/proc`.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

/// Memory that allocators, caches and the kernel's rounding may take or give back at any time, in KiB.
const NOISE_KIB: u64 = 4 * 1024;
/// How often a process is looked at that has yet to let go of something.
const LOOK: Duration = Duration::from_millis(50);

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

impl Usage {
    /// Looks at process `id`.
    ///
    /// # Errors
    /// It is gone.
    pub fn of(id: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let resident_kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("process {id} has no memory any more")))?;
        Ok(Self {
            resident_kib,
            descriptors: fs::read_dir(format!("/proc/{id}/fd"))?.count(),
        })
    }

    /// The fewest descriptors and the memory at that moment, of many looks `within` this time.
    ///
    /// # Errors
    /// The process is gone.
    pub fn lowest(id: u32, within: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + within;
        let mut lowest = Self::of(id)?;
        while Instant::now() < deadline {
            thread::sleep(LOOK);
            let usage = Self::of(id)?;
            if usage.descriptors <= lowest.descriptors {
                lowest = usage;
            }
        }
        Ok(lowest)
    }

    /// Waits until process `id` holds no more than `descriptors`, and looks again.
    ///
    /// # Errors
    /// It still holds more `within` that time, or is gone.
    pub fn settled(id: u32, descriptors: usize, within: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + within;
        loop {
            let usage = Self::of(id)?;
            if usage.descriptors <= descriptors {
                return Ok(usage);
            }
            if Instant::now() >= deadline {
                let held = usage.descriptors;
                return Err(io::Error::other(format!(
                    "{held} descriptors, {descriptors} at the beginning: a leak"
                )));
            }
            thread::sleep(LOOK);
        }
    }
}

/// Judges memory at the beginning, in the middle and at the end of even work.
///
/// A leak grows with the work: as much in the second half as in the first. What does not is the filling of pools and
/// caches, and noise.
///
/// # Errors
/// How much it grew.
pub fn judge_memory(beginning: Usage, middle: Usage, end: Usage) -> Result<(), String> {
    let first = middle.resident_kib.saturating_sub(beginning.resident_kib);
    let second = end.resident_kib.saturating_sub(middle.resident_kib);
    if second <= NOISE_KIB + first / 2 {
        Ok(())
    } else {
        Err(format!(
            "memory grew by {first} KiB in the first half of the work and by {second} KiB in the second: a leak"
        ))
    }
}

/// Judges memory at the peaks of two equal pieces of work that each end with everything given back.
///
/// What the first piece gave back to the allocator, the second uses again; the allocator itself keeps much of it from
/// the kernel, in holes, so that memory *after* the work says little. A leak lifts the second peak by all that was lost.
///
/// # Errors
/// The second peak stands above the first by more than a quarter of what the first took.
pub fn judge_peaks(idle: Usage, first: Usage, second: Usage) -> Result<(), String> {
    let took = first.resident_kib.saturating_sub(idle.resident_kib);
    let lifted = second.resident_kib.saturating_sub(first.resident_kib);
    if lifted <= took / 4 {
        Ok(())
    } else {
        Err(format!(
            "the first piece of work took {took} KiB and the second {lifted} KiB more: a leak"
        ))
    }
}

/// The datagrams that the kernel dropped at the sockets on `address` (IPv4), since their queue was full.
///
/// # Errors
/// There is no such socket.
pub fn dropped_datagrams(address: SocketAddr) -> io::Result<u64> {
    let table = fs::read_to_string("/proc/net/udp")?;
    let local = match address.ip() {
        // As the kernel prints it: the four bytes as a number of this machine.
        IpAddr::V4(ip) => format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(ip.octets()),
            address.port()
        ),
        IpAddr::V6(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    let mut found = false;
    let mut dropped = 0;
    for line in table.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        if fields.get(1) == Some(&local.as_str()) {
            found = true;
            dropped += fields
                .last()
                .and_then(|count| count.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    if found {
        Ok(dropped)
    } else {
        Err(io::Error::other(format!("no UDP socket at {address}")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn usage(resident_kib: u64) -> Usage {
        Usage {
            resident_kib,
            descriptors: 10,
        }
    }

    #[test]
    fn even_growth_is_a_leak_and_filling_up_is_not() {
        let judge = |a, b, c| judge_memory(usage(a), usage(b), usage(c));
        judge(20_000, 30_000, 40_000).unwrap_err();
        judge(20_000, 20_000, 29_000).unwrap_err();
        judge(20_000, 60_000, 61_000).unwrap();
        judge(20_000, 21_000, 22_000).unwrap();
        judge(20_000, 19_000, 18_000).unwrap();
    }

    #[test]
    fn a_second_peak_that_stands_on_the_first_is_a_leak() {
        let judge = |a, b, c| judge_peaks(usage(a), usage(b), usage(c));
        judge(15_000, 175_000, 260_000).unwrap_err();
        judge(15_000, 175_000, 216_000).unwrap_err();
        judge(15_000, 175_000, 192_000).unwrap();
        judge(15_000, 175_000, 150_000).unwrap();
    }

    #[test]
    fn a_held_descriptor_is_seen() {
        let id = std::process::id();
        let before = Usage::of(id).unwrap().descriptors;
        let _held: Vec<_> = (0..64)
            .map(|_| fs::File::open("/proc/self/status").unwrap())
            .collect();
        Usage::settled(id, before.min(60), Duration::ZERO).unwrap_err();
        assert!(Usage::of(id).unwrap().resident_kib > 0);
    }
}

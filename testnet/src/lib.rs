//! Labs: hosts as network namespaces, joined by bridges, with the name servers of today inside them.
//!
//! Everything lives below one process ([`sandbox`]): private mount, network and process namespaces that the kernel
//! takes down with it, so that nothing of a lab, not even of a crashed one, is ever seen on the machine around it.
//!
//! * [`Lab`], [`Host`], [`Link`], [`Process`]: the hardware;
//! * [`capture`]: what was on each link, and which DNS questions could be read there;
//! * [`internet`]: a small signed internet with five hundred real names in it;
//! * [`servers`] and [`products`]: programs with the configuration that a lab needs;
//! * [`quic`]: DNS over QUIC in front of servers that do not know it;
//! * [`played_clock`]: minutes that pass at once;
//! * [`faults`]: system calls that fail, one after the other;
//! * [`boxes`]: forwarders of today, and what passes through them;
//! * [`radio`]: wireless networks, as the kernel tells of them;
//! * [`bench`]: what our programs cost beside their peers;
//! * [`attacker`] and [`attack`]: somebody on the way, what they try, and what comes of it;
//! * [`desktop`]: a machine with the real programs that manage networks and names;
//! * [`units`]: a machine that the real service manager starts;
//! * [`story`]: what is told in those labs, by `zzdot-testnet run` and by the tests alike.
#![forbid(unsafe_code)]

pub mod ask;
pub mod attack;
pub mod attacker;
pub mod bench;
pub mod boxes;
pub mod capture;
pub mod command;
pub mod desktop;
mod expect;
pub mod faults;
mod host;
pub mod hostile;
pub mod http;
pub mod internet;
mod lab;
pub mod played_clock;
mod process;
pub mod products;
pub mod programs;
pub mod quic;
pub mod radio;
pub mod relay;
pub mod sandbox;
pub mod servers;
pub mod story;
mod tracing;
pub mod units;

pub use host::Host;
pub use lab::{Lab, LabError, Link};
pub use process::{Process, ProcessError};

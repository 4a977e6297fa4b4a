//! What our programs cost beside their peers: `zzdot-testnet bench`.
//!
//! All programs of a group run at the same time, and each round gives every one of them a short slice of every row, in an order that
//! alternates. The machine's speed wanders; what two programs cost in the same round can be compared all the same. One of the programs
//! is [`NULL`]: it moves the same bytes over the same sockets with the same TLS library, and does no DNS work.
//!
//! A [`Group`] is a set-up and the [`Row`]s that are measured in it. It hands over [`Sample`]s, one for each row, program and round, and
//! nothing else: the medians, the page and the plots are made of those. To add rows, write a `GROUP` in a file of its own and name
//! it in [`GROUPS`]:
//!
//! ```text
//! pub const GROUP: Group = Group { name: "cold", rows: ROWS, measure };
//!
//! fn measure(plan: &Plan, record: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
//!     let programs = start_those_that(|name| plan.wants_program(name))?;
//!     for round in 0..plan.rounds {
//!         for program in plan.in_turn(round, &programs) {
//!             if plan.wants_row(COLD_FORWARD.name) {
//!                 record(Sample::new(&COLD_FORWARD, program.name, round, microseconds_a_name));
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Everything runs in the box of [`crate::sandbox`]: its loopback belongs to the bench alone, and a [`crate::Lab`] can be built in it.

mod arrival;
mod cells;
mod cold;
mod command;
mod distance;
mod journal;
mod load;
mod machine;
mod memory;
mod null;
mod peers;
mod plan;
mod plot;
mod report;
mod row;
mod server;
mod size;
mod statistics;
mod stub;
pub mod usage;
mod visit;
mod workers;

pub use crate::story::Failure;
pub use command::Options;
pub(crate) use null::{NullServer, NullStub};
pub use plan::{Cpus, Plan};
pub use row::{Goal, Group, Measure, NULL, OURS, Row, Sample, Unit};

/// Everything that is measured, in the order of the page.
pub const GROUPS: &[Group] = &[
    server::GROUP,
    memory::GROUP,
    workers::GROUP,
    stub::GROUP,
    cold::GROUP,
    visit::GROUP,
    size::GROUP,
];

#![allow(clippy::unwrap_used)]

mod addresses;
mod bounds;
mod forged;
mod liars;
pub(crate) mod life;
mod limits;
mod shapes;
mod ways;
mod world;

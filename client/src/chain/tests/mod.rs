#![allow(clippy::unwrap_used)]

mod addresses;
mod bounds;
mod forged;
mod liars;
mod limits;
mod shapes;
mod ways;
mod world;

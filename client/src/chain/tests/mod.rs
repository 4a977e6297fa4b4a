#![allow(clippy::unwrap_used)]

mod liars;
mod limits;
mod shapes;
mod world;

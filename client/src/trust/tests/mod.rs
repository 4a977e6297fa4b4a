#![allow(clippy::unwrap_used)]

mod table;
mod texts;

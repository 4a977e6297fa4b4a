#![allow(clippy::unwrap_used)]

mod ends;
mod hostile;
mod openssl;
mod session;

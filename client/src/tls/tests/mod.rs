#![allow(clippy::unwrap_used)]

mod ends;
mod hostile;
mod hybrid;
mod openssl;
mod provider;
mod session;

//! What the host says about its network.

mod resolv_conf;

pub use resolv_conf::{RESOLV_CONF, SystemServerError, system_server};

//! The bounds of the daemon, each with the name that it has in the configuration, and what
//! happened at them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The bounds of the daemon: the table `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct StubLimits {
    /// Questions that came over UDP and wait for an answer; further ones are dropped.
    pub udp_in_flight: u32,
    /// TCP connections; further ones are closed at once.
    pub tcp_connections: u32,
    /// Questions of one TCP connection that wait for an answer; further ones are not read yet.
    pub tcp_in_flight: u32,
    /// How long a TCP connection without questions is kept, in milliseconds.
    pub tcp_idle_ms: u64,
    /// How long the rest of a question may take, once its first byte is here; and how long an
    /// answer may take to be read. In milliseconds.
    pub tcp_slow_ms: u64,
    /// How long a question may take, in milliseconds. Below the five seconds after which the C
    /// library asks again.
    pub query_budget_ms: u64,
    /// How long a walk may take, in milliseconds.
    pub walk_budget_ms: u64,
    /// How long the daemon waits for answers when it is told to stop, in milliseconds.
    pub drain_ms: u64,
}

impl Default for StubLimits {
    fn default() -> Self {
        Self {
            udp_in_flight: 4096,
            tcp_connections: 256,
            tcp_in_flight: 64,
            tcp_idle_ms: 30_000,
            tcp_slow_ms: 5_000,
            query_budget_ms: 4_500,
            walk_budget_ms: 10_000,
            drain_ms: 5_000,
        }
    }
}

impl StubLimits {
    /// [`StubLimits::tcp_idle_ms`].
    #[must_use]
    pub fn tcp_idle(&self) -> Duration {
        Duration::from_millis(self.tcp_idle_ms)
    }

    /// [`StubLimits::tcp_slow_ms`].
    #[must_use]
    pub fn tcp_slow(&self) -> Duration {
        Duration::from_millis(self.tcp_slow_ms)
    }

    /// [`StubLimits::query_budget_ms`].
    #[must_use]
    pub fn query_budget(&self) -> Duration {
        Duration::from_millis(self.query_budget_ms)
    }

    /// [`StubLimits::walk_budget_ms`].
    #[must_use]
    pub fn walk_budget(&self) -> Duration {
        Duration::from_millis(self.walk_budget_ms)
    }

    /// [`StubLimits::drain_ms`].
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened at the listeners since the start.
        #[derive(Debug, Default)]
        pub struct StubCounters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// The same, at one moment.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct StubCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl StubCounters {
            /// The values now.
            #[must_use]
            pub fn read(&self) -> StubCounts {
                StubCounts {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

counters! {
    /// Questions over UDP.
    udp_queries,
    /// Questions over TCP.
    tcp_queries,
    /// Answers that did not fit into the asker's datagram.
    truncated,
    /// Questions answered with an error by this program itself: they are no good.
    bad_queries,
    /// Messages that are no questions at all, dropped.
    no_queries,
    /// Messages from elsewhere, dropped.
    strangers,
    /// Questions dropped at `udp-in-flight`.
    udp_overflows,
    /// Connections accepted.
    tcp_accepted,
    /// Connections closed at `tcp-connections`.
    tcp_overflows,
    /// Connections closed at `tcp-idle-ms`.
    tcp_idle,
    /// Connections closed at `tcp-slow-ms`.
    tcp_slow,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

//! What the front may cost: each limit with its name, its default and the reason for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The section `[limits]`. Reaching a limit is counted as the event `limit-` and the key.
///
/// Times are whole milliseconds in files. No combination of values is unsafe: too small ones serve
/// few or nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Queries over UDP that wait for the source of answers, in all. More are dropped: askers
    /// over UDP try again.
    pub udp_queries: usize,
    /// The same for one address: one busy host, or one forged source, leaves room for the rest.
    pub udp_queries_per_address: usize,
    /// Queries over TCP and TLS that wait for the source of answers, in all. More are answered
    /// SERVFAIL at once, but for a connection's only one.
    pub stream_queries: usize,
    /// The same for one address, however many connections it has.
    pub stream_queries_per_address: usize,
    /// Queries of one connection that wait for the source of answers. At the limit the connection
    /// is not read any further, which TCP tells its peer.
    pub queries_per_connection: usize,
    /// Octets of a query over TCP or TLS. The longest ones seen are padded ones of a few
    /// kilobytes; of a longer one the beginning is kept, the rest skipped, and FORMERR answered.
    pub query_bytes: usize,
    /// Octets of answers that one connection's peer has not taken yet. At the limit the
    /// connection is not read any further.
    pub unsent_bytes_per_connection: usize,

    /// TCP and TLS connections in all. At the limit the newcomer is let in and an old connection
    /// closed, one of the address (IPv6: of the /64) that holds most. An idle TLS connection
    /// costs about 5 kB.
    pub connections: usize,
    /// The same for one address. At the limit it is one of its own connections that is closed.
    pub connections_per_address: usize,
    /// Descriptors (RLIMIT_NOFILE) that connections leave free for sockets to upstreams and for
    /// files; `connections` is lowered to what is left.
    pub reserved_descriptors: usize,

    /// From accepting a connection to a complete TLS handshake.
    #[serde(rename = "handshake-ms", with = "millis")]
    pub handshake: Duration,
    /// From there to the first whole query: a connection that never asks is not kept for long.
    #[serde(rename = "first-query-ms", with = "millis")]
    pub first_query: Duration,
    /// From the last answer to the next query. This is what edns-tcp-keepalive promises
    /// (RFC 7828); the server itself waits [`IDLE_GRACE`] longer.
    #[serde(rename = "idle-ms", with = "millis")]
    pub idle: Duration,
    /// From the first octet of a query to its last. A total, so that one octet now and then does
    /// not keep a connection.
    #[serde(rename = "read-ms", with = "millis")]
    pub read: Duration,
    /// From an answer being next to send to the kernel having taken its last octet. A total too.
    #[serde(rename = "write-ms", with = "millis")]
    pub write: Duration,
    /// What the source of answers is given for one query; half a second later SERVFAIL is
    /// answered without it. Stub resolvers commonly try again after five seconds or give up
    /// after ten.
    #[serde(rename = "query-ms", with = "millis")]
    pub query: Duration,
}

/// How much longer than promised an idle connection is kept, so that the peer closes it first and
/// no query crosses with the close.
pub const IDLE_GRACE: Duration = Duration::from_secs(2);

/// How long after its deadline a source is still waited for, for the answer that says why there
/// is none.
pub const QUERY_GRACE: Duration = Duration::from_millis(500);

impl Default for Limits {
    fn default() -> Self {
        Self {
            udp_queries: 8192,
            udp_queries_per_address: 2048,
            stream_queries: 8192,
            stream_queries_per_address: 2048,
            queries_per_connection: 256,
            query_bytes: 16 * 1024,
            unsent_bytes_per_connection: 128 * 1024,
            connections: 4096,
            connections_per_address: 512,
            reserved_descriptors: 256,
            handshake: Duration::from_secs(5),
            first_query: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            read: Duration::from_secs(10),
            write: Duration::from_secs(10),
            query: Duration::from_millis(6500),
        }
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        // 32 bits of milliseconds are seven weeks, and adding them to a clock cannot overflow.
        u32::deserialize(from).map(|ms| Duration::from_millis(ms.into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::counters::Event;

    #[test]
    fn a_file_names_what_it_changes_and_nothing_else() {
        let limits: Limits = toml::from_str("connections = 7\nhandshake-ms = 1500\n").unwrap();
        let expected = Limits {
            connections: 7,
            handshake: Duration::from_millis(1500),
            ..Limits::default()
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn unknown_keys_and_negative_values_are_refused() {
        for wrong in [
            "conections = 7",
            "connections = -1",
            "idle-ms = -5",
            "idle = 5",
        ] {
            assert!(toml::from_str::<Limits>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_limit_that_can_be_reached_has_a_counter_of_its_name() {
        let keys = serde_json::to_value(Limits::default()).unwrap();
        for key in keys.as_object().unwrap().keys() {
            let name = format!("limit-{key}");
            let counted = Event::ALL.iter().any(|event| event.name() == name);
            // Reaching this one shows as a lower `connections`.
            assert_eq!(counted, key != "reserved-descriptors", "{name}");
        }
    }

    #[test]
    fn the_manual_has_every_limit_with_its_default() {
        let manual = include_str!("../../docs/man/zzdot.toml.5");
        let limits = serde_json::to_value(Limits::default()).unwrap();
        for (key, default) in limits.as_object().unwrap() {
            let line = format!("\n.It Ic {key} Pq {default}\n");
            assert!(manual.contains(&line), "{line}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let written = serde_json::to_string(&Limits::default()).unwrap();
        assert!(written.contains("\"first-query-ms\":10000"), "{written}");
        assert_eq!(
            serde_json::from_str::<Limits>(&written).unwrap(),
            Limits::default()
        );
    }
}

//! What happened, counted by name.
//!
//! Every limit that was reached and every refusal has its own counter, so that an operator can
//! tell a flood from a broken client. Counters only rise, wrap at 2⁶⁴ and are read one by one:
//! a snapshot is not one instant.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::{Serialize, Serializer, ser::SerializeMap};

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Something worth counting.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Event {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Event {
            /// Every event, in the order in which a snapshot lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The kebab-case name under which status and logs show the event.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

events! {
    /// A datagram was taken from a UDP socket.
    UdpQuery = "udp-queries",
    /// A whole message was read from a cleartext TCP connection.
    TcpQuery = "tcp-queries",
    /// A whole message was read from a TLS connection.
    TlsQuery = "tls-queries",
    /// A response was handed to the kernel (over TLS: to TLS).
    Answered = "answers",
    /// Answered out of the zones that this server publishes about itself.
    AnsweredFromZone = "answers-from-own-zones",
    /// Answered here because the name must not leave the machine (RFC 6761, RFC 9462, `.zz`).
    AnsweredSpecial = "answers-special-use",
    /// Handed to the source of answers.
    Asked = "questions-asked",
    /// Answered out of the cache.
    CacheHit = "cache-hits",
    /// Not in the cache, and so handed to the source of answers.
    CacheMiss = "cache-misses",
    /// Answered out of the cache though the time of the answer had passed (RFC 8767).
    CacheStale = "cache-stale-answers",
    /// Asked again while nobody waited for it: the answer was about to end, or had ended.
    Refreshed = "cache-refreshes",
    /// Not asked again, since as many were being asked again as may be.
    RefreshesAll = "limit-cache-refreshes",
    /// Shortened with TC=1 to fit a datagram.
    Truncated = "answers-truncated",

    /// Dropped or closed: the address is not on the access list.
    Stranger = "strangers",
    /// Dropped: shorter than a DNS header.
    TooShort = "dropped-too-short",
    /// Dropped: the message is a response.
    NotAQuery = "dropped-not-a-query",
    /// Dropped: nobody could receive the answer (source port 0, multicast or broadcast).
    Unanswerable = "dropped-unanswerable",

    /// FORMERR: the message does not parse, or is not one question.
    Malformed = "formerr-malformed",
    /// FORMERR: the OPT record or an option in it is broken (RFC 6891 §6.1.1).
    BadEdns = "formerr-edns",
    /// FORMERR: the COOKIE option has an impossible length (RFC 7873 §5.2.2).
    BadCookieLength = "formerr-cookie",
    /// BADVERS: an EDNS version that is not 0.
    BadVersion = "badvers",
    /// NOTIMP: an opcode that is not QUERY.
    OtherOpcode = "notimp-opcode",
    /// NOTIMP or REFUSED: a class that is not IN.
    OtherClass = "refused-class",
    /// NOTIMP or FORMERR: a type that cannot be asked for.
    OtherType = "refused-type",
    /// NOTAUTH: a TSIG key that nobody here knows (RFC 8945 §5.2.1).
    UnknownTsig = "notauth-tsig",
    /// REFUSED: a zone transfer.
    Transfer = "refused-transfer",
    /// REFUSED: RD=0 for a name outside of our own zones.
    NotRecursive = "refused-rd-clear",

    /// Asked of one given upstream for somebody who looks behind this server.
    Passed = "passages",
    /// REFUSED: a question below `q` of our own zone that may not be passed on.
    PassageRefused = "refused-passage",
    /// SERVFAIL: one address had as many questions passed on as it may.
    PassagesAddress = "limit-passages-per-address",
    /// SERVFAIL: all together had as many questions passed on as may be.
    PassagesAll = "limit-passages",

    /// A server cookie of ours came back and was right.
    CookieValid = "cookies-valid",
    /// A server cookie came that we did not make, or made too long ago.
    CookieStale = "cookies-stale",
    /// BADCOOKIE: under load, an asker that speaks cookies had no valid one.
    CookieRequired = "badcookie",

    /// SERVFAIL: a question about our own zones while they cannot be signed.
    NotReady = "servfail-not-ready",
    /// SERVFAIL: the source of answers gave none.
    SourceFailed = "servfail-source",
    /// SERVFAIL: the source of answers gave something that is no answer to the question.
    SourceMismatch = "servfail-mismatch",
    /// SERVFAIL: the limit `query-ms` passed.
    QueryTime = "limit-query-ms",

    /// Dropped: the limit `udp-queries` was reached.
    UdpQueriesAll = "limit-udp-queries",
    /// Dropped: the limit `udp-queries-per-address` was reached.
    UdpQueriesAddress = "limit-udp-queries-per-address",
    /// SERVFAIL: the limit `stream-queries` was reached.
    StreamQueriesAll = "limit-stream-queries",
    /// SERVFAIL: the limit `stream-queries-per-address` was reached.
    StreamQueriesAddress = "limit-stream-queries-per-address",
    /// Reading paused: the limit `queries-per-connection` was reached.
    QueriesConnection = "limit-queries-per-connection",
    /// Reading paused: the limit `unsent-bytes-per-connection` was reached.
    UnsentConnection = "limit-unsent-bytes-per-connection",

    /// FORMERR: a message longer than the limit `query-bytes`.
    QueryBytes = "limit-query-bytes",

    /// A TCP connection was accepted, on either port.
    ConnectionOpened = "connections",
    /// An older connection made room: the limit `connections` was reached.
    ConnectionsAll = "limit-connections",
    /// An older connection made room: the limit `connections-per-address` was reached.
    ConnectionsAddress = "limit-connections-per-address",
    /// Closed: no TLS handshake within the limit `handshake-ms`.
    HandshakeTime = "limit-handshake-ms",
    /// Closed: nothing ever asked within the limit `first-query-ms`.
    FirstQueryTime = "limit-first-query-ms",
    /// Closed: nothing more asked within the limit `idle-ms`.
    IdleTime = "limit-idle-ms",
    /// Closed: a message took longer to arrive than the limit `read-ms`.
    ReadTime = "limit-read-ms",
    /// Closed: a message took longer to be taken than the limit `write-ms`.
    WriteTime = "limit-write-ms",
    /// Closed: the peer broke the framing or went away in the middle of a message.
    StreamBroken = "connections-broken",

    /// A TLS handshake was completed.
    TlsHandshake = "tls-handshakes",
    /// A TLS handshake resumed an earlier session.
    TlsResumed = "tls-resumed",
    /// Closed: the first byte on the TLS port was not TLS.
    TlsCleartext = "tls-cleartext",
    /// Closed: the handshake failed, or a record was broken.
    TlsBroken = "tls-broken",

    /// accept(2) failed for want of descriptors or memory; accepting paused.
    AcceptExhausted = "accept-exhausted",
    /// accept(2) failed because the peer was gone already.
    AcceptAborted = "accept-aborted",
    /// recvmsg(2) failed.
    UdpReceiveFailed = "udp-receive-failed",
    /// sendmsg(2) failed.
    UdpSendFailed = "udp-send-failed",
}

/// A counter for each [`Event`]. Each thread counts on cache lines of its own, as far as there are
/// enough of them; reading sums them up.
#[derive(Debug)]
pub struct Counters {
    /// As many as a power of two.
    lines: Box<[Line]>,
}

/// What some of the threads counted. Aligned so that no two share a cache line, or a pair of them that the
/// processor fetches together.
#[derive(Debug)]
#[repr(align(128))]
struct Line([AtomicU64; Event::ALL.len()]);

thread_local! {
    /// Which line this thread counts on, modulo their number: threads that start one after the
    /// other get different ones.
    static LINE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

impl Default for Counters {
    fn default() -> Self {
        Self::for_threads(1)
    }
}

impl Counters {
    /// With room for so many threads that count often.
    pub fn for_threads(threads: usize) -> Self {
        let line = || Line([const { AtomicU64::new(0) }; Event::ALL.len()]);
        let lines = threads.clamp(1, 1024).next_power_of_two();
        Self {
            lines: std::iter::repeat_with(line).take(lines).collect(),
        }
    }

    /// Counts one `event`.
    pub fn count(&self, event: Event) {
        self.count_many(event, 1);
    }

    /// Counts `event` so many times.
    pub fn count_many(&self, event: Event, times: u64) {
        let line = LINE.with(|line| *line) & (self.lines.len() - 1);
        // Nothing is ordered by a counter.
        self.lines[line].0[event as usize].fetch_add(times, Ordering::Relaxed);
    }

    /// How often `event` happened since the start.
    pub fn value(&self, event: Event) -> u64 {
        self.lines
            .iter()
            .map(|line| line.0[event as usize].load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

/// A map from each event's name to its count, zeros included: a script may rely on every key.
impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Event::ALL.len()))?;
        for event in Event::ALL {
            map.serialize_entry(event.name(), &self.value(*event))?;
        }
        map.end()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_kebab_case_and_never_shared() {
        let mut seen = HashSet::new();
        for (place, event) in Event::ALL.iter().enumerate() {
            let name = event.name();
            assert_eq!(*event as usize, place, "{name}");
            assert!(seen.insert(name), "{name} names two events");
            assert!(
                name.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{name}"
            );
        }
    }

    #[test]
    fn a_snapshot_shows_what_was_counted_and_keeps_the_zeros() {
        let counters = Counters::default();
        counters.count(Event::Stranger);
        counters.count(Event::Stranger);
        let snapshot = serde_json::to_value(&counters).unwrap();
        assert_eq!(snapshot["strangers"], 2);
        assert_eq!(snapshot["tls-broken"], 0);
        assert_eq!(snapshot.as_object().unwrap().len(), Event::ALL.len());
    }

    #[test]
    fn what_many_threads_count_is_summed_up_and_nothing_is_lost() {
        for lines in [1, 4] {
            let counters = Counters::for_threads(lines);
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        for _ in 0..1000 {
                            counters.count(Event::UdpQuery);
                        }
                        counters.count_many(Event::UdpQuery, 10);
                    });
                }
            });
            assert_eq!(counters.value(Event::UdpQuery), 6 * 1010);
            assert_eq!(counters.value(Event::TcpQuery), 0);
        }
    }

    #[test]
    fn no_two_threads_write_to_one_cache_line() {
        assert_eq!(align_of::<Line>() % 128, 0);
    }
}

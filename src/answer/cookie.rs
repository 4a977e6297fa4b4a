//! DNS cookies: RFC 7873, with the interoperable server cookie of RFC 9018.
//!
//! A cookie shows that the asker receives what is sent to its address. Nothing is kept per
//! asker: the server cookie is a keyed hash of what the asker says and when.

use std::{hash::Hasher, net::IpAddr};

use siphasher::sip::SipHasher24;

/// Length of a client cookie in octets (RFC 7873 §4.1).
const CLIENT_LEN: usize = 8;
/// Length of a server cookie of version 1 in octets (RFC 9018 §4).
const SERVER_LEN: usize = 16;
/// Length of a COOKIE option with both.
pub(super) const COOKIE_LEN: usize = CLIENT_LEN + SERVER_LEN;
/// Lengths that a server cookie may have in octets (RFC 7873 §4.1).
const SERVER_LENS: std::ops::RangeInclusive<usize> = 8..=32;
/// The version of RFC 9018 §4.1.
const VERSION: u8 = 1;
/// Seconds after which a server cookie is worth nothing (RFC 9018 §4.3).
const LIFETIME_SECS: u32 = 3600;
/// Seconds after which a good server cookie is replaced by a fresh one (RFC 9018 §4.3).
const RENEW_AFTER_SECS: u32 = 1800;
/// Seconds by which a server cookie may lie in the future, for servers that share a secret and
/// differ in their clocks (RFC 9018 §4.3).
const FUTURE_SECS: u32 = 300;

/// A COOKIE option with an impossible length (RFC 7873 §5.2.2): answered FORMERR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a COOKIE option of {0} octets")]
pub struct BadLength(pub usize);

/// A server secret: 128 random bits (RFC 9018 §5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The secret in use and the one before it, whose cookies are still good (RFC 9018 §5).
#[derive(Debug, Clone, Copy)]
pub struct Secrets {
    current: Secret,
    previous: Option<Secret>,
}

/// What the COOKIE option of a query is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// The server cookie is ours, for this asker, and recent.
    pub valid: bool,
    /// The query brought a server cookie at all.
    pub brought: bool,
    /// The option's data for the response: the client cookie and a server cookie.
    pub reply: [u8; COOKIE_LEN],
}

impl Secrets {
    /// Starts with one secret.
    pub fn new(current: Secret) -> Self {
        Self {
            current,
            previous: None,
        }
    }

    /// The same with `next` in use; cookies of the secret in use so far stay good until the next
    /// roll. Roll no more often than a cookie lives (an hour).
    pub fn rolled(self, next: Secret) -> Self {
        Self {
            current: next,
            previous: Some(self.current),
        }
    }

    /// Judges a query's COOKIE option. `now_secs` is Unix time in 32 bits of serial number
    /// arithmetic (RFC 9018 §4.3).
    pub fn judge(&self, option: &[u8], asker: IpAddr, now_secs: u32) -> Result<Judged, BadLength> {
        let (client, server) = option
            .split_first_chunk::<CLIENT_LEN>()
            .ok_or(BadLength(option.len()))?;
        if !server.is_empty() && !SERVER_LENS.contains(&server.len()) {
            return Err(BadLength(option.len()));
        }
        let mut reply = [0; COOKIE_LEN];
        let (reply_client, reply_server) = reply.split_at_mut(CLIENT_LEN);
        reply_client.copy_from_slice(client);

        let age = self.age_of_genuine(client, server, asker, now_secs);
        match (age, <&[u8; SERVER_LEN]>::try_from(server)) {
            (Some(Age::Fresh), Ok(server)) => reply_server.copy_from_slice(server),
            _ => reply_server.copy_from_slice(&make(&self.current, client, asker, now_secs)),
        }
        Ok(Judged {
            valid: age.is_some(),
            brought: !server.is_empty(),
            reply,
        })
    }

    fn age_of_genuine(
        &self,
        client: &[u8; CLIENT_LEN],
        server: &[u8],
        asker: IpAddr,
        now_secs: u32,
    ) -> Option<Age> {
        let server: &[u8; SERVER_LEN] = server.try_into().ok()?;
        let (head, tag) = server.split_first_chunk::<8>()?;
        let (version_and_reserved, stamp) = head.split_first_chunk::<4>()?;
        if version_and_reserved[0] != VERSION {
            return None;
        }
        let stamp = u32::from_be_bytes(stamp.try_into().ok()?);
        // Serial number arithmetic: the difference as a signed number (RFC 1982).
        let age = now_secs.wrapping_sub(stamp).cast_signed();
        if age > LIFETIME_SECS.cast_signed() || age < -FUTURE_SECS.cast_signed() {
            return None;
        }
        // Compared as one word: the time taken does not tell how many octets were right.
        let tag = u64::from_le_bytes(tag.try_into().ok()?);
        let genuine = |secret: &Secret| hash(secret, client, head, asker) == tag;
        if genuine(&self.current) {
            let renew = age > RENEW_AFTER_SECS.cast_signed();
            Some(if renew { Age::Renew } else { Age::Fresh })
        } else {
            // Of the secret before: good, and replaced by one of the secret in use.
            self.previous
                .as_ref()
                .is_some_and(genuine)
                .then_some(Age::Renew)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    Renew,
}

fn make(
    secret: &Secret,
    client: &[u8; CLIENT_LEN],
    asker: IpAddr,
    now_secs: u32,
) -> [u8; SERVER_LEN] {
    let mut cookie = [0; SERVER_LEN];
    let (head, tag) = cookie.split_at_mut(8);
    head[0] = VERSION;
    head[4..].copy_from_slice(&now_secs.to_be_bytes());
    tag.copy_from_slice(&hash(secret, client, head, asker).to_le_bytes());
    cookie
}

/// `SipHash-2-4(client cookie | version | reserved | timestamp | client address, secret)`
/// (RFC 9018 §4.4). The cookie holds it in SipHash's own octet order, which is little-endian.
fn hash(secret: &Secret, client: &[u8; CLIENT_LEN], head: &[u8], asker: IpAddr) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&secret.0);
    hasher.write(client);
    hasher.write(head);
    match asker.to_canonical() {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret(hex(text).try_into().unwrap())
    }

    /// RFC 9018 Appendix A: the query's option, the asker, the time, and the response's option.
    #[test]
    fn the_examples_of_rfc_9018_appendix_a_come_out() {
        let one = Secrets::new(secret("e5e973e5a6b2a43f48e7dc849e37bfcf"));
        let rolled = Secrets::new(secret("dd3bdf9344b678b185a6f5cb60fca715"))
            .rolled(secret("445536bcd2513298075a5d379663c962"));
        for (section, secrets, asker, now, query, brought, valid, reply) in [
            (
                "A.1",
                one,
                "198.51.100.100",
                1_559_731_985,
                "2464c4abcf10c957",
                false,
                false,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            ),
            (
                "A.2",
                one,
                "198.51.100.100",
                1_559_734_385,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                true,
                true,
                "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
            ),
            (
                "A.3",
                one,
                "203.0.113.203",
                1_559_734_700,
                "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
                true,
                false,
                "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
            ),
            (
                "A.4",
                rolled,
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                1_559_741_961,
                "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
                true,
                true,
                "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
            ),
        ] {
            let judged = secrets
                .judge(&hex(query), asker.parse().unwrap(), now)
                .unwrap();
            assert_eq!(
                data_encoding::HEXLOWER.encode(&judged.reply),
                reply,
                "{section}"
            );
            assert_eq!(
                (judged.brought, judged.valid),
                (brought, valid),
                "{section}"
            );
        }
    }

    /// The example of A.3 is too old, not forged: reserved octets count in the hash (§4.2).
    #[test]
    fn the_reserved_octets_are_hashed_as_they_came() {
        let secrets = Secrets::new(secret("e5e973e5a6b2a43f48e7dc849e37bfcf"));
        let asker = "203.0.113.203".parse().unwrap();
        let cookie = hex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        let judged = secrets.judge(&cookie, asker, 1_559_727_985 + 60).unwrap();
        assert!(judged.valid);
        assert_eq!(judged.reply[..], cookie[..]);
    }

    #[test]
    fn a_cookie_is_good_for_an_hour_for_one_asker_and_one_client_cookie() {
        let secrets = Secrets::new(Secret([7; 16]));
        let asker: IpAddr = "192.0.2.1".parse().unwrap();
        let made = secrets.judge(b"clientco", asker, 10_000).unwrap().reply;
        let valid = |cookie: &[u8], asker: &str, now| {
            secrets
                .judge(cookie, asker.parse().unwrap(), now)
                .unwrap()
                .valid
        };
        assert!(valid(&made, "192.0.2.1", 10_000));
        assert!(valid(&made, "::ffff:192.0.2.1", 10_000));
        assert!(valid(&made, "192.0.2.1", 13_600));
        assert!(!valid(&made, "192.0.2.1", 13_601));
        assert!(valid(&made, "192.0.2.1", 9_700));
        assert!(!valid(&made, "192.0.2.1", 9_699));
        assert!(!valid(&made, "192.0.2.2", 10_000));
        for place in 0..made.len() {
            let mut other = made;
            other[place] ^= 1;
            assert!(!valid(&other, "192.0.2.1", 10_000), "octet {place}");
        }
    }

    #[test]
    fn time_wraps_as_serial_numbers_do() {
        let secrets = Secrets::new(Secret([7; 16]));
        let asker: IpAddr = "192.0.2.1".parse().unwrap();
        let made = secrets
            .judge(b"clientco", asker, u32::MAX - 10)
            .unwrap()
            .reply;
        assert!(secrets.judge(&made, asker, 20).unwrap().valid);
    }

    #[test]
    fn impossible_lengths_are_refused_and_possible_ones_are_not() {
        let secrets = Secrets::new(Secret([7; 16]));
        for len in 0..64 {
            let judged = secrets.judge(&vec![1; len], "::1".parse().unwrap(), 0);
            let possible = len == 8 || (16..=40).contains(&len);
            assert_eq!(judged.is_ok(), possible, "{len}");
        }
    }

    #[test]
    fn a_rolled_secret_keeps_the_last_one_and_forgets_the_one_before() {
        let asker: IpAddr = "::1".parse().unwrap();
        let secrets = Secrets::new(Secret([1; 16]));
        let made = secrets.judge(b"clientco", asker, 0).unwrap().reply;
        let once = secrets.rolled(Secret([2; 16]));
        let judged = once.judge(&made, asker, 1).unwrap();
        assert!(judged.valid);
        assert_ne!(
            judged.reply, made,
            "a cookie of the new secret is handed out"
        );
        let twice = once.rolled(Secret([3; 16]));
        assert!(!twice.judge(&made, asker, 1).unwrap().valid);
    }
}

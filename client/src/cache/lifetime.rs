//! How long a response may serve.

use crate::wire::{RecordView, Section, View};

/// The longest that a response serves, in seconds, whatever its TTLs say: long enough to be asked
/// for rarely, short enough for a slip of somebody's pen to pass.
pub const MAX_TTL_SECS: u32 = 86_400;

/// The same for denials (RFC 2308 §5).
pub const MAX_NEGATIVE_TTL_SECS: u32 = 10_800;

/// For how many seconds a failure is the answer (RFC 9520 §3.2: at least one, at the most 300).
pub const FAILURE_SECS: u32 = 5;

mod rcode {
    pub(super) const NOERROR: u16 = 0;
    pub(super) const SERVFAIL: u16 = 2;
    pub(super) const NXDOMAIN: u16 = 3;
}

mod rtype {
    pub(super) const SOA: u16 = 6;
    pub(super) const RRSIG: u16 = 46;
    pub(super) const ANY: u16 = 255;
}

/// How long a response may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Only the one who asked.
    Once,
    /// So many seconds; at least one.
    Seconds(u32),
    /// As long as its view is there, and its TTLs do not count down: an authoritative answer.
    View,
}

/// Whether a response code says nothing about the name (RFC 8767 §4).
pub(super) fn is_failure(rcode: u16) -> bool {
    !matches!(rcode, rcode::NOERROR | rcode::NXDOMAIN)
}

/// What the records of a response say about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) lifetime: Lifetime,
    /// The longest TTL that may be told, in seconds.
    pub(super) longest_ttl: u32,
}

/// Judges a response without OPT record. `clock` is Unix time in 32 bits of serial number
/// arithmetic (RFC 4034 §3.1.5).
pub(super) fn judge(response: &View<'_>, clock: u32) -> Judged {
    match limits(response, clock) {
        Some((shortest, longest)) if shortest.min(longest) > 0 => Judged {
            lifetime: Lifetime::Seconds(shortest.min(longest)),
            longest_ttl: longest,
        },
        _ => Judged {
            lifetime: Lifetime::Once,
            longest_ttl: u32::MAX,
        },
    }
}

/// The shortest TTL that there is, and the longest that may be told; none where the response may
/// not be kept.
fn limits(response: &View<'_>, clock: u32) -> Option<(u32, u32)> {
    let question = response.question()?;
    // Which RRsets ANY brings is chance (RFC 8482).
    if response.truncated() || question.qtype == rtype::ANY {
        return None;
    }
    let mut longest = match response.rcode() {
        rcode::NOERROR | rcode::NXDOMAIN => MAX_TTL_SECS,
        rcode::SERVFAIL => FAILURE_SECS,
        // FORMERR, NOTIMP, REFUSED and the rest are about this query, or this moment.
        _ => return None,
    };
    let mut shortest = longest;
    let mut answered = false;
    let mut denial = None;
    for record in response.records() {
        let record = record.ok()?;
        // A TTL with the highest bit is to be taken for none (RFC 2181 §8).
        shortest = shortest.min(i32::try_from(record.ttl).ok()?.unsigned_abs());
        match (record.section, record.rtype) {
            (Section::Answer, rtype) if rtype == question.qtype => answered = true,
            (Section::Authority, rtype::SOA) => denial = Some(denial_secs(&record)?),
            _ => {}
        }
        if record.rtype == rtype::RRSIG {
            longest = longest.min(signature_secs(&record, clock)?);
        }
    }
    match response.rcode() {
        rcode::NOERROR if answered => {}
        rcode::SERVFAIL => {}
        // Without SOA it is a referral, or a denial that nobody may keep (RFC 2308 §5).
        _ => longest = longest.min(denial?),
    }
    Some((shortest, longest))
}

/// For how long an SOA record in the authority section lets a denial stand (RFC 2308 §5).
fn denial_secs(soa: &RecordView<'_>) -> Option<u32> {
    let minimum = u32::from_be_bytes(*soa.data().last_chunk()?);
    Some(soa.ttl.min(minimum).min(MAX_NEGATIVE_TTL_SECS))
}

/// For how long a signature lets its records stand (RFC 4035 §5.3.3); none once it has expired.
fn signature_secs(rrsig: &RecordView<'_>, clock: u32) -> Option<u32> {
    let times = rrsig.data().get(4..12)?;
    let (original_ttl, expiration) = times.split_first_chunk()?;
    let original_ttl = u32::from_be_bytes(*original_ttl);
    let expiration = u32::from_be_bytes(*expiration.first_chunk()?);
    let left = expiration.wrapping_sub(clock).cast_signed();
    Some(original_ttl.min(u32::try_from(left).ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CLOCK: u32 = 1_800_000_000;
    const A: u16 = 1;

    /// A response to `. A` with these flags and records: section, type, TTL and data.
    fn response(flags: u16, qtype: u16, records: &[(Section, u16, u32, &[u8])]) -> Vec<u8> {
        let count = |section| records.iter().filter(|record| record.0 == section).count() as u16;
        let words = [
            0,
            0x8000 | flags,
            1,
            count(Section::Answer),
            count(Section::Authority),
            count(Section::Additional),
        ];
        let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        message.push(0);
        message.extend_from_slice(&qtype.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        for (_, rtype, ttl, data) in records {
            message.push(0);
            message.extend_from_slice(&rtype.to_be_bytes());
            message.extend_from_slice(&[0, 1]);
            message.extend_from_slice(&ttl.to_be_bytes());
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }

    fn soa(minimum: u32) -> Vec<u8> {
        [&[0; 2 + 16][..], &minimum.to_be_bytes()].concat()
    }

    fn rrsig(original_ttl: u32, expiration: u32) -> Vec<u8> {
        let times = [original_ttl.to_be_bytes(), expiration.to_be_bytes()].concat();
        [&[0, 1, 13, 0][..], &times, &[0; 7], &[0; 64]].concat()
    }

    #[test]
    fn what_may_be_kept_and_for_how_long() {
        use Section::{Additional, Answer, Authority};
        let address = &[192, 0, 2, 1][..];
        let (hour, long) = (soa(3600), soa(1_000_000));
        let (good, short) = (rrsig(300, CLOCK + 9999), rrsig(300, CLOCK + 20));
        let (expired, wraps) = (
            rrsig(300, CLOCK - 1),
            rrsig(300, CLOCK.wrapping_add(1 << 30)),
        );
        let once = Lifetime::Once;
        for (case, flags, qtype, records, lifetime) in [
            (
                "an address",
                0,
                A,
                vec![(Answer, A, 60, address)],
                Lifetime::Seconds(60),
            ),
            (
                "the shortest TTL of all sections",
                0,
                A,
                vec![
                    (Answer, A, 60, address),
                    (Authority, 2, 30, &[0]),
                    (Additional, A, 20, address),
                ],
                Lifetime::Seconds(20),
            ),
            (
                "for ever",
                0,
                A,
                vec![(Answer, A, 604_800, address)],
                Lifetime::Seconds(86_400),
            ),
            ("at no time", 0, A, vec![(Answer, A, 0, address)], once),
            (
                "a TTL that lies",
                0,
                A,
                vec![(Answer, A, 1 << 31, address)],
                once,
            ),
            ("cut short", 0x0200, A, vec![(Answer, A, 60, address)], once),
            ("ANY", 0, 255, vec![(Answer, A, 60, address)], once),
            (
                "NXDOMAIN",
                3,
                A,
                vec![(Authority, 6, 7200, &hour)],
                Lifetime::Seconds(3600),
            ),
            (
                "NODATA",
                0,
                A,
                vec![(Authority, 6, 60, &hour)],
                Lifetime::Seconds(60),
            ),
            (
                "a long denial",
                3,
                A,
                vec![(Authority, 6, 90_000, &long)],
                Lifetime::Seconds(10_800),
            ),
            ("NXDOMAIN without SOA", 3, A, vec![], once),
            ("a referral", 0, A, vec![(Authority, 2, 60, &[0])], once),
            (
                "an alias to nothing",
                3,
                A,
                vec![(Answer, 5, 9, &[0]), (Authority, 6, 60, &hour)],
                Lifetime::Seconds(9),
            ),
            (
                "an alias to somewhere",
                0,
                A,
                vec![(Answer, 5, 9, &[0])],
                once,
            ),
            (
                "an alias asked for",
                0,
                5,
                vec![(Answer, 5, 9, &[0])],
                Lifetime::Seconds(9),
            ),
            (
                "an SOA cut short",
                3,
                A,
                vec![(Authority, 6, 60, &[0, 0])],
                once,
            ),
            ("SERVFAIL", 2, A, vec![], Lifetime::Seconds(FAILURE_SECS)),
            ("FORMERR", 1, A, vec![], once),
            ("NOTIMP", 4, A, vec![], once),
            ("REFUSED", 5, A, vec![], once),
            (
                "signed",
                0,
                A,
                vec![(Answer, A, 600, address), (Answer, 46, 600, &good)],
                Lifetime::Seconds(300),
            ),
            (
                "signed, not for long",
                0,
                A,
                vec![(Answer, A, 60, address), (Answer, 46, 60, &short)],
                Lifetime::Seconds(20),
            ),
            (
                "signed once",
                0,
                A,
                vec![(Answer, A, 60, address), (Answer, 46, 60, &expired)],
                once,
            ),
            (
                "signed across the wrap",
                0,
                A,
                vec![(Answer, A, 60, address), (Answer, 46, 60, &wraps)],
                Lifetime::Seconds(60),
            ),
            (
                "signed by nobody",
                0,
                A,
                vec![(Answer, A, 60, address), (Answer, 46, 60, &[0])],
                once,
            ),
        ] {
            let message = response(flags, qtype, &records);
            let judged = judge(&View::parse(&message).unwrap(), CLOCK);
            assert_eq!(judged.lifetime, lifetime, "{case}");
        }
    }
}

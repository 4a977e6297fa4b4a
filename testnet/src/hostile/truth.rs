//! What every name of one zone holds, known without asking: all data is a function of the name.
//!
//! Since no two names share their data, an answer that went to the wrong asker, or was patched together, shows.

/// The zone, as text without the final dot.
pub const ZONE: &str = "truth.example";
/// Its labels in wire form, with the root.
const ZONE_WIRE: &[u8] = b"\x05truth\x07example\x00";

/// A record type, by number.
pub mod rtype {
    /// RFC 1035.
    pub const A: u16 = 1;
    /// RFC 1035.
    pub const SOA: u16 = 6;
    /// RFC 1035.
    pub const TXT: u16 = 16;
    /// RFC 3596.
    pub const AAAA: u16 = 28;
    /// RFC 6891.
    pub const OPT: u16 = 41;
}

/// A question of class IN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The uncompressed name, with the root's empty label.
    pub name: Vec<u8>,
    /// The type asked for.
    pub rtype: u16,
}

/// What a question is rightly answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// These record data, in any order.
    Records(Vec<Vec<u8>>),
    /// The name is there and has no such records.
    NoData,
    /// There is no such name.
    NoName,
    /// The zone's server never answers.
    Silence,
}

impl Question {
    /// Asks for `text`, a name without escapes, with or without the final dot.
    #[must_use]
    pub fn new(text: &str, rtype: u16) -> Self {
        let mut name = Vec::with_capacity(text.len() + 2);
        for label in text.split('.').filter(|label| !label.is_empty()) {
            name.push(label.len() as u8);
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        Self { name, rtype }
    }

    /// The question section that asks this.
    #[must_use]
    pub fn section(&self) -> Vec<u8> {
        let mut section = self.name.clone();
        section.extend_from_slice(&self.rtype.to_be_bytes());
        section.extend_from_slice(&1_u16.to_be_bytes());
        section
    }

    /// A query of one question, with RD.
    #[must_use]
    pub fn query(&self, id: u16) -> Vec<u8> {
        let mut query = id.to_be_bytes().to_vec();
        query.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        query.extend_from_slice(&self.section());
        query
    }

    /// The right answer; none where the question is not about [`ZONE`], of which alone the truth is known.
    #[must_use]
    pub fn truth(&self) -> Option<Truth> {
        let name = self.name.to_ascii_lowercase();
        let labels = labels_before_zone(&name)?;
        let first = labels.first().copied().unwrap_or_default();
        let hash = hash(&name);
        Some(if first.starts_with(b"hang-") {
            Truth::Silence
        } else if first.starts_with(b"no-") {
            Truth::NoName
        } else {
            match self.rtype {
                rtype::A => {
                    // 198.18.0.0/15 is for tests (RFC 2544).
                    let [.., a, b, c] = hash;
                    Truth::Records(vec![vec![198, 18 | a & 1, b, c]])
                }
                rtype::AAAA => {
                    let prefix = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0];
                    Truth::Records(vec![[prefix, hash].concat()])
                }
                rtype::TXT => Truth::Records(text_records(first, hash)),
                _ => Truth::NoData,
            }
        })
    }
}

/// Names starting with `big-` hold more than a datagram.
fn text_records(first: &[u8], hash: [u8; 8]) -> Vec<Vec<u8>> {
    let count = if first.starts_with(b"big-") { 40 } else { 1 };
    (0..count)
        .map(|number: u8| {
            let mut data = vec![64, number];
            data.extend(hash.iter().cycle().take(63));
            data
        })
        .collect()
}

/// The labels in front of the zone's, or none where the name is not below it.
fn labels_before_zone(name: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = name;
    let mut labels = Vec::new();
    while rest != ZONE_WIRE {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            return None;
        }
        let (label, next) = after.split_at_checked(usize::from(*length))?;
        labels.push(label);
        rest = next;
    }
    Some(labels)
}

/// FNV-1a with a final mix; nothing secret.
fn hash(name: &[u8]) -> [u8; 8] {
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 29)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_their_own_data_whatever_the_case_of_their_letters() {
        let asked = Question::new("a.truth.example", rtype::A).truth();
        assert_eq!(asked, Question::new("A.Truth.Example.", rtype::A).truth());
        assert_ne!(asked, Question::new("b.truth.example", rtype::A).truth());
        let nodata = Question::new("a.truth.example", rtype::SOA).truth();
        assert_eq!(nodata, Some(Truth::NoData));
    }

    #[test]
    fn nothing_is_claimed_about_other_zones() {
        for other in ["example", "untruth.example", "truth.example.org", ""] {
            assert_eq!(Question::new(other, rtype::A).truth(), None, "{other}");
        }
    }

    #[test]
    fn first_labels_choose_denial_silence_and_size() {
        let truth = |name: &str| Question::new(name, rtype::TXT).truth();
        assert_eq!(truth("no-1.truth.example"), Some(Truth::NoName));
        assert_eq!(truth("hang-1.truth.example"), Some(Truth::Silence));
        let Some(Truth::Records(records)) = truth("big-1.truth.example") else {
            panic!("records");
        };
        assert!(records.iter().map(Vec::len).sum::<usize>() > 1232);
    }
}

//! What is asked, and whether what comes back answers it.

use std::fmt;

/// The zone of all questions.
pub(crate) const ZONE: &str = "bench.example";
/// The names `n0` to `n9999` of the zone.
pub(crate) const NAMES: u32 = 10_000;
/// What the floor answers to everything.
pub(crate) const CONSTANT: [u8; 4] = [192, 0, 2, 1];

const HEADER: usize = 12;
/// Type A, class IN.
const TYPE_AND_CLASS: [u8; 4] = [0, 1, 0, 1];
/// Neighbours in time are not neighbours in name. Coprime to [`NAMES`], so that every name has its turn.
const STRIDE: u32 = 7919;

/// The address of a numbered name in the zone.
pub(crate) fn address(number: u32) -> [u8; 4] {
    let [_, b, c, d] = number.to_be_bytes();
    [10, b, c, d]
}

/// An endless list of questions for addresses.
#[derive(Clone, Debug)]
pub(crate) enum Questions {
    /// The names of the zone, over and over.
    Known {
        /// Name, type and class of each, as they are sent.
        wires: Vec<Vec<u8>>,
        /// Whose turn it is.
        next: u32,
    },
    /// Names that nobody has asked before, below `u` in the zone.
    Fresh {
        /// What tells this list from every other.
        tag: u32,
        /// The next one.
        next: u32,
    },
}

impl Questions {
    /// The names that are in every cache.
    pub(crate) fn known() -> Self {
        let wires = (0..NAMES)
            .map(|number| wire(&[&format!("n{number}")]))
            .collect();
        Self::Known { wires, next: 0 }
    }

    /// Names that are in no cache; lists with the same tag are the same.
    pub(crate) fn fresh(tag: u32) -> Self {
        Self::Fresh { tag, next: 0 }
    }

    /// Appends a query for the next name, and says which one it is.
    pub(crate) fn append(&mut self, id: u16, out: &mut Vec<u8>) -> u32 {
        out.extend_from_slice(&id.to_be_bytes());
        // Recursion desired; one question.
        out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        match self {
            Self::Known { wires, next } => {
                let number = *next;
                out.extend_from_slice(&wires[number as usize]);
                *next = (number + STRIDE) % NAMES;
                number
            }
            Self::Fresh { tag, next } => {
                let number = *next;
                out.extend_from_slice(&fresh_wire(*tag, number));
                *next = number.wrapping_add(1);
                number
            }
        }
    }

    /// Does this message answer the question of that number?
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, number: u32, message: &[u8], expected: Truth) -> Result<(), Wrong> {
        match self {
            Self::Known { wires, .. } => {
                check(message, &wires[number as usize], expected.of(number))
            }
            // The zone has the same for all of them.
            Self::Fresh { tag, .. } => check(message, &fresh_wire(*tag, number), CONSTANT),
        }
    }
}

/// What a right answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// What the zone says.
    Zone,
    /// What the floor says.
    Constant,
}

impl Truth {
    fn of(self, number: u32) -> [u8; 4] {
        match self {
            Self::Zone => address(number),
            Self::Constant => CONSTANT,
        }
    }
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// Not a DNS response, or one that ends early.
    Malformed,
    /// To a query that was not sent, or that was answered already.
    Unasked,
    /// It repeats another question.
    OtherQuestion,
    /// SERVFAIL.
    Servfail,
    /// Any other failure, REFUSED for one.
    OtherCode,
    /// Without an address.
    NoData,
    /// With the address of another name.
    OtherAddress,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed answers",
            Self::Unasked => "answers to nothing asked",
            Self::OtherQuestion => "answers to another question",
            Self::Servfail => "SERVFAIL",
            Self::OtherCode => "other failures",
            Self::NoData => "answers without an address",
            Self::OtherAddress => "answers with a wrong address",
        })
    }
}

fn check(message: &[u8], question: &[u8], expected: [u8; 4]) -> Result<(), Wrong> {
    let Some((header, rest)) = message.split_first_chunk::<HEADER>() else {
        return Err(Wrong::Malformed);
    };
    if header[2] & 0x80 == 0 {
        return Err(Wrong::Malformed);
    }
    match header[3] & 0x0f {
        0 => {}
        2 => return Err(Wrong::Servfail),
        _ => return Err(Wrong::OtherCode),
    }
    let rest = rest.strip_prefix(question).ok_or(Wrong::OtherQuestion)?;
    if [header[6], header[7]] == [0, 0] {
        return Err(Wrong::NoData);
    }
    let record = after_name(rest).ok_or(Wrong::Malformed)?;
    // Type, class, time to live, length, address.
    match record {
        [0, 1, 0, 1, _, _, _, _, 0, 4, address @ ..] => match address.first_chunk::<4>() {
            Some(address) if *address == expected => Ok(()),
            Some(_) => Err(Wrong::OtherAddress),
            None => Err(Wrong::Malformed),
        },
        [_, _, _, _, _, _, _, _, _, _, ..] => Err(Wrong::NoData),
        _ => Err(Wrong::Malformed),
    }
}

/// What follows a name, compressed or not.
fn after_name(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        match *rest.first()? {
            0 => return rest.get(1..),
            length if length & 0xc0 == 0xc0 => return rest.get(2..),
            length => rest = rest.get(1 + usize::from(length)..)?,
        }
    }
}

fn wire(labels: &[&str]) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in labels.iter().copied().chain(ZONE.split('.')) {
        wire.push(u8::try_from(label.len()).expect("our labels are short"));
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire.extend_from_slice(&TYPE_AND_CLASS);
    wire
}

const FRESH_LABEL: usize = 16;
/// `<16 hexadecimal digits>.u.bench.example`, type and class.
const FRESH: [u8; 1 + FRESH_LABEL + 2 + 15 + 4] =
    *b"\x100000000000000000\x01u\x05bench\x07example\x00\x00\x01\x00\x01";

fn fresh_wire(tag: u32, number: u32) -> [u8; FRESH.len()] {
    let mut wire = FRESH;
    let mut value = u64::from(tag) << 32 | u64::from(number);
    for digit in wire[1..=FRESH_LABEL].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
    wire
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn answer(query: &[u8], address: [u8; 4]) -> Vec<u8> {
        let mut message = query.to_vec();
        message[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend_from_slice(&address);
        message
    }

    #[test]
    fn every_known_name_has_its_turn_before_the_first_one_comes_again() {
        let mut questions = Questions::known();
        let mut out = Vec::new();
        let mut seen = vec![false; NAMES as usize];
        for _ in 0..NAMES {
            let number = questions.append(0, &mut out) as usize;
            assert!(!seen[number]);
            seen[number] = true;
        }
        assert!(seen.into_iter().all(|seen| seen));
    }

    #[test]
    fn fresh_names_differ_from_each_other_and_from_other_lists() {
        assert_eq!(
            &fresh_wire(0xabc, 0x1f)[..],
            wire(&["00000abc0000001f", "u"])
        );
        assert_ne!(fresh_wire(1, 0), fresh_wire(0, 1));
    }

    #[test]
    fn a_right_answer_is_taken_and_every_wrong_one_named() {
        for (mut questions, truth) in [
            (Questions::known(), address as fn(u32) -> [u8; 4]),
            (Questions::fresh(7), |_| CONSTANT),
        ] {
            let mut query = Vec::new();
            questions.append(1, &mut query);
            query.clear();
            let number = questions.append(2, &mut query);
            let check = |message: &[u8]| questions.check(number, message, Truth::Zone);
            let right = answer(&query, truth(number));
            assert_eq!(check(&right), Ok(()));
            assert_eq!(
                questions.check(number + 1, &right, Truth::Zone),
                Err(Wrong::OtherQuestion)
            );
            let with = |place: usize, octet: u8| {
                let mut message = right.clone();
                message[place] = octet;
                check(&message)
            };
            assert_eq!(with(2, 1), Err(Wrong::Malformed));
            assert_eq!(with(3, 0x82), Err(Wrong::Servfail));
            assert_eq!(with(3, 0x85), Err(Wrong::OtherCode));
            assert_eq!(with(7, 0), Err(Wrong::NoData));
            assert_eq!(with(14, b'x'), Err(Wrong::OtherQuestion));
            assert_eq!(with(query.len() + 3, 28), Err(Wrong::NoData));
            assert_eq!(with(right.len() - 1, 255), Err(Wrong::OtherAddress));
            for length in 0..right.len() {
                assert!(check(&right[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn a_name_that_is_not_compressed_is_passed_over() {
        assert_eq!(after_name(b"\x01n\x02xy\x00rest"), Some(&b"rest"[..]));
        assert_eq!(after_name(b"\x01n\xc0\x0crest"), Some(&b"rest"[..]));
        assert_eq!(after_name(b"\x05ab"), None);
    }
}

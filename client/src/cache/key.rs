//! What answers are found by.

use crate::wire::MAX_NAME_BYTES;

/// Type and class behind the name of a question.
const TYPE_AND_CLASS: usize = 4;
/// The longest question, and the octet of bits behind it.
const MAX_OCTETS: usize = MAX_NAME_BYTES + TYPE_AND_CLASS + 1;

/// What, beside the question, makes a difference to the answer.
///
/// AD is not among them: ask with AD set (RFC 6840 §5.7), and take AD out of the answers to those
/// who do not understand it. RD is not either: nothing but questions that ask for recursion is
/// handed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct KeyBits {
    /// There is an OPT record: with it come longer answers and extended errors.
    pub edns: bool,
    /// DO: with DNSSEC records.
    pub dnssec_ok: bool,
    /// CD: though it may not validate.
    pub checking_disabled: bool,
}

impl KeyBits {
    fn octet(self) -> u8 {
        u8::from(self.edns) | u8::from(self.dnssec_ok) << 1 | u8::from(self.checking_disabled) << 2
    }
}

/// A question with its letters in lower case, and the bits.
#[derive(Clone)]
pub struct Key {
    octets: [u8; MAX_OCTETS],
    question_len: usize,
}

impl Key {
    /// The key of a question section: a name in uncompressed wire form, type and class. None where
    /// it is too long or too short to be one.
    #[must_use]
    pub fn new(question: &[u8], bits: KeyBits) -> Option<Self> {
        if question.len() <= TYPE_AND_CLASS {
            return None;
        }
        let mut octets = [0; MAX_OCTETS];
        let (folded, rest) = octets.split_at_mut_checked(question.len())?;
        folded.copy_from_slice(question);
        fold(folded);
        *rest.first_mut()? = bits.octet();
        Some(Self {
            octets,
            question_len: question.len(),
        })
    }

    /// The question, in lower case.
    #[must_use]
    pub fn question(&self) -> &[u8] {
        &self.octets[..self.question_len]
    }

    /// The bits in one octet.
    pub(super) fn bits(&self) -> u8 {
        self.octets[self.question_len]
    }

    /// Everything that tells keys apart.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[..=self.question_len]
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Key({}, {:#05b})",
            self.question().escape_ascii(),
            self.bits()
        )
    }
}

/// Makes the letters of a question small. Lengths of labels are below the letters; type and class
/// stay as they are.
pub(super) fn fold(question: &mut [u8]) {
    let name = question.len().saturating_sub(TYPE_AND_CLASS);
    if let Some(name) = question.get_mut(..name) {
        name.make_ascii_lowercase();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn letters_do_not_matter_and_everything_else_does() {
        let question = b"\x03wWw\0\0\x01\0\x01";
        let key = Key::new(question, KeyBits::default()).unwrap();
        assert_eq!(key.question(), b"\x03www\0\0\x01\0\x01");
        let same = Key::new(b"\x03WWW\0\0\x01\0\x01", KeyBits::default()).unwrap();
        assert_eq!(key.octets(), same.octets());

        // A type that looks like a letter keeps its case.
        let typed = Key::new(b"\x03www\0\0\x41\0\x01", KeyBits::default()).unwrap();
        assert_eq!(typed.question(), b"\x03www\0\0\x41\0\x01");

        let bits = [false, true].into_iter().flat_map(|edns| {
            [(false, false), (false, true), (true, false), (true, true)].map(|(dnssec, cd)| {
                KeyBits {
                    edns,
                    dnssec_ok: dnssec,
                    checking_disabled: cd,
                }
            })
        });
        let octets: std::collections::HashSet<_> = bits
            .map(|bits| Key::new(question, bits).unwrap().octets().to_vec())
            .collect();
        assert_eq!(octets.len(), 8);
    }

    #[test]
    fn the_longest_question_fits_and_a_longer_one_is_none() {
        let longest = vec![1; MAX_NAME_BYTES + TYPE_AND_CLASS];
        assert_eq!(
            Key::new(&longest, KeyBits::default()).unwrap().question(),
            longest
        );
        let longer = vec![1; MAX_NAME_BYTES + TYPE_AND_CLASS + 1];
        assert!(Key::new(&longer, KeyBits::default()).is_none());
        assert!(Key::new(b"\0\0\x01\0", KeyBits::default()).is_none());
    }
}

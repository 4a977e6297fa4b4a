//! The verification phrase: what people compare to know that two screens speak of one resolver.
//!
//! ```text
//! SHA-256( "zzdot phrase 1" | NAME in canonical wire form | DS record data )
//! ```
//!
//! NAME is the resolver's name in lower case (RFC 4034 §6.2), which ends with a zero octet; DS is the
//! record data (RFC 4034 §5.1, digest type 2) of the key of `resolver-name.arpa` that signs today. The
//! first 88 bits are told as eight words of the English list of BIP 39, eleven bits each, or as thirty
//! digits: the number in 27, and its remainder by 997 in three, by which a slip of the finger is known
//! from another resolver.
//!
//! Whoever wants another resolver to have a given phrase has to try 2⁸⁸ keys.

use std::fmt;
use std::str::FromStr;

use bip39::Language;
use hickory_proto::dnssec::rdata::DS;
use ring::digest::{SHA256, digest};
use thiserror::Error;

use crate::name::ResolverName;
use crate::wire::octets;

/// Words of a phrase.
pub const WORDS: usize = 8;
/// Digits of a phrase, the three that check the others included.
pub const DIGITS: usize = 30;
/// The longest text that is looked at, in octets: eight words have at most 71.
pub const PHRASE_BYTES_MAX: usize = 256;

const DOMAIN: &[u8] = b"zzdot phrase 1";
const WORD_BITS: u32 = 11;
const BITS: u32 = WORD_BITS * WORDS as u32;
const CHECK_DIGITS: u32 = 3;
/// A prime: no single digit that changes, and no two that change places, leave the remainder alone.
const CHECK_MODULUS: u128 = 997;
const GROUP: usize = 5;
/// The words of BIP 39 differ in their first four letters.
const ABBREVIATION: usize = 4;

/// Eighty-eight bits that stand for a resolver's name and its active anchor.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Phrase(u128);

/// Why a text is no phrase.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PhraseError {
    /// Nothing was typed.
    #[error("the phrase is empty")]
    Empty,
    /// Far more than eight words.
    #[error("a phrase has {WORDS} words or {DIGITS} digits, not {0} octets")]
    TooLong(usize),
    /// A word that no phrase has.
    #[error("word {place} is not in the list: {word:?}{}", suggestion(.nearest.as_deref()))]
    UnknownWord {
        /// Which one, counted from one.
        place: usize,
        /// What was typed.
        word: String,
        /// The word of the list that differs by one letter, where there is one.
        nearest: Option<String>,
    },
    /// All words are known, and they are too few or too many.
    #[error("a phrase has {WORDS} words, not {0}")]
    WordCount(usize),
    /// Digits, too few or too many.
    #[error("a phrase has {DIGITS} digits, not {0}")]
    DigitCount(usize),
    /// The digits contradict their check.
    #[error("the digits are mistyped: their check does not fit")]
    MistypedDigits,
}

impl Phrase {
    /// The phrase of the resolver `name` whose active anchor is `ds`.
    pub fn of(name: &ResolverName, ds: &DS) -> Self {
        let mut input = DOMAIN.to_vec();
        input.extend(octets(name.as_name()));
        input.extend(octets(ds));
        let hash = digest(&SHA256, &input);
        let mut first = [0; 16];
        first.copy_from_slice(&hash.as_ref()[..16]);
        Self(u128::from_be_bytes(first) >> (u128::BITS - BITS))
    }

    /// As words.
    pub fn words(self) -> [&'static str; WORDS] {
        self.indexes().map(|index| word_list()[index])
    }

    /// As digits, in groups of five.
    pub fn digits(self) -> String {
        let scale = 10_u128.pow(CHECK_DIGITS);
        let digits = format!("{:0DIGITS$}", self.0 * scale + self.0 % CHECK_MODULUS);
        let groups: Vec<&str> = (0..DIGITS / GROUP)
            .map(|group| &digits[group * GROUP..(group + 1) * GROUP])
            .collect();
        groups.join(" ")
    }

    /// Which words of `typed` are others, counted from one.
    pub fn differing_words(self, typed: Self) -> Vec<usize> {
        let pairs = self.indexes().into_iter().zip(typed.indexes());
        let differing = pairs
            .enumerate()
            .filter(|(_, (ours, theirs))| ours != theirs);
        differing.map(|(place, _)| place + 1).collect()
    }

    fn indexes(self) -> [usize; WORDS] {
        std::array::from_fn(|place| {
            let behind = WORD_BITS * (WORDS - 1 - place) as u32;
            // Eleven bits are left.
            (self.0 >> behind) as usize % word_list().len()
        })
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phrase({self})")
    }
}

impl FromStr for Phrase {
    type Err = PhraseError;

    /// Takes words in either case, or their first four letters, or digits; with spaces, hyphens or
    /// line feeds between them.
    fn from_str(text: &str) -> Result<Self, PhraseError> {
        if text.len() > PHRASE_BYTES_MAX {
            return Err(PhraseError::TooLong(text.len()));
        }
        let between = |character: char| character.is_whitespace() || character == '-';
        let parts: Vec<&str> = text
            .split(between)
            .filter(|part| !part.is_empty())
            .collect();
        if parts.is_empty() {
            return Err(PhraseError::Empty);
        }
        if parts.iter().all(|part| is_digits(part)) {
            return from_digits(&parts.concat());
        }
        let mut phrase = 0;
        for (place, word) in parts.iter().enumerate() {
            let index = find(word).ok_or_else(|| PhraseError::UnknownWord {
                place: place + 1,
                word: (*word).to_owned(),
                nearest: nearest(word).map(str::to_owned),
            })?;
            // Words too many are looked at, too, and told if unknown; their bits do not matter.
            phrase = (phrase << WORD_BITS) | index as u128;
        }
        match parts.len() {
            WORDS => Ok(Self(phrase)),
            other => Err(PhraseError::WordCount(other)),
        }
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_digit())
}

fn from_digits(digits: &str) -> Result<Phrase, PhraseError> {
    if digits.len() != DIGITS {
        return Err(PhraseError::DigitCount(digits.len()));
    }
    let number: u128 = digits.parse().map_err(|_| PhraseError::MistypedDigits)?;
    let scale = 10_u128.pow(CHECK_DIGITS);
    let (phrase, check) = (number / scale, number % scale);
    if phrase >> BITS != 0 || phrase % CHECK_MODULUS != check {
        return Err(PhraseError::MistypedDigits);
    }
    Ok(Phrase(phrase))
}

fn word_list() -> &'static [&'static str; 2048] {
    Language::English.word_list()
}

fn find(typed: &str) -> Option<usize> {
    let typed = typed.to_ascii_lowercase();
    if let Ok(index) = word_list().binary_search(&typed.as_str()) {
        return Some(index);
    }
    if typed.len() < ABBREVIATION {
        return None;
    }
    let mut meant = word_list()
        .iter()
        .enumerate()
        .filter(|(_, word)| word.starts_with(&typed));
    meant.next().map(|(index, _)| index)
}

/// The first word that one letter makes of what was typed: another one, one more, or one less.
fn nearest(typed: &str) -> Option<&'static str> {
    let typed = typed.to_ascii_lowercase();
    let one_off = |word: &&&str| is_one_off(word.as_bytes(), typed.as_bytes());
    word_list().iter().find(one_off).copied()
}

fn is_one_off(word: &[u8], typed: &[u8]) -> bool {
    let same = word.iter().zip(typed).take_while(|(a, b)| a == b).count();
    let (word, typed) = (&word[same..], &typed[same..]);
    match (word, typed) {
        ([_, word @ ..], [_, typed @ ..]) if word == typed => true,
        (word, [_, typed @ ..]) if word == typed => true,
        ([_, word @ ..], typed) if word == typed => true,
        // Two that changed places.
        ([a, b, word @ ..], [c, d, typed @ ..]) => (a, b) == (d, c) && word == typed,
        _ => false,
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |word| format!("; is {word:?} meant?"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::dnssec::{Algorithm, DigestType};
    use proptest::prelude::*;

    use super::*;

    fn name() -> ResolverName {
        "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap()
    }

    fn anchor(tag: u16, fill: u8) -> DS {
        let digest = vec![fill; 32];
        DS::new(tag, Algorithm::ECDSAP256SHA256, DigestType::SHA256, digest)
    }

    /// Computed apart, by `printf | sha256sum` and the published list.
    #[test]
    fn the_phrase_of_a_given_resolver_never_changes() {
        let phrase = Phrase::of(&name(), &anchor(4711, 0xab));
        assert_eq!(
            phrase.to_string(),
            "baby skate slogan ghost world defy brick skull"
        );
        assert_eq!(phrase.digits(), "02067 10374 63848 42846 78426 46291");
    }

    #[test]
    fn another_name_or_another_anchor_has_another_phrase() {
        let phrase = Phrase::of(&name(), &anchor(1, 1));
        let other: ResolverName = "8g2l0qv7c4m1t5b9r3sf.zz".parse().unwrap();
        assert_ne!(phrase, Phrase::of(&other, &anchor(1, 1)));
        assert_ne!(phrase, Phrase::of(&name(), &anchor(2, 1)));
        assert_ne!(phrase, Phrase::of(&name(), &anchor(1, 2)));
    }

    #[test]
    fn the_word_that_is_not_in_the_list_is_named() {
        let error = "zoo zoo zoo zebre zoo zoo zoo zoo".parse::<Phrase>();
        let error = error.unwrap_err().to_string();
        assert_eq!(
            error,
            "word 4 is not in the list: \"zebre\"; is \"zebra\" meant?"
        );
        let error = "zoo zoo zoo xylophone zoo zoo zoo zoo".parse::<Phrase>();
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "word 4 is not in the list: \"xylophone\"");
    }

    #[test]
    fn each_slip_of_one_letter_is_recognised() {
        for typed in ["abndon", "abandonn", "bandon", "abandom", "baandon"] {
            assert_eq!(nearest(typed), Some("abandon"), "{typed}");
        }
        assert_eq!(nearest("abadnon"), Some("abandon"));
        assert_eq!(nearest("abxndxn"), None);
    }

    #[test]
    fn texts_of_another_length_are_refused() {
        let parse = |text: &str| text.parse::<Phrase>().unwrap_err();
        assert_eq!(parse(" - \n"), PhraseError::Empty);
        assert_eq!(parse("zoo zoo"), PhraseError::WordCount(2));
        assert_eq!(parse(&"zoo ".repeat(9)), PhraseError::WordCount(9));
        assert_eq!(parse("12345 67890"), PhraseError::DigitCount(10));
        assert_eq!(parse(&"zoo ".repeat(80)), PhraseError::TooLong(320));
        // The highest number of 27 digits has more than 88 bits.
        assert_eq!(parse(&"9".repeat(30)), PhraseError::MistypedDigits);
        assert!(matches!(
            parse("１２３４５"),
            PhraseError::UnknownWord { place: 1, .. }
        ));
    }

    #[test]
    fn words_that_differ_are_counted_from_one() {
        let ours: Phrase = "zoo zoo zoo zoo zoo zoo zoo zoo".parse().unwrap();
        let theirs: Phrase = "zoo able zoo zoo zoo zoo zoo zone".parse().unwrap();
        assert_eq!(ours.differing_words(theirs), [2, 8]);
        assert!(ours.differing_words(ours).is_empty());
    }

    proptest! {
        #[test]
        fn words_digits_and_abbreviations_are_read_back(bits in 0_u128..1 << BITS) {
            let phrase = Phrase(bits);
            let short = phrase.words().map(|word| &word[..word.len().min(ABBREVIATION)]);
            prop_assert_eq!(phrase.to_string().parse(), Ok(phrase));
            prop_assert_eq!(phrase.to_string().to_uppercase().parse(), Ok(phrase));
            prop_assert_eq!(short.join("-").parse(), Ok(phrase));
            prop_assert_eq!(phrase.digits().parse(), Ok(phrase));
            prop_assert_eq!(phrase.digits().replace(' ', "").parse(), Ok(phrase));
        }

        #[test]
        fn one_wrong_digit_is_noticed(bits in 0_u128..1 << BITS, place in 0..DIGITS, digit in 1_u8..10) {
            let mut digits = Phrase(bits).digits().replace(' ', "").into_bytes();
            digits[place] = b'0' + (digits[place] - b'0' + digit) % 10;
            let digits = String::from_utf8(digits).unwrap();
            prop_assert_eq!(digits.parse::<Phrase>(), Err(PhraseError::MistypedDigits));
        }

        #[test]
        fn any_text_is_a_phrase_or_refused(text in ".{0,300}") {
            let _ = text.parse::<Phrase>();
        }
    }
}

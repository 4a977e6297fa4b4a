//! Splits a master file into entries and these into words: quotes, comments, parentheses.

use super::read::MasterFileError;

/// A word of an entry. Escapes are still in it: what they mean depends on what the word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) quoted: bool,
    pub(super) line: usize,
}

/// One record or directive.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// The entry starts with white space: it has the owner of the one before.
    pub(super) indented: bool,
    pub(super) tokens: Vec<Token<'a>>,
    /// The entry's last line.
    pub(super) line: usize,
}

/// The entries of a text.
pub(super) struct Entries<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Entries<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        // A byte order mark is not part of the first owner's name.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            text,
            at: 0,
            line: 1,
        }
    }

    /// The next entry that has a word in it.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'a>>, MasterFileError> {
        let mut entry = Entry {
            indented: false,
            tokens: Vec::new(),
            line: self.line,
        };
        let mut opened: Option<usize> = None;
        let mut line_start = true;
        while let Some(octet) = self.peek() {
            let first = line_start && entry.tokens.is_empty() && opened.is_none();
            line_start = false;
            match octet {
                b' ' | b'\t' | b'\r' => {
                    entry.indented |= first;
                    self.at += 1;
                }
                b'\n' => {
                    entry.line = self.line;
                    self.at += 1;
                    self.line += 1;
                    if opened.is_none() && !entry.tokens.is_empty() {
                        return Ok(Some(entry));
                    }
                    if opened.is_none() {
                        entry.indented = false;
                        line_start = true;
                    }
                }
                b';' => self.skip_comment(),
                b'(' if opened.is_some() => {
                    return Err(self.error("(", "no parenthesis within parentheses"));
                }
                b'(' => {
                    opened = Some(self.line);
                    self.at += 1;
                }
                b')' if opened.is_none() => {
                    return Err(self.error(")", "an opening parenthesis before it"));
                }
                b')' => {
                    opened = None;
                    self.at += 1;
                }
                b'"' => entry.tokens.push(self.quoted()?),
                _ => entry.tokens.push(self.word()?),
            }
        }
        if let Some(line) = opened {
            return Err(MasterFileError::new(line, "(", "a closing parenthesis"));
        }
        entry.line = self.line;
        Ok((!entry.tokens.is_empty()).then_some(entry))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|octet| octet != b'\n') {
            self.at += 1;
        }
    }

    fn quoted(&mut self) -> Result<Token<'a>, MasterFileError> {
        let line = self.line;
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.skip_escape()?,
                Some(b'\n') | None => {
                    return Err(MasterFileError::new(
                        line,
                        "\"",
                        "a closing quote on the line",
                    ));
                }
                Some(_) => self.at += 1,
            }
        }
        let text = &self.text[start..self.at];
        self.at += 1;
        Ok(Token {
            text,
            quoted: true,
            line,
        })
    }

    fn word(&mut self) -> Result<Token<'a>, MasterFileError> {
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'\\') => self.skip_escape()?,
                // SVCB parameters quote within a word: key="value" (RFC 9460 §2.1).
                Some(b'"') if self.text.as_bytes().get(self.at - 1) == Some(&b'=') => {
                    self.quoted()?;
                }
                None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"') => break,
                Some(_) => self.at += 1,
            }
        }
        Ok(Token {
            text: &self.text[start..self.at],
            quoted: false,
            line: self.line,
        })
    }

    /// Passes over a backslash and the character behind it, which then means nothing special.
    fn skip_escape(&mut self) -> Result<(), MasterFileError> {
        let rest = &self.text[self.at + 1..];
        match rest.chars().next() {
            Some(character) if character != '\n' => {
                self.at += 1 + character.len_utf8();
                Ok(())
            }
            _ => Err(self.error("\\", "a character behind the backslash")),
        }
    }

    fn error(&self, found: &str, expected: &str) -> MasterFileError {
        MasterFileError::new(self.line, found, expected)
    }
}

/// What a word or string stands for: `\X` is X, `\DDD` the octet of that number.
pub(super) fn unescape(token: &Token<'_>) -> Result<Vec<u8>, MasterFileError> {
    let mut octets = Vec::new();
    let mut rest = token.text.as_bytes();
    while let Some((octet, after)) = next_octet(token, rest)? {
        octets.push(octet.0);
        rest = after;
    }
    Ok(octets)
}

/// An octet, and whether it was escaped; and what follows it.
type Octet<'a> = ((u8, bool), &'a [u8]);

pub(super) fn next_octet<'a>(
    token: &Token<'_>,
    rest: &'a [u8],
) -> Result<Option<Octet<'a>>, MasterFileError> {
    let bad_number = || {
        MasterFileError::new(
            token.line,
            token.text,
            "three digits from 000 to 255 behind the backslash",
        )
    };
    match rest {
        [] => Ok(None),
        [b'\\', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
            let number = digits
                .get(..3)
                .filter(|digits| digits.iter().all(u8::is_ascii_digit))
                .map(|digits| {
                    digits
                        .iter()
                        .fold(0, |sum, d| sum * 10 + u16::from(d - b'0'))
                })
                .and_then(|number| u8::try_from(number).ok())
                .ok_or_else(bad_number)?;
            Ok(Some(((number, true), &digits[3..])))
        }
        [b'\\', octet, after @ ..] => Ok(Some(((*octet, true), after))),
        [octet, after @ ..] => Ok(Some(((*octet, false), after))),
    }
}

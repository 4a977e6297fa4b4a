//! Names as they stand in a message, compressed or not (RFC 1035 §4.1.4).

use hickory_proto::rr::Name;

use super::{HEADER_BYTES, WireError};

/// The longest name, its root label included (RFC 1035 §2.3.4).
pub const MAX_NAME_BYTES: usize = 255;

/// The most compression pointers followed for one name: as many as a name can have labels.
pub const MAX_POINTERS: usize = 127;

/// A name inside a message, already walked once: each label and pointer was found to be sound.
#[derive(Clone, Copy)]
pub struct NameView<'a> {
    message: &'a [u8],
    start: usize,
}

impl<'a> NameView<'a> {
    /// Reads the name at `start`; returns it with the offset of the first byte after it.
    ///
    /// # Errors
    /// Whatever makes it not a name: see [`WireError`].
    pub(super) fn read(message: &'a [u8], start: usize) -> Result<(Self, usize), WireError> {
        let mut position = start;
        // Where the present run of labels began; a pointer must lead to before it, so that
        // following pointers ends.
        let mut run_start = start;
        // Where the present run must have ended. A pointer leads to a name that stands wholly
        // before the one that points (RFC 1035 §4.1.4): nothing that follows a name is part of
        // it, so records can be taken off and put on behind it.
        let mut run_limit = message.len();
        let mut end = None;
        let mut name_bytes = 0usize;
        let mut pointers = 0usize;
        loop {
            let length = *message.get(position).ok_or(WireError::NameCut)?;
            match length & 0xC0 {
                0x00 => {
                    name_bytes += 1 + usize::from(length);
                    if name_bytes > MAX_NAME_BYTES {
                        return Err(WireError::NameTooLong);
                    }
                    position += 1 + usize::from(length);
                    if position > run_limit {
                        return Err(if pointers == 0 {
                            WireError::NameCut
                        } else {
                            WireError::Pointer
                        });
                    }
                    if length == 0 {
                        return Ok((Self { message, start }, end.unwrap_or(position)));
                    }
                }
                0xC0 => {
                    let low = *message.get(position + 1).ok_or(WireError::NameCut)?;
                    let target = pointer_target(length, low);
                    pointers += 1;
                    let runs_over = position + 2 > run_limit;
                    let leads_on = target >= run_start || target < HEADER_BYTES;
                    if runs_over || leads_on || pointers > MAX_POINTERS {
                        return Err(WireError::Pointer);
                    }
                    end.get_or_insert(position + 2);
                    position = target;
                    run_limit = run_start;
                    run_start = target;
                }
                _ => return Err(WireError::LabelKind),
            }
        }
    }

    /// Reads the uncompressed name that `bytes` start with, outside of any message; returns it with
    /// its length.
    pub(crate) fn read_alone(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (name, end) = Self::read(bytes, 0).ok()?;
        name.pointer_offset().is_none().then_some((name, end))
    }

    /// The labels from the left, without the root.
    #[must_use]
    pub fn labels(&self) -> Labels<'a> {
        Labels {
            message: self.message,
            position: self.start,
        }
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.labels().next().is_none()
    }

    /// The same name, letters compared without case (RFC 4343).
    #[must_use]
    pub fn eq_ignore_case(&self, other: &NameView<'_>) -> bool {
        let (mut left, mut right) = (self.labels(), other.labels());
        loop {
            match (left.next(), right.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
                _ => return false,
            }
        }
    }

    /// The name in uncompressed wire form, letters as they were.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(64);
        for label in self.labels() {
            // A label was checked to have at the most 63 bytes.
            wire.push(label.len() as u8);
            wire.extend_from_slice(label);
        }
        wire.push(0);
        wire
    }

    /// The name in uncompressed wire form with lower-case letters: equal names give equal bytes.
    #[must_use]
    pub fn to_folded_wire(&self) -> Vec<u8> {
        let mut wire = self.to_wire();
        wire.make_ascii_lowercase();
        wire
    }

    /// The name in lower case.
    #[must_use]
    pub fn to_name(&self) -> Name {
        let labels: Vec<_> = self.labels().map(<[u8]>::to_ascii_lowercase).collect();
        // A name that was read has labels of 1 to 63 bytes and no more than 255 in all.
        Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap_or_default()
    }

    /// Where this name's own compression pointer stands in the message, when it ends in one.
    pub(super) fn pointer_offset(&self) -> Option<usize> {
        let mut position = self.start;
        loop {
            let length = *self.message.get(position)?;
            match length & 0xC0 {
                0x00 if length == 0 => return None,
                0x00 => position += 1 + usize::from(length),
                _ => return Some(position),
            }
        }
    }
}

/// The labels of a [`NameView`].
#[derive(Clone)]
pub struct Labels<'a> {
    message: &'a [u8],
    position: usize,
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let length = *self.message.get(self.position)?;
            match length & 0xC0 {
                0x00 if length == 0 => return None,
                0x00 => {
                    let from = self.position + 1;
                    let to = from + usize::from(length);
                    self.position = to;
                    return self.message.get(from..to);
                }
                _ => {
                    let low = *self.message.get(self.position + 1)?;
                    self.position = pointer_target(length, low);
                }
            }
        }
    }
}

pub(super) fn pointer_target(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high & 0x3F, low]))
}

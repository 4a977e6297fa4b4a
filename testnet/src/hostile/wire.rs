//! Responses read strictly, by other code than the code under test.

/// A response, walked to its last byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) flags: u16,
    /// Question section: name, type and class as they stand there.
    pub(super) question: Option<Asked>,
    pub(super) answers: Vec<Record>,
    pub(super) has_opt: bool,
    /// The upper eight bits of the response code.
    pub(super) extended_rcode: u8,
}

/// A question section of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) name: Vec<u8>,
    pub(super) rtype: u16,
    pub(super) class: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Uncompressed.
    pub(super) owner: Vec<u8>,
    pub(super) rtype: u16,
    pub(super) class: u16,
    ttl: u32,
    pub(super) data: Vec<u8>,
}

impl Response {
    /// None where any byte is out of place.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let counts: Vec<u16> = (4..12)
            .step_by(2)
            .map(|at| word(message, at))
            .collect::<Option<_>>()?;
        let mut at = 12;
        let question = match counts[0] {
            0 => None,
            1 => Some(read_question(message, &mut at)?),
            _ => return None,
        };
        let mut read = |count: u16| -> Option<Vec<Record>> {
            (0..count).map(|_| read_record(message, &mut at)).collect()
        };
        let (answers, authorities, additionals) =
            (read(counts[1])?, read(counts[2])?, read(counts[3])?);
        let is_opt = |record: &&Record| record.rtype == super::truth::rtype::OPT;
        let opts: Vec<_> = additionals.iter().filter(is_opt).collect();
        let misplaced = answers.iter().chain(&authorities).any(|r| is_opt(&r));
        let bad_owner = opts.iter().any(|opt| opt.owner != [0]);
        if at != message.len() || opts.len() > 1 || misplaced || bad_owner {
            return None;
        }
        Some(Self {
            flags: word(message, 2)?,
            question,
            has_opt: !opts.is_empty(),
            extended_rcode: opts.first().map_or(0, |opt| (opt.ttl >> 24) as u8),
            answers,
        })
    }

    /// All twelve bits.
    pub(super) fn rcode(&self) -> u16 {
        u16::from(self.extended_rcode) << 4 | self.flags & 0x0f
    }
}

/// The 16 bits at `at`.
pub(super) fn word(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Reads the question at `at`, which moves behind it.
pub(super) fn read_question(message: &[u8], at: &mut usize) -> Option<Asked> {
    let name = read_name(message, at)?;
    let (rtype, class) = (word(message, *at)?, word(message, *at + 2)?);
    *at += 4;
    Some(Asked { name, rtype, class })
}

fn read_record(message: &[u8], at: &mut usize) -> Option<Record> {
    let owner = read_name(message, at)?;
    let (rtype, class) = (word(message, *at)?, word(message, *at + 2)?);
    let ttl = u32::from(word(message, *at + 4)?) << 16 | u32::from(word(message, *at + 6)?);
    let start = *at + 10;
    let end = start + usize::from(word(message, *at + 8)?);
    *at = end;
    Some(Record {
        owner,
        rtype,
        class,
        ttl,
        data: message.get(start..end)?.to_vec(),
    })
}

fn read_name(message: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut position = *at;
    let mut end = None;
    loop {
        let length = *message.get(position)?;
        match length {
            0..=63 => {
                let next = position + 1 + usize::from(length);
                name.extend_from_slice(message.get(position..next)?);
                if name.len() > 255 {
                    return None;
                }
                position = next;
                if length == 0 {
                    *at = end.unwrap_or(position);
                    return Some(name);
                }
            }
            192.. => {
                let target = usize::from(word(message, position)? & 0x3fff);
                // Only backwards: that way it ends.
                if target >= position {
                    return None;
                }
                end.get_or_insert(position + 2);
                position = target;
            }
            _ => return None,
        }
    }
}

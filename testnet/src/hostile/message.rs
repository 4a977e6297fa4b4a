//! Hostile DNS messages: a pure function of a sequence of random numbers.

use super::{
    pieces::{
        append_opt, append_option, append_record, deep_name, header, pointer, raw_query, set_word,
    },
    random::Random,
    truth::{Question, ZONE, rtype},
};

/// The families of hostile messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing wrong with it: what is next to broken messages must work too.
    Sound,
    /// One to eight bits of a sound query turned over.
    BitFlips,
    /// A sound query cut anywhere, to nothing at all.
    Truncated,
    /// More bytes than the header counts.
    Trailing,
    /// Compression pointers: to themselves, forwards, in circles, into the header, in long chains.
    Pointers,
    /// Section counts that are not true.
    LyingCounts,
    /// Any opcode, any flags, responses too.
    Opcodes,
    /// OPT records that are broken, doubled, misplaced, or from the future.
    Edns,
    /// Names that are too long, too deep, binary, or of labels nobody defined.
    Names,
    /// Any type, any class.
    Types,
    /// Records in sections where a query has none, signatures among them.
    Stuffed,
    /// Noise.
    Noise,
    /// Up to 64 KiB.
    Huge,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Sound,
        Self::BitFlips,
        Self::Truncated,
        Self::Trailing,
        Self::Pointers,
        Self::LyingCounts,
        Self::Opcodes,
        Self::Edns,
        Self::Names,
        Self::Types,
        Self::Stuffed,
        Self::Noise,
        Self::Huge,
    ];
}

/// One in this many messages is [`Kind::Huge`]: they are not more evil, only slower.
const HUGE_ONE_IN: usize = 400;
/// On streams, one in this many of the messages for which a server may close is left as it is.
const CLOSERS_ONE_IN: usize = 12;
const HEADER_BYTES: usize = 12;
/// Options that servers and resolvers look at: NSID, subnet, expire, cookie, keepalive, padding, chain, errors.
const OPTIONS: [u16; 10] = [3, 8, 9, 10, 11, 12, 13, 15, 0, 65_001];

/// Makes hostile messages.
#[derive(Clone, Debug)]
pub struct Generator {
    random: Random,
    /// Names that the server answers out of its own knowledge.
    own_names: Vec<String>,
}

impl Generator {
    /// Draws from `random`; `own_names` are asked for beside the names of the known zone.
    #[must_use]
    pub fn new(random: Random, own_names: &[String]) -> Self {
        Self {
            random,
            own_names: own_names.to_vec(),
        }
    }

    /// The next message, with `id` where there is room for one; at the most `max_bytes` long.
    pub fn next(&mut self, id: u16, max_bytes: usize) -> (Kind, Vec<u8>) {
        let kind = if self.random.one_in(HUGE_ONE_IN) {
            Kind::Huge
        } else {
            self.random.pick(&Kind::ALL[..12])
        };
        let mut message = self.make(kind);
        message.truncate(max_bytes);
        for (slot, byte) in message.iter_mut().zip(id.to_be_bytes()) {
            *slot = byte;
        }
        (kind, message)
    }

    /// As [`next`](Self::next), for streams: what a server may close the connection for (responses and scraps) comes
    /// seldom, since whatever follows it there is lost. Says whether this is such a one.
    pub fn next_in_stream(&mut self, id: u16) -> (Kind, Vec<u8>, bool) {
        let (kind, mut message) = self.next(id, usize::from(u16::MAX));
        let seldom = self.random.one_in(CLOSERS_ONE_IN);
        match message.get_mut(2) {
            Some(flags) if *flags & 0x80 != 0 && !seldom => *flags &= 0x7f,
            _ => {}
        }
        if message.len() < HEADER_BYTES && !seldom {
            message.resize(HEADER_BYTES, 0);
            message[..2].copy_from_slice(&id.to_be_bytes());
        }
        let closes = message.len() < HEADER_BYTES || message[2] & 0x80 != 0;
        (kind, message, closes)
    }

    fn make(&mut self, kind: Kind) -> Vec<u8> {
        match kind {
            Kind::Sound => self.sound(),
            Kind::BitFlips => {
                let mut message = self.sound();
                for _ in 0..=self.random.below(8) {
                    let bit = 16 + self.random.below(message.len() * 8 - 16);
                    message[bit / 8] ^= 0x80 >> (bit % 8);
                }
                message
            }
            Kind::Truncated => {
                let mut message = self.sound();
                message.truncate(self.random.below(message.len()));
                message
            }
            Kind::Trailing => {
                let mut message = self.sound();
                let extra = 1 + self.random.below(40);
                message.extend(self.random.bytes(extra));
                message
            }
            Kind::Pointers => self.pointers(),
            Kind::LyingCounts => {
                let mut message = self.sound();
                for _ in 0..=self.random.below(3) {
                    let lie = self.random.pick(&[0, 1, 2, 3, 255, 256, 65_535]);
                    let at = 4 + 2 * self.random.below(4);
                    set_word(&mut message, at, lie);
                }
                message
            }
            Kind::Opcodes => {
                let mut message = self.sound();
                let mut flags = self.random.word();
                if !self.random.one_in(8) {
                    flags &= 0x7fff;
                }
                set_word(&mut message, 2, flags);
                message
            }
            Kind::Edns => self.edns(),
            Kind::Names => self.names(),
            Kind::Types => {
                let name = self.name();
                let common = [0, 41, 249, 250, 251, 252, 253, 254, 255, 24, 43, 46, 65];
                let rtype = if self.random.one_in(3) {
                    self.random.word()
                } else {
                    self.random.pick(&common)
                };
                let class = self.random.pick(&[1, 1, 1, 0, 3, 4, 254, 255, 65_535]);
                raw_query(&name, rtype, class)
            }
            Kind::Stuffed => self.stuffed(),
            Kind::Noise => {
                let length = self.random.below(512);
                self.random.bytes(length)
            }
            Kind::Huge => self.huge(),
        }
    }

    /// A query as programs send it.
    fn sound(&mut self) -> Vec<u8> {
        let name = self.name();
        let types = [
            rtype::A,
            rtype::AAAA,
            rtype::TXT,
            2,
            5,
            12,
            15,
            33,
            48,
            52,
            64,
            65,
        ];
        let mut message = raw_query(&name, self.random.pick(&types), 1);
        if self.random.one_in(3) {
            return message;
        }
        let mut options = Vec::new();
        if self.random.one_in(4) {
            append_option(&mut options, 10, &self.random.bytes(8));
        }
        if self.random.one_in(4) {
            append_option(&mut options, 11, &[]);
        }
        if self.random.one_in(4) {
            let length = self.random.below(128);
            append_option(&mut options, 12, &vec![0; length]);
        }
        let size = self.random.pick(&[512, 1232, 1400, 4096, 65_535]);
        let flags = self.random.pick(&[0, 0x8000]);
        append_opt(&mut message, &[0], size, flags, &options);
        message
    }

    /// A name that exists, does not, is big, has odd letters, or is the server's own.
    fn name(&mut self) -> Vec<u8> {
        if self.random.one_in(6) && !self.own_names.is_empty() {
            let own = self.random.below(self.own_names.len());
            return Question::new(&self.own_names[own], 0).name;
        }
        let number = self.random.below(1_000_000);
        let text = match self.random.below(16) {
            0 => format!("no-{number}.{ZONE}"),
            1 => format!("W{number}.TrUtH.eXaMpLe"),
            2 if self.random.one_in(8) => format!("big-{number}.{ZONE}"),
            3 => format!("a.b.c.d.e.f.w{number}.{ZONE}"),
            4 => self
                .random
                .pick(&["", "localhost", "zz", "resolver.arpa", "x.invalid", "onion"])
                .to_owned(),
            _ => format!("w{number}.{ZONE}"),
        };
        Question::new(&text, 0).name
    }

    fn pointers(&mut self) -> Vec<u8> {
        let mut message = header(1);
        match self.random.below(6) {
            // At itself, at its own second byte, behind itself, past the end, into the header.
            0 => {
                let target = self.random.pick(&[12, 13, 14, 16, 200, 0x3fff, 0, 4, 11]);
                message.extend_from_slice(&pointer(target));
                message.extend_from_slice(&[0, 1, 0, 1, 0]);
            }
            // Two that lead to each other.
            1 => {
                message.extend_from_slice(&[1, b'a']);
                message.extend_from_slice(&pointer(16));
                message.extend_from_slice(&pointer(14));
                message.extend_from_slice(&[0, 1, 0, 1]);
            }
            // A chain in the additional section, each link one pointer further back.
            2 => {
                message = self.sound();
                let links = 1 + self.random.below(200);
                for link in 0..links {
                    let at = message.len();
                    let target = if link == 0 { 12 } else { at.saturating_sub(2) };
                    message.extend_from_slice(&pointer(target));
                }
                message.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
                set_word(&mut message, 10, 2);
            }
            // Records whose owners point to records after them.
            3 => {
                message = self.sound();
                for _ in 0..self.random.below(20) {
                    let target = message.len() + self.random.below(60);
                    append_record(&mut message, &pointer(target), 1, &[127, 0, 0, 1]);
                }
                let count = self.random.word() % 24;
                set_word(&mut message, 6, count);
            }
            // A pointer after a label that eats the zone.
            4 => {
                let label = 1 + self.random.below(63);
                message.push(label as u8);
                message.extend(self.random.bytes(label));
                let target = self.random.below(0x4000);
                message.extend_from_slice(&pointer(target));
                message.extend_from_slice(&[0, 1, 0, 1]);
            }
            // Many records with the same long owner by pointer: little input, much work.
            _ => {
                message = raw_query(&deep_name(120), 1, 1);
                let records = self.random.below(40);
                for _ in 0..records {
                    append_record(&mut message, &pointer(12), rtype::TXT, &[0]);
                }
                set_word(&mut message, 10, records as u16);
            }
        }
        message
    }

    fn edns(&mut self) -> Vec<u8> {
        let mut message = raw_query(&self.name(), rtype::A, 1);
        let mut options = Vec::new();
        for _ in 0..self.random.below(6) {
            let length = self
                .random
                .pick(&[0, 1, 2, 4, 7, 8, 9, 16, 24, 40, 41, 100]);
            let code = self.random.pick(&OPTIONS);
            append_option(&mut options, code, &self.random.bytes(length));
        }
        let size = self.random.pick(&[0, 1, 511, 512, 1232, 4096, 65_535]);
        match self.random.below(10) {
            // Twice, or more often.
            0 => {
                for _ in 0..2 + self.random.below(4) {
                    append_opt(&mut message, &[0], size, 0, &options);
                }
            }
            // Not at the root.
            1 => append_opt(&mut message, &self.name(), size, 0, &options),
            // An owner that is a pointer to the question.
            2 => append_opt(&mut message, &pointer(12), size, 0, &options),
            // A later version, an extended code, flags of the future.
            3 => {
                append_opt(&mut message, &[0], size, self.random.word(), &options);
                let at = message.len() - options.len() - 6;
                message[at] = self.random.byte();
                message[at + 1] = self.random.byte();
            }
            // A record length that lies.
            4 => {
                append_opt(&mut message, &[0], size, 0, &options);
                let at = message.len() - options.len() - 2;
                let lie = self.random.pick(&[0, 1, 3, 5, 255, 65_535]);
                set_word(&mut message, at, lie);
            }
            // An option length that lies.
            5 => {
                append_option(&mut options, self.random.pick(&OPTIONS), &[1, 2, 3]);
                let at = options.len() - 5;
                let lie = self.random.pick(&[0, 1, 4, 300, 65_535]);
                set_word(&mut options, at, lie);
                append_opt(&mut message, &[0], size, 0x8000, &options);
            }
            // In the answer or authority section.
            6 => {
                append_opt(&mut message, &[0], size, 0, &options);
                set_word(&mut message, 10, 0);
                let at = self.random.pick(&[6, 8]);
                set_word(&mut message, at, 1);
            }
            // Half an option.
            7 => {
                options.extend(self.random.bytes(3));
                append_opt(&mut message, &[0], size, 0, &options);
            }
            // A question about OPT itself.
            8 => {
                message = raw_query(&self.name(), rtype::OPT, 1);
                append_opt(&mut message, &[0], size, 0, &options);
            }
            _ => append_opt(&mut message, &[0], size, 0x8000, &options),
        }
        message
    }

    fn names(&mut self) -> Vec<u8> {
        let name = match self.random.below(6) {
            // Labels of the kinds 01 and 10 (RFC 6891 §5, RFC 2673).
            0 => [&[0x40 | self.random.byte() & 0xbf], self.name().as_slice()].concat(),
            // Longer than 255 bytes.
            1 => {
                let mut name = Vec::new();
                for _ in 0..4 + self.random.below(8) {
                    name.push(63);
                    name.extend(self.random.bytes(63));
                }
                name.push(0);
                name
            }
            // As long as may be, and one more.
            2 => deep_name(126 + self.random.below(3)),
            // Any bytes as letters: dots, zeros, quotes.
            3 => {
                let length = 1 + self.random.below(63);
                let mut name = vec![length as u8];
                name.extend(self.random.bytes(length));
                name.extend(Question::new(ZONE, 0).name);
                name
            }
            // Without an end.
            4 => {
                let mut name = self.name();
                name.pop();
                name
            }
            _ => vec![0],
        };
        raw_query(&name, rtype::A, 1)
    }

    fn stuffed(&mut self) -> Vec<u8> {
        let mut message = self.sound();
        let had = u16::from_be_bytes([message[10], message[11]]);
        let records = 1 + self.random.below(12);
        for _ in 0..records {
            let owner = if self.random.one_in(2) {
                self.name()
            } else {
                pointer(12).to_vec()
            };
            // A, CNAME, SOA, SIG, RRSIG, TSIG, DNAME, TKEY and any other.
            let any = self.random.word();
            let rtype = self.random.pick(&[1, 5, 6, 24, 46, 250, 39, 249, any]);
            let length = self.random.below(60);
            append_record(&mut message, &owner, rtype, &self.random.bytes(length));
        }
        let at = self.random.pick(&[6, 8, 10]);
        let before = if at == 10 { had } else { 0 };
        set_word(&mut message, at, before + records as u16);
        message
    }

    fn huge(&mut self) -> Vec<u8> {
        let mut message = raw_query(&self.name(), rtype::A, 1);
        let target = 2_000 + self.random.below(62_000);
        match self.random.below(3) {
            // One padding option.
            0 => {
                let mut options = Vec::new();
                append_option(&mut options, 12, &vec![0; target]);
                append_opt(&mut message, &[0], 1232, 0, &options);
            }
            // Thousands of records without data.
            1 => {
                let records = target / 12;
                for _ in 0..records {
                    append_record(&mut message, &pointer(12), 1, &[]);
                }
                set_word(&mut message, 10, records as u16);
            }
            // Thousands of options without data.
            _ => {
                let mut options = Vec::new();
                for _ in 0..target / 4 {
                    append_option(&mut options, self.random.pick(&OPTIONS), &[]);
                }
                append_opt(&mut message, &[0], 1232, 0, &options);
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_same_seed_makes_the_same_messages_and_all_kinds_come() {
        let own = ["0123.zz".to_owned()];
        let mut one = Generator::new(Random::new(1), &own);
        let mut same = one.clone();
        let mut seen = HashMap::new();
        for id in 0..20_000 {
            let (kind, message) = one.next(id, 65_535);
            assert_eq!((kind, message.clone()), same.next(id, 65_535));
            assert!(message.len() <= 65_535);
            if message.len() >= 2 {
                assert_eq!(message[..2], id.to_be_bytes());
            }
            *seen.entry(kind).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), Kind::ALL.len(), "{seen:?}");
    }
}

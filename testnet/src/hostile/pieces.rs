//! Pieces of DNS messages, put together without asking whether they fit.

use super::truth::rtype;

/// RD, and this many questions.
pub(super) fn header(questions: u8) -> Vec<u8> {
    vec![0, 0, 1, 0, 0, questions, 0, 0, 0, 0, 0, 0]
}

pub(super) fn raw_query(name: &[u8], rtype: u16, class: u16) -> Vec<u8> {
    let mut message = header(1);
    message.extend_from_slice(name);
    message.extend_from_slice(&rtype.to_be_bytes());
    message.extend_from_slice(&class.to_be_bytes());
    message
}

/// A name of `labels` labels of one letter below the zone's top.
pub(super) fn deep_name(labels: usize) -> Vec<u8> {
    let mut name: Vec<u8> = [1, b'd'].repeat(labels);
    name.push(0);
    name
}

pub(super) fn pointer(target: usize) -> [u8; 2] {
    (0xc000 | (target & 0x3fff) as u16).to_be_bytes()
}

pub(super) fn append_record(message: &mut Vec<u8>, owner: &[u8], rtype: u16, data: &[u8]) {
    message.extend_from_slice(owner);
    message.extend_from_slice(&rtype.to_be_bytes());
    message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    message.extend_from_slice(&(data.len() as u16).to_be_bytes());
    message.extend_from_slice(data);
}

/// Appends an OPT record and counts it.
pub(super) fn append_opt(
    message: &mut Vec<u8>,
    owner: &[u8],
    size: u16,
    flags: u16,
    options: &[u8],
) {
    message.extend_from_slice(owner);
    message.extend_from_slice(&rtype::OPT.to_be_bytes());
    message.extend_from_slice(&size.to_be_bytes());
    message.extend_from_slice(&[0, 0]);
    message.extend_from_slice(&flags.to_be_bytes());
    message.extend_from_slice(&(options.len() as u16).to_be_bytes());
    message.extend_from_slice(options);
    let count = u16::from_be_bytes([message[10], message[11]]);
    set_word(message, 10, count + 1);
}

pub(super) fn append_option(options: &mut Vec<u8>, code: u16, content: &[u8]) {
    options.extend_from_slice(&code.to_be_bytes());
    options.extend_from_slice(&(content.len() as u16).to_be_bytes());
    options.extend_from_slice(content);
}

pub(super) fn set_word(message: &mut [u8], at: usize, word: u16) {
    message[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

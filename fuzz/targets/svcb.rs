//! Any octets as the data of an SVCB record: what is read agrees with the octets, and with what a plain look at the
//! parameters finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zzdot_client::wire::{MAX_NAME_BYTES, Svcb};

fuzz_target!(|data: &[u8]| {
    let Ok(read) = Svcb::read(data) else { return };
    assert_eq!(data[..2], read.priority.to_be_bytes());
    let target = read.target.to_wire();
    assert!(target.len() <= MAX_NAME_BYTES);
    assert!(read.hints().count() <= 16);
    // What was read stands there whole, and nothing behind it.
    let parameters = parameters(&data[2 + target.len()..]);
    assert!(parameters.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let value = |key| {
        let found = parameters.iter().find(|(found, _)| *found == key);
        found.map(|(_, value)| *value)
    };
    let port = value(3).map(|value| u16::from_be_bytes([value[0], value[1]]));
    assert_eq!(read.port, port);
    let offered = strings(value(1).unwrap_or_default());
    assert!(offered.iter().all(|alpn| read.offers(alpn)));
    assert_eq!(read.offers(b"dot"), offered.contains(&&b"dot"[..]));
    if read.demands_unknown {
        assert!(value(0).is_some());
    }
});

fn parameters(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    let mut parameters = Vec::new();
    while !rest.is_empty() {
        let key = u16::from_be_bytes([rest[0], rest[1]]);
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        parameters.push((key, &rest[4..4 + length]));
        rest = &rest[4 + length..];
    }
    parameters
}

fn strings(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut strings = Vec::new();
    while let Some((length, after)) = rest.split_first() {
        let (string, after) = after.split_at(usize::from(*length));
        strings.push(string);
        rest = after;
    }
    strings
}

//! Names and record data as octets outside of a message.

use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

/// The wire form without compression: pointers mean nothing outside of a message, yet hickory's
/// `to_bytes` writes them, as in a SOA whose second name ends in its first.
pub(crate) fn octets(encodable: &impl BinEncodable) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    encodable
        .emit(&mut encoder)
        .expect("names and record data in memory can be encoded");
    octets
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::SOA;

    use super::*;

    #[test]
    fn names_are_written_in_full() {
        let name = Name::from_ascii("example.").unwrap();
        let soa = SOA::new(name.clone(), name, 1, 2, 3, 4, 5);
        assert_eq!(octets(&soa).len(), 9 + 9 + 20);
    }
}

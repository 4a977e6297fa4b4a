//! DNAME records (RFC 6672), for which hickory has a type code and no type.

use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// A name that another one would become is longer than names can be (RFC 6672 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The data of a DNAME record: in lower case, as it is signed (RFC 4034 §6.2).
pub(crate) fn dname(target: &Name) -> RData {
    let mut octets = Vec::new();
    for label in target.to_lowercase().iter() {
        // At the most 63: it is a name already.
        octets.push(label.len() as u8);
        octets.extend_from_slice(label);
    }
    octets.push(0);
    RData::Unknown {
        code: RecordType::DNAME,
        rdata: NULL::with(octets),
    }
}

/// Where a DNAME record with these data leads; none where they are of another type, or no name in lower
/// case.
pub(crate) fn target(data: &RData) -> Option<Name> {
    let RData::Unknown {
        code: RecordType::DNAME,
        rdata,
    } = data
    else {
        return None;
    };
    let octets = &rdata.anything;
    let mut decoder = BinDecoder::new(octets);
    let name = Name::read(&mut decoder).ok()?;
    // As it was signed it is served; another spelling of it could not be told from a forgery.
    (decoder.is_empty() && dname(&name) == *data).then_some(name)
}

/// What `name`, which is below `owner`, becomes when it stands below `target` (RFC 6672 §2.2).
pub(crate) fn substitute(name: &Name, owner: &Name, target: &Name) -> Result<Name, TooLong> {
    // `num_labels` leaves out an asterisk.
    let labels = name.iter().len().saturating_sub(owner.iter().len());
    let mut prefix = Name::from_labels(name.iter().take(labels)).map_err(|_| TooLong)?;
    prefix.set_fqdn(false);
    prefix.append_domain(target).map_err(|_| TooLong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn a_target_is_read_as_it_was_written() {
        for text in [".", "example.", "a.b.example."] {
            assert_eq!(target(&dname(&name(text))), Some(name(text)));
        }
        assert_eq!(
            target(&dname(&name("UP.Example."))),
            Some(name("up.example."))
        );
    }

    #[test]
    fn what_is_no_name_in_lower_case_leads_nowhere() {
        for octets in [&b"\x01"[..], b"\x01a", b"\0\0", b"\x01A\0", b"\xc0\0"] {
            let data = RData::Unknown {
                code: RecordType::DNAME,
                rdata: NULL::with(octets.to_vec()),
            };
            assert_eq!(target(&data), None, "{octets:?}");
        }
    }

    #[test]
    fn a_name_keeps_what_stands_before_the_owner() {
        let owner = name("q.up.zz.");
        let moved = |from: &str, to: &str| substitute(&name(from), &owner, &name(to));
        assert_eq!(moved("a.b.q.up.zz.", "."), Ok(name("a.b.")));
        assert_eq!(moved("*.q.up.zz.", "."), Ok(name("*.")));
        assert_eq!(
            moved("a.q.up.zz.", "other.example."),
            Ok(name("a.other.example."))
        );
        let longest = format!("{}.q.up.zz.", vec!["a".repeat(60); 4].join("."));
        assert!(moved(&longest, ".").is_ok());
        assert_eq!(moved(&longest, "other.example."), Err(TooLong));
    }
}

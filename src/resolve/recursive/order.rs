//! The answer section in the order in which an alias leads to its target.
//!
//! The recursor hands out records in any order. Stub resolvers read them once, from top to bottom:
//! glibc, for one, drops an address that stands before the alias that leads to it.

use hickory_resolver::proto::rr::{Name, RData, Record};

/// Puts each alias before what it leads to; records that no alias leads to come last.
pub(super) fn along_aliases(start: &Name, mut records: Vec<Record>) -> Vec<Record> {
    let mut ordered = Vec::with_capacity(records.len());
    let mut name = start.clone();
    loop {
        // The DNAME that a CNAME was made from stands above it (RFC 6672 §3.1).
        let (here, rest): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| {
            record.name == name || (is_dname(record) && record.name.zone_of(&name))
        });
        records = rest;
        let target = here.iter().find_map(|record| match &record.data {
            RData::CNAME(target) => Some(target.0.clone()),
            _ => None,
        });
        let (above, at): (Vec<_>, Vec<_>) = here.into_iter().partition(is_dname);
        ordered.extend(above);
        ordered.extend(at);
        // Every round takes records out of the pile, so that a loop of aliases ends too.
        match target {
            Some(target) if !records.is_empty() => name = target,
            _ => break,
        }
    }
    ordered.extend(records);
    ordered
}

fn is_dname(record: &Record) -> bool {
    u16::from(record.record_type()) == 39
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::proto::rr::rdata::{A, CNAME};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a constant is a name")
    }

    fn alias(from: &str, to: &str) -> Record {
        Record::from_rdata(name(from), 300, RData::CNAME(CNAME(name(to))))
    }

    fn address(of: &str) -> Record {
        Record::from_rdata(name(of), 300, RData::A(A(Ipv4Addr::LOCALHOST)))
    }

    #[test]
    fn whatever_the_order_an_alias_comes_before_its_target() {
        let chain = [
            alias("www.example.", "EDGE.example."),
            alias("edge.example.", "host.example."),
            address("host.example."),
        ];
        for [a, b, c] in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mixed = vec![chain[a].clone(), chain[b].clone(), chain[c].clone()];
            assert_eq!(along_aliases(&name("www.example."), mixed), chain);
        }
    }

    #[test]
    fn aliases_that_go_round_end_and_strangers_are_kept() {
        let round = vec![
            address("stranger.example."),
            alias("b.example.", "a.example."),
            alias("a.example.", "b.example."),
        ];
        let ordered = along_aliases(&name("a.example."), round);
        assert_eq!(ordered.len(), 3);
        assert_eq!(ordered[2], address("stranger.example."));
    }
}

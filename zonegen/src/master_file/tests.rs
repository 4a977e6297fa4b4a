#![allow(clippy::unwrap_used)]

use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::*;

fn one(text: &str) -> Record {
    let origin = Name::from_ascii("example.").unwrap();
    let mut records = read(text, Some(&origin)).unwrap();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

fn refused(text: &str) -> String {
    let origin = Name::from_ascii("example.").unwrap();
    read(text, Some(&origin)).unwrap_err().to_string()
}

#[test]
fn an_ordinary_master_file_is_read() {
    let text = "\u{feff}; comment\n\
        $TTL 1h30m\n\
        $ORIGIN net.\n\
        $ORIGIN example\n\
        @ IN SOA ns root ( 7 ; serial\n\
            1h 10m\n\
            1w 60 )\n\
        \t IN NS ns ; indented: same owner\n\
        ns 300 IN A 192.0.2.1\n\
        ns IN 300 AAAA 2001:db8::1\r\n\
        \n\
        txt TXT \"a b;c\" plain \"q\\\"\\065\"\n\
        a\\.b.c\\068 CNAME . \n\
        x TYPE65280 \\# 3 0A 0bff\n\
        (\n y PTR ns )\n";
    let shown = write(read(text, None).unwrap().iter());
    assert_eq!(
        shown,
        "example.net. 5400 IN SOA ns.example.net. root.example.net. 7 3600 600 604800 60\n\
         example.net. 5400 IN NS ns.example.net.\n\
         ns.example.net. 300 IN A 192.0.2.1\n\
         ns.example.net. 300 IN AAAA 2001:db8::1\n\
         txt.example.net. 5400 IN TXT \"a b;c\" \"plain\" \"q\\\"A\"\n\
         a\\046b.cD.example.net. 5400 IN CNAME .\n\
         x.example.net. 5400 IN TYPE65280 \\# 3 0A0BFF\n\
         y.example.net. 5400 IN PTR ns.example.net.\n"
    );
}

#[test]
fn the_types_of_dnssec_and_services_are_read_and_written() {
    for data in [
        "NSEC b.example. A NS SOA RRSIG NSEC DNSKEY TYPE65280",
        "RRSIG A 13 2 60 20260801120000 20260725120000 12345 example. AAECAwQF",
        "DNSKEY 257 3 13 AAECAwQF",
        "KEY 257 3 13 AAECAwQF",
        "DS 12345 13 2 00FF",
        "TLSA 3 1 1 00FF",
        "SVCB 1 b.example. alpn=dot,h2 port=8853 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1",
        "MX 10 b.example.",
    ] {
        let record = one(&format!("a 60 IN {data}"));
        assert_eq!(record_text(&record), format!("a.example. 60 IN {data}"));
    }
}

#[test]
fn equivalent_texts_are_the_same_record() {
    for (one_way, other_way) in [
        (
            "a 60 SVCB 1 . port=53 alpn=\"dot\"",
            "a 60 SVCB 1 . alpn=dot key3=\\000\\053",
        ),
        (
            "a 60 RRSIG A ECDSAP256SHA256 2 1m 1785585600 1784980800 1 @ AA EC AwQF",
            "a 60 RRSIG A 13 2 60 20260801120000 20260725120000 1 example. AAECAwQF",
        ),
        ("a 60 A 192.0.2.1", "a 60 A \\# 4 C0000201"),
        ("a 60 A 192.0.2.1", "a CLASS1 60 TYPE1 192.0.2.1"),
        ("a 60 TXT x", "a 60 TXT ( \"x\"\n )"),
    ] {
        assert_eq!(one(one_way), one(other_way), "{one_way}");
    }
}

#[test]
fn each_mistake_is_told_with_its_line_and_what_was_expected() {
    for (text, message) in [
        (
            "\n\na 60 A 192.0.2",
            "line 3: found \"192.0.2\", expected an IPv4 address",
        ),
        (
            "a 60 A",
            "line 1: found \"end of line\", expected an IPv4 address",
        ),
        (
            "a 60 A 192.0.2.1 x",
            "line 1: found \"x\", expected the end of the record",
        ),
        (
            "a 60",
            "line 1: found \"end of line\", expected a record type",
        ),
        ("a 60 B x", "line 1: found \"B\", expected a record type"),
        (
            " 60 A 192.0.2.1",
            "line 1: found \"60\", expected an owner name (the first record cannot leave it out)",
        ),
        (
            "a A 192.0.2.1",
            "line 1: found \"192.0.2.1\", expected a time-to-live before the type, or a $TTL above",
        ),
        (
            "a 4294967296 A 192.0.2.1",
            "line 1: found \"4294967296\", expected a time-to-live up to 2147483647",
        ),
        (
            "a 60 TXT \"x\n",
            "line 1: found \"\\\"\", expected a closing quote on the line",
        ),
        (
            "a 60 TXT (\nx\n",
            "line 1: found \"(\", expected a closing parenthesis",
        ),
        (
            "a 60 TXT ( (",
            "line 1: found \"(\", expected no parenthesis within parentheses",
        ),
        (
            "a 60 TXT )",
            "line 1: found \")\", expected an opening parenthesis before it",
        ),
        (
            "a 60 TXT x\\",
            "line 1: found \"\\\\\", expected a character behind the backslash",
        ),
        (
            "a 60 TXT x\\256",
            "line 1: found \"x\\\\256\", expected three digits from 000 to 255 behind the backslash",
        ),
        (
            "a 60 TXT x\\25",
            "line 1: found \"x\\\\25\", expected three digits from 000 to 255 behind the backslash",
        ),
        (
            "a..b 60 A 192.0.2.1",
            "line 1: found \"a..b\", expected a name with labels of 1 to 63 octets",
        ),
        (
            "a 60 TLSA 3 1 1 0F0",
            "line 1: found \"0F0\", expected octets in hexadecimal",
        ),
        (
            "a 60 DNSKEY 257 3 13 A",
            "line 1: found \"A\", expected octets in base64",
        ),
        (
            "a 60 DNSKEY 257 3 X AAAA",
            "line 1: found \"X\", expected an algorithm such as 13 or ECDSAP256SHA256",
        ),
        (
            "a 60 A \\# 4 C00002",
            "line 1: found \"4\", expected the number of octets behind it, 3",
        ),
        (
            "a 60 A \\# 3 C00002",
            "line 1: found \"\\\\#\", expected well-formed A data",
        ),
        (
            "a 60 RRSIG A 13 2 60 20261301120000 0 1 @ AAAA",
            "line 1: found \"20261301120000\", expected an expiration as YYYYMMDDHHMMSS or in seconds",
        ),
        (
            "a 60 SVCB 1 . port=1 port=2",
            "line 1: found \"port=2\", expected each parameter once",
        ),
        (
            "a 60 SVCB 1 . colour=red",
            "line 1: found \"colour=red\", expected alpn, port, ipv4hint, ipv6hint or keyNUMBER",
        ),
        (
            "a 60 SRV 1 2 3 b",
            "line 1: found \"1\", expected \\# and octets in hexadecimal, as the text of SRV is not supported",
        ),
        (
            "$INCLUDE x",
            "line 1: found \"$INCLUDE\", expected $ORIGIN or $TTL (others are not supported)",
        ),
        (
            "$TTL x",
            "line 1: found \"x\", expected a number of seconds, or one with units as in 1h30m",
        ),
    ] {
        assert_eq!(refused(text), message);
    }
    let error = read("a 60 A 192.0.2.1", None).unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1: found \"a\", expected a name with its final dot, as there is no $ORIGIN"
    );
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    let label = "a".repeat(63);
    let name = format!("{label}.{label}.{label}.{label}.");
    assert!(refused(&format!("{name} 60 A 192.0.2.1")).contains("at most 255 octets"));
    let label = "a".repeat(64);
    assert!(refused(&format!("{label} 60 A 192.0.2.1")).contains("1 to 63 octets"));
}

proptest! {
    /// Any octets in any type come back as they were.
    #[test]
    fn what_is_written_is_read(
        labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..10), 0..6),
        strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..4),
        code in 65_000_u16..65_280,
        ttl in 0_u32..1 << 31,
    ) {
        let mut owner = Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
        owner.set_fqdn(true);
        let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
        let mut octets = hickory_proto::rr::rdata::NULL::new();
        octets.anything = strings.concat();
        let records = vec![
            Record::from_rdata(
                owner.clone(),
                ttl,
                RData::TXT(hickory_proto::rr::rdata::TXT::from_bytes(strings)),
            ),
            Record::from_rdata(
                owner.clone(),
                ttl,
                RData::CNAME(hickory_proto::rr::rdata::CNAME(owner.clone())),
            ),
            Record::from_rdata(
                owner,
                ttl,
                RData::Unknown { code: RecordType::from(code), rdata: octets },
            ),
        ];
        let text = write(&records);
        prop_assert_eq!(read(&text, None).unwrap(), records);
    }

    /// Whatever the text, the reader says yes or no.
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~\\n\\t\\\\\"();$@.é0-9A-Z]{0,200}") {
        let _ = read(&text, None);
    }

    /// A valid file with one octet changed is read or refused, never worse.
    #[test]
    fn no_changed_octet_makes_the_reader_panic(at in 0_usize..400, octet in 1_u8..128) {
        let text = "a. 60 IN NSEC b. A TYPE65280\na. 60 IN RRSIG A 13 2 60 20260801120000 20260725120000 1 a. AAAA\n\
            a. 60 IN SVCB 1 . alpn=dot port=8853 ipv4hint=192.0.2.1 ipv6hint=::1 key7=\"x\\044\"\n\
            a. 60 IN DNSKEY 257 3 13 AAAA\na. 60 IN KEY 257 3 13 AAAA\na. 60 IN TLSA 3 1 1 00FF\n\
            a. 60 IN SOA a. b. 1 2 3 4 5\na. 60 IN TXT \"x\" ( y\n z )\n";
        let mut octets = text.as_bytes().to_vec();
        let at = at % octets.len();
        octets[at] = octet;
        let _ = read(&String::from_utf8(octets).unwrap(), None);
    }
}

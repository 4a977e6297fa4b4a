//! Records as text, one a line, in a form that every server reads.

use std::fmt::Write;

use data_encoding::{BASE64, HEXUPPER};
use hickory_proto::dnssec::PublicKey;
use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use time::OffsetDateTime;

use crate::dname::target;
use crate::signed_zone::SignedZone;
use crate::wire::octets;

/// A whole zone, its SOA first.
pub fn write_zone(zone: &SignedZone) -> String {
    let mut text = format!(
        "; zone {}, serial {}\n",
        name_text(zone.origin()),
        zone.soa().serial
    );
    text.push_str(&write(zone.records()));
    text
}

/// Records, one a line.
pub fn write<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    let mut text = String::new();
    for record in records {
        text.push_str(&record_text(record));
        text.push('\n');
    }
    text
}

/// `OWNER TTL IN TYPE DATA`.
pub fn record_text(record: &Record) -> String {
    format!(
        "{} {} {} {} {}",
        name_text(&record.name),
        record.ttl,
        record.dns_class,
        type_text(record.record_type()),
        rdata_text(&record.data)
    )
}

/// The type's name, `TYPE65280` where it has none (RFC 3597 §5).
pub fn type_text(rtype: RecordType) -> String {
    let name = rtype.to_string();
    match name.parse::<RecordType>() {
        Ok(parsed) if parsed == rtype => name,
        _ => format!("TYPE{}", u16::from(rtype)),
    }
}

/// The record's data.
pub fn rdata_text(data: &RData) -> String {
    match data {
        RData::A(address) => address.0.to_string(),
        RData::AAAA(address) => address.0.to_string(),
        RData::NS(name) => name_text(&name.0),
        RData::CNAME(name) => name_text(&name.0),
        RData::PTR(name) => name_text(&name.0),
        RData::MX(mx) => format!("{} {}", mx.preference, name_text(&mx.exchange)),
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {} {}",
            name_text(&soa.mname),
            name_text(&soa.rname),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum
        ),
        RData::TXT(txt) => txt
            .txt_data
            .iter()
            .map(|string| quoted(string))
            .collect::<Vec<_>>()
            .join(" "),
        RData::TLSA(tlsa) => format!(
            "{} {} {} {}",
            u8::from(tlsa.cert_usage),
            u8::from(tlsa.selector),
            u8::from(tlsa.matching),
            HEXUPPER.encode(&tlsa.cert_data)
        ),
        RData::SVCB(svcb) => svcb_text(svcb).unwrap_or_else(|| generic(data)),
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => format!(
            "{} 3 {} {}",
            key.flags(),
            u8::from(key.public_key().algorithm()),
            BASE64.encode(key.public_key().public_bytes())
        ),
        RData::DNSSEC(DNSSECRData::KEY(key)) => format!(
            "{} {} {} {}",
            key.flags(),
            u8::from(key.protocol()),
            u8::from(key.algorithm()),
            BASE64.encode(key.public_key())
        ),
        RData::DNSSEC(DNSSECRData::DS(ds)) => format!(
            "{} {} {} {}",
            ds.key_tag(),
            u8::from(ds.algorithm()),
            u8::from(ds.digest_type()),
            HEXUPPER.encode(ds.digest())
        ),
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => rrsig_text(rrsig),
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
            let mut text = name_text(nsec.next_domain_name());
            for rtype in nsec.type_bit_maps() {
                text.push(' ');
                text.push_str(&type_text(rtype));
            }
            text
        }
        RData::Unknown { code, .. } if *code == RecordType::DNAME => {
            target(data).map_or_else(|| generic(data), |name| name_text(&name))
        }
        _ => generic(data),
    }
}

/// A name with its final dot, everything unusual escaped (RFC 1035 §5.1).
pub fn name_text(name: &Name) -> String {
    let mut text = String::new();
    for label in name.iter() {
        for octet in label {
            match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' => {
                    text.push(char::from(*octet));
                }
                _ => push_decimal(&mut text, *octet),
            }
        }
        text.push('.');
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

fn rrsig_text(rrsig: &RRSIG) -> String {
    let input = rrsig.input();
    format!(
        "{} {} {} {} {} {} {} {} {}",
        type_text(input.type_covered),
        u8::from(input.algorithm),
        input.num_labels,
        input.original_ttl,
        time_text(input.sig_expiration.get()),
        time_text(input.sig_inception.get()),
        input.key_tag,
        name_text(&input.signer_name),
        BASE64.encode(rrsig.sig())
    )
}

/// `YYYYMMDDHHMMSS` in UTC (RFC 4034 §3.2). Read as the years 1970 to 2106, as all servers do.
fn time_text(wire: u32) -> String {
    let date = OffsetDateTime::from_unix_timestamp(i64::from(wire))
        .expect("32 bits of seconds are within the calendar");
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        date.hour(),
        date.minute(),
        date.second()
    )
}

/// The text of a SVCB (RFC 9460 §2.1); `None` where it has parameters other than those used here.
fn svcb_text(svcb: &SVCB) -> Option<String> {
    let mut text = format!("{} {}", svcb.svc_priority, name_text(&svcb.target_name));
    for (_, value) in &svcb.svc_params {
        text.push(' ');
        match value {
            SvcParamValue::Alpn(alpn) => {
                // Commas and backslashes in identifiers would be escaped twice (§7.1.1).
                let plain = |id: &String| id.bytes().all(|octet| octet.is_ascii_alphanumeric());
                if !alpn.0.iter().all(plain) {
                    return None;
                }
                text.push_str(&format!("alpn={}", alpn.0.join(",")));
            }
            SvcParamValue::Port(port) => text.push_str(&format!("port={port}")),
            SvcParamValue::Ipv4Hint(hint) => {
                let list: Vec<String> = hint.0.iter().map(|a| a.0.to_string()).collect();
                text.push_str(&format!("ipv4hint={}", list.join(",")));
            }
            SvcParamValue::Ipv6Hint(hint) => {
                let list: Vec<String> = hint.0.iter().map(|a| a.0.to_string()).collect();
                text.push_str(&format!("ipv6hint={}", list.join(",")));
            }
            _ => return None,
        }
    }
    Some(text)
}

/// `\# LENGTH HEX` (RFC 3597 §5).
fn generic(data: &RData) -> String {
    let octets = octets(data);
    match octets.len() {
        0 => "\\# 0".to_owned(),
        length => format!("\\# {length} {}", HEXUPPER.encode(&octets)),
    }
}

fn quoted(string: &[u8]) -> String {
    let mut text = String::from("\"");
    for octet in string {
        match octet {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*octet));
            }
            b' '..=b'~' => text.push(char::from(*octet)),
            _ => push_decimal(&mut text, *octet),
        }
    }
    text.push('"');
    text
}

fn push_decimal(text: &mut String, octet: u8) {
    write!(text, "\\{octet:03}").expect("a String takes everything");
}

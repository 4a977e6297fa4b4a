#![allow(clippy::unwrap_used)]

mod cross_check;
mod denials;
mod keys;
mod oracle;
mod published;
mod revoked;
mod signatures;
mod zone;

use std::sync::Arc;

use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_proto::dnssec::{Algorithm, PublicKey, PublicKeyBuf, TBS};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::ZoneKey as SigningKey;

use self::oracle::finds_secure;
use self::zone::{TTL, TestZone, name};
use super::*;

const TYPES: [RecordType; 4] = [
    RecordType::A,
    RecordType::TXT,
    RecordType::MX,
    RecordType::AAAA,
];

fn read(message: &Message) -> Reply {
    Reply::read(&message.to_vec().unwrap()).unwrap()
}

/// Our verdict on an answer: what is denied, or nothing for records.
fn judge(
    zone: &TestZone,
    message: &Message,
    qname: &Name,
    qtype: RecordType,
    clock: UnixTime,
) -> Result<Option<DeniedWhat>, BogusReason> {
    judge_with(&zone.trusted(), message, qname, qtype, clock)
}

fn judge_with(
    keys: &TrustedKeys,
    message: &Message,
    qname: &Name,
    qtype: RecordType,
    clock: UnixTime,
) -> Result<Option<DeniedWhat>, BogusReason> {
    match validate_answer(&read(message), qname, qtype, keys, clock) {
        Ok(Answered::Records(rrset, secure)) => {
            assert_eq!((&rrset.owner, rrset.rtype), (qname, qtype));
            assert!(secure.ttl <= TTL && secure.expires >= clock);
            Ok(None)
        }
        Ok(Answered::Denied(denied)) => Ok(Some(denied.what)),
        Err(bogus) => Err(bogus.reason),
    }
}

fn small_zone() -> TestZone {
    TestZone::new(
        "example.",
        &[
            (name("a.example."), RecordType::A),
            (name("x.deep.er.example."), RecordType::TXT),
            (name("*.wild.example."), RecordType::A),
            (name("host.wild.example."), RecordType::TXT),
            (name("z.example."), RecordType::MX),
        ],
    )
}

fn reason(zone: &TestZone, message: &Message, qname: &str, qtype: RecordType) -> BogusReason {
    judge(zone, message, &name(qname), qtype, zone.now).unwrap_err()
}

/// Changes the signatures over this type, in place.
fn change_signatures(
    message: &mut Message,
    rtype: RecordType,
    change: impl Fn(&mut SigInput, &mut Vec<u8>),
) {
    let mut changed = 0;
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data else {
            continue;
        };
        let mut input = rrsig.input().clone();
        if input.type_covered != rtype {
            continue;
        }
        let mut signature = rrsig.sig().to_vec();
        change(&mut input, &mut signature);
        record.data = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, signature)));
        changed += 1;
    }
    assert!(changed > 0, "nothing to change");
}

fn change_nsecs(message: &mut Message, change: impl Fn(&NSEC) -> NSEC) {
    for record in &mut message.authorities {
        if let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &record.data {
            record.data = RData::DNSSEC(DNSSECRData::NSEC(change(nsec)));
        }
    }
}

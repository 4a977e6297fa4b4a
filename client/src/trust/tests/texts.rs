//! What is written and read back.

use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, PublicKeyBuf};
use zzdot_zonegen::clock::UnixTime;
use zzdot_zonegen::keys::{ds, key_tag};
use zzdot_zonegen::owners::anchor_zone;

use crate::trust::*;

fn key(number: u8) -> DNSKEY {
    let public = PublicKeyBuf::new(vec![number; 64], Algorithm::ECDSAP256SHA256);
    DNSKEY::with_flags(257, public)
}

#[test]
fn a_digest_is_that_of_the_ds_record_and_its_text_is_read_back() {
    let digest = AnchorDs::of(&key(1));
    assert_eq!(digest.tag, key_tag(&key(1)));
    assert_eq!(digest.digest, ds(&anchor_zone(), &key(1)).digest());
    assert!(digest.names(&key(1)) && !digest.names(&key(2)));
    let text = digest.to_string();
    assert_eq!(text.parse::<AnchorDs>().unwrap(), digest);
    let json = serde_json::to_string(&digest).unwrap();
    assert_eq!(json, format!("{text:?}"));
    assert_eq!(serde_json::from_str::<AnchorDs>(&json).unwrap(), digest);
    for spoilt in [
        "",
        "1-13-2",
        "1-13-1-00",
        &text[1..text.len() - 1],
        &format!("{text}00"),
        &format!("{text}-"),
        &text.replace("-13-", "-256-"),
    ] {
        assert!(spoilt.parse::<AnchorDs>().is_err(), "{spoilt}");
    }
}

#[test]
fn a_table_survives_json_and_an_impossible_one_is_refused() {
    let mut set = AnchorSet::first_use(&[key(1), key(2)], Some(&key(1)), UnixTime(5));
    let shown = KeySet {
        keys: vec![key(1), key(3)],
        signers: vec![key(1)],
        ..KeySet::default()
    };
    set.observe(&shown, UnixTime(9)).unwrap();
    let json = serde_json::to_value(&set).unwrap();
    let read = |json| serde_json::from_value::<AnchorSet>(json);
    assert_eq!(read(json.clone()).unwrap(), set);

    let spoilt = |spoil: &dyn Fn(&mut serde_json::Value)| {
        let mut json = json.clone();
        spoil(&mut json);
        read(json).unwrap_err().to_string()
    };
    for (spoil, told) in [
        (
            (&|json: &mut serde_json::Value| json["keys"][1] = json["keys"][0].clone())
                as &dyn Fn(&mut serde_json::Value),
            "twice",
        ),
        (
            &|json| json["keys"][1]["active"] = true.into(),
            "active key",
        ),
        (
            &|json| json["keys"][0]["standing"] = serde_json::json!({ "state": "removed" }),
            "active key",
        ),
        (
            &|json| {
                let text = json["keys"][0]["key"].as_str().unwrap();
                json["keys"][0]["key"] = text.replace("257 ", "385 ").into();
            },
            "no key-signing key",
        ),
        (
            &|json| {
                let one = json["keys"][0].clone();
                json["keys"] = vec![one; MAX_TRACKED_KEYS + 1].into();
            },
            "more than",
        ),
        (&|json| json["more"] = 1.into(), "unknown field"),
    ] {
        let error = spoilt(spoil);
        assert!(error.contains(told), "{error}");
    }
}

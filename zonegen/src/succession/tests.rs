#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use ring::rand::SystemRandom;

use super::*;
use crate::keys::REVOKE;

const FROM: UnixTime = UnixTime(4_000_000_000);
const UNTIL: UnixTime = UnixTime(4_034_000_000);

fn name() -> ResolverName {
    "8g2l0qv7c4m1t5b9r3se.zz".parse().unwrap()
}

fn key() -> ZoneKey {
    ZoneKey::generate(KSK_FLAGS, &SystemRandom::new()).unwrap()
}

fn statement(old: &ZoneKey, new: &[&ZoneKey]) -> Statement {
    let new: Vec<&DNSKEY> = new.iter().map(|key| key.dnskey()).collect();
    Statement::sign(&name(), old, &new, FROM, UNTIL).unwrap()
}

fn dnskeys(keys: &[&ZoneKey]) -> Vec<DNSKEY> {
    keys.iter().map(|key| key.dnskey().clone()).collect()
}

#[test]
fn a_statement_survives_its_record_and_names_who_follows() {
    let (old, active, standby) = (key(), key(), key());
    let made = statement(&old, &[&active, &standby]);
    let txt = made.to_txt();
    let read = Statement::from_txt(txt.txt_data.iter().map(AsRef::as_ref)).unwrap();
    assert_eq!(read, made);
    assert_eq!(read.signer(), *old.dnskey());
    assert_eq!(
        read.successors(),
        [
            KeyDigest::of(active.dnskey()),
            KeyDigest::of(standby.dnskey())
        ]
    );
    assert_eq!(read.check(&name(), FROM), Ok(()));
    assert_eq!(read.check(&name(), UNTIL), Ok(()));
    assert!(made.to_string().len() < MAX_OCTETS);
}

#[test]
fn a_statement_holds_for_its_resolver_and_its_time_alone() {
    let made = statement(&key(), &[&key()]);
    let other: ResolverName = "8g2l0qv7c4m1t5b9r3sf.zz".parse().unwrap();
    assert!(matches!(
        made.check(&other, FROM),
        Err(SuccessionError::Signature(_))
    ));
    for now in [UnixTime(FROM.0 - 1), UnixTime(UNTIL.0 + 1)] {
        assert!(matches!(
            made.check(&name(), now),
            Err(SuccessionError::Time { .. })
        ));
    }
}

#[test]
fn nobody_follows_itself_and_only_a_living_key_speaks() {
    let (old, new) = (key(), key());
    let sign = |by: &ZoneKey, new: &[&DNSKEY]| Statement::sign(&name(), by, new, FROM, UNTIL);
    let refused = Err(SuccessionError::Successors);
    assert_eq!(sign(&old, &[old.dnskey()]), refused);
    assert_eq!(sign(&old, &[]), refused);
    assert_eq!(sign(&old, &[new.dnskey(), new.dnskey()]), refused);
    let revoked = ZoneKey::from_pkcs8(KSK_FLAGS | REVOKE, old.pkcs8().clone_key()).unwrap();
    assert!(matches!(
        sign(&revoked, &[new.dnskey()]),
        Err(SuccessionError::Signer(_))
    ));
    assert_eq!(
        KeyDigest::of(revoked.dnskey()),
        KeyDigest::of(old.dnskey()),
        "revocation does not make it another key"
    );
}

#[test]
fn what_is_no_statement_is_refused_by_its_reason() {
    let text = statement(&key(), &[&key()]).to_string();
    let refused = |text: &str| Statement::parse(text).unwrap_err();
    assert_eq!(
        refused(&text.replacen("v=1", "v=2", 1)),
        SuccessionError::Version
    );
    assert!(matches!(refused(""), SuccessionError::Malformed("v=")));
    assert!(matches!(
        refused(&format!("{text} ")),
        SuccessionError::Malformed(_)
    ));
    assert!(matches!(
        refused(&text.replacen("from=", "from=0", 1)),
        SuccessionError::Malformed("from=")
    ));
    assert!(matches!(
        refused(&"v".repeat(MAX_OCTETS + 1)),
        SuccessionError::TooLong(513)
    ));
    let many = vec![[0_u8; 255]; 100];
    assert!(matches!(
        Statement::from_txt(many.iter().map(<[u8; 255]>::as_slice)),
        Err(SuccessionError::TooLong(_))
    ));
}

#[test]
fn trust_passes_through_generations_and_never_through_a_distrusted_key() {
    let keys: Vec<ZoneKey> = (0..6).map(|_| key()).collect();
    // Five roll-overs, of which whoever knew the first two keys saw none.
    let statements: Vec<Statement> = keys
        .windows(3)
        .map(|keys| statement(&keys[0], &[&keys[1], &keys[2]]))
        .collect();
    let known = dnskeys(&[&keys[0], &keys[1]]);
    let shown = dnskeys(&[&keys[4], &keys[5]]);
    let find = |statements: &[Statement], distrusted: &[DNSKEY], now| {
        descendants(&name(), &known, distrusted, statements, &shown, now)
    };
    assert_eq!(find(&statements, &[], FROM), shown);
    let mut backwards = statements.clone();
    backwards.reverse();
    assert_eq!(find(&backwards, &[], FROM), shown);
    assert_eq!(find(&statements, &[], UnixTime(UNTIL.0 + 1)), []);
    assert_eq!(
        find(&statements, &shown, FROM),
        [],
        "distrusted keys return by no way"
    );
    let stranger = [statement(&key(), &[&keys[4], &keys[5]])];
    assert_eq!(find(&stranger, &[], FROM), []);
    // Without the statements of the middle nothing leads there.
    assert_eq!(find(&statements[3..], &[], FROM), []);
    let distrusted = dnskeys(&[&keys[2], &keys[3]]);
    assert_eq!(find(&statements, &distrusted, FROM), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_statement_with_any_octet_changed_is_refused(at in 0_usize..400, to in any::<u8>()) {
        let made = statement(&key(), &[&key(), &key()]);
        let mut octets = made.to_string().into_bytes();
        let at = at % octets.len();
        prop_assume!(octets[at] != to);
        octets[at] = to;
        let read = Statement::from_txt([octets.as_slice()]);
        prop_assert!(read.and_then(|read| read.check(&name(), FROM)).is_err());
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Statement::from_txt([octets.as_slice()]);
    }
}

use std::sync::Arc;

use libcrux_ml_kem::mlkem768;
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{DecapsulationKey, MlKem768};
use proptest::prelude::{any, proptest};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, HandshakeKind, NamedGroup, PeerMisbehaved};

use super::ends::{configs, configs_with, settle, whole};
use crate::tls::hybrid::X25519MLKEM768;
use crate::tls::provider::provider;

const KEY: usize = 1184;
const CIPHERTEXT: usize = 1088;
const CLASSICAL: usize = 32;

proptest! {
    // Two implementations that share no code have to agree on every octet (FIPS 203).
    #[test]
    fn another_implementation_of_ml_kem_says_the_same(
        seed in any::<[[u8; 32]; 2]>(),
        message in any::<[u8; 32]>(),
        spoilt in 0..CIPHERTEXT,
    ) {
        let seed: [u8; 64] = seed.concat().try_into().unwrap();
        let ours = mlkem768::generate_key_pair(seed);
        let theirs = DecapsulationKey::<MlKem768>::from_seed(seed.into());
        assert_eq!(ours.pk()[..], theirs.encapsulation_key().to_bytes()[..]);

        let (ciphertext, secret) = mlkem768::encapsulate(ours.public_key(), message);
        let (their_ciphertext, their_secret) =
            theirs.encapsulation_key().encapsulate_deterministic(&message.into());
        assert_eq!(ciphertext.as_ref(), &their_ciphertext[..]);
        assert_eq!(secret[..], their_secret[..]);
        assert_eq!(mlkem768::decapsulate(ours.private_key(), &ciphertext), secret);

        // The secret in place of a refusal (FIPS 203 §6.3).
        let mut wrong = *ciphertext.as_slice();
        wrong[spoilt] ^= 1;
        let rejected = mlkem768::decapsulate(ours.private_key(), &wrong.into());
        assert_ne!(rejected, secret);
        assert_eq!(rejected[..], theirs.decapsulate(&wrong.into())[..]);
    }
}

#[test]
fn both_halves_make_the_same_secret_of_the_lengths_that_the_draft_says() {
    let client = X25519MLKEM768.start().unwrap();
    assert_eq!(client.pub_key().len(), KEY + CLASSICAL);
    let server = X25519MLKEM768.start_and_complete(client.pub_key()).unwrap();
    assert_eq!(server.pub_key.len(), CIPHERTEXT + CLASSICAL);
    let secret = client.complete(&server.pub_key).unwrap();
    assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
    assert_eq!(secret.secret_bytes().len(), 64);
}

#[test]
fn the_x25519_half_alone_is_the_key_that_stands_in_the_share() {
    let client = X25519MLKEM768.start().unwrap();
    let (group, key) = client.hybrid_component().unwrap();
    assert_eq!(group, NamedGroup::X25519);
    assert_eq!(key, &client.pub_key()[KEY..]);
    let server = ring::kx_group::X25519.start_and_complete(key).unwrap();
    let secret = client.complete_hybrid_component(&server.pub_key).unwrap();
    assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
}

#[test]
fn shares_that_are_not_keys_are_refused() {
    let refused = |share: &[u8]| X25519MLKEM768.start_and_complete(share).err();
    let invalid = Some(Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare));
    let client = X25519MLKEM768.start().unwrap();
    let share = client.pub_key();
    for length in [0, CLASSICAL, KEY - 1, KEY, KEY + CLASSICAL - 1] {
        assert_eq!(refused(&share[..length]), invalid, "{length} octets");
    }
    assert_eq!(refused(&[share, &[0]].concat()), invalid);
    // A coefficient that is no residue modulo 3329 (FIPS 203 §7.2).
    let mut out_of_range = share.to_vec();
    out_of_range[..2].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(refused(&out_of_range), invalid);
    // A point of small order makes no secret.
    let mut small = share.to_vec();
    small[KEY..].fill(0);
    assert!(refused(&small).is_some());
}

#[test]
fn answers_that_are_no_ciphertext_are_refused() {
    for length in [
        0,
        CIPHERTEXT,
        CIPHERTEXT + CLASSICAL - 1,
        CIPHERTEXT + CLASSICAL + 1,
    ] {
        let client = X25519MLKEM768.start().unwrap();
        let refused = client.complete(&vec![9; length]).err();
        assert_eq!(
            refused,
            Some(Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare)),
            "{length} octets"
        );
    }
}

fn only(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: groups.to_vec(),
        ..ring::default_provider()
    })
}

fn agreed(
    of_server: Arc<CryptoProvider>,
    of_client: Arc<CryptoProvider>,
) -> (NamedGroup, HandshakeKind) {
    let configs = configs_with(&TLS13, of_server, of_client);
    let (mut client, mut server) = (configs.our_client(), configs.our_server());
    settle(&mut client, &mut server, &mut whole()).unwrap();
    let (client, server) = (client.end.session, server.end.session);
    assert_eq!(client.key_exchange(), server.key_exchange());
    (
        client.key_exchange().unwrap(),
        client.handshake_kind().unwrap(),
    )
}

#[test]
fn our_ends_agree_on_the_hybrid_and_on_x25519_with_whoever_knows_no_other() {
    let old = || only(&[ring::kx_group::X25519]);
    // Never a second round trip.
    assert_eq!(
        agreed(provider(), provider()),
        (NamedGroup::X25519MLKEM768, HandshakeKind::Full)
    );
    assert_eq!(
        agreed(old(), provider()),
        (NamedGroup::X25519, HandshakeKind::Full)
    );
    assert_eq!(
        agreed(provider(), old()),
        (NamedGroup::X25519, HandshakeKind::Full)
    );
}

#[test]
fn the_hybrid_is_as_good_as_the_one_of_the_library() {
    let ours = || only(&[X25519MLKEM768]);
    let expected = (NamedGroup::X25519MLKEM768, HandshakeKind::Full);
    assert_eq!(agreed(ours(), provider()), expected);
    assert_eq!(agreed(provider(), ours()), expected);
}

#[test]
fn tls_1_2_goes_on_without_it() {
    let configs = configs(&TLS12);
    let (mut client, mut server) = (configs.our_client(), configs.our_server());
    settle(&mut client, &mut server, &mut whole()).unwrap();
    assert_eq!(client.end.session.key_exchange(), Some(NamedGroup::X25519));
}

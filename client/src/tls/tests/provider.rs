use rustls::{CipherSuite, NamedGroup};

use crate::tls::provider::provider;

#[test]
fn the_suites_are_those_of_the_library_and_sha_384_comes_last() {
    let (ours, library) = (provider(), rustls::crypto::ring::default_provider());
    let of_library: Vec<_> = library
        .cipher_suites
        .iter()
        .map(|suite| suite.suite())
        .collect();
    let suites: Vec<_> = ours
        .cipher_suites
        .iter()
        .map(|suite| suite.suite())
        .collect();
    assert_eq!(suites.len(), of_library.len());
    assert!(of_library.iter().all(|suite| suites.contains(suite)));
    let slow = |suite: &CipherSuite| suite.as_str().unwrap().ends_with("SHA384");
    let first_slow = suites.iter().position(slow).unwrap();
    assert!(suites[first_slow..].iter().all(slow), "{suites:?}");
}

#[test]
fn the_hybrid_is_offered_first_and_x25519_beside_it() {
    let groups: Vec<_> = provider()
        .kx_groups
        .iter()
        .map(|group| group.name())
        .collect();
    assert_eq!(
        groups[..2],
        [NamedGroup::X25519MLKEM768, NamedGroup::X25519]
    );
}

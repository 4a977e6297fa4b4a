//! What `route` has to say before anything is known about the chain.
use super::*;
use crate::config::RoutePolicy;

#[test]
fn a_legacy_server_is_not_asked_where_all_has_to_be_encrypted_to_the_end_whatever_else_is_allowed()
{
    for legacy_policy in [
        LegacyPolicy::Plain,
        LegacyPolicy::Encrypted,
        LegacyPolicy::Verified,
        LegacyPolicy::Refuse,
    ] {
        let mut lab = Lab::new(Policy {
            legacy: legacy_policy,
            route: RoutePolicy::EncryptedToEnd,
            ..Policy::default()
        });
        lab.walk(legacy());
        match lab.route() {
            Route::Fail(failure) => assert_eq!(failure.name(), "chain-not-encrypted"),
            other => panic!("{legacy_policy:?}: {other:?}"),
        }
        lab.now += Duration::from_secs(3600);
        assert_eq!(lab.route(), Route::AfterWalk, "it is looked at again");
    }
}

#[test]
fn a_legacy_server_is_used_as_before_where_the_end_is_only_preferred() {
    let mut lab = Lab::new(Policy {
        route: RoutePolicy::End,
        ..Policy::default()
    });
    lab.walk(legacy());
    assert_eq!(lab.route(), Route::Legacy);
}

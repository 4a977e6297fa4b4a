#![allow(clippy::unwrap_used)]

use serde_json::json;
use zzdot_zonegen::clock::UnixTime;

use super::*;
use crate::comparison::phrase_of;
use crate::comparison::tests::{code, identity, key};
use crate::network::SignalKind;
use crate::place::Surroundings;
use crate::store::{Pending, WhyPending};
use crate::trust::{KnownIdentity, TrustState};

/// A daemon at rest, with the resolver of number 1 expected behind the first server.
struct Lab {
    household: AtRest,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        let lab = Self {
            household: AtRest(Some(Arc::new(store))),
            _folder: folder,
        };
        let known = identity(1);
        lab.store()
            .remember(&surroundings(1), server(1), known)
            .unwrap();
        lab
    }

    fn store(&self) -> &Store {
        self.household.0.as_ref().unwrap()
    }

    fn waits(&self, met: KnownIdentity, at: u8, why: WhyPending) {
        let pending = Pending {
            identity: met,
            surroundings: surroundings(at),
            server: server(at),
            since: UnixTime(3000),
            why,
        };
        assert!(self.store().set_pending(pending).unwrap());
    }

    async fn order(&self, request: Request) -> Result<Value, Rejection> {
        carry_out(&self.household, &request).await
    }

    /// Asks for something that is declined; nothing may change by it.
    async fn declined(&self, request: Request) -> Rejection {
        let memory = |store: &Store| (store.export(), store.pending(), store.networks());
        let before = memory(self.store());
        let rejection = self.order(request).await.unwrap_err();
        assert_eq!(memory(self.store()), before, "{rejection}");
        rejection
    }
}

fn server(number: u8) -> std::net::SocketAddr {
    std::net::SocketAddr::from(([192, 0, 2, number], 53))
}

fn surroundings(number: u8) -> Surroundings {
    Surroundings::of_server(server(number))
}

fn mismatch() -> WhyPending {
    WhyPending::Mismatch {
        expected: identity(1).name,
    }
}

fn approve(phrase: &str) -> Request {
    Request::new("approve").with("phrase", phrase)
}

fn verify(uri: &zzdot_zonegen::uri::VerificationUri) -> Request {
    Request::new("verify").with("uri", uri.to_string())
}

#[tokio::test]
async fn the_phrase_of_a_resolver_in_use_verifies_it() {
    let lab = Lab::new();
    let phrase = phrase_of(&identity(1)).unwrap();
    for typed in [phrase.to_string(), phrase.digits()] {
        let told = lab.order(approve(&typed)).await.unwrap();
        assert_eq!(
            told,
            json!({ "name": identity(1).name, "outcome": "verified", "by": "phrase" })
        );
    }
    let known = lab.store().identity(&identity(1).name).unwrap();
    assert_eq!(known.state, TrustState::Verified);
    let pending = lab.order(Request::new("pending")).await.unwrap();
    assert_eq!(pending["pending"], json!([]));
}

#[tokio::test]
async fn the_code_of_a_resolver_in_use_verifies_it_and_that_of_a_stranger_enrols_it() {
    let lab = Lab::new();
    let told = lab.order(verify(&code(&identity(1).name, &[key(1)]))).await;
    assert_eq!(told.unwrap()["outcome"], "verified");
    let stranger = code(&identity(5).name, &[key(5), key(6)]);
    let told = lab.order(verify(&stranger)).await.unwrap();
    assert_eq!(
        told,
        json!({ "name": identity(5).name, "outcome": "enrolled" })
    );
    let enrolled = lab.store().enrolled(&identity(5).name).unwrap();
    assert!(enrolled.names(&key(5)) && enrolled.names(&key(6)));
    assert!(!enrolled.names(&key(7)));
}

#[tokio::test]
async fn the_code_of_another_key_changes_nothing() {
    let lab = Lab::new();
    // The key that is merely shown, and does not sign.
    let rejection = lab
        .declined(verify(&code(&identity(1).name, &[key(2)])))
        .await;
    assert_eq!(rejection.reason.as_deref(), Some("other-key"));
    assert!(rejection.hint.unwrap().contains("zzdot identity --qr"));
}

#[tokio::test]
async fn a_damaged_code_and_a_mistyped_phrase_change_nothing() {
    let lab = Lab::new();
    let uri = code(&identity(1).name, &[key(1)]).to_string();
    let damaged = Request::new("verify").with("uri", uri.replace("zz&", "zy&"));
    let rejection = lab.declined(damaged).await;
    assert!(rejection.message.contains("damaged"), "{rejection}");
    let phrase = phrase_of(&identity(1)).unwrap().to_string();
    let first = phrase.split(' ').next().unwrap();
    let other = if first == "zoo" { "able" } else { "zoo" };
    let rejection = lab
        .declined(approve(&phrase.replacen(first, other, 1)))
        .await;
    assert!(
        rejection.message.starts_with("word 1 is another"),
        "{rejection}"
    );
    let rejection = lab
        .declined(approve(&phrase.replacen(first, "qwerty", 1)))
        .await;
    assert!(
        rejection.message.starts_with("word 1 is not in the list"),
        "{rejection}"
    );
}

#[tokio::test]
async fn nobody_takes_the_place_of_whom_is_expected_without_a_comparison() {
    let lab = Lab::new();
    let other = identity(5);
    lab.waits(other.clone(), 1, mismatch());
    let bare = Request::new("approve").with("name", other.name.to_string());
    let rejection = lab.declined(bare).await;
    assert_eq!(rejection.reason.as_deref(), Some("not-verified"));
    assert!(rejection.hint.unwrap().contains("--phrase"));

    let phrase = phrase_of(&other).unwrap().to_string();
    let told = lab.order(approve(&phrase)).await.unwrap();
    assert_eq!(told["outcome"], "accepted");
    let expected = lab.store().expected_at(server(1)).unwrap();
    assert_eq!(
        (expected.name, expected.state),
        (other.name, TrustState::Verified)
    );
    assert!(lab.store().pending().is_empty());
    assert!(
        lab.store().identity(&identity(1).name).is_some(),
        "not forgotten"
    );
}

#[tokio::test]
async fn whoever_waits_for_a_first_use_may_be_accepted_and_stays_unverified() {
    let lab = Lab::new();
    let met = identity(5);
    lab.waits(met.clone(), 2, WhyPending::FirstUse);
    let bare = Request::new("approve").with("name", met.name.to_string());
    let told = lab.order(bare).await.unwrap();
    assert_eq!(told["trust"], "provisional");
    assert_eq!(lab.store().expected_at(server(2)).unwrap().name, met.name);
}

#[tokio::test]
async fn pending_tells_who_waits_why_and_what_to_compare() {
    let lab = Lab::new();
    lab.waits(identity(5), 1, mismatch());
    let differs = vec![SignalKind::GatewayMacV4];
    lab.waits(identity(6), 2, WhyPending::Changed { differs });
    let told = lab.order(Request::new("pending")).await.unwrap();
    let why: Vec<_> = told["pending"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].clone(), one["why"].clone()))
        .collect();
    assert_eq!(
        why,
        [
            (json!(identity(5).name), json!("mismatch")),
            (json!(identity(6).name), json!("changed")),
            (json!(identity(1).name), json!("unverified")),
        ]
    );
    let first = &told["pending"][0];
    assert_eq!(first["expected"], json!(identity(1).name));
    let phrase = phrase_of(&identity(5)).unwrap();
    assert_eq!(first["phrase"], phrase.to_string());
    assert_eq!(first["phrase-digits"], phrase.digits());
    assert_eq!(told["pending"][1]["differs"], json!(["gateway-mac-v4"]));
    assert_eq!(told["pending"][2]["server"], json!(server(1)));
    let dismiss = Request::new("dismiss").with("name", identity(5).name.to_string());
    assert_eq!(lab.order(dismiss).await.unwrap()["dismissed"], true);
    assert_eq!(lab.store().pending().len(), 1);
}

#[tokio::test]
async fn a_resolver_that_the_user_gave_up_never_returns() {
    let lab = Lab::new();
    let name = identity(1).name;
    let revoke = Request::new("revoke").with("name", name.to_string());
    assert_eq!(lab.order(revoke).await.unwrap()["revoked"], true);
    let rejection = lab.declined(verify(&code(&name, &[key(1)]))).await;
    assert_eq!(rejection.reason.as_deref(), Some("identity-revoked"));
    let phrase = phrase_of(&identity(1)).unwrap().to_string();
    let rejection = lab.declined(approve(&phrase)).await;
    assert_eq!(rejection.reason.as_deref(), Some("identity-revoked"));
}

#[tokio::test]
async fn what_one_computer_knows_is_taken_over_as_a_whole_or_not_at_all() {
    let lab = Lab::new();
    let phrase = phrase_of(&identity(1)).unwrap().to_string();
    lab.order(approve(&phrase)).await.unwrap();
    let exported = lab.order(Request::new("export")).await.unwrap();
    let text = exported["export"].as_str().unwrap();

    let other = Lab::new();
    other.store().forget(&identity(1).name).unwrap();
    for cut in [text.len() / 2, text.len() - 3] {
        let half = Request::new("import").with("export", &text[..cut]);
        let rejection = other.declined(half).await;
        assert!(
            rejection.message.starts_with("this is no export"),
            "{rejection}"
        );
    }
    let changed = Request::new("import").with("export", text.replace("853", "854"));
    let rejection = other.declined(changed).await;
    assert!(rejection.message.contains("checksum"), "{rejection}");
    let whole = Request::new("import").with("export", text);
    let told = other.order(whole).await.unwrap();
    assert_eq!(told["added"], json!([identity(1).name]));
    let known = other.store().identity(&identity(1).name).unwrap();
    assert_eq!(known.state, TrustState::Verified);
}

#[tokio::test]
async fn every_order_that_changes_trust_needs_authority() {
    let open = ["status", "resolvers", "pending", "networks", "news"];
    let closed = [
        "verify",
        "approve",
        "dismiss",
        "forget",
        "revoke",
        "label-network",
        "forget-network",
        "export",
        "import",
    ];
    for command in open {
        assert_eq!(needs(&Request::new(command)).0, Needs::Nothing, "{command}");
    }
    for command in closed {
        let (needs, what) = needs(&Request::new(command));
        assert_eq!(needs, Needs::Authority, "{command}");
        assert!(!what.is_empty());
    }
    // None that this list forgot: whatever is not known is declined before anything is done.
    let lab = Lab::new();
    let rejection = lab.declined(Request::new("trust-everybody")).await;
    assert!(rejection.message.contains("does not know"), "{rejection}");
}

#[tokio::test]
async fn orders_without_what_they_are_about_are_declined_by_name() {
    let lab = Lab::new();
    for (request, part) in [
        (Request::new("verify"), "`uri` is missing"),
        (Request::new("approve"), "neither `name` nor `phrase`"),
        (Request::new("forget"), "`name` is missing"),
        (
            Request::new("forget").with("name", "fritz.box"),
            "which resolver?",
        ),
        (Request::new("forget-network"), "`network` is missing"),
        (
            Request::new("forget-network").with("network", "home"),
            "sixteen",
        ),
        (Request::new("import"), "`export` is missing"),
    ] {
        let rejection = lab.declined(request).await;
        assert!(rejection.message.contains(part), "{rejection}");
    }
}

#[tokio::test]
async fn what_a_person_says_about_a_network_takes_authority_and_a_network_in_doubt() {
    let lab = Lab::new();
    for command in ["separate-network", "accept-network"] {
        assert_eq!(needs(&Request::new(command)).0, Needs::Authority);
        let said = lab.declined(Request::new(command)).await.to_string();
        assert!(said.contains("no link is in a network"), "{said}");
        let named = Request::new(command).with("network", "0101010101010101");
        let said = lab.declined(named).await.to_string();
        assert!(said.contains("looks like 0101010101010101"), "{said}");
        let wrong = Request::new(command).with("network", "home");
        let said = lab.declined(wrong).await.to_string();
        assert!(said.contains("sixteen"), "{said}");
    }
}

#[tokio::test]
async fn news_is_told_at_once_and_then_when_something_changes() {
    let lab = Lab::new();
    let known = lab.order(Request::new("news")).await.unwrap();
    assert_eq!(known["pending"][0]["why"], "unverified");
    assert_eq!(known["portal"], json!({ "open": null, "address": null }));
    let request = Request::new("news").with("known", known["news"].clone());
    let waiting = lab.order(request);
    let mut waiting = std::pin::pin!(waiting);
    let soon = std::time::Duration::from_millis(50);
    assert!(
        tokio::time::timeout(soon, &mut waiting).await.is_err(),
        "there is no news"
    );
    lab.waits(identity(5), 2, WhyPending::FirstUse);
    // Much sooner than it would look again by itself.
    let soon = std::time::Duration::from_millis(1500);
    let told = tokio::time::timeout(soon, waiting).await;
    let told = told.expect("told of the change").unwrap();
    assert_eq!(told["pending"][0]["why"], "first-use");
    assert_ne!(told["news"], known["news"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_news_hears_after_a_while_that_there_is_none() {
    let lab = Lab::new();
    let known = lab.order(Request::new("news")).await.unwrap();
    let request = Request::new("news").with("known", known["news"].clone());
    let began = tokio::time::Instant::now();
    let again = lab.order(request).await.unwrap();
    assert_eq!(again, known);
    let waited = began.elapsed();
    assert!(waited < crate::control::CONTROL_IDLE && waited.as_secs() >= 10);
}

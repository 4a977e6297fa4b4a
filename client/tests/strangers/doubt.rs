//! What a person says about a network that looks like a known one and differs.

use super::*;

/// A machine whose only link, the loopback one, is in a network that is suspect.
struct InDoubt<'a> {
    client: &'a Client,
    suspect: Suspect,
}

impl<'a> InDoubt<'a> {
    fn new(client: &'a Client, upstream: &Arc<Upstream>) -> Self {
        let suspect = Suspect {
            network: HOME,
            link: "lo".to_owned(),
            surroundings: doubtful(),
            turned: false,
            recognisable: true,
            upstream: Arc::clone(upstream),
        };
        Self { client, suspect }
    }

    fn order(&self, command: &str) -> Result<Value, Rejection> {
        self.say(&Request::new(command))
    }

    fn say(&self, request: &Request) -> Result<Value, Rejection> {
        self.client.runtime.block_on(carry_out(self, request))
    }

    /// An order that is declined for this reason; nothing changes by it.
    fn assert_declined(&self, command: &str, reason: &str) {
        self.assert_request_declined(&Request::new(command), reason);
    }

    fn assert_request_declined(&self, request: &Request, reason: &str) {
        let memory = |store: &Store| (store.networks(), store.separated(), store.pending());
        let before = memory(&self.client.store);
        let rejection = self.say(request).unwrap_err();
        assert_eq!(rejection.reason.as_deref(), Some(reason), "{rejection}");
        assert_eq!(memory(&self.client.store), before, "{rejection}");
    }
}

impl Household for InDoubt<'_> {
    fn status(&self) -> Value {
        Value::Null
    }

    fn store(&self) -> Option<&Arc<Store>> {
        Some(&self.client.store)
    }

    fn suspects(&self) -> Vec<Suspect> {
        vec![self.suspect.clone()]
    }

    async fn trace(&self, _name: Option<Wanted>) -> Result<Trace, Untraceable> {
        Err(Untraceable::Unknown)
    }

    async fn trace_all(&self) -> Vec<TracedServer> {
        Vec::new()
    }

    async fn forget(&self, name: &ResolverName) -> Result<bool, StoreError> {
        self.client.store.forget(name)
    }
}

#[test]
fn a_new_router_is_learned_by_the_word_of_a_person_once_the_resolver_has_proven_itself() {
    let (client, resolver) = (Client::new(), Resolver::start(Manner::Upgraded));
    let known = client.meet_at_home(&resolver);
    let upstream = client.enter(doubtful(), resolver.address, FirstUse::Auto);
    client.assert_answered(&upstream);
    let mut here = InDoubt::new(&client, &upstream);
    let met = resolver.handshakes();
    here.suspect.link = "wlan0".to_owned();
    // It is there, and not over that link.
    here.assert_declined("accept-network", "not-proven");
    here.suspect.link = "lo".to_owned();
    here.suspect.recognisable = false;
    here.assert_declined("accept-network", "not-recognisable");
    here.suspect.recognisable = true;
    let told = here.order("accept-network").unwrap();
    assert!(resolver.handshakes() > met, "proven now, not some time ago");
    assert_eq!(told["proven"], serde_json::json!(known.name));
    assert_eq!(told["learned"], serde_json::json!(["gateway-mac-v4"]));
    let gateways = &client.store.network(HOME).unwrap().signals.0[&SignalKind::GatewayMacV4];
    assert_eq!(gateways.len(), 2, "the one of before and the one of now");
    assert_eq!(heard(&resolver), BTreeSet::new());
}

#[test]
fn nothing_is_learned_of_a_network_where_another_than_the_one_expected_answers() {
    let client = Client::new();
    let resolver = Resolver::start(Manner::Upgraded);
    client.meet_at_home(&resolver);
    let twin = resolver.replace();
    let upstream = client.enter(doubtful(), twin.address, FirstUse::Auto);
    let here = InDoubt::new(&client, &upstream);
    client.assert_refused(&upstream, "name-changed");
    // Who the other one is is found out meanwhile, and put before a person.
    client.wait_for_pending(twin.identity.name());
    here.assert_declined("accept-network", "not-proven");
    twin.set_manner(Manner::Legacy);
    here.assert_declined("accept-network", "not-proven");
    twin.break_tls();
    here.assert_declined("accept-network", "not-proven");
}

#[test]
fn whoever_waits_for_a_changed_network_is_accepted_by_name_only_with_a_fresh_proof() {
    let client = Client::new();
    let resolver = Resolver::start(Manner::Upgraded);
    let known = client.meet_at_home(&resolver);
    let upstream = client.enter(doubtful(), resolver.address, FirstUse::Auto);
    client.assert_answered(&upstream);
    client.wait_for_pending(&known.name);
    let at_home = client.store.network(HOME).unwrap();
    let approve = Request::new("approve").with("name", known.name.to_string());
    let mut here = InDoubt::new(&client, &upstream);
    // It answered a while ago; now it is behind another link, or the link shows something else.
    here.suspect.link = "wlan0".to_owned();
    here.assert_request_declined(&approve, "not-proven");
    here.suspect.link = "lo".to_owned();
    let shown = here.suspect.surroundings.clone();
    let moved = Fingerprint::from_bytes([77; 16]);
    here.suspect
        .surroundings
        .signals
        .insert(SignalKind::GatewayMacV4, moved);
    here.assert_request_declined(&approve, "not-proven");
    here.suspect.surroundings = shown;
    // The phrase is the resolver's. It says nothing about the network.
    let phrase = phrase_of(&client.store.identity(&known.name).unwrap()).unwrap();
    let compared = Request::new("approve").with("phrase", phrase.to_string());
    let told = here.say(&compared).unwrap();
    assert_eq!(told["outcome"], "verified");
    assert_eq!(client.store.network(HOME).unwrap(), at_home);
    assert_eq!(client.store.pending().len(), 1, "the network still waits");
    let met = resolver.handshakes();
    let told = here.say(&approve).unwrap();
    assert!(resolver.handshakes() > met, "proven now, not some time ago");
    assert_eq!(told["outcome"], "accepted");
    assert_eq!(told["trust"], "verified");
    assert_eq!(told["learned"], serde_json::json!(["gateway-mac-v4"]));
    assert_eq!(client.store.pending(), []);
    client.assert_answered(&upstream);
}

#[test]
fn whoever_waits_for_a_changed_network_is_not_accepted_once_it_is_gone() {
    let client = Client::new();
    let resolver = Resolver::start(Manner::Upgraded);
    let known = client.meet_at_home(&resolver);
    let upstream = client.enter(doubtful(), resolver.address, FirstUse::Auto);
    client.assert_answered(&upstream);
    client.wait_for_pending(&known.name);
    resolver.break_tls();
    let approve = Request::new("approve").with("name", known.name.to_string());
    InDoubt::new(&client, &upstream).assert_request_declined(&approve, "not-proven");
}

#[test]
fn a_network_that_a_person_tells_apart_is_met_as_a_new_one_and_home_is_as_it_was() {
    let client = Client::new();
    let resolver = Resolver::start(Manner::Upgraded);
    let known = client.meet_at_home(&resolver);
    let at_home = client.store.network(HOME).unwrap();
    let other = resolver.replace();
    let upstream = client.enter(doubtful(), other.address, FirstUse::Auto);
    client.assert_refused(&upstream, "name-changed");
    let status = upstream.status();
    let options = status["explanation"]["options"].to_string();
    assert!(options.contains("networks separate"), "{status}");
    let mut here = InDoubt::new(&client, &upstream);
    here.suspect.turned = true;
    here.assert_declined("separate-network", "was-expected");
    here.suspect.turned = false;
    here.suspect.recognisable = false;
    here.assert_declined("separate-network", "not-recognisable");
    here.suspect.recognisable = true;
    let told = here.order("separate-network").unwrap();
    assert_eq!(told["expected-there"], serde_json::json!(known.name));
    let new: NetworkId = told["network"].as_str().unwrap().parse().unwrap();
    upstream.retire();
    let place = Surroundings::of_network(new, doubtful().signals);
    // As a stranger, by the policy for strangers.
    let asking = client.enter(place.clone(), other.address, FirstUse::Ask);
    client.assert_refused(&asking, "not-approved");
    asking.retire();
    let upstream = client.enter(place, other.address, FirstUse::Auto);
    client.wait_for_answer(&upstream);
    let there = client.store.expected_at(Place::Network(new)).unwrap();
    assert_eq!(there.name, *other.identity.name());
    assert_eq!(client.store.network(HOME), Some(at_home));
}

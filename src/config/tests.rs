#![allow(clippy::unwrap_used)]

use super::*;

const FILE: &str = "/etc/zzdot/zzdot.toml";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sockets(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn who_publishes_nothing_serves_no_tls_and_names_no_address() {
    let config = complete("[publish]\nmode = \"transparent\"\n");
    assert_eq!(config.mode, PublishMode::Transparent);
    assert_eq!((config.dot.len(), config.published.len()), (0, 0));
    assert!(!config.dns.is_empty());
}

/// A router: a public address, one behind a carrier's NAT, a private one of each family, loopback.
fn router() -> Host {
    Host {
        addresses: [
            "127.0.0.1",
            "::1",
            "198.51.100.7",
            "100.64.0.7",
            "192.168.1.1",
            "fd00::1",
            "fe80::1",
        ]
        .map(ip)
        .to_vec(),
        name_servers: ["9.9.9.9:53", "192.168.1.1:53"]
            .map(|server| server.parse().unwrap())
            .to_vec(),
        ..Host::default()
    }
}

fn paths() -> Paths {
    Paths {
        state_dir: "/state".into(),
        control_socket: "/run/control.sock".into(),
    }
}

fn complete(text: &str) -> Config {
    let file = zzdot_client::config_file::parse(Path::new(FILE), text).unwrap();
    Config::complete(&file, paths(), &router()).unwrap()
}

/// The message that a whole load gives for `text`, without the folder of the file.
fn refusal(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zzdot.toml");
    std::fs::write(&path, text).unwrap();
    let state = Path::new("/state");
    let error = Config::load(Some(&path), Some(state), &router(), &Environment::default())
        .unwrap_err()
        .to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn without_a_file_private_addresses_are_served_and_the_hosts_upstreams_asked() {
    let config = complete("");
    let own = ["127.0.0.1", "[::1]", "192.168.1.1", "[fd00::1]"];
    let with_port = |port: u16| own.map(|address| format!("{address}:{port}"));
    assert_eq!(
        config.dns,
        sockets(&with_port(53).each_ref().map(String::as_str))
    );
    assert_eq!(
        config.dot,
        sockets(&with_port(853).each_ref().map(String::as_str))
    );
    // Its own address among the upstreams would be a circle.
    let upstreams = vec![Upstream::at("9.9.9.9:53".parse().unwrap())];
    let ca_file = None;
    let require = Require::Any;
    let forward = Resolve::Forward {
        upstreams,
        ca_file,
        require,
    };
    assert_eq!(config.resolve, forward);
    assert_eq!(config.server_type, ServerType::Forwarder);
    // Nobody else's loopback is this server.
    assert_eq!(config.published, [ip("192.168.1.1"), ip("fd00::1")]);
    assert_eq!(config.access, AccessList::default());
    assert_eq!(config.stop_within, Duration::from_secs(5));
    assert_eq!(config.workers, None);
}

#[test]
fn the_example_of_the_manual_is_read() {
    let config = complete(
        "state-dir = \"/var/lib/zzdot\"\n\
         [listen]\ndns = [\"192.0.2.1:53\"]\ndot = [\"192.0.2.1:853\"]\n\
         [access]\nallow = [\"192.0.2.0/24\"]\n\
         [resolve]\nmode = \"forward\"\nupstreams = [\"198.51.100.53\", \"tls://9.9.9.9#dns.quad9.net\", \"[2001:db8::1]:5353\"]\n",
    );
    assert_eq!(config.dns, sockets(&["192.0.2.1:53"]));
    assert_eq!(config.dot, sockets(&["192.0.2.1:853"]));
    assert_eq!(
        config.access.networks(),
        ["192.0.2.0/24".parse::<ipnet::IpNet>().unwrap()]
    );
    assert_eq!(config.published, [ip("192.0.2.1")]);
    let Resolve::Forward { upstreams, .. } = config.resolve else {
        panic!("not forwarding");
    };
    let shown: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "198.51.100.53:53",
            "tls://9.9.9.9:853#dns.quad9.net",
            "[2001:db8::1]:5353"
        ]
    );
}

#[test]
fn addresses_of_interfaces_stand_for_a_wildcard() {
    let config = complete("[listen]\ndns = [\"0.0.0.0\"]\ndot = [\"0.0.0.0\", \"[::]\"]\n");
    assert_eq!(
        config.published,
        ["198.51.100.7", "100.64.0.7", "192.168.1.1", "fd00::1"].map(ip)
    );
}

#[test]
fn a_router_with_many_networks_publishes_as_many_addresses_as_fit() {
    let mut host = router();
    host.addresses = (0..40).map(|n| ip(&format!("10.0.{n}.1"))).collect();
    let paths = Paths {
        state_dir: "/x".into(),
        control_socket: "/x/control.sock".into(),
    };
    let config = Config::complete(&File::default(), paths.clone(), &host).unwrap();
    assert_eq!(config.dot.len(), 40);
    assert_eq!(config.published, host.addresses[..16]);
    let mut file = File::default();
    file.publish.addresses = Some(host.addresses.clone());
    let problem = Config::complete(&file, paths, &host).unwrap_err();
    assert_eq!(problem.key, "publish.addresses");
    assert!(
        problem.text.starts_with("40 addresses; allowed: 16"),
        "{problem:?}"
    );
}

#[test]
fn loopback_is_published_only_by_who_serves_nothing_else() {
    let config = complete("[listen]\ndns = [\"127.0.0.1:5300\"]\ndot = [\"127.0.0.1:8530\"]\n");
    assert_eq!(config.published, [ip("127.0.0.1")]);
    assert_eq!(config.publication().dot_port, 8530);
}

#[test]
fn numbers_are_told_at_an_address_with_a_port_or_nowhere() {
    assert_eq!(complete("").metrics, None);
    let config = complete("metrics = \"[::1]:9153\"\n");
    assert_eq!(config.metrics, Some("[::1]:9153".parse().unwrap()));
    let said = refusal("metrics = \"127.0.0.1\"\n");
    assert!(
        said.contains("zzdot.toml:1: metrics: ") && said.contains("ADDRESS:PORT"),
        "{said}"
    );
}

#[test]
fn addresses_for_dns_are_addresses_for_dot() {
    let config = complete("[listen]\ndns = [\"192.168.1.1\"]\n");
    assert_eq!(config.dot, sockets(&["192.168.1.1:853"]));
}

#[test]
fn sockets_passed_in_decide_where_the_file_says_nothing() {
    let host = Host {
        passed_dns: sockets(&["0.0.0.0:53"]),
        passed_dot: sockets(&["192.168.1.1:8853"]),
        ..router()
    };
    let config = Config::complete(&File::default(), paths(), &host).unwrap();
    assert_eq!(config.dns, host.passed_dns);
    assert_eq!(config.dot, host.passed_dot);
    assert_eq!(config.publication().dot_port, 8853);
}

#[test]
fn recursion_makes_a_resolver_and_local_says_what_it_is_told() {
    let config = complete("[resolve]\nmode = \"recursive\"\nallow-private-nameservers = true\n");
    assert_eq!(config.server_type, ServerType::Resolver);
    let config = complete(
        "[resolve]\nmode = \"local\"\nupstreams = [\"127.0.0.1:5335\"]\nserver-type = \"resolver\"\n",
    );
    assert_eq!(config.server_type, ServerType::Resolver);
    let resolver = "127.0.0.1:5335".parse().unwrap();
    let local = |server_type| Resolve::Local {
        resolver,
        server_type,
    };
    assert_eq!(config.resolve, local(ServerType::Resolver));
    let config = complete(
        "[resolve]\nmode = \"local\"\nupstreams = [\"127.0.0.1:5335\"]\nserver-type = \"forwarder\"\n",
    );
    assert_eq!(config.server_type, ServerType::Forwarder);
    assert_eq!(config.resolve, local(ServerType::Forwarder));
}

#[test]
fn each_mistake_is_told_with_place_key_finding_and_remedy() {
    let cases = [
        (
            "[resolve]\nmode = \"magic\"\n",
            "zzdot.toml:2: resolve.mode: unknown variant `magic`, expected one of `forward`, \
             `recursive`, `local`",
        ),
        (
            "[resolv]\n",
            "zzdot.toml:1: unknown field `resolv`, expected one of `state-dir`, \
             `control-socket`, `stop-within-secs`, `metrics`, `workers`, `listen`, `access`, `resolve`, `publish`, `rotation`, `cache`, \
             `limits`",
        ),
        (
            "[listen]\ndns = [\"localhost:53\"]\n",
            "zzdot.toml:2: listen.dns: \"localhost:53\" is not an address; allowed: ADDRESS or \
             ADDRESS:PORT, for example \"192.0.2.1\", \"192.0.2.1:53\" or \"[2001:db8::1]:53\"",
        ),
        (
            "[listen]\ndns = [\"192.0.2.1:0\"]\n",
            "zzdot.toml:2: listen.dns: \"192.0.2.1:0\" names port 0; allowed: 1 to 65535",
        ),
        (
            "[listen]\ndns = [\"192.0.2.1\", \"192.0.2.1:53\"]\n",
            "zzdot.toml:2: listen.dns: 192.0.2.1:53 is listed twice; allowed: each address once",
        ),
        (
            "[listen]\ndns = []\ndot = []\n",
            "zzdot.toml:3: listen.dot: no address; allowed: one or more, since the zones tell \
             clients to come here",
        ),
        (
            "[listen]\ndot = [\"192.0.2.1:853\", \"192.0.2.2:8853\"]\n",
            "zzdot.toml:2: listen.dot: ports 853 and 8853; allowed: the same port everywhere, \
             since the zones name one",
        ),
        (
            "[listen]\ndns = [\"192.0.2.1:853\"]\n",
            "zzdot.toml: listen.dot: 192.0.2.1:853 is also in listen.dns; allowed: addresses that \
             are in one list",
        ),
        (
            "[access]\nallow = [\"::ffff:192.0.2.0/120\"]\n",
            "zzdot.toml:2: access.allow: \"::ffff:192.0.2.0/120\" is an IPv4 network in the form of \
             IPv6; allowed: its IPv4 form",
        ),
        (
            "[access]\nallow = [\"192.0.2.1/24\"]\n",
            "zzdot.toml:2: access.allow: \"192.0.2.1/24\" has bits set after its prefix; allowed: \
             192.0.2.0/24",
        ),
        (
            "[publish]\nmode = \"transparent\"\n[listen]\ndot = [\"192.168.1.1\"]\n",
            "zzdot.toml:4: listen.dot: has no meaning with publish.mode \"transparent\", which has \
             no name to prove over TLS: clients find the upstream's; allowed: no address",
        ),
        (
            "[publish]\nmode = \"transparent\"\nsuffix = \"zz\"\n",
            "zzdot.toml:3: publish.suffix: has no meaning with publish.mode \"transparent\", which \
             publishes nothing; allowed: with mode \"own\"",
        ),
        (
            "[resolve]\nmode = \"recursive\"\n[publish]\nmode = \"transparent\"\n",
            "zzdot.toml:4: publish.mode: \"transparent\" has no meaning with resolve.mode \
             \"recursive\", behind which nobody can be found; allowed: \"own\"",
        ),
        (
            "[resolve]\nmode = \"recursive\"\nrequire = \"any\"\n",
            "zzdot.toml:3: resolve.require: has no meaning with mode \"recursive\"; allowed: with \
             mode \"forward\"",
        ),
        (
            "[resolve]\nupstreams = []\n",
            "zzdot.toml:2: resolve.upstreams: the list is empty; allowed: \"system\", or one \
             upstream or more",
        ),
        (
            "[resolve]\nupstreams = [\"tls://192.0.2.1\"]\n",
            "zzdot.toml:2: resolve.upstreams: \"tls://192.0.2.1\" lacks the name that the \
             certificate must bear, behind a #, or the pin of its key; allowed: \"system\", ADDRESS[:PORT], \
             tls://ADDRESS[:PORT]#NAME, tls://ADDRESS[:PORT]?pin=sha256/BASE64, \
             https://ADDRESS[:PORT]/PATH#NAME, or quic://ADDRESS[:PORT]#NAME",
        ),
        (
            "[resolve]\nupstreams = [\"sdns://192.0.2.1\"]\n",
            "zzdot.toml:2: resolve.upstreams: \"sdns://192.0.2.1\" has the unknown scheme \"sdns\"; \
             allowed: \"system\", ADDRESS[:PORT], tls://ADDRESS[:PORT]#NAME, \
             tls://ADDRESS[:PORT]?pin=sha256/BASE64, https://ADDRESS[:PORT]/PATH#NAME, or \
             quic://ADDRESS[:PORT]#NAME",
        ),
        (
            "[resolve]\nupstreams = [\"system\", \"192.0.2.1\"]\n",
            "zzdot.toml:2: resolve.upstreams: \"system\" stands among other upstreams; allowed: \
             \"system\" alone, or addresses",
        ),
        (
            "[resolve]\nupstreams = [\"192.168.1.1\"]\n",
            "zzdot.toml:2: resolve.upstreams: 192.168.1.1:53 is where this server itself listens, \
             so questions would go round in a circle; allowed: other servers",
        ),
        (
            "[resolve]\nmode = \"recursive\"\nupstreams = \"system\"\n",
            "zzdot.toml:3: resolve.upstreams: has no meaning with mode \"recursive\"; allowed: \
             with mode \"forward\" or \"local\"",
        ),
        (
            "[resolve]\nmode = \"local\"\n",
            "zzdot.toml: resolve.upstreams: missing with mode \"local\"; allowed: the one address \
             of a resolver on this machine, for example [\"127.0.0.1:5353\"]",
        ),
        (
            "[resolve]\nmode = \"local\"\nupstreams = [\"192.0.2.53\"]\n",
            "zzdot.toml:3: resolve.upstreams: 192.0.2.53:53 is not an address of this machine; \
             allowed: the one address of a resolver on this machine, for example \
             [\"127.0.0.1:5353\"]",
        ),
        (
            "[resolve]\nmode = \"local\"\nupstreams = [\"127.0.0.1:5353\"]\n",
            "zzdot.toml: resolve.server-type: missing; mode \"local\" needs it, since only you \
             know what runs there; allowed: \"resolver\" or \"forwarder\"",
        ),
        (
            "[publish]\naddresses = [\"0.0.0.0\"]\n",
            "zzdot.toml:2: publish.addresses: 0.0.0.0 cannot be connected to; allowed: unicast \
             addresses",
        ),
        (
            "stop-within-secs = 3600\n",
            "zzdot.toml:1: stop-within-secs: 3600; allowed: 0 to 60",
        ),
        (
            "workers = 0\n",
            "zzdot.toml:1: workers: 0; allowed: 1 to 64",
        ),
        (
            "workers = 65\n",
            "zzdot.toml:1: workers: 65; allowed: 1 to 64",
        ),
        (
            "[rotation]\nzsk-days = 4000\n",
            "zzdot.toml:2: rotation.zsk-days: 4000; allowed: 1 to 3650, or 0 for never",
        ),
        (
            "[publish]\nsuffix = \"a..b\"\n",
            "zzdot.toml:2: publish.suffix: \"a..b\" is not a domain name; allowed: for example \"zz\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), expected, "for {text:?}");
    }
}

#[test]
fn keys_are_rolled_as_often_as_the_file_says() {
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(complete("").rotation, Intervals::default());
    let text = "[rotation]\nzsk-days = 0\nanchor-days = 400\n";
    let rotation = complete(text).rotation;
    assert_eq!((rotation.zsk, rotation.anchor), (None, Some(day * 400)));
    assert_eq!((rotation.certificate, rotation.ksk), (None, None));
}

#[test]
fn folders_are_found_in_order_of_precedence() {
    let file = File {
        state_dir: Some("/from-file".into()),
        ..File::default()
    };
    let environment = Environment {
        state_directory: Some("/from-manager:/other".into()),
        runtime_directory: Some("/run/zzdot".into()),
        xdg_state_home: Some("/xdg".into()),
        home: Some("/home/me".into()),
    };
    let of = |file: &File, flag: Option<&str>, environment: &Environment| {
        Paths::of(file, flag.map(Path::new), environment).unwrap()
    };
    let none = File::default();
    let flag = of(&file, Some("/flag"), &environment);
    assert_eq!(flag.state_dir, Path::new("/flag"));
    assert_eq!(flag.control_socket, Path::new("/run/zzdot/control.sock"));
    assert_eq!(
        of(&file, None, &environment).state_dir,
        Path::new("/from-file")
    );
    assert_eq!(
        of(&none, None, &environment).state_dir,
        Path::new("/from-manager")
    );
    let mut less = Environment {
        state_directory: None,
        runtime_directory: None,
        ..environment
    };
    let xdg = of(&none, None, &less);
    assert_eq!(xdg.state_dir, Path::new("/xdg/zzdot"));
    assert_eq!(xdg.control_socket, Path::new("/xdg/zzdot/control.sock"));
    less.xdg_state_home = Some("relative".into());
    assert_eq!(
        of(&none, None, &less).state_dir,
        Path::new("/home/me/.local/state/zzdot")
    );
    let nothing = Paths::of(&none, None, &Environment::default());
    assert!(matches!(nothing, Err(ConfigError::NoStateDir)));
}

#[test]
fn answers_are_kept_unless_there_is_no_room_for_them() {
    let kept = |text: &str| complete(text).cache;
    assert_eq!(kept(""), Some(cache::Limits::default()));
    assert_eq!(kept("[cache]\nbytes = 0\n"), None);
    let told = kept("[cache]\nbytes = 1000000\nstale-secs = 0\n").unwrap();
    assert_eq!((told.octets, told.stale), (1_000_000, Duration::ZERO));
}

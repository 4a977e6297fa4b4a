//! Any text as a file in which a DHCP client keeps its leases, and what is decided from it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zzdot_client::host::{
    Inputs, LinkFacts, SERVERS_PER_LINK_MAX, Saying, Source, decide,
    leases::{dhclient, networkd_lease, networkd_link},
    split,
};

fuzz_target!(|text: &str| {
    let own = ["127.0.0.1:53", "[::1]:53"].map(|address| address.parse().expect("constants"));
    let networkd = Saying {
        source: Source::Networkd,
        says: networkd_link(2, text),
    };
    let mut sayings: Vec<Saying> = dhclient(text)
        .into_iter()
        .map(|says| Saying {
            source: Source::Dhclient,
            says,
        })
        .collect();
    sayings.push(networkd);
    let names = sayings.iter().filter_map(|saying| saying.says.name.clone());
    let names: Vec<String> = names.chain(["lan".to_owned()]).collect();
    let link = |(index, name): (usize, String)| LinkFacts {
        index: index as u32 + 2,
        name,
        up: true,
        ..LinkFacts::default()
    };
    let inputs = Inputs {
        own: own.to_vec(),
        links: names.into_iter().enumerate().map(link).collect(),
        sayings,
        ..Inputs::default()
    };
    let decision = decide(&inputs);
    for link in &decision.links {
        assert!(!link.servers.is_empty() && link.servers.len() <= SERVERS_PER_LINK_MAX);
        assert!(
            link.servers
                .iter()
                .all(|server| !own.contains(server) && !server.ip().is_multicast())
        );
        for domain in &link.domains {
            assert_eq!(
                &domain
                    .to_string()
                    .parse::<zzdot_client::host::Domain>()
                    .expect("what we show we read"),
                domain
            );
        }
    }
    let _ = split(&decision, &[]).lookup(text.as_bytes());
    if let Some(dhcp) = networkd_lease(text) {
        assert!(dhcp.domain.is_none_or(|domain| !domain.contains('\n')));
    }
});

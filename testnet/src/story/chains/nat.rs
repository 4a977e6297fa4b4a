//! The same addresses on both sides: 192.168.1.1 is one resolver here, and another one there.
//!
//! ```text
//! inner ── home (192.168.1.0/24) ── near ──┐
//!                                          ├── isp ── end
//! far  ── away (192.168.1.0/24) ── nat ────┘
//! ```
//!
//! `near` and `far` are both 192.168.1.1, each on its own link. `nat` passes on what comes for its own address on the
//! provider's link, as a port that was opened does.

use std::net::SocketAddr;

use super::{
    super::{Scene, Story, Teller, Told, scene::ISP, upgrade::recursion},
    flat::{dane, nft},
    ground,
    truth::{Traced, Truth},
};
use crate::products::Appliance;

pub(in crate::story) const OVERLAP: Story = Story {
    name: "chains-nat",
    sentence: "Two resolvers of one address, on both sides of a NAT, are not taken for each other.",
    set_up,
    play,
    try_this: &["zzdot-client trace --server 10.53.0.81"],
};

const END: &str = "10.53.0.60";
const NEAR: &str = "10.53.0.80";
const NAT: &str = "10.53.0.81";
const INSIDE: &str = "192.168.1.1";
const HOME: &str = "home";
const AWAY: &str = "away";

fn set_up(scene: &mut Scene) -> Told {
    for link in [HOME, AWAY] {
        scene.lab.link(link)?;
    }
    let end = scene.neighbour("end", [END, "fd00:53::60"])?;
    let near = scene.neighbour("near", [NEAR, "fd00:53::80"])?;
    let nat = scene.neighbour("nat", [NAT, "fd00:53::81"])?;
    let [inner, far] = ["inner", "far"].map(|name| scene.lab.host(name));
    let (inner, far) = (inner?, far?);
    for (host, link, address) in [
        (&inner, HOME, "192.168.1.10/24"),
        (&near, HOME, "192.168.1.1/24"),
        (&far, AWAY, "192.168.1.1/24"),
        (&nat, AWAY, "192.168.1.254/24"),
    ] {
        scene.lab.plug(host, link, &[address])?;
    }
    scene.lab.route(&inner, "default", INSIDE)?;
    scene.lab.route(&far, "default", "192.168.1.254")?;
    for host in [&near, &nat] {
        scene.lab.forward_packets(host)?;
    }
    let hide = format!(
        "chain out {{\n  type nat hook postrouting priority srcnat\n  oifname {ISP} masquerade\n }}"
    );
    nft(&near, &format!("table ip home {{\n {hide}\n}}\n"))?;
    nft(
        &nat,
        &format!(
            "table ip away {{\n {hide}\n chain in {{\n  type nat hook prerouting priority dstnat\n  iifname {ISP} udp dport 53 \
             dnat to {INSIDE}\n  iifname {ISP} tcp dport {{ 53, 853 }} dnat to {INSIDE}\n }}\n}}\n"
        ),
    )?;
    let socket = |ip: &str, port| -> Result<SocketAddr, std::net::AddrParseError> {
        Ok(SocketAddr::new(ip.parse()?, port))
    };
    let asks = |upstream: &str| format!("mode = \"forward\"\nupstreams = [\"{upstream}\"]");
    for (host, address, resolve) in [
        (&end, END, recursion(scene)),
        (&far, INSIDE, asks(END)),
        (&near, INSIDE, asks(NAT)),
    ] {
        let process = Appliance {
            host,
            label: host.name(),
            dns: &[socket(address, 53)?],
            dot: &[socket(address, 853)?],
            resolve: &resolve,
        }
        .start()?;
        scene.keep(host.name(), process);
    }
    // Whoever is asked from the provider's link is `far`; `near` is asked from its own.
    ground::settle_at(&scene.provider, socket(NAT, 53)?, &["dot"])?;
    ground::settle_at(&inner, socket(INSIDE, 53)?, &["dot"])
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let inner = ground::host(scene, "inner")?;
    let near = ground::host(scene, "near")?;
    let mut names = std::collections::BTreeMap::new();
    for (host, address, machine) in [
        (&scene.provider, END, "end"),
        (&scene.provider, NAT, "far"),
        (&inner, INSIDE, "near"),
    ] {
        let name = ground::name_at(host, SocketAddr::new(address.parse()?, 53))?;
        names.insert(
            name.to_ascii().trim_end_matches('.').to_owned(),
            machine.to_owned(),
        );
    }
    let chain = |label| {
        [
            Truth("laptop", "near", "proven", "dot", "dane"),
            Truth("near", "far", label, "dot", "dane"),
            dane("far", "end"),
        ]
    };
    let traced = Traced::from(&inner, INSIDE, &names)?;
    traced.is(&chain("claimed"), Some(&["near", "end"]))?;
    traced.gives("near", "not-met")?;
    teller.tell(
        "from within, the far one is another than the near one of the same address; the end is met",
    );

    // Without a way to the end, either.
    let rules = format!(
        "table ip shut {{\n chain pass {{\n  type filter hook forward priority filter\n  ip daddr {END} tcp dport 853 reject \
         with tcp reset\n }}\n}}\n"
    );
    nft(&near, &rules)?;
    let traced = Traced::from(&inner, INSIDE, &names)?;
    let [first, second, _] = chain("claimed");
    let third = Truth("far", "end", "claimed", "dot", "dane");
    traced.is(&[first, second, third], Some(&["near"]))?;
    teller.tell("where the way to the end is shut, it is read through both, and claimed");
    Ok(())
}

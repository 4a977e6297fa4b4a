//! The appliance further up, behind a router that knows nothing of all this.

use std::net::SocketAddr;

use super::{
    Scene, Story, Teller, Told,
    checks::{ensure, start_client, the_laptop_is_private},
    scene::{LAN, router_dns},
    upgrade::recursion,
};
use crate::{
    products::{Appliance, Client},
    servers,
};

const ADDRESSES: [&str; 2] = ["10.53.0.60", "fd00:53::60"];

pub(super) const BEHIND_LEGACY_ROUTER: Story = Story {
    name: "behind-legacy-router",
    sentence: "The walk crosses a dnsmasq that was never upgraded, and TLS goes to the resolver behind it.",
    set_up,
    play,
    try_this: &[
        "zzdot-client discover --server 192.168.77.1",
        "zzdot-client status",
        "dig www.portal.example",
    ],
};

fn set_up(scene: &mut Scene) -> Told {
    let host = scene.neighbour("appliance", ADDRESSES)?;
    let dns = ADDRESSES.map(|ip| socket(ip, 53));
    let dot = ADDRESSES.map(|ip| socket(ip, 853));
    let resolve = recursion(scene);
    let process = Appliance {
        host: &host,
        label: "zzdot",
        dns: &dns,
        dot: &dot,
        resolve: &resolve,
    }
    .start()?;
    scene.keep("zzdot", process);
    let dnsmasq = servers::dnsmasq(
        &scene.router,
        &[router_dns()],
        dns[0],
        &["--dns-forward-max=1000"],
    )?;
    scene.keep("dnsmasq", dnsmasq);
    let laptop = scene.laptop.clone();
    start_client(
        scene,
        &Client {
            host: &laptop,
            server: "192.168.77.1",
            legacy: "plain",
        },
    )
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    the_laptop_is_private(scene, teller)?;
    let capture = scene.lab.end_capture(LAN)?;
    let around = ADDRESSES.iter().map(|ip| {
        capture
            .packets_between(
                "laptop",
                ip.parse().expect("constants are addresses"),
                Some(853),
            )
            .count()
    });
    let through = capture
        .packets_between("laptop", router_dns().ip(), Some(53))
        .count();
    let around: usize = around.sum();
    ensure(around > 0 && through > 0, || {
        format!("{through} packets to the router's port 53, {around} to the appliance's port 853")
    })?;
    teller.tell("the walk went through the router, TLS to an address in the validated zone");
    Ok(())
}

fn socket(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("constants are addresses"), port)
}

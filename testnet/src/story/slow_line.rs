//! A bad line: forty milliseconds there and back, and every ninth datagram lost.

use std::{net::SocketAddr, time::Duration};

use super::{
    Failure, Scene, Story, Teller, Told,
    checks::{
        answers_equal_the_reference, applications_work, ensure, nothing_in_cleartext,
        only_the_walk_in_cleartext, start_client,
    },
    scene::{LAN, router_dns, router_dot, router_upstream_ip},
    upgrade::recursion,
};
use crate::{
    products::{Appliance, Client},
    relay::{self, Weather},
};

pub(super) const SLOW_LINE: Story = Story {
    name: "slow-line",
    sentence: "The upgrade survives a line with a round trip of 40 ms that loses every ninth datagram.",
    set_up,
    play,
    try_this: &[
        "zzdot-client discover --server 192.168.77.1",
        "time dig www.portal.example",
    ],
};

const APPLICATION_NAMES: usize = 30;
const WEATHER: Weather = Weather {
    delay: Duration::from_millis(20),
    lose_every: 9,
};

fn set_up(scene: &mut Scene) -> Told {
    // The appliance stands beyond the bad line; on the laptop's side there is only the relay.
    let far = |port| SocketAddr::new(router_upstream_ip(), port);
    let resolve = recursion(scene);
    let process = Appliance {
        host: &scene.router,
        label: "zzdot",
        dns: &[far(53)],
        dot: &[far(853)],
        resolve: &resolve,
    }
    .start()?;
    scene.keep("zzdot", process);
    let datagrams = relay::start(&scene.router, router_dns(), far(53), WEATHER)?;
    relay::start(&scene.router, router_dot()[0], far(853), WEATHER)?;
    scene.weather = Some(datagrams);
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
    answers_equal_the_reference(scene, Client::addresses()[0], teller)?;
    // One after the other, at the pace of the line: some are enough.
    applications_work(scene, &scene.internet.names()[..APPLICATION_NAMES], teller)?;
    let capture = scene.lab.end_capture(LAN)?;
    let since = scene
        .first_answer
        .ok_or_else(|| Failure::new("the client was never started"))?;
    nothing_in_cleartext(scene, &capture, "laptop", since, teller)?;
    only_the_walk_in_cleartext(scene, &capture, teller)?;
    let lost = scene.weather.as_ref().map_or(0, relay::RelayCounters::lost);
    ensure(lost > 0, || {
        "the weather was fine: no datagram was lost".into()
    })?;
    teller.tell(format!("{lost} datagrams of the walk were lost on the way"));
    Ok(())
}

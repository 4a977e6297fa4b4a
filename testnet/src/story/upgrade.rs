//! The upgrade: the router's owner starts `zzdot`, the laptop's owner starts `zzdot-client`, and that is all.

use std::net::SocketAddr;

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};

use super::{
    Failure, Scene, Story, Teller, Told,
    checks::{
        answers_equal_the_reference, applications_work, ensure, start_client, the_laptop_is_private,
    },
    scene::{provider_dns, router_dns, router_dns_v6, router_dot},
};
use crate::{
    ask::{Question, ask_all},
    products::{self, Appliance, Client},
    servers::{self, UnboundSource},
};

const TRY_THIS: &[&str] = &[
    "zzdot-client discover --server 192.168.77.1",
    "zzdot-client status",
    "getent ahosts www.portal.example",
    "dig +dnssec www.broken.example",
    "curl http://www.portal.example/",
];

pub(super) const RECURSIVE: Story = Story {
    name: "upgrade-recursive",
    sentence: "A router that recurses with zzdot and a laptop with zzdot-client: everything resolves, nothing is readable.",
    set_up: |scene| upgrade(scene, &recursion(scene)),
    play: the_laptop_is_private,
    try_this: TRY_THIS,
};

pub(super) const PLAIN_CLIENTS: Story = Story {
    name: "plain-clients",
    sentence: "A laptop that knows nothing of the upgrade is served by the router's zzdot as by any resolver.",
    set_up: |scene| {
        start_appliance(scene, "zzdot", &recursion(scene))?;
        scene.laptop.use_name_server(router_dns().ip())?;
        Ok(())
    },
    play: |scene, teller| {
        answers_equal_the_reference(scene, router_dns(), teller)?;
        applications_work(scene, scene.internet.names(), teller)
    },
    try_this: &["dig www.portal.example", "dig +dnssec www.broken.example"],
};

pub(super) const EXPORTED_UNBOUND: Story = Story {
    name: "exported-unbound",
    sentence: "An unmodified unbound serves zones and certificate of `zzdot-zonegen export` instead: the client does not notice.",
    set_up: |scene| {
        let identity = scene.router.folder().join("identity");
        let exported = scene.router.folder().join("exported");
        let addresses = router_dot().map(|address| address.ip().to_string());
        zonegen(scene, &["new", &identity.to_string_lossy()])?;
        zonegen(
            scene,
            &[
                "export",
                "--for",
                "unbound",
                "--out",
                &exported.to_string_lossy(),
                "--address",
                &addresses[0],
                "--address",
                &addresses[1],
                "--allow",
                "192.168.0.0/16",
                &identity.to_string_lossy(),
            ],
        )?;
        // The household's unbound as it was, and one line more.
        let include = format!("include: \"{}/unbound.conf\"", exported.display());
        let own = ([127, 0, 0, 1], 53).into();
        let unbound = servers::unbound(
            &scene.router,
            &[own],
            UnboundSource::Internet(&scene.internet),
            &include,
        )?;
        scene.keep("unbound", unbound);
        let laptop = scene.laptop.clone();
        start_client(
            scene,
            &Client {
                host: &laptop,
                server: "192.168.77.1",
                legacy: "plain",
            },
        )
    },
    play: the_laptop_is_private,
    try_this: TRY_THIS,
};

pub(super) const FORWARD: Story = Story {
    name: "upgrade-forward",
    sentence: "The same with a zzdot that forwards to the provider's unbound, as the router did before.",
    set_up: |scene| {
        upgrade(
            scene,
            &format!("mode = \"forward\"\nupstreams = [\"{}\"]", provider_dns()),
        )
    },
    play: the_laptop_is_private,
    try_this: TRY_THIS,
};

pub(super) const LOCAL_UNBOUND: Story = Story {
    name: "upgrade-local",
    sentence: "zzdot in front of the unbound that runs on the router already: its local names and policies go on untouched.",
    set_up: |scene| {
        let extra = "  local-zone: \"ads.portal.example.\" always_nxdomain\n  local-zone: \"home.lan.\" static\n  \
                     local-data: \"printer.home.lan. A 192.168.77.20\"\n";
        let unbound = servers::unbound(
            &scene.router,
            &[behind()],
            UnboundSource::Internet(&scene.internet),
            extra,
        )?;
        scene.keep("unbound", unbound);
        upgrade(
            scene,
            &format!(
                "mode = \"local\"\nserver-type = \"resolver\"\nupstreams = [\"{}\"]",
                behind()
            ),
        )
    },
    play: household_names_and_policies,
    try_this: TRY_THIS,
};

pub(super) const LOCAL_DNSMASQ: Story = Story {
    name: "upgrade-local-dnsmasq",
    sentence: "The same in front of dnsmasq, which forwards to the provider.",
    set_up: |scene| {
        let extra = [
            "--address=/ads.portal.example/",
            "--host-record=printer.home.lan,192.168.77.20",
            "--local=/home.lan/",
            "--dns-forward-max=1000",
            "--proxy-dnssec",
            "--cache-size=0",
        ];
        let dnsmasq = servers::dnsmasq(&scene.router, &[behind()], provider_dns(), &extra)?;
        scene.keep("dnsmasq", dnsmasq);
        upgrade(
            scene,
            &format!(
                "mode = \"local\"\nserver-type = \"forwarder\"\nupstreams = [\"{}\"]",
                behind()
            ),
        )
    },
    play: household_names_and_policies,
    try_this: TRY_THIS,
};

fn zonegen(scene: &Scene, arguments: &[&str]) -> Told {
    let output = products::run(&scene.router, "zzdot-zonegen", arguments)?;
    ensure(output.status.success(), || {
        format!(
            "zzdot-zonegen {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// The lines of `[resolve]` for recursion into the lab's internet.
pub(super) fn recursion(scene: &Scene) -> String {
    format!(
        "mode = \"recursive\"\nroot-hints = {:?}\ntrust-anchor = {:?}",
        scene.internet.root_hints(),
        scene.internet.trust_anchor()
    )
}

/// The appliance on the router, with these lines of `[resolve]`.
pub(super) fn start_appliance(scene: &mut Scene, label: &str, resolve: &str) -> Told {
    let appliance = Appliance {
        host: &scene.router,
        label,
        dns: &[router_dns(), router_dns_v6()],
        dot: &router_dot(),
        resolve,
    };
    let process = appliance.start()?;
    scene.keep(label, process);
    Ok(())
}

/// The client on the laptop as nearly everybody runs it.
pub(super) fn client(scene: &Scene) -> Client<'_> {
    Client {
        host: &scene.laptop,
        server: "192.168.77.1",
        legacy: "plain",
    }
}

fn upgrade(scene: &mut Scene, resolve: &str) -> Told {
    start_appliance(scene, "zzdot", resolve)?;
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

/// Where the router's old resolver has moved to.
fn behind() -> SocketAddr {
    ([127, 0, 0, 1], 5353).into()
}

/// Local names, a blocked name, and then everything else.
fn household_names_and_policies(scene: &mut Scene, teller: &Teller) -> Told {
    let ask = |name: &str| -> Result<_, Failure> {
        let question = Question::new(&Name::from_ascii(name)?, RecordType::A);
        Ok(ask_all(&scene.laptop, Client::addresses()[0], &[question])?.remove(0))
    };
    let printer = ask("printer.home.lan.")?;
    ensure(
        printer
            .answers
            .iter()
            .any(|answer| answer.ends_with(" 192.168.77.20")),
        || format!("the printer: {printer}"),
    )?;
    let advertisement = ask("banner.ads.portal.example.")?;
    ensure(advertisement.rcode == ResponseCode::NXDomain, || {
        format!("a blocked name: {advertisement}")
    })?;
    let unknown = ask("scanner.home.lan.")?;
    ensure(unknown.rcode == ResponseCode::NXDomain, || {
        format!("an unknown name of the household: {unknown}")
    })?;
    teller.tell("the household's own names and its block list are what they were");
    the_laptop_is_private(scene, teller)
}

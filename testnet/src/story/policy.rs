//! A server that is not upgraded, and the two things that a client may do about it.

use std::time::SystemTime;

use hickory_proto::rr::{Name, RecordType};

use super::{
    Failure, Scene, Story, Teller, Told,
    checks::{
        CLIENT, answers_equal_the_reference, applications_work, ensure, names_in_cleartext,
        refuses, start_client,
    },
    scene::{LAN, provider_dns, router_dns},
    upgrade::client,
};
use crate::{
    ask::Question,
    products::{self, Client},
    servers,
};

pub(super) const LEGACY_CLIENT_POLICY: Story = Story {
    name: "legacy-client-policy",
    sentence: "In front of a server that is not upgraded, `refuse` keeps every question at home and `plain` passes them on and says so.",
    set_up,
    play,
    try_this: &[
        "zzdot-client discover --server 192.168.77.1; echo $?",
        "zzdot-client status",
        "dig www.portal.example",
    ],
};

/// Exit code "not upgraded".
const NOT_UPGRADED: i32 = 5;

fn set_up(scene: &mut Scene) -> Told {
    let dnsmasq = servers::dnsmasq(
        &scene.router,
        &[router_dns()],
        provider_dns(),
        &["--dns-forward-max=1000", "--proxy-dnssec", "--cache-size=0"],
    )?;
    scene.keep("dnsmasq", dnsmasq);
    let laptop = scene.laptop.clone();
    start_client(
        scene,
        &Client {
            legacy: "refuse",
            ..client_on(&laptop)
        },
    )
}

fn client_on(laptop: &crate::Host) -> Client<'_> {
    Client {
        host: laptop,
        server: "192.168.77.1",
        legacy: "plain",
    }
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let output = products::run(
        &scene.laptop,
        "zzdot-client",
        &["discover", "--server", "192.168.77.1"],
    )?;
    ensure(output.status.code() == Some(NOT_UPGRADED), || {
        format!(
            "discover ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    teller.tell("discover says that the server is not upgraded (exit 5)");

    let name = Name::from_ascii("kept-at-home.portal.example.")?;
    refuses(scene, "", &Question::new(&name, RecordType::A))?;
    let changed_to_plain = SystemTime::now();
    scene.end(CLIENT)?;
    teller.tell("with legacy = \"refuse\" the client answers SERVFAIL");

    let laptop = scene.laptop.clone();
    start_client(scene, &client_on(&laptop))?;
    answers_equal_the_reference(scene, Client::addresses()[0], teller)?;
    applications_work(scene, scene.internet.names(), teller)?;
    says_cleartext(scene)?;
    let capture = scene.lab.end_capture(LAN)?;
    ensure(
        !capture
            .cleartext_queries()
            .iter()
            .any(|query| query.asks_for(&name)),
        || "a refused question left in cleartext".into(),
    )?;
    let (before, after) = [SystemTime::UNIX_EPOCH, changed_to_plain]
        .map(|since| names_in_cleartext(scene, &capture, "laptop", since))
        .into();
    ensure(
        before == after && after == scene.internet.names().len(),
        || format!("{before} names in cleartext, {after} of them under `plain`"),
    )?;
    teller
        .tell("with legacy = \"plain\" all names are passed on, and the status calls it cleartext");
    Ok(())
}

fn says_cleartext(scene: &Scene) -> Result<(), Failure> {
    let output = client(scene).output("status", &[])?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure(said.contains("cleartext"), || {
        format!(
            "status does not say that it is cleartext: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

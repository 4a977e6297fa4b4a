//! Today: everything works, and everybody on the way reads along.

use std::time::SystemTime;

use super::{
    Scene, Story, Teller, Told,
    checks::{
        answers_equal_the_reference, applications_work, ensure, names_in_cleartext,
        nothing_in_cleartext,
    },
    scene::{ISP, LAN, provider_dns, router_dns},
};
use crate::servers;

pub(super) const LEGACY: Story = Story {
    name: "legacy",
    sentence: "Today's chain of laptop, dnsmasq and unbound works, and the captures read every name in cleartext.",
    set_up,
    play,
    try_this: &[
        "getent ahosts www.portal.example",
        "dig www.portal.example",
        "curl http://www.portal.example/",
    ],
};

fn set_up(scene: &mut Scene) -> Told {
    // Many clients' worth of questions at once, and the AD bit of a validating provider passed on. Its cache would mend
    // a few answers in its own way (the AD bit of a SOA, the code below an alias), which is not what is compared here.
    let dnsmasq = servers::dnsmasq(
        &scene.router,
        &[router_dns()],
        provider_dns(),
        &["--dns-forward-max=1000", "--proxy-dnssec", "--cache-size=0"],
    )?;
    scene.keep("dnsmasq", dnsmasq);
    scene.laptop.use_name_server(router_dns().ip())?;
    Ok(())
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    answers_equal_the_reference(scene, router_dns(), teller)?;
    applications_work(scene, scene.internet.names(), teller)?;
    for (link, host) in [(LAN, "laptop"), (ISP, "router")] {
        let capture = scene.lab.end_capture(link)?;
        let read = names_in_cleartext(scene, &capture, host, SystemTime::UNIX_EPOCH);
        let all = scene.internet.names().len();
        ensure(read == all, || {
            format!("the capture on {link} shows {read} of {all} names that {host} asked for")
        })?;
        // The test of a test: what later stories must not find, is found here.
        let found = nothing_in_cleartext(scene, &capture, host, SystemTime::UNIX_EPOCH, teller);
        ensure(found.is_err(), || {
            format!("a link full of cleartext passes for a private one: {link}")
        })?;
        let spelled = capture
            .names_spelled(scene.internet.names(), host, SystemTime::UNIX_EPOCH)
            .len();
        ensure(spelled == all, || {
            format!("packets of {host} on {link} spell {spelled} names")
        })?;
        teller.tell(format!(
            "the capture on {link} reads all {all} names in cleartext"
        ));
    }
    Ok(())
}

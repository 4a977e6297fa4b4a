//! Clocks that are wrong: the client says which, and stops.

use super::{
    Scene, Story, Teller, Told,
    checks::ensure,
    upgrade::{recursion, start_appliance},
};
use crate::products;

pub(super) const MOVED_CLOCK: Story = Story {
    name: "moved-clock",
    sentence: "A laptop whose clock is ten days ahead, or years behind, refuses the signatures by name instead of trusting them.",
    set_up,
    play,
    try_this: &[
        "faketime -f +10d zzdot-client discover --server 192.168.77.1",
        "zzdot-client discover --server 192.168.77.1",
    ],
};

/// Exit code "refused for a reason of trust".
const DISTRUST: i32 = 4;

fn set_up(scene: &mut Scene) -> Told {
    let resolve = recursion(scene);
    start_appliance(scene, "zzdot", &resolve)
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let client = products::find("zzdot-client")?;
    // Offset of the clock, exit code, and a word that the refusal's name must hold.
    for (number, (offset, code, word)) in [
        ("+0", 0, ""),
        ("+10d", DISTRUST, "expired"),
        ("-2000d", DISTRUST, "clock"),
    ]
    .into_iter()
    .enumerate()
    {
        let state = scene.laptop.folder().join(format!("clock-state-{number}"));
        let arguments = [
            "-f",
            offset,
            &client.to_string_lossy(),
            "discover",
            "--server",
            "192.168.77.1",
            "--state-dir",
            &state.to_string_lossy(),
        ]
        .map(str::to_owned);
        let output = scene
            .laptop
            .output("faketime", &arguments.each_ref().map(String::as_str))?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure(output.status.code() == Some(code), || {
            format!(
                "clock {offset}: discover ended with {}, not {code}: {said}",
                output.status
            )
        })?;
        ensure(said.contains(word), || {
            format!("clock {offset}: nothing about '{word}' in: {said}")
        })?;
        teller.tell(format!("clock {offset}: discover ends with {code}"));
    }
    Ok(())
}

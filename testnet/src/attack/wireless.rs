//! Twins of the wireless network at home. What the victim's card is associated with is played ([`crate::radio`]); the
//! attacker is on the link, as ever.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    Branch,
    networks::{HOME, OTHER, at_home, away, given_back, legacy, own_identity},
};
use crate::{
    products,
    radio::{AccessPoint, Card, Protection, Radio},
    story::{Failure, Told},
};

/// What the household calls its network.
const NAME: &str = "Maple Street 12";
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn open_twin(branch: &mut Branch) -> Told {
    at_home_by_radio(branch)?;
    hear(branch, Protection::Open)?;
    away(branch, HOME, legacy())?;
    recognised_as_suspect_for(branch, "security")?;
    home_again(branch)
}

pub(super) fn cloned_twin(branch: &mut Branch) -> Told {
    at_home_by_radio(branch)?;
    away(branch, HOME, own_identity()?)?;
    home_again(branch)
}

pub(super) fn name_elsewhere(branch: &mut Branch) -> Told {
    at_home_by_radio(branch)?;
    away(branch, OTHER, legacy())?;
    recognised_as_suspect_for(branch, "gateway-mac-v4")?;
    home_again(branch)
}

pub(super) fn roaming(branch: &mut Branch) -> Told {
    at_home_by_radio(branch)?;
    branch.attacker.turn(legacy())?;
    let twin = AccessPoint {
        address: [0x3c, 0xa6, 0x2f, 0x66, 0x13, 0x13],
        ..AccessPoint::new(NAME, Protection::Open)
    };
    let link = branch.link.clone();
    branch.product().roam(Card::at(&link, twin))?;
    recognised_as_suspect_for(branch, "security")?;
    branch.ask(2);
    branch.ask(1);
    home_again(branch)
}

fn at_home_by_radio(branch: &mut Branch) -> Told {
    let product = branch.product();
    product.radio = Some(Radio::of(&product.host));
    hear(branch, Protection::BothPassphrases)?;
    at_home(branch, "")?;
    let known = told(branch, "networks")?;
    let by = known["networks"][0]["recognised-by"].to_string();
    if by.contains("\"ssid\"") && by.contains("\"security\"") {
        return Ok(());
    }
    Err(Failure::new(format!(
        "at home the radio is not heard: {known}"
    )))
}

/// The card is associated with an access point of this protection, as soon as somebody looks.
fn hear(branch: &mut Branch, protection: Protection) -> Told {
    let card = Card::at(&branch.link, AccessPoint::new(NAME, protection));
    let radio = branch.product().radio.as_ref();
    let radio = radio.ok_or_else(|| Failure::new("there is no radio"))?;
    radio.tune(&[card])
}

fn home_again(branch: &mut Branch) -> Told {
    hear(branch, Protection::BothPassphrases)?;
    given_back(branch)
}

/// A twin that is not noticed proves nothing about twins.
fn recognised_as_suspect_for(branch: &mut Branch, signal: &str) -> Told {
    let deadline = Instant::now() + NOTICED_WITHIN;
    loop {
        let network = told(branch, "status")?["network"].take();
        let differs = network["differs"].to_string();
        if network["recognised"] == "suspect" && differs.contains(signal) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!("not noticed: {network}")));
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn told(branch: &mut Branch, command: &str) -> Result<Value, Failure> {
    let host = &branch.product().host;
    let config = host.folder().join("zzdot-client.toml");
    let arguments = [command, "--json", "--config", &config.to_string_lossy()];
    let output = products::run(host, "zzdot-client", &arguments)?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

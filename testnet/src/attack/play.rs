//! Plays a group of attacks in one lab, and tells what came of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

use hickory_proto::rr::Name;
use serde::{Deserialize, Serialize};

use super::{Attack, Branch, Ground, Group, Kind, Outcome, Scene, together::all_at_once};
use crate::story::{Failure, Teller, Told};

/// What came of an attack.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// Its test.
    pub test: String,
    /// The worst that happened to a question, by victim.
    pub outcomes: BTreeMap<Kind, Outcome>,
    /// What the victims were told during the attack, in the words of the answers.
    pub told: Vec<String>,
    /// How long after the attack the product was served again, in milliseconds.
    pub back_after_ms: Option<u128>,
    /// Why this is not what was expected; none where it is.
    pub failure: Option<String>,
}

/// Plays all attacks of a group at the same time, each on its own branch. Call inside the box.
///
/// # Errors
/// The lab cannot be built. What goes wrong in a branch is told in its report.
pub fn play(group: &Group, only: Option<&str>, folder: &Path) -> Result<Vec<Report>, Failure> {
    let teller = Teller::new();
    let mut ground = Ground::build(folder)?;
    let attacks = group
        .attacks
        .iter()
        .filter(|attack| only.is_none_or(|only| attack.test == only));
    let mut branches = attacks
        .map(|attack| {
            let branch = match group.scene {
                Scene::OneResolver | Scene::SignedAnew => ground.branch(attack)?,
                Scene::ResolverEach => ground.branch_alone(attack)?,
            };
            Ok((*attack, branch))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    if group.scene == Scene::SignedAnew {
        branches
            .iter()
            .try_for_each(|(_, branch)| branch.record())?;
        ground.start_resolver()?;
    }
    teller.tell(format!("{} branches are up", branches.len()));
    let played = all_at_once(&mut branches, |(attack, branch)| {
        let told = branch.play();
        teller.tell(format!("played: {}", attack.test));
        told
    });
    let mut reports = Vec::new();
    for ((attack, branch), told) in branches.iter().zip(played) {
        // Where a branch failed before its end, that is what to tell.
        let (read, told) = match (ground.read_along(branch), told) {
            (Ok(read), told) => (read, told),
            (Err(blind), Ok(())) => (BTreeMap::new(), Err(blind)),
            (Err(_), Err(failure)) => (BTreeMap::new(), Err(failure)),
        };
        reports.push(report(attack, branch, told, &read));
    }
    Ok(reports)
}

fn report(
    attack: &Attack,
    branch: &Branch,
    played: Told,
    spelled: &BTreeMap<Kind, BTreeSet<Name>>,
) -> Report {
    let mut outcomes = BTreeMap::new();
    let mut failures: Vec<String> = played
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .collect();
    let expected = [
        Some(attack.product.outcome),
        attack.peers[0],
        attack.peers[1],
    ];
    for (kind, expected) in [Kind::Product, Kind::Stubby, Kind::Unbound]
        .into_iter()
        .zip(expected)
    {
        let Some(expected) = expected else { continue };
        let outcome = outcome(branch, kind, spelled);
        if outcome != Some(expected) {
            failures.push(format!("{kind:?}: {outcome:?} instead of {expected:?}"));
        }
        outcomes.extend(outcome.map(|outcome| (kind, outcome)));
    }
    failures.extend(wrong_reason(attack, branch));
    let told = branch
        .answered
        .iter()
        .map(|(kind, told)| format!("{kind:?}: {}", told.words))
        .collect();
    Report {
        test: attack.test.to_owned(),
        outcomes,
        told,
        back_after_ms: branch.back_after.map(|after| after.as_millis()),
        failure: (!failures.is_empty()).then(|| failures.join("; ")),
    }
}

/// The worst of what a victim was told and of what others could read of it. During the attack for the former, at any
/// time for the latter.
fn outcome(
    branch: &Branch,
    kind: Kind,
    spelled: &BTreeMap<Kind, BTreeSet<Name>>,
) -> Option<Outcome> {
    let victim = branch.victims.iter().find(|victim| victim.kind == kind)?;
    let heard = branch.attacker.heard().into_iter().any(|heard| {
        heard.from == victim.address && heard.name.is_none_or(|name| branch.asked.contains(&name))
    });
    let read = heard || spelled.get(&kind).is_some_and(|names| !names.is_empty());
    branch
        .answered
        .iter()
        .filter(|(asked, _)| *asked == kind)
        .map(|(_, told)| told.outcome)
        .chain(read.then_some(Outcome::Read))
        .max()
}

fn wrong_reason(attack: &Attack, branch: &Branch) -> Option<String> {
    if attack.product.reasons.is_empty() {
        return None;
    }
    let reasons: Vec<_> = branch
        .answered
        .iter()
        .filter(|(kind, told)| *kind == Kind::Product && told.outcome == Outcome::Refused)
        .map(|(_, told)| told.reason.clone().unwrap_or_default())
        .collect();
    let named = |reason: &String| {
        attack
            .product
            .reasons
            .iter()
            .any(|expected| reason.split(':').next() == Some(expected))
    };
    let last = reasons.last()?;
    (!named(last)).then(|| {
        format!(
            "refused with {last:?}, not with one of {:?}",
            attack.product.reasons
        )
    })
}

/// The table of the threat model, out of what is expected. The tests show that it is what happens.
#[must_use]
pub fn table(groups: &[Group]) -> String {
    let mut table = String::from(
        "| promise | attack | product | stubby | unbound | test |\n|---|---|---|---|---|---|\n",
    );
    for attack in groups.iter().flat_map(|group| group.attacks) {
        let peer = |outcome: Option<Outcome>| outcome.map_or("–".to_owned(), |o| o.to_string());
        let reasons: Vec<_> = attack
            .product
            .reasons
            .iter()
            .map(|reason| format!("`{reason}`"))
            .collect();
        let product = match (attack.product.outcome, reasons.is_empty()) {
            (outcome, true) => outcome.to_string(),
            (Outcome::Believed, false) => {
                format!("{}; later {}", Outcome::Believed, reasons.join(" or "))
            }
            (outcome, false) => format!("{outcome}, {}", reasons.join(" or ")),
        };
        let _ = writeln!(
            table,
            "| {} | {} | {product} | {} | {} | `{}` |",
            attack.promise,
            attack.words,
            peer(attack.peers[0]),
            peer(attack.peers[1]),
            attack.test
        );
    }
    table
}

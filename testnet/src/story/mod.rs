//! The stories: each sets a scene and then tells what must happen in it.

mod behind_router;
mod boxes;
mod chains;
mod checks;
mod clock;
mod ladder;
mod legacy;
mod links;
mod networks;
mod networks_anew;
mod policy;
mod scene;
mod slow_line;
mod strict;
mod upgrade;
mod wireless;

use std::{error::Error, fmt, io, path::Path, time::Instant};

pub use scene::Scene;

/// A story.
#[derive(Clone, Copy)]
pub struct Story {
    /// As `run` and `shell` take it.
    pub name: &'static str,
    /// What it shows, in one sentence.
    pub sentence: &'static str,
    /// Starts what the scene needs beyond the provider's resolver and the internet.
    pub set_up: fn(&mut Scene) -> Told,
    /// What must happen.
    pub play: fn(&mut Scene, &Teller) -> Told,
    /// Commands worth trying on the laptop.
    pub try_this: &'static [&'static str],
}

/// The result of a story or of a part of it.
pub type Told = Result<(), Failure>;

/// Why a story did not end well.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// In these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Says, on standard error, how far a story is.
#[derive(Debug)]
pub struct Teller {
    started: Instant,
}

impl Teller {
    /// Starts the clock.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// Something happened.
    pub fn tell(&self, what: impl fmt::Display) {
        eprintln!("  {:5.1} s  {what}", self.started.elapsed().as_secs_f32());
    }
}

impl Default for Teller {
    fn default() -> Self {
        Self::new()
    }
}

/// All stories, in the order in which they are best read.
pub const STORIES: &[Story] = &[
    legacy::LEGACY,
    upgrade::PLAIN_CLIENTS,
    upgrade::RECURSIVE,
    upgrade::FORWARD,
    upgrade::LOCAL_UNBOUND,
    upgrade::LOCAL_DNSMASQ,
    upgrade::EXPORTED_UNBOUND,
    behind_router::BEHIND_LEGACY_ROUTER,
    boxes::BOXES,
    chains::CHAINS,
    chains::OVERLAP,
    chains::ROUTES,
    policy::LEGACY_CLIENT_POLICY,
    ladder::LADDER,
    strict::STRICT,
    clock::MOVED_CLOCK,
    slow_line::SLOW_LINE,
    networks::ROAMING,
    networks_anew::ANEW,
    wireless::WIRELESS,
    links::LINKS,
];

/// The story with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Story> {
    STORIES.iter().find(|story| story.name == name)
}

/// Sets the scene and plays the story. On failure the logs of all programs are shown. Call inside the box.
///
/// # Errors
/// What went wrong.
pub fn run(story: &Story, folder: &Path) -> Told {
    let teller = Teller::new();
    let told = Scene::build(folder).and_then(|mut scene| {
        teller.tell("the lab and its internet are up");
        (story.set_up)(&mut scene)?;
        teller.tell("the scene is set");
        (story.play)(&mut scene, &teller)
    });
    if told.is_err() {
        show_logs(folder);
    }
    told
}

pub(crate) fn show_logs(folder: &Path) {
    for path in logs(folder).unwrap_or_default() {
        let log = std::fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if !log.trim().is_empty() {
            let name = path.strip_prefix(folder).unwrap_or(&path).display();
            eprintln!("  last lines of {name}:\n{}", crate::process::tail(&log));
        }
    }
}

fn logs(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(logs(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "log") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_story_has_its_own_name_and_one_sentence() {
        let names: BTreeSet<_> = STORIES.iter().map(|story| story.name).collect();
        assert_eq!(names.len(), STORIES.len());
        assert!(
            STORIES
                .iter()
                .all(|story| story.sentence.ends_with('.') && !story.sentence.contains('\n'))
        );
    }
}

//! Portals that somebody plays, with the page that the client probes in their hands: they answer every name with an
//! address of their own and send who comes there to a page where one logs in. They have an identity of their own, too, that
//! could be learned.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use hickory_proto::rr::{Name, RecordType};

use super::{
    Branch,
    networks::{HOME, OTHER, at_home, away, given_back, ip, own_identity},
    victim::listen,
};
use crate::{
    ask::{Question, ask_once},
    attacker::answers::{self, LIE},
    story::{Failure, Told},
};

/// What the client looks at on networks that are new, and where the portal sends it.
const PROBED: &str = "check.example.";
const LOGIN: &str = "login.portal.example.";
/// Longer than an answer takes that the portal gives.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the client is told to look for portals. A table: it comes last.
const SETTINGS: &str = "[portal]\nprobe = \"http://check.example/\"";

/// At home, where nobody expects a log-in.
pub(super) fn at_known_network(branch: &mut Branch) -> Told {
    at_home(branch, SETTINGS)?;
    // From here on the network is one that is known from the store.
    branch.restart_product()?;
    let visits = open(branch)?;
    away(branch, HOME, own_identity()?)?;
    let opened = ask_for(branch, LOGIN)?;
    // Having met another key, the client looks for its resolver's new one, as without a portal.
    let mut heard = names_heard(branch);
    heard.retain(|name| !answers::is_of_the_walk(name));
    let visits = visits.load(Ordering::SeqCst);
    if opened || !heard.is_empty() || visits > 0 {
        return Err(Failure::new(format!(
            "on a known network the portal is used: {visits} visits, questions {heard:?}"
        )));
    }
    given_back(branch)
}

/// In a place that shows nothing of home.
pub(super) fn at_new_network(branch: &mut Branch) -> Told {
    at_home(branch, SETTINGS)?;
    let visits = open(branch)?;
    away(branch, OTHER, own_identity()?)?;
    if visits.load(Ordering::SeqCst) == 0 {
        return Err(Failure::new("nobody looked for a portal"));
    }
    if !ask_for(branch, LOGIN)? {
        return Err(Failure::new("nobody can log in"));
    }
    for beside in ["portal.example.", "a.login.portal.example.", PROBED] {
        if ask_for(branch, beside)? {
            return Err(Failure::new(format!("the portal opens {beside}")));
        }
    }
    // Neither a question of people nor one of a walk, though there is an identity to be learned.
    let own = [PROBED, LOGIN].map(|own| Name::from_ascii(own).expect("a constant is a name"));
    let heard = names_heard(branch);
    if let Some(other) = heard.iter().find(|name| !own.contains(name)) {
        return Err(Failure::new(format!("the portal hears {other}")));
    }
    given_back(branch)
}

/// A page behind the address that all names have.
fn open(branch: &Branch) -> Result<Arc<AtomicUsize>, Failure> {
    let host = branch.attacker.host();
    ip(host, &["addr", "add", &format!("{LIE}/32"), "dev", "lo"])?;
    let listener = host.within(|| TcpListener::bind((LIE, 80)))?;
    let visits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&visits);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream
                .write_all(b"HTTP/1.1 302 Found\r\nLocation: http://login.portal.example/\r\n\r\n");
        }
    });
    Ok(visits)
}

/// Whether the portal's address is what the laptop is told for this name.
fn ask_for(branch: &Branch, name: &str) -> Result<bool, Failure> {
    let question = Question::new(&Name::from_ascii(name)?, RecordType::A);
    let laptop = &branch.victims[0].host;
    let answer = laptop.within(|| ask_once(listen(), &question, PATIENCE))?;
    let lie = format!(" {LIE}");
    Ok(answer.answers.iter().any(|record| record.ends_with(&lie)))
}

/// What the attacker could read.
fn names_heard(branch: &Branch) -> Vec<Name> {
    let heard = branch.attacker.heard().into_iter();
    heard.map(|heard| heard.name.unwrap_or_default()).collect()
}

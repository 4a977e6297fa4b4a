//! The records that `resolvconf(8)` keeps: a file in the manner of `resolv.conf` for each interface and whoever told of
//! it, such as `eth0.dhclient` or `tun.wg0`. For links with fixed addresses they are the only place that knows.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::files::{named_in, texts};
use super::{DOMAINS_PER_LINK_MAX, Domain, LinkFacts, LinkSays, Places};

/// Ours. Below the loopback: Debian's resolvconf puts such records before all others, and cuts the list behind them.
pub(super) const RECORD: &str = "lo.zzdot";
/// Debian's, and those of openresolv of several versions.
pub(super) const FOLDERS: [&str; 3] = [
    "/run/resolvconf/interface",
    "/run/resolvconf/interfaces",
    "/run/resolvconf/keys",
];
/// Names of records behind a number; openresolv takes the one with the least, and no other.
const EXCLUSIVE: &str = "/run/resolvconf/exclusive";
/// Records whose servers are there for their domains alone.
const PRIVATE: &str = "/run/resolvconf/private";

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<Domain>,
    exclusive: bool,
    private: bool,
}

impl Record {
    /// What it says about a link that has yet to be found by [`is_about`].
    pub(super) fn says(self) -> LinkSays {
        LinkSays {
            name: Some(self.name),
            servers: self.servers,
            domains: self.search.clone(),
            search: self.search,
            default_route: self.private.then_some(false),
            exclusive: self.exclusive,
            ..LinkSays::default()
        }
    }
}

/// All of them.
pub(super) fn records(places: &Places) -> Vec<Record> {
    let names = |folder: &str| -> Vec<String> {
        let files = texts(&places.at(folder));
        files.into_iter().map(|(name, _)| name).collect()
    };
    let (exclusive, private) = (names(EXCLUSIVE), names(PRIVATE));
    let folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| places.at(folder)).collect();
    let files = folders.iter().flat_map(|folder| texts(folder));
    let record = |(name, text): (String, String)| Record {
        servers: named_in(&text),
        search: searched(&text),
        exclusive: exclusive
            .iter()
            .any(|entry| entry.split_once(' ').is_some_and(|(_, of)| of == name)),
        private: private.contains(&name),
        name,
    };
    files.map(record).collect()
}

/// `search` and `domain` of a text in the manner of `resolv.conf`.
fn searched(text: &str) -> Vec<Domain> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if !matches!(words.next(), Some("search" | "domain")) {
            continue;
        }
        for domain in words.filter_map(|word| word.parse().ok()) {
            if found.len() < DOMAINS_PER_LINK_MAX && !found.contains(&domain) {
                found.push(domain);
            }
        }
    }
    found
}

/// Is a record about this link? Whoever made it stands behind the link's name, or before it.
pub(super) fn is_about(record: &str, facts: &LinkFacts) -> bool {
    let name = facts.name.as_str();
    let rest = [record.strip_prefix(name), record.strip_suffix(name)];
    record == name
        || rest[0].is_some_and(|rest| rest.starts_with('.'))
        || rest[1].is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;
    use crate::host::{Inputs, Saying, Source, decide};

    fn link(index: u32, name: &str) -> LinkFacts {
        LinkFacts {
            index,
            name: name.into(),
            up: true,
            ..LinkFacts::default()
        }
    }

    #[test]
    fn records_say_which_link_has_which_servers() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let folder = "run/resolvconf/interfaces";
        at(
            &format!("{folder}/eth0.100.inet"),
            "nameserver 192.168.1.1\nsearch lan\ndomain lan\n",
        );
        at(&format!("{folder}/tun.wg0"), "nameserver 10.0.0.1\n");
        at(&format!("{folder}/lo.zzdot"), "nameserver 127.0.0.1\n");
        at(
            &format!("{folder}/rubbish"),
            "\u{0}nameserver x\nsearch ..\n",
        );
        at("run/resolvconf/exclusive/9999999 tun.wg0", "");
        let records = records(&Places::below(root.path()));
        assert_eq!(records.len(), 4);
        let says = |record: Record| Saying {
            source: Source::Resolvconf,
            says: record.says(),
        };
        let inputs = Inputs {
            own: vec!["127.0.0.1:53".parse().unwrap()],
            links: vec![link(2, "eth0"), link(3, "eth0.100"), link(4, "wg0")],
            sayings: records.into_iter().map(says).collect(),
            ..Inputs::default()
        };
        let decision = decide(&inputs);
        let told: Vec<_> = decision
            .links
            .iter()
            .map(|found| {
                let name = &found.link.as_ref().unwrap().name;
                format!("{name} {} {}", found.servers[0], found.default_route)
            })
            .collect();
        // The exclusive one is asked about everything; a name of a link may have a dot in it.
        assert_eq!(
            told,
            ["wg0 10.0.0.1:53 true", "eth0.100 192.168.1.1:53 false"]
        );
        assert_eq!(decision.links[1].search.len(), 1);
    }

    #[test]
    fn a_record_is_about_a_link_by_its_whole_name() {
        for (record, name, about) in [
            ("eth0", "eth0", true),
            ("eth0.dhclient", "eth0", true),
            ("tun.wg0", "wg0", true),
            ("eth01.dhclient", "eth0", false),
            ("NetworkManager", "Manager", false),
            ("eth0", "eth", false),
        ] {
            assert_eq!(is_about(record, &link(2, name)), about, "{record} {name}");
        }
    }
}

//! The five hundred real names, and where zones are cut above them.

use std::collections::BTreeSet;

/// The data file; its head names source and licence.
const TOP_SITES: &str = include_str!("../../data/top-sites.txt");

/// Suffixes below a country's that are zones of their own.
const SECOND_LEVEL_ZONES: &[&str] = &["co.uk", "com.br", "co.jp", "com.au"];
/// Suffixes below a country's that are mere names in its zone: empty non-terminals.
const SECOND_LEVEL_NAMES: &[&str] = &[
    "gov.uk", "gov.br", "ne.jp", "or.jp", "net.au", "com.co", "co.id", "co.nz", "co.in", "gov.cn",
    "gouv.fr",
];

/// A real name, lower case, without the final dot.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Site {
    /// As people type it.
    pub(crate) name: String,
    /// The zone that somebody registered for it.
    pub(crate) zone: String,
}

/// All sites, in order of rank.
pub(crate) fn sites() -> Vec<Site> {
    TOP_SITES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|name| Site {
            name: name.to_owned(),
            zone: registered(name).to_owned(),
        })
        .collect()
}

/// The zones above registered ones: top-level domains and the second-level zones of some countries.
pub(crate) fn registries(zones: impl Iterator<Item = impl AsRef<str>>) -> BTreeSet<String> {
    zones
        .flat_map(|zone| registries_above(zone.as_ref()))
        .collect()
}

fn registries_above(zone: &str) -> Vec<String> {
    let mut above: Vec<_> = SECOND_LEVEL_ZONES
        .iter()
        .filter(|suffix| is_below(zone, suffix))
        .map(|suffix| (*suffix).to_owned())
        .collect();
    above.extend(zone.rsplit('.').next().map(str::to_owned));
    above
}

fn registered(name: &str) -> &str {
    let labels = if SECOND_LEVEL_ZONES
        .iter()
        .chain(SECOND_LEVEL_NAMES)
        .any(|suffix| is_below(name, suffix))
    {
        3
    } else {
        2
    };
    let start = name
        .rmatch_indices('.')
        .nth(labels - 1)
        .map_or(0, |(at, _)| at + 1);
    &name[start..]
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix)
        .is_some_and(|head| head.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_five_hundred_distinct_names_in_the_file() {
        let names: BTreeSet<_> = sites().into_iter().map(|site| site.name).collect();
        assert_eq!(names.len(), 500);
        assert!(names.iter().all(|name| {
            name.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        }));
    }

    #[test]
    fn zones_are_cut_below_the_suffixes_that_people_register_under() {
        let cases = [
            ("www.google.com", "google.com", "com"),
            ("bbc.co.uk", "bbc.co.uk", "co.uk"),
            ("www.gov.uk", "www.gov.uk", "uk"),
            ("legifrance.gouv.fr", "legifrance.gouv.fr", "fr"),
        ];
        for (name, zone, registry) in cases {
            assert_eq!(
                (registered(name), registries_above(zone)[0].as_str()),
                (zone, registry)
            );
        }
    }
}

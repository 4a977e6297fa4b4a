//! A strict reader of the text format in which numbers are told (Prometheus, version 0.0.4), written from its description
//! and not from our writer.

use std::collections::{BTreeMap, BTreeSet};

/// All samples by name and labels, and the type of each metric.
#[derive(Debug, Default)]
pub struct Page {
    pub samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
    pub kinds: BTreeMap<String, String>,
}

impl Page {
    /// The sample with this name and exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|(label, text)| ((*label).to_owned(), (*text).to_owned()));
        self.samples
            .get(&(name.to_owned(), labels.collect()))
            .copied()
    }

    /// Reads a whole page, or says in which line it breaks the rules.
    pub fn read(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        let mut page = Self::default();
        let mut helped = BTreeSet::new();
        // The metric whose group of lines this is; a group is never taken up again.
        let (mut current, mut over) = (String::new(), BTreeSet::new());
        for (number, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("line {}: {what}: {line}", number + 1);
            let mut enter = |name: &str, current: &mut String| {
                if name != current {
                    over.insert(std::mem::replace(current, name.to_owned()));
                }
                if over.contains(name) {
                    return Err(wrong("its group was over"));
                }
                Ok(())
            };
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, _) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
                enter(name, &mut current)?;
                if !is_name(name)
                    || !helped.insert(name.to_owned())
                    || page.kinds.contains_key(name)
                {
                    return Err(wrong("not a first HELP"));
                }
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
                enter(name, &mut current)?;
                if !["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind) {
                    return Err(wrong("no known type"));
                }
                if page
                    .kinds
                    .insert(name.to_owned(), kind.to_owned())
                    .is_some()
                {
                    return Err(wrong("typed twice"));
                }
                if (kind == "counter") != name.ends_with("_total") {
                    return Err(wrong("a counter's name ends in _total, and no other's"));
                }
            } else if line.is_empty() || line.starts_with('#') {
                return Err(wrong("an idle line"));
            } else {
                let (name, labels, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
                enter(&name, &mut current)?;
                if !page.kinds.contains_key(&name) || !helped.contains(&name) {
                    return Err(wrong("a sample before HELP and TYPE"));
                }
                if page.samples.insert((name, labels), value).is_some() {
                    return Err(wrong("told twice"));
                }
            }
        }
        Ok(page)
    }
}

fn is_name(name: &str) -> bool {
    let first = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    name.starts_with(first)
        && name
            .chars()
            .all(|letter| first(letter) || letter.is_ascii_digit())
}

fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (text, after) = quoted(after)?;
            if !is_name(label) || labels.insert(label.to_owned(), text).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    is_name(name).then(|| (name.to_owned(), labels, value))
}

/// The text up to the closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut read = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((read, &text[at + 1..])),
            '\\' => read.push(match letters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            other => read.push(other),
        }
    }
    None
}

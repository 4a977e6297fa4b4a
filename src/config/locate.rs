//! Finds the line that a key stands on, for problems that only show when keys meet each other.

use std::{fs, path::Path};

/// `FILE:LINE`, or only the file when the key is not in it.
pub(super) fn place(path: &Path, key: &str) -> String {
    let line = fs::read_to_string(path)
        .ok()
        .and_then(|text| line_of(&text, key));
    match line {
        Some(line) => format!("{}:{line}", path.display()),
        None => path.display().to_string(),
    }
}

/// The line, counted from one, of `table.key` or `key`.
fn line_of(text: &str, dotted: &str) -> Option<usize> {
    let (table, key) = dotted.split_once('.').unwrap_or(("", dotted));
    let mut current = String::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            current = header.trim().to_owned();
        } else if let Some((left, _)) = line.split_once('=') {
            let left = left.trim().trim_matches('"');
            if (current == table && left == key) || (current.is_empty() && left == dotted) {
                return Some(at + 1);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::line_of;

    const TEXT: &str =
        "state-dir = \"/x\"\n\n[listen]\ndns = []\n[resolve] # where from\n  mode = \"local\"\n";

    #[test]
    fn keys_are_found_in_their_tables() {
        assert_eq!(line_of(TEXT, "state-dir"), Some(1));
        assert_eq!(line_of(TEXT, "listen.dns"), Some(4));
        assert_eq!(line_of(TEXT, "resolve.mode"), Some(6));
        assert_eq!(line_of(TEXT, "listen.mode"), None);
        assert_eq!(line_of("resolve.mode = \"local\"", "resolve.mode"), Some(1));
    }
}

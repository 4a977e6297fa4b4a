//! Reading a TOML configuration file strictly, with errors that name file, line and key.
//!
//! Both daemons read their files through [`load`]. The target type decides what is allowed
//! (`#[serde(deny_unknown_fields, rename_all = "kebab-case")]`); values with a syntax of their own,
//! such as addresses, are parsed by their `Deserialize`, so that their errors carry a line too.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Largest configuration file that is read, in bytes. A hundred times what any sensible one has.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a configuration file was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The file is missing or cannot be read.
    #[error("{}: cannot read the configuration file: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has more than [`CONFIG_FILE_BYTES_MAX`] bytes.
    #[error("{}: more than {CONFIG_FILE_BYTES_MAX} bytes: this is not a configuration file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not UTF-8, which TOML requires.
    #[error("{}:{line}: not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// One-based line of the first byte that is not text.
        line: usize,
    },
    /// Not TOML, a key that does not exist, or a value that is not allowed there.
    #[error("{}:{line}: {}{message}", path.display(), key_prefix(key.as_deref()))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// One-based line of the offending key or value.
        line: usize,
        /// The dotted key that the line belongs to, when there is one.
        key: Option<String>,
        /// What was found and what is allowed.
        message: String,
    },
}

fn key_prefix(key: Option<&str>) -> String {
    key.map(|key| format!("{key}: ")).unwrap_or_default()
}

/// Reads `path` into `T`.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigFileError> {
    let unreadable = |source| ConfigFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > CONFIG_FILE_BYTES_MAX {
        return Err(ConfigFileError::TooLarge {
            path: path.to_owned(),
        });
    }
    let text = String::from_utf8(bytes).map_err(|error| ConfigFileError::NotText {
        path: path.to_owned(),
        line: line_of(error.as_bytes(), error.utf8_error().valid_up_to()),
    })?;
    parse(path, &text)
}

/// Parses `text` as the content of `path`, which is only named in errors.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigFileError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let key = key_at(text, offset);
        ConfigFileError::Invalid {
            path: path.to_owned(),
            line: line_of(text.as_bytes(), offset),
            // Serde names an unknown key itself; twice would be noise.
            key: key.filter(|_| !error.message().starts_with("unknown field")),
            message: error.message().replace('\n', ", "),
        }
    })
}

fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text[..offset.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// The dotted key whose value holds `offset`: the nearest `key =` at or above that line, below the
/// nearest `[table]`. Good enough for a message; the parser has already judged the file.
fn key_at(text: &str, offset: usize) -> Option<String> {
    let end = text[offset.min(text.len())..]
        .find('\n')
        .map_or(text.len(), |length| offset + length);
    let mut key = None;
    for line in text[..end].lines().rev() {
        let line = line.trim();
        if let Some(table) = line.strip_prefix('[')
            && let Some((table, rest)) = table.split_once(']')
            && !table.contains(['"', ','])
            && matches!(
                rest.trim_start_matches(']').trim().chars().next(),
                None | Some('#')
            )
        {
            let table = table.trim_start_matches('[').trim();
            return Some(match key {
                Some(key) => format!("{table}.{key}"),
                None => table.to_owned(),
            });
        }
        if key.is_none()
            && let Some((name, _)) = line.split_once('=')
            && is_key(name.trim())
        {
            key = Some(name.trim().to_owned());
        }
    }
    key
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde::Deserialize;
    use std::net::SocketAddr;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Sample {
        #[serde(default)]
        listen: Vec<SocketAddr>,
        #[serde(default)]
        legacy: Option<Legacy>,
        #[serde(default)]
        limits: Limits,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Legacy {
        Plain,
        Refuse,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
    struct Limits {
        in_flight: u16,
    }

    fn refusal(text: &str) -> String {
        parse::<Sample>(Path::new("/etc/zzdot/client.toml"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_good_file_is_read() {
        let sample: Sample = parse(
            Path::new("f"),
            "listen = [\"127.0.0.1:53\"]\nlegacy = \"plain\"\n[limits]\nin-flight = 7\n",
        )
        .unwrap();
        assert_eq!(sample.listen.len(), 1);
        assert!(matches!(sample.legacy, Some(Legacy::Plain)));
        assert_eq!(sample.limits.in_flight, 7);
        let refused: Sample = parse(Path::new("f"), "legacy = \"refuse\"").unwrap();
        assert!(matches!(refused.legacy, Some(Legacy::Refuse)));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_those_allowed() {
        let message = refusal("# hello\nlisten = []\nlissten = []\n");
        assert!(
            message.starts_with("/etc/zzdot/client.toml:3: unknown field `lissten`"),
            "{message}"
        );
        assert!(message.contains("`listen`"), "{message}");
    }

    #[test]
    fn a_bad_value_is_told_with_its_key_and_what_is_allowed() {
        let message = refusal("legacy = \"maybe\"\n");
        assert!(
            message.starts_with("/etc/zzdot/client.toml:1: legacy: unknown variant `maybe`"),
            "{message}"
        );
        assert!(message.contains("`refuse`"), "{message}");
    }

    #[test]
    fn a_bad_value_inside_a_table_is_told_with_the_dotted_key() {
        let message = refusal("listen = []\n\n[limits] # bounds\nin-flight = 70000\n");
        assert!(
            message.starts_with("/etc/zzdot/client.toml:4: limits.in-flight: "),
            "{message}"
        );
    }

    #[test]
    fn a_bad_element_of_a_long_array_is_found_on_its_own_line() {
        let message = refusal("listen = [\n  \"127.0.0.1:53\",\n  \"nowhere\",\n]\n");
        assert!(
            message.starts_with("/etc/zzdot/client.toml:3: listen: "),
            "{message}"
        );
    }

    #[test]
    fn a_broken_file_is_told_with_its_line() {
        let message = refusal("listen = []\nlegacy = \"plain\n");
        assert!(
            message.starts_with("/etc/zzdot/client.toml:2: "),
            "{message}"
        );
    }

    #[test]
    fn a_missing_file_is_not_an_empty_one() {
        let error = load::<Sample>(Path::new("/nonexistent/client.toml")).unwrap_err();
        assert!(matches!(error, ConfigFileError::Unreadable { .. }));
        assert!(error.to_string().starts_with("/nonexistent/client.toml: "));
    }

    #[test]
    fn binary_rubbish_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.toml");
        std::fs::write(&path, b"# fine\n\xff\xfe").unwrap();
        let error = load::<Sample>(&path).unwrap_err();
        assert!(matches!(error, ConfigFileError::NotText { line: 2, .. }));
    }

    #[test]
    fn an_endless_file_is_refused() {
        let error = load::<Sample>(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(error, ConfigFileError::TooLarge { .. }));
    }
}

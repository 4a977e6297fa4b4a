//! Results as lines of JSON: what the page is made of, and what a later run is merged into.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Failure, Sample};

/// What is true for all samples of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The day on which it began.
    pub(crate) date: String,
    /// Processor, memory, kernel, distribution.
    pub(crate) machine: BTreeMap<String, String>,
    /// Name and version of each program.
    pub(crate) programs: BTreeMap<String, String>,
    /// How many times every program had its turn.
    pub(crate) rounds: u32,
    /// How long one turn took.
    pub(crate) slice_ms: u64,
    /// What the processors did besides while it ran, in percent of all their time.
    #[serde(default)]
    pub(crate) stolen_percent: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    /// Begins a run.
    Run(Run),
    /// Of the run above it.
    Sample(Sample),
}

/// The results of one or more runs: each row of the last run that measured it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Results {
    pub(crate) runs: Vec<(Run, Vec<Sample>)>,
}

impl Results {
    /// Reads a file; one that is not there holds nothing.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        if !path.exists() {
            return Ok(Self::default());
        }
        Self::parse(&fs::read_to_string(path)?)
            .map_err(|failure| Failure::new(format!("{}: {failure}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let mut results = Self::default();
        for (number, line) in text.lines().enumerate() {
            let entry = serde_json::from_str(line)
                .map_err(|error| Failure::new(format!("line {}: {error}", number + 1)))?;
            match entry {
                Entry::Run(run) => results.runs.push((run, Vec::new())),
                Entry::Sample(sample) => match results.runs.last_mut() {
                    Some((_, samples)) => samples.push(sample),
                    None => return Err(Failure::new("a sample before any run")),
                },
            }
        }
        results.forget_superseded();
        Ok(results)
    }

    /// The samples of every row, all of one run.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.runs
            .iter()
            .flat_map(|(_, samples)| samples.iter().cloned())
            .collect()
    }

    /// A row that was measured again is that of the later run.
    fn forget_superseded(&mut self) {
        for place in 0..self.runs.len() {
            let (earlier, later) = self.runs.split_at_mut(place + 1);
            if let Some((_, samples)) = earlier.last_mut() {
                samples.retain(|sample| {
                    !later
                        .iter()
                        .any(|(_, after)| after.iter().any(|other| other.row == sample.row))
                });
            }
        }
        self.runs.retain(|(_, samples)| !samples.is_empty());
    }

    fn text(&self) -> Result<String, Failure> {
        let mut text = String::new();
        for (run, samples) in &self.runs {
            text += &serde_json::to_string(&Entry::Run(run.clone()))?;
            text.push('\n');
            for sample in samples {
                text += &serde_json::to_string(&Entry::Sample(sample.clone()))?;
                text.push('\n');
            }
        }
        Ok(text)
    }
}

/// The file while a run goes on: what is measured is kept at once, whatever happens next.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Begins a run after those that are in the file.
    pub(crate) fn begin(path: &Path, run: &Run) -> Result<Self, Failure> {
        let file = File::options().create(true).append(true).open(path)?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
        };
        journal.write(&Entry::Run(run.clone()))?;
        Ok(journal)
    }

    /// Keeps a sample.
    pub(crate) fn record(&mut self, sample: Sample) -> Result<(), Failure> {
        self.write(&Entry::Sample(sample))
    }

    /// Ends the run: rows that it measured are forgotten of earlier ones.
    pub(crate) fn end(self, run: &Run) -> Result<Results, Failure> {
        let mut results = Results::read(&self.path)?;
        if let Some((last, _)) = results.runs.last_mut() {
            *last = run.clone();
        }
        fs::write(&self.path, results.text()?)?;
        Ok(results)
    }

    fn write(&mut self, entry: &Entry) -> Result<(), Failure> {
        let mut line = serde_json::to_string(entry)?;
        line.push('\n');
        Ok(self.file.write_all(line.as_bytes())?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run(date: &str) -> Run {
        Run {
            date: date.into(),
            ..Run::default()
        }
    }

    fn sample(row: &str, value: f64) -> Sample {
        Sample {
            row: row.into(),
            program: "zzdot".into(),
            round: 0,
            value,
            details: BTreeMap::from([("qps".into(), 5.0)]),
            faults: vec!["1 SERVFAIL".into()],
        }
    }

    #[test]
    fn a_row_that_is_measured_again_replaces_the_old_one_and_leaves_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let mut journal = Journal::begin(&path, &run("first")).unwrap();
        journal.record(sample("a", 1.0)).unwrap();
        journal.record(sample("b", 2.0)).unwrap();
        journal.end(&run("first")).unwrap();
        let mut journal = Journal::begin(&path, &run("second")).unwrap();
        journal.record(sample("a", 3.0)).unwrap();
        let results = journal.end(&run("second")).unwrap();
        assert_eq!(results.samples(), [sample("b", 2.0), sample("a", 3.0)]);
        assert_eq!(results.runs.len(), 2);
        assert_eq!(Results::read(&path).unwrap(), results);
    }

    #[test]
    fn nothing_is_a_beginning_and_a_bad_line_is_named() {
        assert!(
            Results::read(Path::new("/nonexistent"))
                .unwrap()
                .runs
                .is_empty()
        );
        let error = Results::parse("{}\n").unwrap_err().to_string();
        assert!(error.starts_with("line 1: "), "{error}");
    }
}

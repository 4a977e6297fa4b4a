//! A cell: one way of loading a program for a slice, and the rows that are read off it.

use std::time::Duration;

use super::{
    Failure, Plan, Row, Sample,
    load::{self, KeyExchange, Questions, Report, Span, Transport},
    peers::Running,
};

/// One way of loading a program.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) transport: Transport,
    pub(crate) shape: Shape,
    /// What is read off it, for which row.
    pub(crate) rows: &'static [(&'static Row, Reading)],
}

/// How the questions come.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// So many connections, each with so many questions unanswered.
    Closed(usize, usize),
    /// So many connections, and so many questions a second in all.
    Paced(usize, u32),
    /// So many connections at the same time, each with one question.
    Handshakes {
        parallel: usize,
        resume: bool,
        key_exchange: KeyExchange,
    },
}

/// What a row is about.
#[derive(Clone, Copy)]
pub(crate) enum Reading {
    /// CPU time of the program, for each right answer, in microseconds.
    Cpu,
    /// The middle latency, in microseconds.
    Middle,
    /// The share of resumed sessions, in percent.
    Resumed,
    /// Queries lost or answered with a failure.
    Failed,
}

/// What is warmed up before a slice.
pub(crate) fn span(plan: &Plan) -> Span {
    Span {
        warm_up: if plan.smoke {
            Duration::from_millis(20)
        } else {
            Duration::from_millis(300)
        },
        slice: plan.slice,
    }
}

impl Cell {
    /// Is any of its rows?
    pub(crate) fn is_wanted(&self, plan: &Plan) -> bool {
        self.rows.iter().any(|(row, _)| plan.wants_row(row.name))
    }

    /// Loads a program for a slice.
    fn measure(
        &self,
        plan: &Plan,
        program: &Running,
        questions: &Questions,
    ) -> Result<Report, Failure> {
        let mut span = span(plan);
        let (key_exchange, resume) = match self.shape {
            Shape::Handshakes {
                key_exchange,
                resume,
                ..
            } => (key_exchange, resume),
            _ => (KeyExchange::X25519, false),
        };
        if resume {
            // A handshake storm needs this long until all its sessions can be resumed.
            span.warm_up = span.warm_up.max(Duration::from_millis(250));
        }
        let target = program.target(self.transport, questions, key_exchange, resume)?;
        match self.shape {
            Shape::Closed(connections, window) => load::closed(&target, connections, window, span),
            Shape::Paced(connections, per_second) => {
                // Whether it works is to show on a busy machine too.
                let per_second = if plan.smoke { 500 } else { per_second };
                load::paced(&target, connections, per_second, span)
            }
            Shape::Handshakes { parallel, .. } => load::handshakes(&target, parallel, span),
        }
    }

    /// Every wanted row of a slice.
    pub(crate) fn sample(
        &self,
        plan: &Plan,
        round: u32,
        program: &Running,
        questions: &Questions,
        record: &mut dyn FnMut(Sample),
    ) {
        if !self.is_wanted(plan) {
            return;
        }
        let report = self.measure(plan, program, questions);
        for (row, reading) in self.rows {
            if !plan.wants_row(row.name) {
                continue;
            }
            record(match &report {
                Ok(report) => sample(row, *reading, &program.name, round, report),
                Err(failure) => Sample::new(row, &program.name, round, 0.0)
                    .faulty(format!("not measured: {failure}")),
            });
        }
    }
}

fn sample(row: &Row, reading: Reading, program: &str, round: u32, report: &Report) -> Sample {
    let mut tally = report.tally.clone();
    let handshakes = tally.full + tally.resumed;
    let resumed = 100.0 * tally.resumed as f64 / handshakes as f64;
    let share = |part: Duration| 100.0 * part.as_secs_f64() / report.elapsed.as_secs_f64();
    let value = match reading {
        Reading::Cpu => report.cpu_us_each(),
        Reading::Middle => tally.percentile_us(0.5),
        Reading::Resumed => resumed,
        Reading::Failed => tally.failed() as f64,
    };
    let faults = match reading {
        // They are what is asked for.
        Reading::Failed => Vec::new(),
        _ => tally.faults(),
    };
    let mut sample = Sample::new(
        row,
        program,
        round,
        if value.is_finite() { value } else { 0.0 },
    );
    sample.faults = faults;
    for (name, value) in [
        ("per_second", report.per_second()),
        ("p50_us", tally.percentile_us(0.5)),
        ("p99_us", tally.percentile_us(0.99)),
        ("program_cpu_percent", share(report.tested_cpu)),
        ("load_cpu_percent", share(report.own_cpu)),
    ] {
        sample = sample.with(name, value);
    }
    if tally.held_up > 0 {
        sample = sample.with("load_generator_held_up", tally.held_up as f64);
    }
    if handshakes > 0 {
        sample = sample.with("resumed_percent", resumed);
    }
    sample
}

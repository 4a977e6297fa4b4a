//! A chain as text: a tree from this computer outwards. Whoever is asked by several is drawn once, and named again.

use std::fmt::Write as _;

use super::json::{Trace, TracedHop, TracedNode, meaning};
use super::servers::TracedServer;
use super::tame;
use crate::chain::Label;

/// How words are marked: for a terminal, or not at all.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// What is as it should be.
    pub good: fn(&str) -> String,
    /// What has to be noticed.
    pub bad: fn(&str) -> String,
}

impl Paint {
    /// Nothing is marked.
    pub const NONE: Self = Self {
        good: str::to_owned,
        bad: str::to_owned,
    };
}

/// The columns of labels and of manners.
const LABEL: usize = 9;
const MANNER: usize = 16;
/// The most cures that are told.
const CURES: usize = 5;

/// Draws the chains behind several servers, one below the other.
#[must_use]
pub fn text_of_all(servers: &[TracedServer], paint: Paint) -> String {
    let mut all = String::new();
    for server in servers {
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(&tame(&server.heading()));
        all.push('\n');
        if let Some(trace) = &server.trace {
            all.push_str(&text(trace, paint));
        } else {
            let fault = server.fault.as_deref().unwrap_or("nobody could look");
            all.push_str(&(paint.bad)(&tame(fault)));
            all.push('\n');
        }
    }
    all
}

/// Draws `trace`.
#[must_use]
pub fn text(trace: &Trace, paint: Paint) -> String {
    let mut drawing = Drawing {
        trace,
        paint,
        drawn: vec![false; trace.nodes.len()],
        text: String::new(),
    };
    let chosen = trace.chosen.as_ref();
    if let Some(why) = chosen.and_then(|chosen| chosen.sentence(trace.server)) {
        drawing.line("", &format!("{}\n", tame(&why)));
    }
    if let Some(root) = trace.nodes.first() {
        drawing.drawn[0] = true;
        drawing.line("", &root.title());
        drawing.behind(0, "");
    }
    drawing.text.push('\n');
    drawing.summary();
    drawing.text
}

struct Drawing<'a> {
    trace: &'a Trace,
    paint: Paint,
    drawn: Vec<bool>,
    text: String,
}

impl Drawing<'_> {
    fn line(&mut self, indent: &str, what: &str) {
        // A string takes whatever fits into memory.
        let _ = writeln!(self.text, "{indent}{what}");
    }

    /// Whom `node` asks. As deep as there are nodes, of which there are few.
    fn behind(&mut self, node: usize, indent: &str) {
        let trace = self.trace;
        let hops: Vec<&TracedHop> = trace.hops_from(node).collect();
        let unknown = trace.nodes[node].cause.as_ref();
        for (place, hop) in hops.iter().enumerate() {
            let last = place + 1 == hops.len() && unknown.is_none();
            let (branch, rest) = if last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let below = format!("{indent}{rest}");
            let known = self.drawn[hop.to];
            let target = &trace.nodes[hop.to];
            let who = match known {
                true => format!("{} (as above)", target.title()),
                false => introduction(target),
            };
            let manner = tame(&hop.manner());
            let label = self.label(hop.label);
            self.line(
                &format!("{indent}{branch}"),
                &format!("{label} {manner:<MANNER$} {who}"),
            );
            if hop.label != Label::Proven {
                self.line(&below, &format!("{:LABEL$} {}", "", tame(&hop.cause)));
            }
            if !known {
                self.drawn[hop.to] = true;
                self.behind(hop.to, &below);
            }
        }
        if let Some(cause) = unknown {
            let what = (self.paint.bad)(&format!("{:<LABEL$}", "unknown"));
            self.line(
                &format!("{indent}└─ "),
                &format!("{what} whom it asks: {}", tame(cause)),
            );
        }
    }

    fn label(&self, label: Label) -> String {
        let name = match label {
            Label::Cleartext => "CLEARTEXT",
            other => other.name(),
        };
        let padded = format!("{name:<LABEL$}");
        match label {
            Label::Proven => (self.paint.good)(&padded),
            Label::Claimed => padded,
            Label::Opaque | Label::Cleartext => (self.paint.bad)(&padded),
        }
    }

    fn summary(&mut self) {
        let trace = self.trace;
        let verdict = match &trace.fault {
            None => (self.paint.good)(
                "encrypted to the end, by the word of those on the way about whom they ask",
            ),
            Some(fault) => (self.paint.bad)(&tame(fault)),
        };
        self.line("", &verdict);
        for label in [Label::Claimed, Label::Opaque] {
            if trace.hops.iter().any(|hop| hop.label == label) {
                self.line("", &format!("{label}: {}", meaning(label)));
            }
        }
        let cures = trace.cures();
        for (place, cure) in cures.iter().take(CURES).enumerate() {
            let what = if place == 0 { "what helps:" } else { "" };
            self.line("", &format!("{what:<11} {}", tame(cure)));
        }
        if let Some(destination) = trace.destination() {
            self.line("", &tame(&destination));
        }
        let others = trace.chosen.as_ref().map_or(0, |chosen| chosen.others);
        if others > 0 {
            let servers = if others == 1 {
                "server is"
            } else {
                "servers are"
            };
            let told = "`zzdot-client trace --all` shows all";
            self.line(
                "",
                &format!("{others} other {servers} asked about other names: {told}"),
            );
        }
        self.line("", &tame(&trace.freshness()));
    }
}

fn introduction(node: &TracedNode) -> String {
    let mut about = vec![node.occupation().to_owned()];
    if node.kind == "named" {
        about.extend(node.addresses.iter().map(ToString::to_string));
    }
    format!("{} ({})", node.title(), about.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::chain::draw::samples;

    #[test]
    fn everybody_is_drawn_once_and_each_hop_with_its_label_and_what_is_wrong_with_it() {
        let drawn = text(&samples::diamond(), Paint::NONE);
        let expected = "\
this computer
└─ proven    DoT, DANE        8g2l0qv7c4m1t5b9r3se.zz (forwarder, 192.168.1.1)
   ├─ proven    DoT, DANE        aaaaaaaaaaaaaaaaaaaa.zz (forwarder, 192.0.2.1)
   │  └─ claimed   DoT, DANE        cccccccccccccccccccc.zz (resolver, 192.0.2.3)
   │               it was asked through those before it: this computer cannot reach it itself (timed out)
   ├─ claimed   DoT, PKIX dns.example 192.0.2.9:853 (of unknown kind)
   │            it does not say who it is: only who asks it says that this is encrypted
   │  └─ unknown   whom it asks: it is not upgraded, and does not say whom it asks
   └─ CLEARTEXT plain DNS        bbbbbbbbbbbbbbbbbbbb.zz (forwarder, 192.0.2.2)
                everybody on the way can read it, and change it
      └─ claimed   DoT, DANE        cccccccccccccccccccc.zz (as above)
                   it was asked through those before it: this computer cannot reach it itself (timed out)
";
        let (tree, summary) = drawn.split_once("\n\n").unwrap();
        assert_eq!(format!("{tree}\n"), expected);
        assert!(
            summary.starts_with("the chain is not encrypted to the end: 8g2l"),
            "{summary}"
        );
        assert!(summary.contains("questions go to 8g2l0qv7c4m1t5b9r3se.zz (route = \"nearest\")"));
        let helps = "\nwhat helps: on 8g2l0qv7c4m1t5b9r3se.zz: an upstream that is asked over TLS";
        assert!(summary.contains(helps), "{summary}");
        let claimed = "\nclaimed: encrypted, by the word of who asks\n";
        assert!(summary.contains(claimed), "{summary}");
        assert!(!summary.contains("opaque: "), "{summary}");
    }

    #[test]
    fn where_all_is_well_nothing_helps_and_where_questions_go_elsewhere_it_is_told_why() {
        let mut trace = samples::line();
        trace.route = Some("end".to_owned());
        trace.asks_why = Some("the end does not answer".to_owned());
        let drawn = text(&trace, Paint::NONE);
        assert!(!drawn.contains("what helps"), "{drawn}");
        assert!(
            drawn.contains("(route = \"end\"): the end does not answer\n"),
            "{drawn}"
        );
    }

    #[test]
    fn a_cycle_ends_where_it_began() {
        let drawn = text(&samples::cycle(), Paint::NONE);
        assert_eq!(
            drawn.matches("8g2l0qv7c4m1t5b9r3se.zz (as above)").count(),
            1,
            "{drawn}"
        );
        assert!(drawn.lines().count() < 10, "{drawn}");
        assert!(drawn.contains("ask each other in a circle"), "{drawn}");
    }

    #[test]
    fn what_others_wrote_does_nothing_to_a_terminal() {
        let mut trace = samples::diamond();
        trace.hops[2].proof = Some("pkix \x1b[2J\u{202e}evil".to_owned());
        trace.hops[2].cause = "\r\nencrypted to the end\x07".to_owned();
        let drawn = text(&trace, Paint::NONE);
        let strange = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!drawn.contains(strange), "{drawn:?}");
        assert!(!drawn.contains("\nencrypted to the end"), "{drawn:?}");
    }
}

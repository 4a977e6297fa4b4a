//! A chain as a picture (SVG 1.1): this computer on the left, and whom each asks to its right.
//!
//! Labels are told by word, by colour and by the kind of line, and whatever has no room is in a tooltip.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use super::json::{Trace, TracedHop, TracedNode, meaning};
use super::tame;
use crate::chain::Label;

const BOX: (i32, i32) = (252, 78);
/// Between one column and the next: room for what is written at the arrows.
const AISLE: i32 = 196;
/// Between the boxes of a column.
const GAP: i32 = 44;
const MARGIN: i32 = 28;
/// Below the boxes: arrows that lead back.
const BASEMENT: i32 = 56;
/// At the bottom: what it all means, above what the lines are. A line of text, and all but those.
const LINE: i32 = 20;
const FOOT: i32 = 90;
/// From one meaning of a line to the one beside it.
const MEANING: i32 = 352;
/// The most lines of text.
const LINES_MAX: usize = 14;
/// Letters that fit in a box, and in an aisle.
const BOX_LETTERS: usize = 31;
const AISLE_LETTERS: usize = 24;
/// Letters in a line of the foot, per pixel of width.
const PIXELS_A_LETTER: i32 = 8;

const ENCRYPTED: &str = "encrypted to the end, by the word of those on the way about whom they ask";

const LABELS: [Label; 4] = [
    Label::Proven,
    Label::Claimed,
    Label::Opaque,
    Label::Cleartext,
];

/// Draws `trace`.
#[must_use]
pub fn svg(trace: &Trace) -> String {
    let plan = Plan::new(trace);
    let lines = lines(trace, plan.size.0);
    let (width, height) = (plan.size.0, plan.size.1 + foot(&lines));
    let mut picture = Picture(String::new());
    picture.add(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n"
    ));
    let verdict = trace.fault.as_deref().unwrap_or(ENCRYPTED);
    picture.add(format_args!(
        "<title>Whom this computer asks, and whom they ask: {}</title>\n",
        Escaped(verdict)
    ));
    picture.add(format_args!("<defs>\n"));
    for label in LABELS {
        picture.add(format_args!(
            "<marker id=\"{label}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"11\" markerHeight=\"11\" \
             markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0 L10 5 L0 10 z\" fill=\"{}\"/></marker>\n",
            colour(label)
        ));
    }
    picture.add(format_args!(
        "</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    ));
    for (place, hop) in trace.hops.iter().enumerate() {
        picture.hop(hop, plan.arrow(trace, place));
    }
    for (node, at) in trace.nodes.iter().zip(&plan.places) {
        picture.node(node, *at, trace.asks == Some(node.id));
    }
    picture.foot(trace, &lines, (width, height));
    picture.0.push_str("</svg>\n");
    picture.0
}

/// Where everything is.
struct Plan {
    /// The upper left corner of each node's box.
    places: Vec<(i32, i32)>,
    /// How many hops this computer is away.
    columns: Vec<usize>,
    /// Of the graph, above the foot.
    size: (i32, i32),
}

/// A line of the foot.
struct Line {
    text: String,
    weight: Weight,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Verdict,
    Plain,
}

const VERDICT: &str = "font-weight=\"bold\" font-size=\"14\"";

/// What is told below the graph, as wide as the picture.
fn lines(trace: &Trace, width: i32) -> Vec<Line> {
    let letters = usize::try_from((width - 2 * MARGIN) / PIXELS_A_LETTER).unwrap_or(0);
    let verdict = trace.fault.as_deref().unwrap_or(ENCRYPTED).to_owned();
    let chosen = trace.chosen.as_ref();
    let cures = trace.cures().into_iter();
    let plain = chosen
        .and_then(|chosen| chosen.sentence(trace.server))
        .into_iter()
        .chain(cures.map(|cure| format!("what helps: {cure}")))
        .chain(trace.destination())
        .chain([trace.freshness()]);
    let texts = plain.map(|text| (text, Weight::Plain));
    let mut lines = Vec::new();
    for (text, weight) in [(verdict, Weight::Verdict)].into_iter().chain(texts) {
        lines.extend(
            wrapped(&text, letters)
                .into_iter()
                .map(|text| Line { text, weight }),
        );
    }
    lines.truncate(LINES_MAX);
    lines
}

/// The text in lines of so many letters at the most; a word that is longer is cut.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in tame(text).split(' ') {
        let word = cut(word, letters);
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= letters => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

fn foot(lines: &[Line]) -> i32 {
    FOOT + number(lines.len()) * LINE
}

/// The way of an arrow, and where its words go.
struct Arrow {
    path: String,
    words: (i32, i32),
}

impl Plan {
    fn new(trace: &Trace) -> Self {
        let columns = columns(trace);
        let count = columns.iter().max().map_or(1, |last| last + 1);
        let mut rows = vec![0_i32; count];
        let row: Vec<i32> = columns
            .iter()
            .map(|column| {
                rows[*column] += 1;
                rows[*column] - 1
            })
            .collect();
        let pitch = BOX.1 + GAP;
        let tallest = rows.iter().max().copied().unwrap_or(1) * pitch - GAP;
        let places = columns.iter().zip(row).map(|(column, row)| {
            let top = MARGIN + (tallest - (rows[*column] * pitch - GAP)) / 2;
            let left = MARGIN + number(*column) * (BOX.0 + AISLE);
            (left, top + row * pitch)
        });
        // Room for the stub of whom nobody knows whom it asks.
        let width = 2 * MARGIN + number(count) * (BOX.0 + AISLE) - AISLE + 48;
        Self {
            places: places.collect(),
            columns,
            size: (width.max(760), MARGIN + tallest + BASEMENT),
        }
    }

    fn arrow(&self, trace: &Trace, place: usize) -> Arrow {
        let hop = &trace.hops[place];
        let (from, to) = (self.places[hop.from], self.places[hop.to]);
        if self.columns[hop.to] <= self.columns[hop.from] {
            // Back: below the boxes.
            let start = (from.0 + BOX.0 * 2 / 3, from.1 + BOX.1);
            let end = (to.0 + BOX.0 / 3, to.1 + BOX.1);
            let bottom = start.1.max(end.1) + BASEMENT;
            return Arrow {
                path: format!(
                    "M{} {} C{} {bottom} {} {bottom} {} {}",
                    start.0, start.1, start.0, end.0, end.0, end.1
                ),
                words: ((start.0 + end.0) / 2, bottom - BASEMENT / 4),
            };
        }
        let leaving = self.port(
            trace,
            place,
            |other| other.from == hop.from,
            |other| other.to,
        );
        let arriving = self.port(trace, place, |other| other.to == hop.to, |other| other.from);
        let start = (from.0 + BOX.0, from.1 + leaving);
        let end = (to.0, to.1 + arriving);
        let half = (end.0 - start.0) / 2;
        // Where the curve is after 45 of 100 parts of its way (t = 0.45).
        let words = (
            start.0 + (end.0 - start.0) * 46 / 100,
            start.1 + (end.1 - start.1) * 425 / 1000,
        );
        Arrow {
            path: format!(
                "M{} {} C{} {} {} {} {} {}",
                start.0,
                start.1,
                start.0 + half,
                start.1,
                end.0 - half,
                end.1,
                end.0,
                end.1
            ),
            words,
        }
    }

    /// How far below the upper edge of a box an arrow begins or ends, so that those that share the box do not meet.
    fn port(
        &self,
        trace: &Trace,
        place: usize,
        shares: impl Fn(&TracedHop) -> bool,
        far: impl Fn(&TracedHop) -> usize,
    ) -> i32 {
        let forward = |hop: &TracedHop| self.columns[hop.to] > self.columns[hop.from];
        let mut sharing: Vec<usize> = (0..trace.hops.len())
            .filter(|other| shares(&trace.hops[*other]) && forward(&trace.hops[*other]))
            .collect();
        sharing.sort_by_key(|other| (self.places[far(&trace.hops[*other])].1, *other));
        let turn = sharing.iter().position(|other| *other == place);
        BOX.1 * (number(turn.unwrap_or(0)) + 1) / (number(sharing.len()) + 1)
    }
}

/// How many hops away from this computer each node is. Whom no hop leads to stands last.
fn columns(trace: &Trace) -> Vec<usize> {
    let mut columns = vec![None; trace.nodes.len()];
    let mut queue = VecDeque::new();
    if let Some(first) = columns.first_mut() {
        *first = Some(0);
        queue.push_back(0);
    }
    let mut last = 0;
    while let Some(node) = queue.pop_front() {
        let next = columns[node].unwrap_or(0) + 1;
        for hop in trace.hops_from(node) {
            if columns[hop.to].is_none() {
                columns[hop.to] = Some(next);
                last = last.max(next);
                queue.push_back(hop.to);
            }
        }
    }
    columns
        .into_iter()
        .map(|column| column.unwrap_or(last + 1))
        .collect()
}

struct Picture(String);

impl Picture {
    fn add(&mut self, arguments: fmt::Arguments<'_>) {
        // A string takes whatever fits into memory.
        let _ = self.0.write_fmt(arguments);
    }

    fn hop(&mut self, hop: &TracedHop, arrow: Arrow) {
        let (colour, stroke) = (colour(hop.label), stroke(hop.label));
        let Arrow { path, words } = arrow;
        let manner = hop.manner();
        self.add(format_args!(
            "<g><title>{}: {}{}</title>\n\
             <path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" {stroke} marker-end=\"url(#{})\"/>\n",
            Escaped(&manner),
            Escaped(&hop.cause),
            Escaped(&cure_in_tooltip(hop.cure.as_ref())),
            hop.label
        ));
        // White behind the letters, so that lines do not go through them.
        self.add(format_args!(
            "<g text-anchor=\"middle\" stroke=\"#ffffff\" stroke-width=\"4\" paint-order=\"stroke\" stroke-linejoin=\"round\">\
             <text x=\"{x}\" y=\"{above}\" fill=\"{colour}\" font-weight=\"bold\">{}</text>\
             <text x=\"{x}\" y=\"{below}\" fill=\"#1f2328\" font-size=\"12\">{}</text></g></g>\n",
            hop.label,
            Escaped(&cut(&manner, AISLE_LETTERS)),
            x = words.0,
            above = words.1 - 6,
            below = words.1 + 16,
        ));
    }

    fn node(&mut self, node: &TracedNode, (left, top): (i32, i32), asked: bool) {
        let (width, height) = BOX;
        let (fill, edge) = match node.kind.as_str() {
            "client" => ("#ddf4ff", "#0969da"),
            "named" => ("#f6f8fa", "#57606a"),
            _ => ("#ffffff", "#8c959f"),
        };
        let weight = if asked { 3 } else { 1 };
        self.add(format_args!(
            "<g><title>{}</title>\n<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"8\" \
             fill=\"{fill}\" stroke=\"{edge}\" stroke-width=\"{weight}\"/>\n",
            Escaped(&tooltip(node))
        ));
        let x = left + width / 2;
        let first = top + if node.kind == "client" { 44 } else { 24 };
        let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
        let mut second = node.occupation().to_owned();
        if asked {
            second += if second.is_empty() { "" } else { ", " };
            second += "asked now";
        }
        let third = match node.kind.as_str() {
            "named" => addresses.join(" "),
            _ => String::new(),
        };
        for (line, (text, font)) in [
            (
                node.title(),
                "font-family=\"ui-monospace, monospace\" font-size=\"12\" font-weight=\"bold\"",
            ),
            (second, ""),
            (
                third,
                "font-family=\"ui-monospace, monospace\" font-size=\"12\"",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            if !text.is_empty() {
                self.add(format_args!(
                    "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#1f2328\" {font}>{}</text>\n",
                    first + 20 * number(line),
                    Escaped(&cut(&text, BOX_LETTERS))
                ));
            }
        }
        if node.behind == "unknown" {
            let (x, y) = (left + width, top + height / 2);
            let colour = colour(Label::Opaque);
            self.add(format_args!(
                "<path d=\"M{x} {y} h26\" fill=\"none\" stroke=\"{colour}\" {} />\
                 <text x=\"{}\" y=\"{}\" fill=\"{colour}\" font-weight=\"bold\" font-size=\"16\">?</text>\n",
                stroke(Label::Opaque),
                x + 30,
                y + 6
            ));
        }
        self.0.push_str("</g>\n");
    }

    fn foot(&mut self, trace: &Trace, lines: &[Line], (_, height): (i32, i32)) {
        let first = height - foot(lines) + 22;
        for (place, Line { text, weight }) in lines.iter().enumerate() {
            let y = first + number(place) * LINE;
            let (colour, style) = match (weight, trace.encrypted_to_end) {
                (Weight::Verdict, true) => (colour(Label::Proven), VERDICT),
                (Weight::Verdict, false) => (colour(Label::Cleartext), VERDICT),
                (Weight::Plain, _) => ("#57606a", "font-size=\"12\""),
            };
            self.add(format_args!(
                "<text x=\"{MARGIN}\" y=\"{y}\" fill=\"{colour}\" {style}>{}</text>\n",
                Escaped(text)
            ));
        }
        for (place, label) in LABELS.into_iter().enumerate() {
            let x = MARGIN + number(place % 2) * MEANING;
            let y = height - 46 + number(place / 2) * 24;
            self.add(format_args!(
                "<path d=\"M{x} {y} h44\" fill=\"none\" stroke=\"{}\" {} marker-end=\"url(#{label})\"/>\
                 <text x=\"{}\" y=\"{}\" fill=\"#1f2328\">{label}: {}</text>\n",
                colour(label),
                stroke(label),
                x + 52,
                y + 4,
                meaning(label)
            ));
        }
    }
}

fn cure_in_tooltip(cure: Option<&String>) -> String {
    cure.map_or_else(String::new, |cure| format!(". What helps: {cure}"))
}

fn tooltip(node: &TracedNode) -> String {
    let mut told = vec![node.title(), node.occupation().to_owned()];
    told.extend(node.addresses.iter().map(ToString::to_string));
    told.extend(node.met_at.map(|at| format!("met at {at}")));
    told.extend(
        node.cause
            .iter()
            .map(|cause| format!("whom it asks is not known: {cause}")),
    );
    told.retain(|text| !text.is_empty());
    told.join(", ") + &cure_in_tooltip(node.cure.as_ref())
}

fn colour(label: Label) -> &'static str {
    match label {
        Label::Proven => "#1a7f37",
        Label::Claimed => "#8a5a00",
        Label::Opaque => "#57606a",
        Label::Cleartext => "#cf222e",
    }
}

fn stroke(label: Label) -> &'static str {
    match label {
        Label::Proven => "stroke-width=\"2\"",
        Label::Claimed => "stroke-width=\"2\" stroke-dasharray=\"9 5\"",
        Label::Opaque => "stroke-width=\"2\" stroke-dasharray=\"2 5\"",
        Label::Cleartext => "stroke-width=\"4\"",
    }
}

fn cut(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(letters.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// There are few of anything; see [`Trace::read`].
fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX / (4 * (BOX.0 + AISLE)))
}

/// Text that XML takes for nothing else.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in tame(self.0).chars() {
            match letter {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::chain::draw::samples;

    #[test]
    fn boxes_stand_apart_and_inside_the_picture() {
        for trace in [samples::line(), samples::diamond(), samples::cycle()] {
            let plan = Plan::new(&trace);
            for (one, (left, top)) in plan.places.iter().enumerate() {
                assert!(*left >= 0 && left + BOX.0 <= plan.size.0, "{one}");
                assert!(*top >= 0 && top + BOX.1 + BASEMENT <= plan.size.1, "{one}");
                for (x, y) in &plan.places[..one] {
                    let apart = (left - x).abs() >= BOX.0 || (top - y).abs() >= BOX.1;
                    assert!(apart, "{one} overlaps another box");
                }
            }
        }
    }

    #[test]
    fn each_node_and_each_hop_is_drawn_once() {
        let trace = samples::diamond();
        let drawn = svg(&trace);
        assert_eq!(drawn.matches("rx=\"8\"").count(), trace.nodes.len());
        let arrows = drawn.matches("marker-end").count();
        assert_eq!(arrows, trace.hops.len() + LABELS.len());
        assert_eq!(
            drawn.matches(">?</text>").count(),
            1,
            "one of whom nobody knows"
        );
    }

    #[test]
    fn what_it_means_is_told_in_full_below_the_graph() {
        let mut trace = samples::diamond();
        trace.asks_why = Some("somebody said so ".repeat(30));
        let drawn = svg(&trace);
        for word in [
            "not encrypted to the end",
            "what helps: on 8g2l0qv7c4m1t5b9r3se.zz",
            "questions go to",
        ] {
            assert!(drawn.contains(word), "{word}: {drawn}");
        }
        let lines = lines(&trace, 760);
        assert!(lines.len() <= LINES_MAX);
        assert!(
            lines.iter().all(|line| line.text.len() <= 704 / 8),
            "{drawn}"
        );
        assert!(
            wrapped(&"x".repeat(500), 20)
                .iter()
                .all(|line| line.chars().count() <= 20)
        );
    }

    #[test]
    fn what_others_wrote_is_text_and_nothing_else() {
        let mut trace = samples::diamond();
        let evil = "</title><script>alert('&\"')</script>\u{0}\u{ffff}";
        trace.hops[2].cause = evil.to_owned();
        trace.hops[2].proof = Some(format!("pkix {evil}"));
        trace.looked_at = evil.to_owned();
        trace.fault = Some(evil.to_owned());
        let drawn = svg(&trace);
        assert!(!drawn.contains("<script"), "{drawn}");
        assert!(!drawn.contains('\u{0}') && !drawn.contains('\u{ffff}'));
    }
}

//! A row as a picture: one bar a program, its spread, and the goal.

use std::fmt::Write;

use super::{
    Goal, OURS,
    peers::is_floor,
    report::number,
    statistics::{Line, Spread, Standing},
};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 62.0;
const BAR: f64 = 18.0;
const STEP: f64 = 29.0;
const BOTTOM: f64 = 30.0;
/// A bar this many times longer than goal and our own is cut, so that those remain legible.
const CUT: f64 = 9.0;

/// The words beside a bar are about so long.
const WORDS: f64 = 150.0;

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 } \
.title { font-weight: 600; font-size: 15px } .quiet { fill: #59636e; font-size: 12px } .name { text-anchor: end } \
.bar { fill: #9aa7b4 } .floor { fill: #c9d1d9 } .ours { fill: #1f6feb } .own { font-weight: 600 } \
.spread { stroke: #1f2328; stroke-width: 1.3; fill: none } .goal { stroke: #cf222e; stroke-width: 1.6; stroke-dasharray: 5 3 } \
.goal-name { fill: #cf222e; font-size: 12px } .ground { fill: #ffffff } .axis { stroke: #d1d9e0; stroke-width: 1 } \
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quiet { fill: #9198a1 } .bar { fill: #6e7681 } \
.floor { fill: #484f58 } .ours { fill: #58a6ff } .spread { stroke: #e6edf3 } .goal { stroke: #ff7b72 } .goal-name { fill: #ff7b72 } \
.ground { fill: #0d1117 } .axis { stroke: #3d444d } }";

/// The picture as SVG.
pub(crate) fn plot(standing: &Standing) -> String {
    let scale = Scale::of(standing);
    let height = TOP + STEP * standing.lines.len() as f64 + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{title}\">\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"14\" y=\"24\">{title}</text>\n<text class=\"quiet\" x=\"14\" y=\"43\">{subtitle}</text>\n",
        title = escaped(standing.row.title),
        subtitle = escaped(&subtitle(standing)),
    );
    let bottom = height - BOTTOM + 4.0;
    let _ = writeln!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{TOP}\" x2=\"{LEFT}\" y2=\"{bottom}\"/>"
    );
    for (place, line) in standing.lines.iter().enumerate() {
        bar(
            &mut svg,
            standing,
            line,
            &scale,
            TOP + 5.0 + STEP * place as f64,
        );
    }
    if let Some(goal) = scale.goal {
        let x = scale.x(goal);
        let _ = writeln!(
            svg,
            "<line class=\"goal\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\n\
             <text class=\"goal-name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            TOP - 2.0,
            x + 4.0,
            bottom + 14.0,
            escaped(&goal_name(standing))
        );
    }
    svg + "</svg>\n"
}

fn bar(svg: &mut String, standing: &Standing, line: &Line, scale: &Scale, y: f64) {
    let shown = shown(line);
    let class = if line.program == OURS {
        "ours"
    } else if is_floor(&line.program) {
        "floor"
    } else {
        "bar"
    };
    let own = if line.program == OURS { " own" } else { "" };
    let end = scale.x(shown.middle);
    let middle = y + BAR / 2.0;
    let baseline = middle + 4.5;
    let _ = writeln!(
        svg,
        "<text class=\"name{own}\" x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>\n\
         <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>",
        LEFT - 8.0,
        escaped(&line.program),
        (end - LEFT).max(1.0)
    );
    let mut reached = end;
    if shown.middle > scale.most {
        // A gap in the bar: it goes on for longer than shown.
        for offset in [22.0, 30.0] {
            let x = end - offset;
            let _ = writeln!(
                svg,
                "<path class=\"ground\" d=\"M{:.1} {:.1} l8 -{:.1} h3 l-8 {:.1} z\"/>",
                x,
                y + BAR + 1.0,
                BAR + 2.0,
                BAR + 2.0
            );
        }
    } else {
        let (low, high) = (scale.x(shown.lower), scale.x(shown.upper));
        reached = high.max(end);
        if high - low > 1.0 {
            let _ = writeln!(
                svg,
                "<path class=\"spread\" d=\"M{low:.1} {middle:.1} H{high:.1} M{low:.1} {:.1} v8 M{high:.1} {:.1} v8\"/>",
                middle - 4.0,
                middle - 4.0
            );
        }
    }
    let unit = standing.row.unit;
    let mut words = match line.ratio {
        Some(ratio) => format!(
            "{:.2} ×  ·  {}",
            ratio.middle,
            number(unit, line.value.middle)
        ),
        None => number(unit, line.value.middle),
    };
    if line.sound == 0 {
        words += "  (with faults)";
    }
    let mut start = reached + 8.0;
    // The words do not stand on the line of the goal.
    if let Some(goal) = scale.goal.map(|goal| scale.x(goal))
        && (start - 4.0..start + WORDS).contains(&goal)
    {
        start = goal + 7.0;
    }
    let _ = writeln!(
        svg,
        "<text class=\"value{own}\" x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>",
        start,
        escaped(&words)
    );
}

/// What a bar is as long as.
fn shown(line: &Line) -> Spread {
    line.ratio.unwrap_or(line.value)
}

struct Scale {
    goal: Option<f64>,
    most: f64,
}

impl Scale {
    fn of(standing: &Standing) -> Self {
        let goal = match standing.row.goal {
            Goal::AtMostTimes(times, _) if standing.reference.is_some() => Some(times),
            Goal::AtMost(value) | Goal::AtLeast(value) if standing.reference.is_none() => {
                Some(value)
            }
            _ => None,
        };
        let ours = standing.line(OURS).map(|line| shown(line).upper);
        let longest = standing
            .lines
            .iter()
            .map(|line| shown(line).upper)
            .fold(0.0, f64::max);
        let legible = [goal, ours].into_iter().flatten().fold(0.0, f64::max) * CUT;
        let most = if legible > 0.0 {
            longest.min(legible)
        } else {
            longest
        };
        let most = most.max(goal.unwrap_or_default() * 1.05);
        Self {
            goal,
            most: if most > 0.0 { most } else { 1.0 },
        }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (value / self.most).clamp(0.0, 1.0)
    }
}

fn subtitle(standing: &Standing) -> String {
    let of = match standing.reference {
        Some(program) => format!("times {program}, round by round · middle value"),
        None => "middle value".into(),
    };
    let better = if matches!(standing.row.goal, Goal::AtLeast(_)) {
        "more is better"
    } else {
        "less is better"
    };
    format!("{of} · whisker: middle half of the rounds · {better}")
}

fn goal_name(standing: &Standing) -> String {
    match standing.row.goal {
        Goal::AtMostTimes(times, _) => format!("goal: at most {times} ×"),
        Goal::AtMost(value) => format!("goal: at most {}", number(standing.row.unit, value)),
        Goal::AtLeast(value) => format!("goal: at least {}", number(standing.row.unit, value)),
        Goal::None => String::new(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{NULL, Row, Sample, Unit};

    const ROW: Row = Row {
        name: "row",
        title: "A & B",
        unit: Unit::Microseconds,
        goal: Goal::AtMostTimes(1.2, NULL),
        method: "",
    };

    #[test]
    fn every_program_has_a_bar_within_the_picture_and_the_goal_a_line() {
        let samples = [(NULL, 10.0), (OURS, 11.0), ("slow", 770.0)]
            .map(|(program, value)| Sample::new(&ROW, program, 0, value));
        let svg = plot(&Standing::new(&ROW, &samples));
        assert_eq!(svg.matches("class=\"value").count(), 3);
        assert!(svg.contains("A &amp; B") && !svg.contains("A & B"));
        assert!(svg.contains("goal: at most 1.2 ×"));
        // The longest bar is cut and says so.
        assert_eq!(svg.matches("<path class=\"ground\"").count(), 2);
        assert!(svg.contains("width=\"440.0\""), "{svg}");
    }
}

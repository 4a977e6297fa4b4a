//! Colours, where somebody can see them.

use std::io::IsTerminal;

/// Whether `stream` is a terminal whose user did not ask for peace (<https://no-color.org>).
pub(crate) fn is_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Something that has to be noticed.
pub(super) fn red(text: &str) -> String {
    coloured("31;1", text)
}

/// Something good.
pub(super) fn green(text: &str) -> String {
    coloured("32", text)
}

fn coloured(code: &str, text: &str) -> String {
    if is_terminal(&std::io::stdout()) {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

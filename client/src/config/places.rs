//! Where things are kept.

use std::path::{Path, PathBuf};

use zzdot_zonegen::exit::{Exit, Failure};

/// Where the state is: the command line, else the configuration, else where the service manager
/// or the user's environment say.
///
/// # Errors
/// When none of them says anything.
pub fn state_dir(
    command_line: Option<&Path>,
    configured: Option<&Path>,
) -> Result<PathBuf, Failure> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    // systemd separates several folders by colons; the first is ours.
    let service = variable("STATE_DIRECTORY").map(|value| first_folder(&value));
    command_line
        .or(configured)
        .map(Path::to_owned)
        .or(service)
        .or_else(|| Some(PathBuf::from(variable("XDG_STATE_HOME")?).join("zzdot-client")))
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state/zzdot-client")))
        .ok_or_else(|| {
            Failure::new(Exit::Usage, "no folder to remember things in")
                .with_hint("set `state-dir` in the configuration, or give --state-dir")
        })
}

/// Where the daemon's control socket is, by the same rules for the daemon and for its tools.
#[must_use]
pub fn control_socket(configured: Option<&Path>, state_dir: &Path) -> PathBuf {
    let runtime = std::env::var_os("RUNTIME_DIRECTORY").filter(|value| !value.is_empty());
    match (configured, runtime) {
        (Some(path), _) => path.to_owned(),
        (None, Some(folder)) => first_folder(&folder).join("control.sock"),
        (None, None) => state_dir.join("control.sock"),
    }
}

fn first_folder(list: &std::ffi::OsStr) -> PathBuf {
    let text = list.to_string_lossy();
    PathBuf::from(text.split(':').next().unwrap_or_default())
}

//! What `zzdot identity` shows for verification: the QR code, its text, and the phrase.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use clap::Args;
use zzdot_zonegen::{
    durable,
    exit::{Exit, Failure},
    qr::{Ink, Picture, PictureError},
    summary::Summary,
    uri::VerificationUri,
};

use super::{Place, print};
use crate::{
    config::{Config, Environment},
    host::Host,
};

/// Anybody may look at a picture of what is public.
const PICTURE_MODE: u32 = 0o644;

/// Which form of it.
#[derive(Debug, Default, Args)]
#[group(id = "code", multiple = true, conflicts_with_all = ["json", "trust_anchor"])]
pub(super) struct Arguments {
    /// Print a QR code for "zzdot-client verify", with its text and the phrase
    #[arg(long)]
    qr: bool,
    /// Write the QR code as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the QR code as PNG
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Print the text of the QR code
    #[arg(long, conflicts_with = "qr")]
    uri: bool,
    /// Print the verification phrase, in words and in digits
    #[arg(long, conflicts_with_all = ["qr", "uri"])]
    phrase: bool,
}

impl Arguments {
    /// Whether any of it is wanted.
    pub(super) fn any(&self) -> bool {
        self.qr || self.uri || self.phrase || self.svg.is_some() || self.png.is_some()
    }

    /// Prints and writes what is wanted.
    pub(super) fn show(&self, summary: &Summary, place: &Place) -> Result<(), Failure> {
        if self.phrase {
            print(&format!("{}\n{}\n", summary.phrase, summary.phrase_digits))?;
        }
        let uri = uri(summary, place)?;
        if self.uri {
            print(&format!("{uri}\n"))?;
        }
        let picture = Picture::of(&uri).map_err(cannot_draw)?;
        if let Some(file) = &self.svg {
            write(file, picture.svg().as_bytes())?;
        }
        if let Some(file) = &self.png {
            write(file, &picture.png().map_err(cannot_draw)?)?;
        }
        if self.qr {
            let ink = match io::stdout().is_terminal() {
                true => Ink::Coloured,
                false => Ink::Plain,
            };
            print(&format!(
                "{}\n{uri}\n\n{}\n{}\n",
                picture.terminal(ink),
                summary.phrase,
                summary.phrase_digits,
            ))?;
        }
        Ok(())
    }
}

/// The text of the code, with the addresses that "zzdot serve" would publish. Without a configuration
/// that can be read they are left out: who it is matters, and clients have the address from their network.
fn uri(summary: &Summary, place: &Place) -> Result<String, Failure> {
    let uri: VerificationUri = summary.uri.parse().map_err(|error| {
        Failure::new(
            Exit::CannotRun,
            format!("the code of the identity: {error}"),
        )
    })?;
    let configured = |host: Host| {
        let (config, state_dir) = (place.config.as_deref(), place.state_dir.as_deref());
        Config::load(config, state_dir, &host, &Environment::of_process()).ok()
    };
    let config = Host::observe().ok().and_then(configured);
    let addresses = config.map(|config| config.published).unwrap_or_default();
    Ok(uri.with_addresses(addresses).to_string())
}

fn write(file: &Path, contents: &[u8]) -> Result<(), Failure> {
    durable::replace(file, contents, PICTURE_MODE)
        .map_err(|error| Failure::new(Exit::CannotRun, format!("{}: {error}", file.display())))
}

fn cannot_draw(error: PictureError) -> Failure {
    Failure::new(Exit::CannotRun, error.to_string())
}

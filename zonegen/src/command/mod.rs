//! The subcommands of `zzdot-zonegen`, over an environment that is passed in: the clock, the random
//! source and the output are the caller's, so that a whole command runs inside a test.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use clap::{Args, Parser, Subcommand};
use ring::rand::SecureRandom;

use crate::clock::UnixTime;
use crate::durable;
use crate::exit::{Exit, Failure};
use crate::export::ExportedFile;
use crate::identity::Identity;
use crate::publication::Stamp;
use crate::publish::{PublishError, Published, publish};
use crate::zone::{Publication, ServerType};

mod export;
mod new;
mod show;
mod verify;
mod zones;

/// What a command needs of the world.
pub struct Env<'a> {
    /// What the clock says.
    pub now: UnixTime,
    /// The random source.
    pub rng: &'a dyn SecureRandom,
    /// Standard output: data only.
    pub out: &'a mut dyn Write,
}

/// Makes the identity of a resolver and the signed zones by which it tells who it is.
#[derive(Debug, Parser)]
#[command(name = "zzdot-zonegen", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new identity in a folder that does not exist yet, and print its name.
    New(new::New),
    /// Write the signed zones as master files.
    Zones(zones::Zones),
    /// Write zones, certificate and configuration for another server.
    Export(export::Export),
    /// Print an identity.
    Show(show::Show),
    /// Check an identity, and signed zone files against it.
    Verify(verify::Verify),
}

impl Cli {
    /// Runs the command.
    pub fn run(&self, env: &mut Env<'_>) -> Result<(), Failure> {
        match &self.command {
            Command::New(command) => command.run(env),
            Command::Zones(command) => command.run(env),
            Command::Export(command) => command.run(env),
            Command::Show(command) => command.run(env),
            Command::Verify(command) => command.run(env),
        }
    }
}

/// What is said about the service.
#[derive(Debug, Args)]
struct Service {
    /// An address of the service; may be given several times
    #[arg(long = "address", value_name = "ADDRESS", required = true)]
    addresses: Vec<IpAddr>,
    /// What the server does with a question: "resolver" or "forwarder"
    #[arg(long, value_name = "TYPE", default_value = "resolver")]
    server_type: ServerType,
    /// The port of DNS over TLS
    #[arg(long, value_name = "PORT", default_value_t = 853, value_parser = clap::value_parser!(u16).range(1..))]
    dot_port: u16,
}

impl Service {
    fn publication(&self) -> Publication {
        Publication {
            server_type: self.server_type,
            addresses: self.addresses.clone(),
            dot_port: self.dot_port,
            upstreams: Vec::new(),
        }
    }

    /// Signs both zones with the next serial of the identity in `dir`.
    fn publish(
        &self,
        dir: &Path,
        identity: &Identity,
        now: UnixTime,
    ) -> Result<Published, Failure> {
        let stamp = Stamp::advance(dir, now)?;
        Ok(publish(identity, &self.publication(), &stamp)?)
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let exit = match error {
            PublishError::Sign(_) => Exit::CannotRun,
            _ => Exit::Usage,
        };
        let hint = match error {
            PublishError::NoAddress => Some("name one with --address, or in publish.addresses"),
            PublishError::TooManyAddresses(_) => {
                Some("name those that clients know; the others are served all the same")
            }
            _ => None,
        };
        Self {
            exit,
            message: error.to_string(),
            hint: hint.map(str::to_owned),
        }
    }
}

/// Writes `files` into `folder`, which is created where it is missing. Owner and group of files that
/// are replaced stay: a server that runs as its own user goes on reading its key.
fn write_files(folder: &Path, files: &[ExportedFile]) -> Result<(), Failure> {
    let unwritable = |path: &Path, error: std::io::Error| {
        Failure::new(Exit::CannotRun, format!("{}: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
    for file in files {
        let path = folder.join(&file.name);
        let before = fs::metadata(&path).ok();
        // Whoever let the server's group read the key meant it; others never may.
        let granted = before.as_ref().map_or(0, |meta| meta.mode() & 0o040);
        durable::replace(&path, file.contents.as_bytes(), file.mode | granted)
            .and_then(|()| match before {
                Some(meta) => chown(&path, Some(meta.uid()), Some(meta.gid())),
                None => Ok(()),
            })
            .map_err(|error| unwritable(&path, error))?;
    }
    Ok(())
}

/// Prints to the command's output. A closed pipe is the reader's choice and no failure.
fn print(env: &mut Env<'_>, text: &str) -> Result<(), Failure> {
    match env
        .out
        .write_all(text.as_bytes())
        .and_then(|()| env.out.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::CannotRun,
            format!("standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! `zzdot-zonegen export`

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Env, Service, print, write_files};
use crate::exit::{Exit, Failure};
use crate::export::{self, Network, Server};
use crate::identity::Identity;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The folder of the identity
    dir: PathBuf,
    /// The server that the configuration is for
    #[arg(long = "for", value_name = "SERVER")]
    server: Server,
    /// The folder of the exported files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where the files will stand when the server reads them [default: where they are written]
    #[arg(long, value_name = "DIR")]
    installed_at: Option<PathBuf>,
    /// A network that may ask, for servers whose configuration is to say so (unbound, bind)
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<Network>,
    /// The port of plain DNS
    #[arg(long, value_name = "PORT", default_value_t = 53, value_parser = clap::value_parser!(u16).range(1..))]
    dns_port: u16,
    #[command(flatten)]
    service: Service,
}

impl Export {
    pub(super) fn run(&self, env: &mut Env<'_>) -> Result<(), Failure> {
        if !self.allow.is_empty() && !matches!(self.server, Server::Unbound | Server::Bind) {
            return Err(Failure::new(
                Exit::Usage,
                "--allow is for unbound and bind; the others keep their own rules",
            ));
        }
        let folder = self.folder()?;
        let identity = Identity::load(&self.dir)?;
        let published = self.service.publish(&self.dir, &identity, env.now)?;
        let files = export::Export {
            identity: &identity,
            publication: &self.service.publication(),
            published: &published,
            dns_port: self.dns_port,
            allow: &self.allow,
            folder: &folder,
        }
        .files(self.server);
        write_files(&self.out, &files)?;
        let paths = files.iter().map(|file| self.out.join(&file.name));
        let list: String = paths.map(|path| format!("{}\n", path.display())).collect();
        print(env, &list)
    }

    /// The absolute path to write into the configuration.
    fn folder(&self) -> Result<PathBuf, Failure> {
        let folder = self.installed_at.as_deref().unwrap_or(&self.out);
        let usage = |what: &str| Failure::new(Exit::Usage, format!("{}: {what}", folder.display()));
        let absolute = std::path::absolute(folder).map_err(|error| usage(&error.to_string()))?;
        if !is_quotable(&absolute) {
            return Err(usage(
                "the path has characters that a configuration file cannot quote",
            ));
        }
        Ok(absolute)
    }
}

/// Quotes, backslashes and control characters mean something else in each server's syntax.
fn is_quotable(path: &Path) -> bool {
    path.to_str().is_some_and(|text| {
        !text
            .chars()
            .any(|character| character.is_control() || matches!(character, '"' | '\'' | '\\'))
    })
}

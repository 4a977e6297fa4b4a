//! `zzdot-zonegen zones`

use std::path::PathBuf;

use clap::Args;

use super::{Env, Service, print, write_files};
use crate::exit::Failure;
use crate::export::zone_files;
use crate::identity::Identity;

#[derive(Debug, Args)]
pub(super) struct Zones {
    /// The folder of the identity
    dir: PathBuf,
    /// The folder of the zone files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    service: Service,
}

impl Zones {
    pub(super) fn run(&self, env: &mut Env<'_>) -> Result<(), Failure> {
        let identity = Identity::load(&self.dir)?;
        let published = self.service.publish(&self.dir, &identity, env.now)?;
        let files = zone_files(&published);
        write_files(&self.out, &files)?;
        let paths = files.iter().map(|file| self.out.join(&file.name));
        let list: String = paths.map(|path| format!("{}\n", path.display())).collect();
        print(env, &list)
    }
}

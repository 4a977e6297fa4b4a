//! `zzdot-zonegen show`

use std::path::PathBuf;

use clap::Args;

use super::{Env, print};
use crate::exit::Failure;
use crate::identity::Identity;
use crate::publication::Stamp;
use crate::summary::Summary;
use crate::trust_anchor::{bind_trust_anchors, trust_anchor_text};

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The folder of the identity
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the trust anchors instead: as a master file, or as a clause for BIND and `delv -a`
    #[arg(
        long,
        value_name = "FORM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "master",
        conflicts_with = "json"
    )]
    trust_anchor: Option<AnchorForm>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AnchorForm {
    /// DNSKEY and DS records
    Master,
    /// A `trust-anchors` clause
    Bind,
}

impl Show {
    pub(super) fn run(&self, env: &mut Env<'_>) -> Result<(), Failure> {
        let identity = Identity::load(&self.dir)?;
        let text = match self.trust_anchor {
            Some(AnchorForm::Master) => trust_anchor_text(&identity),
            Some(AnchorForm::Bind) => bind_trust_anchors(&identity),
            None => {
                let stamp = Stamp::load(&self.dir)?;
                let summary = Summary::new(&identity, stamp.as_ref());
                match self.json {
                    true => summary.json(),
                    false => summary.to_string(),
                }
            }
        };
        print(env, &text)
    }
}

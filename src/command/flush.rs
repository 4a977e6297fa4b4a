//! `zzdot flush`

use clap::Args;
use hickory_proto::rr::Name;
use zzdot_client::control::Request;
use zzdot_zonegen::exit::{Exit, Failure};

use super::{Place, daemon, print, print_json};

/// The arguments of `zzdot flush`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print what was done, as JSON
    #[arg(long)]
    json: bool,
    /// Forget only the answers about this name; not those about names below it
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Makes the running zzdot forget answers.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut request = Request::new("flush");
    if let Some(name) = &arguments.name {
        // Refused here, so that a slip of the pen is an error of the command line.
        let name = parse(name)
            .ok_or_else(|| Failure::new(Exit::Usage, format!("{name:?} is not a domain name")))?;
        request = request.with("name", name.to_ascii());
    }
    let done = daemon::ask(&arguments.place, &request).await?;
    if arguments.json {
        return print_json(&done);
    }
    match done["forgotten"].as_u64() {
        Some(1) => print("1 answer forgotten\n"),
        Some(forgotten) => print(&format!("{forgotten} answers forgotten\n")),
        None => print("no answers are kept\n"),
    }
}

/// A name, with or without the final dot.
pub(crate) fn parse(text: &str) -> Option<Name> {
    let mut name = Name::from_utf8(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

//! Gets in front of the resolvers of a machine that is a folder, or back: `front_walk FOLDER put METHOD` or
//! `front_walk FOLDER restore`. What [`zzdot_testnet::faults`] walks through.
#![forbid(unsafe_code)]

use std::{env, process::ExitCode};

use zzdot_client::host::{
    Places,
    front::{FrontSetting, put, restore},
};
use zzdot_zonegen::exit::Exit;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (folder, setting) = match arguments.as_slice() {
        [folder, "restore"] => (folder, None),
        [folder, "put", "resolved"] => (folder, Some(FrontSetting::Resolved)),
        [folder, "put", "network-manager"] => (folder, Some(FrontSetting::NetworkManager)),
        [folder, "put", "file"] => (folder, Some(FrontSetting::File)),
        _ => {
            eprintln!("usage: front_walk FOLDER put METHOD | restore");
            return Exit::Usage.into();
        }
    };
    let places = Places::below(folder);
    let listen = ["127.0.0.1:53", "[::1]:53"]
        .map(|address| address.parse().expect("constants are addresses"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let applied = runtime.expect("a runtime").block_on(async {
        match setting {
            Some(setting) => put(&places, &listen, setting).await,
            None => restore(&places).await,
        }
    });
    match applied {
        Ok(_) => Exit::Done.into(),
        Err(error) => {
            eprintln!("front_walk: {error}");
            Exit::CannotRun.into()
        }
    }
}

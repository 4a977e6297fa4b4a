//! The programs under test: where they are, and the configuration that a story gives them.

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use thiserror::Error;

/// Holds the folder of the binaries, where it is not this program's own.
const BIN_DIR: &str = "ZZDOT_BIN_DIR";
/// The programs under test, and their packages.
const PRODUCTS: [&str; 3] = ["zzdot", "zzdot-client", "zzdot-zonegen"];
const BUILD: &str = "cargo build -p zzdot -p zzdot-client -p zzdot-zonegen --bins";

/// There is nothing to test.
#[derive(Debug, Error)]
pub enum ProductsError {
    /// A binary is missing.
    #[error("{} is not there; mend it with: {BUILD} (or set {BIN_DIR})", .0.display())]
    Missing(PathBuf),
    /// The build failed.
    #[error("{BUILD}: {0}")]
    Build(ExitStatus),
    /// Cargo or this program cannot be run.
    #[error("{BUILD}: {0}")]
    Run(#[from] io::Error),
}

/// Builds the products, unless the environment says where they are. An up-to-date build takes no time, and a story
/// about yesterday's binary is worth nothing.
///
/// # Errors
/// The build failed.
pub fn ensure_built() -> Result<(), ProductsError> {
    if env::var_os(BIN_DIR).is_none() {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["build", "--quiet", "--bins"])
            .args(PRODUCTS.iter().flat_map(|product| ["-p", product]));
        if own_folder()?
            .file_name()
            .is_some_and(|profile| profile == "release")
        {
            command.arg("--release");
        }
        let status = command
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()?;
        if !status.success() {
            return Err(ProductsError::Build(status));
        }
    }
    PRODUCTS
        .iter()
        .try_for_each(|product| find(product).map(drop))
}

/// A program under test.
///
/// # Errors
/// It is not there.
pub fn find(product: &str) -> Result<PathBuf, ProductsError> {
    let path = folder()?.join(product);
    if path.is_file() {
        Ok(path)
    } else {
        Err(ProductsError::Missing(path))
    }
}

/// `PATH`, with the products first.
///
/// # Errors
/// This program cannot be found.
pub fn path_with_products() -> Result<OsString, ProductsError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [folder()?].into_iter().chain(env::split_paths(&path));
    env::join_paths(folders).map_err(|error| ProductsError::Run(io::Error::other(error)))
}

fn folder() -> Result<PathBuf, ProductsError> {
    match env::var_os(BIN_DIR) {
        Some(folder) => Ok(folder.into()),
        None => own_folder(),
    }
}

/// The folder of this program; a test's own is one below it.
fn own_folder() -> Result<PathBuf, ProductsError> {
    let program = env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    Ok(if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder).to_owned()
    } else {
        folder.to_owned()
    })
}

//! BIND: primary zones, and a `tls` block for its own DNS over TLS.

use std::net::IpAddr;

use super::{Export, ExportedFile, public, zone_file};
use crate::identity_files::{CERTIFICATE, TLS_KEY};

/// What goes into the one `options` block that a configuration has.
const OPTIONS: &str = "named.conf.zzdot-options";
/// What stands beside it.
const ZONES: &str = "named.conf.zzdot";
/// A zone without names, for the rest of the suffix.
const EMPTY: &str = "empty.zone";

pub(super) fn files(export: &Export<'_>) -> Vec<ExportedFile> {
    let mut files = vec![
        public(ZONES, zones(export)),
        public(OPTIONS, options(export)),
    ];
    if export.own_suffix().is_some() {
        let empty = "$TTL 60\n@ IN SOA localhost. nobody.invalid. 1 3600 600 604800 60\n@ IN NS localhost.\n";
        files.push(public(EMPTY, empty.to_owned()));
    }
    files
}

fn zones(export: &Export<'_>) -> String {
    let mut text = export.header("//");
    text.push_str(&format!(
        "// Include this file at the top level, and {OPTIONS} within `options`.\n\n\
         tls zzdot {{\n    key-file \"{}\";\n    cert-file \"{}\";\n}};\n",
        export.path(TLS_KEY),
        export.path(CERTIFICATE)
    ));
    for zone in export.zones() {
        text.push_str(&primary(
            &zone.origin().to_ascii(),
            &export.path(&zone_file(zone)),
        ));
    }
    if let Some(suffix) = export.own_suffix() {
        text.push_str(
            "\n// Other names of this kind exist nowhere, and none is asked for outside.",
        );
        text.push_str(&primary(&suffix, &export.path(EMPTY)));
    }
    text
}

fn options(export: &Export<'_>) -> String {
    let mut text = export.header("//");
    let (v4, v6): (Vec<_>, Vec<_>) = export
        .publication
        .addresses
        .iter()
        .partition(|address| address.is_ipv4());
    for (option, addresses) in [("listen-on", v4), ("listen-on-v6", v6)] {
        if addresses.is_empty() {
            continue;
        }
        let list: String = addresses
            .iter()
            .map(|address: &&IpAddr| format!(" {address};"))
            .collect();
        text.push_str(&format!(
            "{option} port {} {{{list} }};\n{option} port {} tls zzdot {{{list} }};\n",
            export.dns_port, export.publication.dot_port
        ));
    }
    if !export.allow.is_empty() {
        let list: String = export
            .allow
            .iter()
            .map(|network| format!(" {network};"))
            .collect();
        text.push_str(&format!(
            "allow-query {{{list} }};\nallow-recursion {{{list} }};\n"
        ));
    }
    text
}

fn primary(name: &str, file: &str) -> String {
    format!("\nzone \"{name}\" {{\n    type primary;\n    file \"{file}\";\n}};\n")
}

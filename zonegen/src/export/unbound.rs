//! unbound: the zones as `auth-zone`, the certificate for its own DNS over TLS.

use super::{Export, ExportedFile, public, zone_file};
use crate::identity_files::{CERTIFICATE, TLS_KEY};

pub(super) fn files(export: &Export<'_>) -> Vec<ExportedFile> {
    vec![public("unbound.conf", configuration(export))]
}

fn configuration(export: &Export<'_>) -> String {
    let mut text = export.header("#");
    text.push_str("# Take it in with `include:`; interfaces given elsewhere stay.\n\nserver:\n");
    let mut line = |option: &str| text.push_str(&format!("    {option}\n"));
    for address in &export.publication.addresses {
        line(&format!("interface: {address}@{}", export.dns_port));
        line(&format!(
            "interface: {address}@{}",
            export.publication.dot_port
        ));
    }
    line(&format!("tls-port: {}", export.publication.dot_port));
    line(&format!("tls-service-key: \"{}\"", export.path(TLS_KEY)));
    line(&format!(
        "tls-service-pem: \"{}\"",
        export.path(CERTIFICATE)
    ));
    for network in export.allow {
        line(&format!("access-control: {network} allow"));
    }
    if let Some(suffix) = export.own_suffix() {
        line("# Other names of this kind exist nowhere, and none is asked for outside.");
        line(&format!("local-zone: \"{suffix}\" static"));
        line(&format!("domain-insecure: \"{suffix}\""));
    }
    for zone in export.zones() {
        // The island's anchor is the client's business; unbound has none above it.
        line(&format!("domain-insecure: \"{}\"", zone.origin()));
        // Answered from the zones below, whatever rule stands above the name.
        line(&format!("local-zone: \"{}\" transparent", zone.origin()));
    }
    for zone in export.zones() {
        text.push_str(&format!(
            "\nauth-zone:\n    name: \"{}\"\n    zonefile: \"{}\"\n    for-downstream: yes\n    \
             for-upstream: yes\n    fallback-enabled: no\n",
            zone.origin(),
            export.path(&zone_file(zone))
        ));
    }
    text
}

//! NSD: the zones and DNS over TLS, beside whatever resolves names on this machine.

use super::{Export, ExportedFile, public, zone_file};
use crate::identity_files::{CERTIFICATE, TLS_KEY};

pub(super) fn files(export: &Export<'_>) -> Vec<ExportedFile> {
    vec![public("nsd.conf", configuration(export))]
}

fn configuration(export: &Export<'_>) -> String {
    let mut text = export.header("#");
    text.push_str("# NSD resolves nothing: it suits as the server of these zones for a resolver.\n\nserver:\n");
    for address in &export.publication.addresses {
        for port in [export.dns_port, export.publication.dot_port] {
            text.push_str(&format!("    ip-address: {address}@{port}\n"));
        }
    }
    text.push_str(&format!(
        "    tls-port: {}\n    tls-service-key: \"{}\"\n    tls-service-pem: \"{}\"\n",
        export.publication.dot_port,
        export.path(TLS_KEY),
        export.path(CERTIFICATE)
    ));
    for zone in export.zones() {
        text.push_str(&format!(
            "\nzone:\n    name: \"{}\"\n    zonefile: \"{}\"\n",
            zone.origin(),
            export.path(&zone_file(zone))
        ));
    }
    text
}

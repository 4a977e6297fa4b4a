//! PEM text (RFC 7468) out and in.

use data_encoding::BASE64;
use rustls_pki_types::pem::{self, PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// Label of a PKCS#8 key.
pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY";
/// Label of a certificate.
pub(crate) const CERTIFICATE: &str = "CERTIFICATE";

/// The width of a line (RFC 7468 §3).
const LINE: usize = 64;

/// Wraps DER in PEM.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let base64 = BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The one PKCS#8 key of a PEM text; `None` when there is another number of sections or another kind.
pub(crate) fn private_key(text: &[u8]) -> Option<PrivatePkcs8KeyDer<'static>> {
    only(text, SectionKind::PrivateKey).map(PrivatePkcs8KeyDer::from)
}

/// The one certificate of a PEM text; `None` when there is another number of sections or another kind.
pub(crate) fn certificate(text: &[u8]) -> Option<CertificateDer<'static>> {
    only(text, SectionKind::Certificate).map(CertificateDer::from)
}

fn only(text: &[u8], kind: SectionKind) -> Option<Vec<u8>> {
    let mut sections = <(SectionKind, Vec<u8>) as PemObject>::pem_slice_iter(text);
    let first: Option<Result<_, pem::Error>> = sections.next();
    match (first, sections.next()) {
        (Some(Ok((found, der))), None) if found == kind => Some(der),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let der = vec![7_u8; 100];
        let text = encode(PRIVATE_KEY, &der);
        assert_eq!(
            private_key(text.as_bytes()).unwrap().secret_pkcs8_der(),
            der
        );
        assert!(certificate(text.as_bytes()).is_none());
        assert!(private_key(format!("{text}{text}").as_bytes()).is_none());
        assert!(private_key(b"").is_none());
        assert!(text.lines().all(|line| line.len() <= LINE));
    }
}

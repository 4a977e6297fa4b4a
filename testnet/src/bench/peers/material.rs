//! What every program is given: a zone, a certificate, and who vouches for it.

use std::{
    fmt::Write,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::ServerName;

use crate::bench::{
    Failure,
    load::{NAMES, ZONE, address},
};

/// The name in the certificate.
pub(crate) const SERVER_NAME: &str = "dot.bench.example";

/// Files for all programs.
#[derive(Clone, Debug)]
pub(crate) struct Material {
    /// A P-256 certificate, in PEM.
    pub(crate) certificate: PathBuf,
    /// Its key, in PEM.
    pub(crate) key: PathBuf,
    /// The authority that signed it, in PEM.
    pub(crate) authority: PathBuf,
    /// The zone of all questions.
    pub(crate) zone: PathBuf,
}

impl Material {
    /// Makes all of it.
    pub(crate) fn make(folder: &Path) -> Result<Self, Failure> {
        let material = Self {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            authority: folder.join("authority.pem"),
            zone: folder.join("bench.zone"),
        };
        let authority_key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        // Issuer and subject of the same name would look self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "bench authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(
            &material.authority,
            params.self_signed(&authority_key)?.pem(),
        )?;
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate()?;
        let mut params =
            CertificateParams::new([SERVER_NAME.to_owned(), Ipv4Addr::LOCALHOST.to_string()])?;
        params
            .distinguished_name
            .push(DnType::CommonName, SERVER_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        fs::write(
            &material.certificate,
            params.signed_by(&key, &issuer)?.pem(),
        )?;
        fs::write(&material.key, key.serialize_pem())?;
        fs::write(&material.zone, zone())?;
        Ok(material)
    }
}

/// The name as the load generator sends it.
pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from(SERVER_NAME).expect("the constant is a name")
}

fn zone() -> String {
    // Names below `u` are new every time they are asked; none of them may differ.
    let mut zone = format!(
        "$ORIGIN {ZONE}.\n$TTL 86400\n@ SOA ns hostmaster 1 3600 900 86400 3600\n@ NS ns\nns A 127.0.0.1\n*.u A 192.0.2.1\n"
    );
    for number in 0..NAMES {
        let address = Ipv4Addr::from(address(number));
        let _ = writeln!(zone, "n{number} A {address}");
    }
    zone
}

//! Certificates of a test's servers, from a certification authority that only the test knows.

use crate::{Error, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files of a server's identity.
#[derive(Debug, Clone)]
pub struct ServerIdentity {
    /// The authority's certificate: what a kiosk trusts.
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

impl ServerIdentity {
    /// Makes an authority and a certificate for `names` (DNS names or literal addresses); writes them to `dir`.
    pub fn create(dir: &Path, names: &[&str]) -> Result<Self> {
        let (ca_pem, certificate_pem, key_pem) = make(names).map_err(|error| Error::Other(error.to_string()))?;
        let identity =
            Self { ca: dir.join("ca.pem"), certificate: dir.join("server.pem"), key: dir.join("server.key") };
        let files = [(&identity.ca, ca_pem), (&identity.certificate, certificate_pem), (&identity.key, key_pem)];
        for (path, pem) in files {
            fs::write(path, pem).map_err(Error::io(path.display().to_string()))?;
        }
        Ok(identity)
    }
}

fn make(names: &[&str]) -> Result<(String, String, String), rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "Test authority of this run");
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut server = CertificateParams::new(names.clone())?;
    if let Some(name) = names.first() {
        server.distinguished_name.push(DnType::CommonName, name.as_str());
    }
    let certificate = server.signed_by(&key, &issuer)?;
    Ok((authority_certificate.pem(), certificate.pem(), key.serialize_pem()))
}

//! Certificates of a test's servers, from a certification authority that only the test knows.

use crate::{Error, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A year in which no test runs any more.
const FAR: i32 = 4096;

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
        Self::create_until(dir, names, FAR)
    }

    /// The same; the server's certificate ends with the year before `year`.
    pub fn create_until(dir: &Path, names: &[&str], year: i32) -> Result<Self> {
        let (ca_pem, certificate_pem, key_pem) = make(names, year).map_err(|error| Error::Other(error.to_string()))?;
        let identity =
            Self { ca: dir.join("ca.pem"), certificate: dir.join("server.pem"), key: dir.join("server.key") };
        let files = [(&identity.ca, ca_pem), (&identity.certificate, certificate_pem), (&identity.key, key_pem)];
        for (path, pem) in files {
            fs::write(path, pem).map_err(Error::io(path.display().to_string()))?;
        }
        Ok(identity)
    }
}

fn make(names: &[&str], until: i32) -> Result<(String, String, String), rcgen::Error> {
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
    server.not_after = date_time_ymd(until, 1, 1);
    let certificate = server.signed_by(&key, &issuer)?;
    Ok((authority_certificate.pem(), certificate.pem(), key.serialize_pem()))
}

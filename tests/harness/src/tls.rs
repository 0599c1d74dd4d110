//! Certificates of a test's servers, from a certification authority that only the test knows.

use crate::{Error, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
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
        Authority::create(dir)?.server_until(names, year)
    }
}

/// Files of a client's identity.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// The client's certificate.
    pub certificate: PathBuf,
    /// The client's private key.
    pub key: PathBuf,
}

/// A certification authority that only the test knows. Its files are in one folder.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authority").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes one; writes `ca.pem` to `dir`.
    pub fn create(dir: &Path) -> Result<Self> {
        let (pem, issuer) = authority().map_err(failed)?;
        let authority = Self { dir: dir.to_owned(), issuer };
        write(&authority.ca(), &pem)?;
        Ok(authority)
    }

    /// Its certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A certificate for a server of these names, as `server.pem` and `server.key`.
    pub fn server(&self, names: &[&str]) -> Result<ServerIdentity> {
        self.server_until(names, FAR)
    }

    fn server_until(&self, names: &[&str], year: i32) -> Result<ServerIdentity> {
        let common_name = names.first().copied().unwrap_or_default();
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        let (certificate, key) = self.issue("server", common_name, names, usage, year)?;
        Ok(ServerIdentity { ca: self.ca(), certificate, key })
    }

    /// A certificate for a client of this name, as `<name>.pem` and `<name>.key`.
    pub fn client(&self, name: &str) -> Result<ClientIdentity> {
        self.client_until(name, FAR)
    }

    /// The same with another name in it than its files have.
    pub fn client_as(&self, file: &str, name: &str) -> Result<ClientIdentity> {
        let (certificate, key) = self.issue(file, name, &[], ExtendedKeyUsagePurpose::ClientAuth, FAR)?;
        Ok(ClientIdentity { certificate, key })
    }

    /// The same; it ends with the year before `year`.
    pub fn client_until(&self, name: &str, year: i32) -> Result<ClientIdentity> {
        let (certificate, key) = self.issue(name, name, &[], ExtendedKeyUsagePurpose::ClientAuth, year)?;
        Ok(ClientIdentity { certificate, key })
    }

    fn issue(
        &self,
        file: &str,
        common_name: &str,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        year: i32,
    ) -> Result<(PathBuf, PathBuf)> {
        let issue = || {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
            params.distinguished_name.push(DnType::CommonName, common_name);
            params.extended_key_usages = vec![usage];
            params.not_after = date_time_ymd(year, 1, 1);
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok((certificate.pem(), key.serialize_pem()))
        };
        let (certificate_pem, key_pem) = issue().map_err(failed)?;
        let (certificate, key) = (self.dir.join(format!("{file}.pem")), self.dir.join(format!("{file}.key")));
        write(&certificate, &certificate_pem)?;
        write(&key, &key_pem)?;
        Ok((certificate, key))
    }
}

fn authority() -> Result<(String, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Test authority of this run");
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(path.display().to_string()))
}

fn failed(error: rcgen::Error) -> Error {
    Error::Other(error.to_string())
}

//! `kioskctl ca`: a small certification authority for a trial: one key in a folder, no revocation. A bank has its own.

use crate::files::{FileError, make_private_folder, read, write, write_new};
use crate::token::parse_duration;
use kiosk_proto::config::KioskId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;

/// How long the authority's own certificate is valid.
const AUTHORITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Certificates begin this long before they are made, for machines whose clock is late.
const BEFORE: Duration = Duration::from_secs(24 * 60 * 60);

/// `kioskctl ca ...`
#[derive(clap::Subcommand)]
pub enum CaCommand {
    /// Make an authority: ca.pem and ca.key in a folder.
    New {
        /// The folder; it is made if it is not there.
        dir: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make keys, and a certificate for each.
    Issue {
        /// Who it is for.
        #[arg(value_enum)]
        kind: Kind,
        /// Ids of kiosks, names of admins, or the host names and addresses of the one broker.
        #[arg(required = true, num_args = 1..)]
        name: Vec<String>,
        /// The authority's folder; the new files go there too.
        #[arg(long, default_value = ".")]
        dir: PathBuf,
        /// How long it is valid: 90s, 30m, 8h, 365d.
        #[arg(long, value_parser = parse_duration, default_value = "365d")]
        valid_for: Duration,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A kiosk: the certificate's name is its id.
    Kiosk,
    /// A person who configures kiosks: admin/NAME.
    Admin,
    /// The broker.
    Broker,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum CaError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{name:?} can't be the name of {who}: {allowed}")]
    Name { who: &'static str, name: String, allowed: String },
    #[error("{} holds no key of an authority: {source}; make one with `kioskctl ca new`", path.display())]
    NoAuthority { path: PathBuf, source: rcgen::Error },
    #[error("the certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("--valid-for reaches past what a certificate can say")]
    TooLong,
}

/// Carries a command out.
pub fn run(command: CaCommand) -> anyhow::Result<()> {
    let (files, json) = match command {
        CaCommand::New { dir, json } => (vec![create(&dir)?], json),
        CaCommand::Issue { kind, name, dir, valid_for, json } => (issue(&dir, kind, &name, valid_for)?, json),
    };
    if json {
        let files =
            files.iter().map(|[certificate, key]| serde_json::json!({ "certificate": certificate, "key": key }));
        outln!("{}", serde_json::Value::Array(files.collect()));
    } else {
        files.iter().flatten().for_each(|file| outln!("{}", file.display()));
    }
    Ok(())
}

fn create(dir: &Path) -> Result<[PathBuf; 2], CaError> {
    let key = KeyPair::generate()?;
    let certificate = authority(&key, OffsetDateTime::now_utc())?.self_signed(&key)?;
    make_private_folder(dir)?;
    let files = [dir.join("ca.pem"), dir.join("ca.key")];
    let remedy = "an authority that has signed something must not be replaced; choose another folder";
    write_new(&files[1], &key.serialize_pem(), 0o600, remedy)?;
    write_new(&files[0], &certificate.pem(), 0o644, remedy)?;
    Ok(files)
}

/// What the authority's certificate says. Its name follows from its key, so that the key is all that is needed to issue.
fn authority(key: &KeyPair, now: OffsetDateTime) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::new(Vec::new())?;
    let digest = Sha256::digest(key.public_key_raw());
    let id: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name.push(DnType::CommonName, format!("Branch Kiosk trial authority {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now, AUTHORITY)?;
    Ok(params)
}

fn issue(dir: &Path, kind: Kind, names: &[String], valid_for: Duration) -> Result<Vec<[PathBuf; 2]>, CaError> {
    let subjects = subjects(kind, names)?;
    let now = OffsetDateTime::now_utc();
    let authority_file = dir.join("ca.key");
    let authority_key = KeyPair::from_pem(&read(&authority_file)?)
        .map_err(|source| CaError::NoAuthority { path: authority_file, source })?;
    let issuer = Issuer::new(authority(&authority_key, now)?, authority_key);
    let issue_one = |Subject { common_name, file, hosts }: Subject| {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match kind {
            Kind::Broker => ExtendedKeyUsagePurpose::ServerAuth,
            Kind::Kiosk | Kind::Admin => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, now, valid_for)?;
        let certificate = params.signed_by(&key, &issuer)?;
        // A new certificate in the place of an old one is what renewing is.
        let files = [dir.join(format!("{file}.pem")), dir.join(format!("{file}.key"))];
        write(&files[1], &key.serialize_pem(), 0o600)?;
        write(&files[0], &certificate.pem(), 0o644)?;
        Ok(files)
    };
    subjects.into_iter().map(issue_one).collect()
}

/// Whom a certificate is for.
struct Subject {
    common_name: String,
    /// Name of its files.
    file: String,
    /// What a server may be called by its clients.
    hosts: Vec<String>,
}

/// The certificates that are asked for: one for a broker of several names, one for each kiosk and each admin.
fn subjects(kind: Kind, names: &[String]) -> Result<Vec<Subject>, CaError> {
    if kind == Kind::Broker {
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
        let host = |name: &&String| !name.is_empty() && name.len() <= 253 && name.chars().all(sound);
        if let Some(name) = names.iter().find(|name| !host(name)) {
            let allowed = "a host name or an address is needed".into();
            return Err(CaError::Name { who: "a broker", name: name.clone(), allowed });
        }
        let common_name = names.first().cloned().unwrap_or_default();
        return Ok(vec![Subject { common_name, file: "broker".into(), hosts: names.to_vec() }]);
    }
    let subject = |name: &String| {
        // A kiosk's name can't hold a slash, so no kiosk can have an admin's.
        let (who, common_name, file) = match kind {
            Kind::Admin => ("an admin", format!("admin/{name}"), format!("admin-{name}")),
            _ => ("a kiosk", name.clone(), format!("kiosk-{name}")),
        };
        KioskId::try_from(name.clone()).map_err(|error| CaError::Name { who, name: name.clone(), allowed: error.0 })?;
        Ok(Subject { common_name, file, hosts: Vec::new() })
    };
    names.iter().map(subject).collect()
}

fn validity(params: &mut CertificateParams, now: OffsetDateTime, valid_for: Duration) -> Result<(), CaError> {
    params.not_before = now - BEFORE;
    let end = time::Duration::try_from(valid_for).ok().and_then(|length| now.checked_add(length));
    params.not_after = end.ok_or(CaError::TooLong)?;
    Ok(())
}

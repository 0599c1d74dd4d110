//! Who the kiosk is to the broker. Whoever renews its certificate writes over the files of `kiosk.toml`, in any order and
//! at any time. What is in them is shown first; until the broker has taken it, the kiosk keeps what it took before.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kiosk_proto::fleet::Digest;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tracing::{info, warn};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Certificate and key that the broker has taken, in one file, so that they are changed as one.
const CURRENT: &str = "identity";
/// Those that it is shown next.
const NEXT: &str = "identity.next";

/// What may be shown.
#[derive(Debug)]
pub struct Identities {
    files: [PathBuf; 2],
    dir: PathBuf,
    /// Why the broker did not take what is in the files.
    refused: Option<String>,
    /// What it took before is tried.
    fall_back: bool,
}

/// What is shown with one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM file with the certificate.
    pub certificate: PathBuf,
    /// PEM file with the key.
    pub key: PathBuf,
    /// What the certificate says, when it can be read.
    pub leaf: Option<Leaf>,
    /// Why the broker did not take what is in the files of `kiosk.toml`.
    pub refused: Option<String>,
    /// Where it is kept once the broker has taken it.
    pub(super) promote: Option<PathBuf>,
}

/// What is told of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// SHA-256 of it.
    pub digest: Digest,
    /// When it ends, Unix seconds.
    pub ends: u64,
}

impl Leaf {
    fn read(pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem).ok()?;
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let ends = parsed.validity().not_after.timestamp();
        Some(Self { digest: Digest::of(&der), ends: u64::try_from(ends).unwrap_or_default() })
    }
}

impl Identities {
    /// Those of these files, and the one that was kept in this folder.
    pub fn new(cert_file: &Path, key_file: &Path, dir: &Path) -> Self {
        Self { files: [cert_file.into(), key_file.into()], dir: dir.into(), refused: None, fall_back: false }
    }

    /// What to show now.
    pub fn choose(&self) -> Identity {
        let [certificate, key] = &self.files;
        let (current, next) = (self.dir.join(CURRENT), self.dir.join(NEXT));
        let kept = fs::read(&current).ok();
        let found = self.read();
        let identity = |file: &Path, pem: &[u8], promote| Identity {
            certificate: file.to_owned(),
            key: file.to_owned(),
            leaf: Leaf::read(pem),
            refused: self.refused.clone().filter(|_| self.fall_back),
            promote,
        };
        match (&found, &kept) {
            (Ok(found), Some(kept)) if found == kept => identity(&current, kept, None),
            (_, Some(kept)) if self.fall_back => identity(&current, kept, None),
            (Ok(found), _) if is_pair(found) && self.write(&next, found) => identity(&next, found, Some(current)),
            // Half written, which whoever dials says with the file's name; or there is no room to keep it.
            (found, _) => Identity {
                certificate: certificate.clone(),
                key: key.clone(),
                leaf: found.as_ref().ok().and_then(|found| Leaf::read(found)),
                refused: None,
                promote: None,
            },
        }
    }

    /// A connection failed with what was shown: the other one has its turn.
    pub fn failed(&mut self, shown: &Identity, why: &str) {
        let kept = self.dir.join(CURRENT);
        self.fall_back = shown.certificate != kept && kept.exists();
        if self.fall_back {
            warn!(
                "the certificate in {} is not taken ({why}); the one that the broker took before is tried",
                self.files[0].display()
            );
            self.refused = Some(why.to_owned());
        }
    }

    /// The broker took what was shown; the next connection begins with the files again.
    pub fn worked(&mut self) {
        self.fall_back = false;
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let [certificate, key] = &self.files;
        let mut pem = fs::read(certificate)?;
        if certificate != key {
            pem.push(b'\n');
            pem.extend(fs::read(key)?);
        }
        Ok(pem)
    }

    fn write(&self, next: &Path, pem: &[u8]) -> bool {
        let write = || {
            if !self.dir.is_dir() {
                DirBuilder::new().mode(0o700).create(&self.dir)?;
            }
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(next)?;
            file.write_all(pem)?;
            file.sync_all()
        };
        let written = write();
        if let Err(error) = &written {
            warn!("{}: {error}; the broker's answer to a new certificate can't be kept", next.display());
            let _ = fs::remove_file(next);
        }
        written.is_ok()
    }
}

impl Identity {
    /// The broker has taken it, and the kiosk stays with this broker: from now on it is the one to fall back to.
    pub fn keep(&self) {
        let Some(current) = &self.promote else { return };
        let kept = fs::rename(&self.certificate, current)
            .and_then(|()| current.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all()));
        match kept {
            Ok(()) => info!("the broker has taken the certificate; it is kept"),
            Err(error) => warn!("{}: {error}; the certificate is not kept", current.display()),
        }
    }
}

/// Whether it is a certificate with its key.
fn is_pair(pem: &[u8]) -> bool {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let (Ok(chain), Ok(key)) = (chain, PrivateKeyDer::from_pem_slice(pem)) else { return false };
    CertifiedKey::from_der(chain, key, &ring::default_provider()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiosk_harness::tls::Authority;
    use tempfile::TempDir;

    /// Identities, an authority that writes to their files, and nothing kept.
    fn place() -> (TempDir, Authority, Identities) {
        let dir = TempDir::new().unwrap();
        let authority = Authority::create(dir.path()).unwrap();
        let files = authority.client("a").unwrap();
        let identities = Identities::new(&files.certificate, &files.key, &dir.path().join("state"));
        (dir, authority, identities)
    }

    #[test]
    fn what_the_broker_took_is_kept_until_it_takes_another() {
        let (_dir, authority, mut identities) = place();
        let first = identities.choose();
        assert_eq!((first.certificate.ends_with(NEXT), &first.certificate), (true, &first.key));
        first.keep();
        let kept = identities.choose();
        assert_eq!((kept.certificate.ends_with(CURRENT), kept.leaf, kept.promote), (true, first.leaf, None));

        authority.client("a").unwrap();
        let second = identities.choose();
        assert_ne!(second.leaf, first.leaf);
        identities.failed(&second, "expired");
        let before = identities.choose();
        assert_eq!((before.leaf, before.refused.as_deref()), (first.leaf, Some("expired")));
        before.keep();
        identities.worked();
        // With the next connection the new one is shown again, and now it is taken.
        let again = identities.choose();
        assert_eq!((again.leaf, &again.refused), (second.leaf, &None));
        again.keep();

        // Certificate and key that do not belong together, and a file that is missing: whoever dials says which.
        fs::rename(authority.client("b").unwrap().key, &identities.files[1]).unwrap();
        assert_eq!(identities.choose().certificate, identities.files[0]);
        fs::remove_file(&identities.files[0]).unwrap();
        let unreadable = identities.choose();
        assert_eq!(unreadable.certificate, identities.files[0]);
        identities.failed(&unreadable, "no such file");
        assert_eq!(identities.choose().leaf, second.leaf);
    }

    #[test]
    fn both_have_their_turn_as_long_as_none_is_taken() {
        let (_dir, authority, mut identities) = place();
        let one = identities.choose();
        identities.failed(&one, "no");
        assert_eq!(identities.choose(), one, "there is nothing else");
        one.keep();
        authority.client("a").unwrap();
        let two = identities.choose().leaf;
        for leaf in [two, one.leaf, two, one.leaf] {
            let shown = identities.choose();
            assert_eq!(shown.leaf, leaf);
            identities.failed(&shown, "no");
        }
    }

    #[test]
    fn without_a_place_to_keep_it_the_files_are_shown() {
        let (dir, _, mut identities) = place();
        identities.dir = dir.path().join("absent/state");
        let shown = identities.choose();
        assert_eq!([shown.certificate.clone(), shown.key.clone()], identities.files);
        shown.keep();
        identities.failed(&shown, "no");
        assert_eq!(identities.choose(), shown);
    }
}

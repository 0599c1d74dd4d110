//! `kioskctl key`: the Ed25519 keys that admins sign with. A private key is a PKCS#8 file that only its owner can read.

use crate::files::{FileError, make_private_folder, read, write_new};
use crate::output::Table;
use crate::profile::{ProfileError, home};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use kiosk_proto::fleet::{KeyId, TrustedKey};
use serde::Serialize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// `kioskctl key ...`
#[derive(clap::Subcommand)]
pub enum KeyCommand {
    /// Make a signing key and print the line for kiosk.toml.
    New {
        /// The name of its file, such as that of its owner.
        name: String,
        /// The folder to put it in, instead of ~/.config/kioskctl/keys.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List signing keys and their lines for kiosk.toml.
    List {
        /// The folder to look in, instead of ~/.config/kioskctl/keys.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No home.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Others can read it.
    #[error("{} can be read by others; close it with chmod 600, and make another key if it was open for long", .0.display())]
    Open(PathBuf),
    /// It is something else.
    #[error("{} holds no Ed25519 private key (PKCS#8, PEM); make one with `kioskctl key new`", .0.display())]
    NotAKey(PathBuf),
    /// It can't be a file's name.
    #[error("{0:?} can't be a key's name: use letters, digits, hyphens and underscores")]
    Name(String),
    /// The key could not be encoded.
    #[error("the key could not be written as PKCS#8")]
    Encode,
}

/// A key as others may see it.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    id: String,
    public: String,
    file: PathBuf,
}

impl Shown {
    fn new(file: &Path, key: &SigningKey) -> Result<Self, KeyError> {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let public = public_line(key, &name)?;
        Ok(Self { name, id: KeyId::of(&key.verifying_key()).to_string(), public, file: file.to_owned() })
    }
}

/// Carries a command out.
pub fn run(command: KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::New { name, dir, json } => {
            let made = create(&name, &folder(dir)?)?;
            if json {
                outln!("{}", serde_json::json!(made));
            } else {
                outln!("private key  {} (keep it to yourself, and a copy in a safe place)", made.file.display());
                outln!("key id       {}", made.id);
                outln!("\nKiosks that trust it have this line in their kiosk.toml, in [fleet]:\n");
                outln!("  keys = [{:?}]", made.public);
            }
        }
        KeyCommand::List { dir, json } => {
            let found = list(&folder(dir)?)?;
            if json {
                outln!("{}", serde_json::json!(found));
            } else {
                let mut table = Table::new(["NAME", "KEY ID", "PUBLIC KEY FOR kiosk.toml"]);
                for key in found {
                    table.row([key.name, key.id, key.public]);
                }
                out!("{table}");
            }
        }
    }
    Ok(())
}

fn folder(dir: Option<PathBuf>) -> Result<PathBuf, KeyError> {
    Ok(match dir {
        Some(dir) => dir,
        None => home()?.join("keys"),
    })
}

fn create(name: &str, dir: &Path) -> Result<Shown, KeyError> {
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(sound) {
        return Err(KeyError::Name(name.to_owned()));
    }
    let key = SigningKey::from_bytes(&rand::random());
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Encode)?;
    make_private_folder(dir)?;
    let file = dir.join(format!("{name}.key"));
    write_new(&file, &pem, 0o600, "a key that kiosks trust must not be lost; choose another name")?;
    Shown::new(&file, &key)
}

fn list(dir: &Path) -> Result<Vec<Shown>, KeyError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FileError::Read { path: dir.to_owned(), source }.into()),
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "key"));
    files.sort();
    files.iter().map(|file| Shown::new(file, &load(file)?)).collect()
}

/// Reads a private key from a file that nobody else can read.
pub fn load(file: &Path) -> Result<SigningKey, KeyError> {
    let failed = |source| FileError::Read { path: file.to_owned(), source };
    let mode = std::fs::metadata(file).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Open(file.to_owned()));
    }
    SigningKey::from_pkcs8_pem(&read(file)?).map_err(|_| KeyError::NotAKey(file.to_owned()))
}

/// The public key with the name of whose it is, as `[fleet] keys` of kiosk.toml takes it.
fn public_line(key: &SigningKey, name: &str) -> Result<String, KeyError> {
    let trusted = TrustedKey::new(key.verifying_key(), Some(name.to_owned()));
    Ok(trusted.map_err(|_| KeyError::Name(name.to_owned()))?.to_string())
}

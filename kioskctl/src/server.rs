//! `kioskctl server`: reads the files of a site, writes what `site` and `token` make of them.

use crate::site::{Material, RenderError, Site, SiteError, check_secret, render};
use crate::token::{Grant, GrantError, Kind, parse_duration};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(clap::Subcommand)]
pub enum ServerCommand {
    /// Write the configuration of Janus from what the site sets.
    Render {
        /// The site file; config/janus/site.example.toml shows every key.
        #[arg(long)]
        site: PathBuf,
        /// Janus's configuration folder, /etc/janus on Debian. It must exist.
        #[arg(long)]
        out: PathBuf,
    },
    /// Check this server's Janus: its configuration, its certificate, and what runs.
    Check(crate::check::CheckArguments),
    /// Sign the two tokens that open rooms.
    Token {
        /// The file that secrets.token_file of the site names.
        #[arg(long)]
        secret_file: PathBuf,
        /// Who will hold them.
        #[arg(long, value_enum)]
        kind: Kind,
        /// Rooms that they open.
        #[arg(long, required = true, num_args = 1..)]
        room: Vec<u64>,
        /// How long they are valid: 90s, 30m, 8h, 365d.
        #[arg(long, value_parser = parse_duration)]
        valid_for: Duration,
        /// Print JSON.
        #[arg(long, conflicts_with = "out")]
        json: bool,
        /// Write them to the files `token` and `room-token` in this folder, readable by their owner only, instead of
        /// printing them.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// Why a command of `kioskctl server` did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} can be read by every user of this machine; close it with chmod 600", .0.display())]
    Open(PathBuf),
    #[error("{} holds no {what} in PEM form", path.display())]
    NotPem { path: PathBuf, what: &'static str },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is not a folder; create it first, or name Janus's configuration folder", .0.display())]
    NoFolder(PathBuf),
    #[error("{}: {source}", path.display())]
    Site { path: PathBuf, source: SiteError },
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error("the clock of this machine stands before 1970")]
    Clock,
}

pub fn run(command: ServerCommand) -> anyhow::Result<ExitCode> {
    match command {
        ServerCommand::Render { site, out } => render_site(&site, &out)?,
        ServerCommand::Token { secret_file, kind, room, valid_for, json, out } => {
            let grant = Grant::new(kind, room, valid_for).map_err(ServerError::from)?;
            sign(&secret_file, &grant, json, out.as_deref())?;
        }
        ServerCommand::Check(arguments) => return Ok(crate::check::run(&arguments)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn render_site(path: &Path, out: &Path) -> Result<(), ServerError> {
    let text = read(path)?;
    let site = Site::parse(&text).map_err(|source| ServerError::Site { path: path.to_owned(), source })?;
    let pins =
        site.pin_files().map(|(room, file)| Ok((room, read_secret(file)?))).collect::<Result<_, ServerError>>()?;
    let material =
        Material { token_secret: read_secret(site.token_file())?, admin_secret: read_secret(site.admin_file())?, pins };
    let [certificate, key] = site.tls_files();
    check_pem(certificate, "CERTIFICATE", "certificate")?;
    check_pem(key, "PRIVATE KEY", "private key")?;
    if !out.is_dir() {
        return Err(ServerError::NoFolder(out.to_owned()));
    }
    // Everything is rendered before the first file is touched.
    for (name, content) in render(&site, &material)? {
        let file = out.join(name);
        write(&file, &content, 0o640)?;
        println!("{}", file.display());
    }
    Ok(())
}

fn sign(secret_file: &Path, grant: &Grant, json: bool, out: Option<&Path>) -> Result<(), ServerError> {
    let secret = read_secret(secret_file)?;
    check_secret("--secret-file", &secret)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| ServerError::Clock)?;
    let tokens = grant.sign(&secret, now.as_secs());
    if let Some(out) = out {
        for (name, token) in [("token", &tokens.token), ("room-token", &tokens.room_token)] {
            write(&out.join(name), &format!("{token}\n"), 0o600)?;
        }
    } else if json {
        println!("{}", serde_json::json!(tokens));
    } else {
        println!("token       {}\nroom-token  {}", tokens.token, tokens.room_token);
    }
    Ok(())
}

pub fn read(path: &Path) -> Result<String, ServerError> {
    std::fs::read_to_string(path).map_err(|source| ServerError::Read { path: path.to_owned(), source })
}

/// One line from a file that not everyone can read.
fn read_secret(path: &Path) -> Result<String, ServerError> {
    let failed = |source| ServerError::Read { path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o004 != 0 {
        return Err(ServerError::Open(path.to_owned()));
    }
    let text = read(path)?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

fn check_pem(path: &Path, label: &str, what: &'static str) -> Result<(), ServerError> {
    let has_label = |line: &str| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{label}-----"));
    if read(path)?.lines().any(has_label) {
        return Ok(());
    }
    Err(ServerError::NotPem { path: path.to_owned(), what })
}

/// Replaces a file as a whole: whoever reads it sees the old content or the new one, also after a power cut.
pub fn write(path: &Path, content: &str, mode: u32) -> Result<(), ServerError> {
    let attempt = || -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".kioskctl-").tempfile_in(folder)?;
        file.write_all(content.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|source| ServerError::Write { path: path.to_owned(), source })
}

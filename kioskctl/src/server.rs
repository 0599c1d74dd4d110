//! `kioskctl server`: reads the files of a site, writes what `site` and `token` make of them.

use crate::files::{FileError, check_pem, read, read_secret, write};
use crate::site::{BrokerSite, Material, RelaySite, RenderError, Site, SiteError, check_secret, render};
use crate::token::{Grant, GrantError, Kind, parse_duration};
use kiosk_proto::secret::Secret;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(clap::Subcommand)]
pub enum ServerCommand {
    /// Write the configuration of a server from what the site sets.
    Render {
        /// Which server.
        #[arg(long, value_enum, default_value_t = Server::Janus)]
        server: Server,
        /// The site file; site.example.toml in config/janus, config/mosquitto and config/coturn shows every key.
        #[arg(long)]
        site: PathBuf,
        /// The server's configuration folder, /etc/janus, /etc/mosquitto or, for coturn, /etc on Debian. It must exist.
        #[arg(long)]
        out: PathBuf,
        /// Print JSON: the files that were written.
        #[arg(long)]
        json: bool,
    },
    /// Check this server's Janus, mosquitto and coturn: configuration, certificate, and what runs.
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

/// What is configured.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Server {
    /// The video server.
    Janus,
    /// The broker of the fleet.
    Mosquitto,
    /// The relay for branches that reach one port only.
    Coturn,
}

/// Why a command of `kioskctl server` did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is not a folder; create it first, or name the server's configuration folder", .0.display())]
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
        ServerCommand::Render { server, site, out, json } => {
            let files = match server {
                Server::Janus => render_janus(&site, &out)?,
                Server::Mosquitto => render_mosquitto(&site, &out)?,
                Server::Coturn => render_coturn(&site, &out)?,
            };
            if json {
                outln!("{}", serde_json::json!({ "files": files }));
            } else {
                files.iter().for_each(|file| outln!("{}", file.display()));
            }
        }
        ServerCommand::Token { secret_file, kind, room, valid_for, json, out } => {
            let grant = Grant::new(kind, room, valid_for).map_err(ServerError::from)?;
            sign(&secret_file, &grant, json, out.as_deref())?;
        }
        ServerCommand::Check(arguments) => return Ok(crate::check::run(&arguments)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Each of these gives the files that it wrote.
fn render_janus(path: &Path, out: &Path) -> Result<Vec<PathBuf>, ServerError> {
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
    let mut files = Vec::new();
    for (name, content) in render(&site, &material)? {
        let file = out.join(name);
        write(&file, &content, 0o640)?;
        files.push(file);
    }
    Ok(files)
}

fn render_mosquitto(path: &Path, out: &Path) -> Result<Vec<PathBuf>, ServerError> {
    let failed = |source| ServerError::Site { path: path.to_owned(), source };
    let site = BrokerSite::parse(&read(path)?).map_err(failed)?;
    let [ca, certificate, key] = site.tls_files();
    check_pem(ca, "CERTIFICATE", "certificate")?;
    check_pem(certificate, "CERTIFICATE", "certificate")?;
    check_pem(key, "PRIVATE KEY", "private key")?;
    let absolute = out.canonicalize().ok().filter(|folder| folder.is_dir());
    let out = absolute.ok_or_else(|| ServerError::NoFolder(out.to_owned()))?;
    let mut files = Vec::new();
    for (name, content) in site.render(&out).map_err(failed)? {
        let file = out.join(name);
        // The broker reads the list of rights again at SIGHUP, as its own user.
        write(&file, &content, 0o644)?;
        files.push(file);
    }
    Ok(files)
}

fn render_coturn(path: &Path, out: &Path) -> Result<Vec<PathBuf>, ServerError> {
    let failed = |source| ServerError::Site { path: path.to_owned(), source };
    let site = RelaySite::parse(&read(path)?).map_err(failed)?;
    let [certificate, key] = site.tls_files();
    check_pem(certificate, "CERTIFICATE", "certificate")?;
    check_pem(key, "PRIVATE KEY", "private key")?;
    let (name, content) = site.render(&Secret::new(read_secret(site.secret_file())?)).map_err(failed)?;
    if !out.is_dir() {
        return Err(ServerError::NoFolder(out.to_owned()));
    }
    let file = out.join(name);
    write(&file, &content, 0o640)?;
    Ok(vec![file])
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
        outln!("{}", serde_json::json!(tokens));
    } else {
        outln!("token       {}\nroom-token  {}", tokens.token, tokens.room_token);
    }
    Ok(())
}

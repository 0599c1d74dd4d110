//! `kioskctl server check`: is this server configured so that calls over TCP work, and does what runs follow it?

mod certificate;
mod coturn;
mod edit;
mod host;
mod janus;
mod jcfg;
mod mosquitto;

use crate::files::{read, write};
use crate::server::ServerError;
use crate::site::PortRange;
use janus::Judged;
use jcfg::Document;
use kiosk_proto::check::{Finding, Language, Text, exit_code, print};
use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

const JANUS: &str = "/etc/janus";
const CORE: &str = "janus.jcfg";
const WEBSOCKETS: &str = "janus.transport.websockets.jcfg";
const VIDEOROOM: &str = "janus.plugin.videoroom.jcfg";

/// What to check and how to say it.
#[derive(clap::Args)]
pub struct CheckArguments {
    /// Janus's configuration folder; /etc/janus, unless this server has only what the two following name.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The broker's configuration too, such as /etc/mosquitto/mosquitto.conf, where this server has one for kiosks.
    #[arg(long, value_name = "FILE")]
    mosquitto: Option<PathBuf>,
    /// The relay's configuration too, such as /etc/turnserver.conf, where this server has one for kiosks.
    #[arg(long, value_name = "FILE")]
    coturn: Option<PathBuf>,
    /// Mend what can be mended without a decision of yours; each changed file is kept as NAME.before-check.
    #[arg(long)]
    fix: bool,
    /// Only the files: not what runs on this machine.
    #[arg(long)]
    files_only: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// en or ko; without it, by LANG.
    #[arg(long, value_parser = ["en", "ko"])]
    lang: Option<String>,
}

impl CheckArguments {
    /// Where Janus's configuration should be, if there should be one.
    fn janus(&self) -> Option<&Path> {
        let usual = Path::new(JANUS);
        let alone = self.mosquitto.is_none() && self.coturn.is_none();
        self.config.as_deref().or((alone || usual.is_dir()).then_some(usual))
    }
}

/// What was found, and what was done about it.
#[derive(Default)]
struct Checked {
    findings: Vec<Finding>,
    mended: Vec<String>,
}

impl Checked {
    fn janus(&mut self, folder: &Path, arguments: &CheckArguments) -> Result<(), ServerError> {
        let interfaces = host::interfaces();
        let mut files = Files::load(folder);
        let mut judged = files.judge(&interfaces);
        if arguments.fix {
            self.mended.extend(files.mend(&judged)?);
            judged = files.judge(&interfaces);
        }
        self.findings.extend(judged.into_iter().map(|(_, judged)| judged.finding));
        self.findings.extend(files.certificate());
        if !arguments.files_only {
            self.findings.extend(files.running());
        }
        Ok(())
    }

    fn relay(&mut self, file: &Path, arguments: &CheckArguments) -> Result<(), ServerError> {
        let mut text = match read(file) {
            Ok(text) => text,
            Err(error) => {
                self.findings.push(not_rendered("relay.file", "coturn", error.to_string()));
                return Ok(());
            }
        };
        if arguments.fix {
            let edits: Vec<coturn::Edit> = coturn::judge(&text).into_iter().flat_map(|judged| judged.edits).collect();
            if !edits.is_empty() {
                let mended = coturn::apply(&text, &edits);
                keep_and_write(file, &text, &mended)?;
                text = mended;
            }
            self.mended.extend(edits.iter().map(|edit| format!("{}: {edit}", file.display())));
        }
        self.findings.extend(coturn::judge(&text).into_iter().map(|judged| judged.finding));
        let settings = coturn::Settings::parse(&text);
        self.findings.extend(settings.get("cert").and_then(shown_certificate));
        if !arguments.files_only {
            self.findings.push(host::relay_listening(settings.port()));
        }
        Ok(())
    }
}

/// Writes a mended file; what it was stands beside it as NAME.before-check.
fn keep_and_write(path: &Path, before: &str, after: &str) -> Result<(), ServerError> {
    let mode = std::fs::metadata(path).map_or(0o640, |data| data.permissions().mode() & 0o777);
    let mut kept = path.as_os_str().to_owned();
    kept.push(".before-check");
    write(Path::new(&kept), before, mode)?;
    Ok(write(path, after, mode)?)
}

/// Exit code 0: nothing to do, 1: something failed, 2: warnings only.
pub fn run(arguments: &CheckArguments) -> Result<ExitCode, ServerError> {
    let mut checked = Checked::default();
    if let Some(folder) = arguments.janus() {
        checked.janus(folder, arguments)?;
    }
    checked.findings.extend(arguments.mosquitto.iter().flat_map(|file| broker(file)));
    if let Some(file) = &arguments.coturn {
        checked.relay(file, arguments)?;
    }
    let Checked { findings, mended } = checked;
    let locale = arguments.lang.clone().or_else(locale).unwrap_or_default();
    if arguments.json {
        outln!("{}", serde_json::json!({ "checks": findings, "mended": mended }));
    } else {
        let language = Language::of_locale(&locale);
        for line in mended {
            outln!("{}  {line}", if language == Language::Korean { "수정" } else { "mend" });
        }
        out!("{}", print::terminal(&findings, language, std::io::stdout().is_terminal()));
    }
    Ok(ExitCode::from(exit_code(&findings)))
}

fn broker(file: &Path) -> Vec<Finding> {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => {
            return vec![not_rendered("broker.file", "mosquitto", error.to_string())];
        }
    };
    let mut findings = mosquitto::judge(&text);
    findings.extend(mosquitto::certificates(&text).iter().filter_map(|path| shown_certificate(path)));
    findings
}

fn not_rendered(id: &'static str, server: &str, error: String) -> Finding {
    let remedy = Text::new(
        format!("Write it with kioskctl server render --server {server}, and run this as root"),
        format!("kioskctl server render --server {server}로 만들고 root로 실행하십시오"),
    );
    Finding::fail(id, Text::same(server), Text::same(error), remedy)
}

/// The certificate in a file.
fn shown_certificate(path: &str) -> Option<Finding> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    // A file that can't be read holds no certificate; the finding names what is wanted.
    let pem = std::fs::read(path).unwrap_or_default();
    let mut finding = certificate::judge(&pem, i64::try_from(now).unwrap_or(i64::MAX));
    finding.seen = Text::new(format!("{path}: {}", finding.seen.en), format!("{path}: {}", finding.seen.ko));
    Some(finding)
}

fn locale() -> Option<String> {
    ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

struct Files {
    folder: PathBuf,
    files: Vec<ConfigFile>,
}

struct ConfigFile {
    name: &'static str,
    text: Result<String, String>,
}

impl ConfigFile {
    fn document(&self) -> Result<Document, String> {
        let text = self.text.as_ref().map_err(Clone::clone)?;
        jcfg::parse(text).map_err(|error| error.to_string())
    }
}

impl Files {
    fn load(folder: &Path) -> Self {
        let files = [CORE, WEBSOCKETS, VIDEOROOM].map(|name| {
            let text = read(&folder.join(name)).map_err(|error| error.to_string());
            ConfigFile { name, text }
        });
        Self { folder: folder.to_owned(), files: files.into() }
    }

    fn document(&self, name: &str) -> Result<Document, String> {
        self.files.iter().find(|file| file.name == name).map_or_else(|| Err(name.to_owned()), ConfigFile::document)
    }

    fn judge(&self, interfaces: &janus::Interfaces) -> Vec<(&'static str, Judged)> {
        let rooms = self.document(VIDEOROOM).map_or(0, |file| janus::room_names(&file).count());
        let judge = |file: &ConfigFile| match file.document() {
            Ok(document) => match file.name {
                CORE => janus::core(&document, interfaces, rooms),
                WEBSOCKETS => janus::websockets(&document),
                _ => janus::rooms(&document),
            },
            Err(error) => vec![unreadable(file.name, error)],
        };
        self.files.iter().flat_map(|file| judge(file).into_iter().map(|judged| (file.name, judged))).collect()
    }

    /// Writes the mended files. Returns what was done.
    fn mend(&mut self, judged: &[(&'static str, Judged)]) -> Result<Vec<String>, ServerError> {
        let mut done = Vec::new();
        for file in &mut self.files {
            let Ok(before) = file.text.clone() else { continue };
            let mut text = before.clone();
            for edit in judged.iter().filter(|(name, _)| *name == file.name).flat_map(|(_, judged)| &judged.edits) {
                // The file was parsed to be judged; an edit that does not apply leaves it as it is, and the finding stays.
                if let Ok(edited) = edit::apply(&text, edit) {
                    text = edited;
                    done.push(match edit {
                        edit::Edit::Remove(path) => format!("{}: {path} removed", file.name),
                        edit::Edit::Set(path, value) => format!("{}: {path} = {value}", file.name),
                    });
                }
            }
            if text == before {
                continue;
            }
            let path = self.folder.join(file.name);
            keep_and_write(&path, &before, &text)?;
            file.text = Ok(text);
        }
        Ok(done)
    }

    fn certificate(&self) -> Option<Finding> {
        let document = self.document(WEBSOCKETS).ok()?;
        shown_certificate(document.get("certificates.cert_pem")?.text())
    }

    fn running(&self) -> Vec<Finding> {
        let core = self.document(CORE).unwrap_or_default();
        let websockets = self.document(WEBSOCKETS).unwrap_or_default();
        let range =
            core.get("media.rtp_port_range").and_then(|range| PortRange::try_from(range.text().to_owned()).ok());
        let wss = websockets.get("general.wss_port").and_then(|port| port.text().parse().ok()).unwrap_or(8989);
        vec![host::listening(&websockets), host::firewall(range, wss), host::log(&core)]
    }
}

fn unreadable(name: &'static str, error: String) -> Judged {
    let finding = Finding::fail(
        "janus.file",
        Text::same(name),
        Text::same(error),
        Text::new(
            "Write the configuration with kioskctl server render, or name Janus's folder with --config",
            "kioskctl server render로 설정을 만들거나 --config로 Janus 설정 폴더를 지정하십시오",
        ),
    );
    Judged { finding, edits: Vec::new() }
}

#[cfg(test)]
mod tests;

//! `kioskctl server check`: is this server configured so that calls over TCP work, and does what runs follow it?

mod certificate;
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

const CORE: &str = "janus.jcfg";
const WEBSOCKETS: &str = "janus.transport.websockets.jcfg";
const VIDEOROOM: &str = "janus.plugin.videoroom.jcfg";

/// What to check and how to say it.
#[derive(clap::Args)]
pub struct CheckArguments {
    /// Janus's configuration folder.
    #[arg(long, default_value = "/etc/janus")]
    config: PathBuf,
    /// The broker's configuration too, such as /etc/mosquitto/mosquitto.conf, where this server has one for kiosks.
    #[arg(long, value_name = "FILE")]
    mosquitto: Option<PathBuf>,
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

/// Exit code 0: nothing to do, 1: something failed, 2: warnings only.
pub fn run(arguments: &CheckArguments) -> Result<ExitCode, ServerError> {
    let interfaces = host::interfaces();
    let mut files = Files::load(&arguments.config);
    let mut judged = files.judge(&interfaces);
    let mut mended = Vec::new();
    if arguments.fix {
        mended = files.mend(&judged)?;
        judged = files.judge(&interfaces);
    }
    let mut findings: Vec<Finding> = judged.into_iter().map(|(_, judged)| judged.finding).collect();
    findings.extend(files.certificate());
    findings.extend(arguments.mosquitto.iter().flat_map(|file| broker(file)));
    if !arguments.files_only {
        findings.extend(files.running());
    }
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
            let remedy = Text::new(
                "Write it with kioskctl server render --server mosquitto, and run this as root",
                "kioskctl server render --server mosquitto로 만들고 root로 실행하십시오",
            );
            return vec![Finding::fail("broker.file", Text::same("mosquitto"), Text::same(error.to_string()), remedy)];
        }
    };
    let mut findings = mosquitto::judge(&text);
    findings.extend(mosquitto::certificates(&text).iter().filter_map(|path| shown_certificate(path)));
    findings
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
            let mode = std::fs::metadata(&path).map_or(0o640, |data| data.permissions().mode() & 0o777);
            write(&path.with_extension("jcfg.before-check"), &before, mode)?;
            write(&path, &text, mode)?;
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

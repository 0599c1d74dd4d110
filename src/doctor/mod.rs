//! `kioskd doctor`: is this kiosk ready for a call over TCP, and if not, whose fault is it?
//!
//! What each answer means is decided in `kiosk_proto::check`; this asks.

mod machine;
mod reach;
mod server;

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use gstreamer::glib;
use kiosk_proto::check::{Finding, Language, Text, exit_code, print};
use kiosk_proto::config::Config;
use tokio::time::timeout;

use crate::{config, media};

/// The whole list ends within a minute: what hangs is named as such.
const SERVER_LIMIT: Duration = Duration::from_secs(40);

/// What to check and how to say it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write a page for the hand-over of the installation, too.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// en or ko; without it, by LANG.
    #[arg(long, value_parser = ["en", "ko"])]
    lang: Option<String>,
}

/// Exit code 0: ready, 1: something failed, 2: warnings only.
///
/// # Errors
/// When the report can't be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|name| std::env::var(name).ok());
    let language = Language::of_locale(&arguments.lang.clone().or(locale).unwrap_or_default());
    let (findings, kiosk) = match config::load(&arguments.config) {
        Ok(config) => (all(&config, &arguments.config, language)?, config.kiosk.id.to_string()),
        Err(error) => (vec![unusable(&error)], "?".to_owned()),
    };
    if arguments.json {
        println!("{}", serde_json::json!({ "kiosk": kiosk, "checks": findings }));
    } else {
        print!("{}", print::terminal(&findings, language, std::io::stdout().is_terminal()));
    }
    if let Some(path) = &arguments.report {
        let now = glib::DateTime::now_local().and_then(|now| now.format("%F %R %Z")).unwrap_or_default();
        let line = format!("{now} · kioskd {}", env!("CARGO_PKG_VERSION"));
        let page = print::page(&findings, language, &format!("Branch Kiosk · {kiosk}"), &line);
        fs::write(path, page).with_context(|| format!("the report {} can't be written", path.display()))?;
    }
    Ok(ExitCode::from(exit_code(&findings)))
}

fn unusable(error: &config::LoadError) -> Finding {
    Finding::fail(
        "config",
        Text::new("configuration", "설정"),
        Text::same(error.to_string()),
        Text::new(
            "Correct the file; kioskd check-config shows the same",
            "파일을 고치십시오. kioskd check-config로도 확인할 수 있습니다",
        ),
    )
}

fn all(config: &Config, path: &Path, language: Language) -> anyhow::Result<Vec<Finding>> {
    let mut findings =
        vec![Finding::pass("config", Text::new("configuration", "설정"), Text::same(path.display().to_string()))];
    progress(language, "this machine", "이 기기");
    media::init().context("GStreamer does not start")?;
    findings.extend(machine::check(config));
    progress(language, "network and server", "네트워크와 서버");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    findings.extend(runtime.block_on(network(config)));
    Ok(findings)
}

async fn network(config: &Config) -> Vec<Finding> {
    let asked = async {
        let (mut findings, address) = reach::server(config).await;
        match address {
            Some(address) => findings.extend(server::check(config, address).await),
            None => findings.push(Finding::skipped(
                "janus.version",
                Text::new("Janus answers", "Janus 응답"),
                Text::new("the server was not reached", "서버에 접속하지 못함"),
            )),
        }
        findings
    };
    timeout(SERVER_LIMIT, asked).await.unwrap_or_else(|_| {
        vec![Finding::fail(
            "network",
            Text::new("network and server", "네트워크와 서버"),
            Text::new(
                format!("not done in {} s", SERVER_LIMIT.as_secs()),
                format!("{}초 안에 끝나지 않음", SERVER_LIMIT.as_secs()),
            ),
            Text::new(
                "The way to the server loses packets: try again, then ask the network's people",
                "서버까지의 경로에 손실이 있습니다. 다시 시도한 뒤 네트워크 담당자에게 문의하십시오",
            ),
        )]
    })
}

/// Says on a terminal what takes its time.
fn progress(language: Language, english: &str, korean: &str) {
    if std::io::stderr().is_terminal() {
        let word = if language == Language::Korean { korean } else { english };
        let _ = writeln!(std::io::stderr(), "... {word}");
    }
}

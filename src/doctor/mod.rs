//! `kioskd doctor`: is this kiosk ready for a call over TCP, and if not, whose fault is it?
//!
//! What each answer means is decided in `kiosk_proto::check`; this asks.

mod client;
mod daemon;
mod machine;
mod proxy;
mod reach;
mod relay;
mod server;
pub mod service;
mod sound;
mod tls;
mod trial;
mod wire;

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use gstreamer::glib;
use kiosk_proto::check::machine::Clock;
use kiosk_proto::check::trial::Recommended;
use kiosk_proto::check::{Finding, Language, Text, cause, exit_code, print};
use kiosk_proto::config::Config;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{config, media};
use server::Wanted;

/// The whole list ends within a minute: what hangs is named as such.
const SERVER_LIMIT: Duration = Duration::from_secs(50);
/// The configuration that the daemon hands over.
const HANDED_OVER: &str = "/dev/stdin";
/// What is told to end gets so long to leave the room.
const LEAVE: Duration = Duration::from_secs(3);

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
    /// Make no trial call: nothing is sent into the room.
    #[arg(long)]
    no_call: bool,
    /// Write what the trial call recommends for this site: lines of kiosk.toml, or a layer of the fleet if FILE ends in
    /// .json.
    #[arg(long, value_name = "FILE", conflicts_with = "no_call")]
    proposal: Option<PathBuf>,
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
    let (findings, recommended, kiosk) = match config::load(&arguments.config) {
        Ok(config) => {
            let (findings, recommended) = all(&config, arguments, language)?;
            (findings, recommended, config.kiosk.id.to_string())
        }
        Err(error) => (vec![unusable(&error)], None, "?".to_owned()),
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
    if let Some(path) = &arguments.proposal {
        propose(path, recommended.as_ref())?;
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

/// Writes what the trial call recommends.
fn propose(path: &Path, recommended: Option<&Recommended>) -> anyhow::Result<()> {
    let recommended = recommended.context("there is no proposal: the trial call was not made to its end")?;
    let text = if path.extension().is_some_and(|extension| extension == "json") {
        format!("{:#}\n", recommended.to_layer())
    } else {
        recommended.to_toml()
    };
    fs::write(path, text).with_context(|| format!("the proposal {} can't be written", path.display()))
}

type Checked = (Vec<Finding>, Option<Recommended>);

fn all(config: &Config, arguments: &Arguments, language: Language) -> anyhow::Result<Checked> {
    let seen = match arguments.config.to_str() {
        Some(HANDED_OVER) => Text::new("as the daemon has it", "데몬이 사용 중인 설정"),
        _ => Text::same(arguments.config.display().to_string()),
    };
    let mut findings = vec![Finding::pass("config", Text::new("configuration", "설정"), seen)];
    let say = if language == Language::Korean { in_korean } else { in_english };
    say(&Text::new("this machine", "이 기기"));
    media::init().context("GStreamer does not start")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (state, clock) = runtime.block_on(async {
        match daemon::bus(&config.control.bus).await {
            Some(bus) => tokio::join!(daemon::state(&bus), daemon::clock(&bus)),
            None => (None, Clock::Unknown),
        }
    });
    findings.extend(machine::check(config, clock, state.is_some_and(|state| state != "idle")));
    say(&Text::new("network and server", "네트워크와 서버"));
    let (asked, recommended) = runtime.block_on(network(config, !arguments.no_call, say))?;
    runtime.shutdown_timeout(Duration::from_millis(500));
    findings.extend(asked);
    Ok((cause::one_each(findings), recommended))
}

async fn network(config: &Config, call: bool, progress: fn(&Text)) -> anyhow::Result<Checked> {
    let (tell, stop) = watch::channel(false);
    let wanted = Wanted { call, stop, progress };
    let asked = async {
        let (mut findings, way) = reach::server(config).await;
        let mut recommended = None;
        match way {
            Some(way) => {
                let (asked, follows) = server::check(config, way, &wanted).await;
                findings.extend(asked);
                recommended = follows;
            }
            None => findings.push(Finding::skipped(
                "janus.version",
                Text::new("Janus answers", "Janus 응답"),
                Text::new("the server was not reached", "서버에 접속하지 못함"),
            )),
        }
        (findings, recommended)
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::pin!(asked);
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::select! {
        checked = timeout(SERVER_LIMIT, &mut asked) => Ok(checked.unwrap_or_else(|_| (vec![hangs()], None))),
        () = told => {
            // Whoever is in the room leaves it first.
            tell.send_replace(true);
            let left = timeout(LEAVE, &mut asked).await;
            left.map_err(|_| anyhow!("ended before it was done"))
        }
    }
}

fn hangs() -> Finding {
    Finding::fail(
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
    )
}

/// Says on a terminal what takes its time.
fn in_english(what: &Text) {
    progress(&what.en);
}

fn in_korean(what: &Text) {
    progress(&what.ko);
}

fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr(), "... {what}");
    }
}

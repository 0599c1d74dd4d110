//! `./dev demo`: a call on this machine, to look at, or to check without a person.

use kiosk_harness::{
    Error, Result,
    agent::{Browser, BrowserOptions, Part},
    janus::ROOM,
    kiosk::Kiosk,
    local::{
        KIOSK, Local,
        broker::LocalBroker,
        console::Console,
        network::free_port,
        report::{AgentSide, Daemon, KioskSide, Push, Report, Setup, Sockets, rounded},
        screen::{Screen, View},
        signals,
    },
    procfs::{SocketWatch, usage},
};
use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Port of the agent's page.
const PAGE_PORT: u16 = 8080;
/// How often the daemon's sockets are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long the parts of a call get to come up.
const SETUP: Duration = Duration::from_secs(60);
/// How long `--check` watches the call.
const WATCH: Duration = Duration::from_secs(15);
/// How long a push gets until the encoder has the new bitrate.
const PUSH: Duration = Duration::from_secs(60);
/// What is pushed as video.bitrate_kbps: less than the rate control reaches in a call on one machine.
const PUSHED_KBPS: u64 = 300;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => show(),
        ["--check"] => check(),
        _ => Err(Error::Other("usage: ./dev demo [--check]".into())),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that a call needs but the agent. Ends in the reverse order of its start.
struct Running {
    watch: SocketWatch,
    kiosk: Kiosk,
    console: Console,
    broker: LocalBroker,
    local: Local,
}

fn start() -> Result<Running> {
    signals::catch()?;
    eprintln!("Starting Janus ...");
    let local = Local::start()?;
    let console = Console::start(free_port(PAGE_PORT)?)?;
    eprintln!("Starting the broker ...");
    let broker = local.start_broker()?;
    eprintln!("Starting the kiosk ...");
    let kiosk = Kiosk::start(local.place(), "kioskd", &local.in_fleet(local.kiosk_config()?, &broker)?);
    let mut kiosk = kiosk?;
    let watch = SocketWatch::start(kiosk.process().pid(), LOOK);
    kiosk.start_call()?;
    Ok(Running { watch, kiosk, console, broker, local })
}

/// For a person: prints the address of the agent's page, then figures until Ctrl-C.
fn show() -> Result<bool> {
    let mut running = start()?;
    let tokens = running.local.janus.agent_tokens(ROOM)?;
    let server = running.local.janus.ws_url().unwrap_or_default();
    println!("\nOpen this page; you are the agent. Ctrl-C ends the demo.\n");
    println!("  {}\n", running.console.signed_in_url(&server, "Demo agent", &tokens));
    let ctl = running.broker.ctl_words()?;
    println!("The kiosk is one of a fleet; you are its admin. In another terminal, while the call runs:\n");
    println!("  {ctl} config push --device {KIOSK} --set video.bitrate_kbps={PUSHED_KBPS} --now --reason \"a try\"");
    println!("  {ctl} config explain video.bitrate_kbps --device {KIOSK}");
    println!("  {ctl} config rollback --help");
    println!("  {ctl} fleet watch\n");
    let mut screen = Screen::default();
    let mut next = Instant::now();
    while signals::sleep_until(next) {
        next += Duration::from_secs(1);
        running.kiosk.process().must_run()?;
        running.local.janus.process().must_run()?;
        running.broker.process().must_run()?;
        let (state, faults) = (running.kiosk.state()?, running.kiosk.faults()?);
        if state == "idle" && faults.is_empty() {
            println!("The call has ended; starting the next one.");
            running.kiosk.start_call()?;
        }
        let view =
            View { state: &state, faults: &faults, figures: &running.kiosk.figures()?, outside: &running.watch.seen() };
        screen.draw(&view.lines());
    }
    eprintln!("\nEnding ...");
    let _ = running.kiosk.end_call();
    Ok(true)
}

/// Without a person: Chromium is the agent; prints one JSON object.
fn check() -> Result<bool> {
    let mut running = start()?;
    eprintln!("Starting the agent's browser ...");
    let options = BrowserOptions {
        server: running.local.janus.ws_url().unwrap_or_default(),
        chromium: Vec::new(),
        ..BrowserOptions::new(Part::Agent, "agent", &running.local.janus, ROOM)?
    };
    let mut agent = Browser::start(running.local.place(), &options)?;
    let first = agent.wait_stats(SETUP, "the kiosk's first frame at the agent", |stats| stats.frames_decoded > 0);
    first.map_err(|error| running.kiosk.explain(error))?;
    running.kiosk.wait_figures(SETUP, "the agent's first frame", |figures| figures.receive.video.frames > 0)?;

    eprintln!("Watching the call for {} s ...", WATCH.as_secs());
    let daemon = running.kiosk.process().pid();
    let (agent_before, kiosk_before) = (agent.stats()?, running.kiosk.figures()?);
    let (start, used_before) = (Instant::now(), usage(daemon)?);
    let mut audible = false;
    let mut next = start;
    while start.elapsed() < WATCH {
        next += Duration::from_secs(1);
        if !signals::sleep_until(next) {
            return Err(Error::Other("ended before the check was done".into()));
        }
        agent.process().must_run()?;
        let peak = running.kiosk.figures()?.receive.audio.peak_dbfs;
        audible |= peak.is_some_and(|peak| peak.is_finite() && peak > -80.0);
    }
    let (agent_after, kiosk_after) = (agent.stats()?, running.kiosk.figures()?);
    let used = usage(daemon)?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("Pushing a bitrate ...");
    let push = push(&mut running)?;
    let seen = running.watch.seen();
    let browser_seconds = (agent_after.at_ms - agent_before.at_ms) / 1000.0;
    let report = Report {
        seconds: rounded(seconds),
        media_ports: running.local.janus.media_ports().to_owned(),
        agent: AgentSide::between(&agent_before, &agent_after, browser_seconds),
        kiosk: KioskSide::between(&kiosk_before, &kiosk_after, audible, seconds),
        sockets: Sockets {
            udp_peak: seen.datagram_peak,
            samples: seen.samples,
            failed_samples: seen.failures,
            udp_peak_of_audit: kiosk_after.sockets.udp_peak,
            audit_samples: kiosk_after.sockets.samples,
        },
        setup_ms: Setup { webrtcup: kiosk_after.setup.webrtcup_ms, agent_media: kiosk_after.setup.agent_media_ms },
        daemon: Daemon {
            rss_peak_kib: used.rss_peak_kib,
            cpu_cores: rounded((used.cpu_seconds - used_before.cpu_seconds) / seconds),
        },
        push,
        ..Report::default()
    };
    let report = report.judged();
    println!("{}", serde_json::to_string_pretty(&report).map_err(Error::json("the report"))?);
    agent.end()?;
    running.kiosk.end_call()?;
    Ok(report.passed)
}

/// Pushes another bitrate as an admin would, and waits until the encoder is asked for it.
fn push(running: &mut Running) -> Result<Push> {
    let target_before = running.kiosk.figures()?.link.target_bits_per_second;
    let start = Instant::now();
    let setting = format!("video.bitrate_kbps={PUSHED_KBPS}");
    let arguments = ["config", "push", "--yes", "--json", "--now", "--reason", "demo", "--timeout", "40s"];
    let output = running.broker.ctl()?.args(arguments).args(["--device", KIOSK, "--set", &setting]).output();
    let output = output.map_err(Error::io("kioskctl config push"))?;
    let seconds = rounded(start.elapsed().as_secs_f64());
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let outcome = said["result"]["outcome"].as_str();
    let outcome = outcome.map_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned(), str::to_owned);
    let outcome = if outcome == "confirmed" { outcome } else { format!("{outcome} {}", said["kiosks"]) };
    let wanted =
        |figures: &kiosk_proto::figures::CallFigures| figures.link.target_bits_per_second <= PUSHED_KBPS * 1000;
    let figures = running.kiosk.wait_figures(PUSH, "the pushed bitrate", wanted);
    let target_after = figures.or_else(|_| running.kiosk.figures())?.link.target_bits_per_second;
    Ok(Push { bitrate_kbps: PUSHED_KBPS, outcome, seconds, target_before, target_after })
}

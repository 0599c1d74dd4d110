//! `./dev bench call`: figures of the call on this machine. `./dev bench link`: how late it is on a narrow link.
//! `./dev bench connect`: how many of very many calls come up.

use kiosk_harness::{
    Error, Result, arguments, connect, film, link,
    local::{
        bench::{self, Figures, Load},
        signals,
    },
    process::run,
    world::repository,
};
use std::{env, fs, process::Command, process::ExitCode};

const USAGE: &str = "usage: ./dev bench call [--json] [--calls N] [--film FILE] [--write-docs]
  --json         one JSON object instead of a table
  --calls N      calls whose set-up is measured (50)
  --film FILE    what is sent, any film of a talking head that GStreamer decodes; without: a generated picture
  --write-docs   put the table into docs/benchmarks.md";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let result = match arguments.next().as_deref() {
        Some("call") => bench_call(arguments),
        Some("link") => link::cli::main(arguments, machine),
        Some("connect") => connect::cli::main(arguments, machine, write),
        _ => Err(Error::Other([USAGE, link::cli::USAGE, connect::cli::USAGE].join("\n"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn bench_call(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let usage = || Error::Other(USAGE.into());
    let (mut json, mut write_docs, mut calls, mut film) = (false, false, 50, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--write-docs" => write_docs = true,
            "--calls" => calls = arguments.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?,
            "--film" => film = Some(arguments::absolute(&arguments.next().ok_or_else(usage)?)?),
            _ => return Err(usage()),
        }
    }
    signals::catch()?;
    let figures = bench::run(calls, &film::recording(film.as_deref())?)?;
    let table = table(&figures, &machine()?);
    if json {
        println!("{}", serde_json::to_string_pretty(&figures).map_err(Error::json("figures"))?);
    } else {
        println!("{table}");
    }
    if write_docs {
        write("call", "The call", &table)?;
    }
    Ok(())
}

/// Processor, system and date: without them the figures mean nothing.
fn machine() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    // The product's half may run in the root of another system.
    let root = std::env::var("KIOSK_ROOTFS").unwrap_or_default();
    let system = fs::read_to_string(format!("{root}/etc/os-release")).unwrap_or_default();
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown system");
    let date = run(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?;
    let model = model.map_or("unknown processor", |(_, name)| name);
    Ok(format!("{model}, {cores} cores, {}, {}", system.trim_matches('"'), date.trim()))
}

fn table(figures: &Figures, machine: &str) -> String {
    let load = |name: &str, load: &Load| {
        format!(
            "| {name} | {:.2} cores | {:.0} MiB | {:.1} | {:.2} Mb/s |\n",
            load.cpu_cores,
            load.rss_peak_kib as f64 / 1024.0,
            load.frames_per_second,
            load.bits_per_second / 1e6
        )
    };
    let (up, frame) = (figures.webrtcup_ms, figures.agent_first_frame_ms);
    let mut text = format!(
        "Measured on {machine}. Janus, the kiosk and the browsers share the machine.\n\n\
         | set-up of {} calls, from the control request | median | p95 |\n|---|---|---|\n\
         | until `webrtcup` | {:.0} ms | {:.0} ms |\n\
         | until the agent's browser has decoded a frame (it looks for a waiting customer every second) | {:.0} ms | {:.0} ms |\n\n\
         | 1280x720, 30 frames/s, 1 Mb/s, H.264 in software | processor | peak RSS | frames/s | sent |\n|---|---|---|---|---|\n",
        figures.calls, up.median, up.p95, frame.median, frame.p95
    );
    text += &load("daemon, sending", &figures.daemon_sending);
    text += &load("headless Chromium, sending the same", &figures.chromium_sending);
    text += &load("daemon, two-way call", &figures.daemon_two_way);
    text + &format!("\nThe daemon takes {:.2} of Chromium's processor time.\n", figures.cpu_ratio)
}

/// Replaces the part of docs/benchmarks.md that belongs to a benchmark, or adds it under a heading.
fn write(name: &str, heading: &str, table: &str) -> Result<()> {
    let path = repository().join("docs/benchmarks.md");
    let old = fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
    let [begin, end] = ["begin", "end"].map(|edge| format!("<!-- ./dev bench {name} --write-docs: {edge} -->\n"));
    let ours = format!("{begin}{table}{end}");
    let new = match (old.split_once(&begin), old.split_once(&end)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{ours}{after}"),
        _ => format!("{old}\n## {heading}\n\n{ours}"),
    };
    fs::write(&path, new).map_err(Error::io(path.display().to_string()))
}

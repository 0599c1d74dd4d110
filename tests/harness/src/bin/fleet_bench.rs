//! `./dev bench fleet`: figures of the fleet on this machine.

use kiosk_harness::{
    Error, Result,
    local::{
        fleet_bench::{DaemonPart, Restarts, Scale, daemon, raise_file_limit, restarts, scale, scale_in_own_process},
        signals,
    },
    process::run,
    world::repository,
};
use std::{env, fs, process::Command, process::ExitCode};

const USAGE: &str = "usage: ./dev bench fleet [--json] [--kiosks N,N,...] [--restarts N] [--write-docs]
  --json           one JSON object instead of tables
  --kiosks N,...   numbers of kiosks (500,1000,2000,5000)
  --restarts N     restarts of the broker (100)
  --write-docs     put the tables into docs/benchmarks.md";
/// Between these lines of docs/benchmarks.md stands what this program writes.
const BEGIN: &str = "<!-- ./dev bench fleet --write-docs: begin -->\n";
const END: &str = "<!-- ./dev bench fleet --write-docs: end -->\n";
/// Kiosks that have something to say while the broker is restarted.
const TALKING: usize = 50;

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    signals::catch()?;
    let files = raise_file_limit()?;
    if let [command, number] = arguments.as_slice()
        && command == "scale"
    {
        let number = number.parse().map_err(|_| Error::Other(USAGE.into()))?;
        println!("{}", serde_json::to_string(&scale(number)?).map_err(Error::json("figures"))?);
        return Ok(());
    }
    let (mut json, mut write_docs, mut numbers, mut times) = (false, false, vec![500, 1000, 2000, 5000], 100);
    let usage = || Error::Other(USAGE.into());
    let mut words = arguments.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => json = true,
            "--write-docs" => write_docs = true,
            "--restarts" => times = words.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?,
            "--kiosks" => {
                let list = words.next().ok_or_else(usage)?;
                let list: Option<Vec<usize>> = list.split(',').map(|text| text.parse().ok()).collect();
                numbers = list.ok_or_else(usage)?;
            }
            _ => return Err(usage()),
        }
    }
    let program = env::current_exe().map_err(Error::io("the path of this program"))?;
    let mut scales = Vec::new();
    for number in numbers {
        eprintln!("{number} kiosks ...");
        scales.push(scale_in_own_process(&program, number)?);
    }
    eprintln!("{times} restarts of the broker ...");
    let restarts = restarts(times, TALKING)?;
    eprintln!("The daemon at rest, without and with a fleet ...");
    let daemon = daemon()?;
    let text = tables(&scales, &restarts, &daemon, &machine()?, files);
    if json {
        let all = serde_json::json!({ "scales": scales, "restarts": restarts, "daemon": daemon, "open_files": files });
        println!("{}", serde_json::to_string_pretty(&all).map_err(Error::json("figures"))?);
    } else {
        println!("{text}");
    }
    if write_docs {
        write(&text)?;
    }
    Ok(())
}

/// Processor, system and date: without them the figures mean nothing.
fn machine() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let version = Command::new("mosquitto").arg("-h").output().map_err(Error::io("mosquitto -h"))?;
    let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned();
    let date = run(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?;
    let model = model.map_or("unknown processor", |(_, name)| name);
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    Ok(format!("{model}, {cores} cores, {version}, {build}, {}", date.trim()))
}

fn tables(scales: &[Scale], restarts: &Restarts, daemon: &DaemonPart, machine: &str, files: u64) -> String {
    let mut text = format!(
        "Measured on {machine}, {files} open files allowed for each process. Broker, simulator and `kioskctl` share the \
         machine; the simulator is one process with the state machines of `proto/` and a TLS connection for each kiosk.\n\n\
         | kiosks | all connected | push until all confirmed | until `kioskctl` has told it | broker: processor per \
         connection | per push | memory per kiosk | at rest | simulator: memory per kiosk | at rest |\n\
         |---|---|---|---|---|---|---|---|---|---|\n"
    );
    for scale in scales {
        text += &format!(
            "| {} | {:.1} s | {:.1} s | {:.1} s | {:.2} ms | {:.2} ms | {:.0} KiB | {:.1} % | {:.0} KiB | {:.1} % |\n",
            scale.kiosks,
            scale.connect_s,
            scale.push_s,
            scale.push_told_s,
            scale.broker_connect_ms,
            scale.broker_push_ms,
            scale.broker_kib,
            scale.broker_steady_percent,
            scale.simulator_kib,
            scale.simulator_steady_percent
        );
    }
    text += &format!(
        "\nA simulated trial takes half a second. \"At rest\" is of one core, with metrics of every kiosk once a minute.\n\n\
         {} restarts of the broker in {:.0} s while {} kiosks had events to tell: {} events, {} lost, {} came more than \
         once (their sequence numbers tell).\n\n",
        restarts.restarts, restarts.seconds, restarts.kiosks, restarts.events, restarts.lost, restarts.repeated
    );
    let ((cpu, memory), (fleet_cpu, fleet_memory)) = (daemon.without, daemon.with);
    text + &format!(
        "The daemon at rest, for half a minute: {cpu:.2} % of one core and {memory:.1} MiB without `[fleet]`, {fleet_cpu:.2} % \
         and {fleet_memory:.1} MiB with it.\n"
    )
}

/// Replaces the part of docs/benchmarks.md that is ours, or adds it.
fn write(text: &str) -> Result<()> {
    let path = repository().join("docs/benchmarks.md");
    let old = fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
    let ours = format!("{BEGIN}{text}{END}");
    let new = match (old.split_once(BEGIN), old.split_once(END)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{ours}{after}"),
        _ => format!("{old}\n## The fleet\n\n{ours}"),
    };
    fs::write(&path, new).map_err(Error::io(path.display().to_string()))
}

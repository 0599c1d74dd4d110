//! The command line of `./dev bench link`.

use super::{
    check::PathCheck,
    emulator::Emulator,
    peers::Peer,
    report::Report,
    run::{self, Options},
    scenario::{SCENARIOS, Scenario},
};
use crate::{
    Error, Result,
    arguments::absolute,
    film,
    local::signals,
    process,
    world::{World, repository},
};
use kiosk_proto::sysctl;
use std::{fs, path::PathBuf, process::Command};

/// How it is called.
pub const USAGE: &str = "usage: ./dev bench link [--scenario NAME]... [--peer NAME]... [--all] [--json] [--seconds N]
                        [--kioskd PATH] [--sysctl KEY=VALUE]... [--sysctl-file FILE]... [--film FILE] [--out DIR]
       ./dev bench link --report DIR [--json] [--write-docs]
  --scenario NAME  this link; more than once for several. Without: the ones that the targets are about
  --peer NAME      this sender; without: all but webrtcsink-tcp, which is built from gst-plugins-rs when asked for
  --all            every scenario
  --seconds N      measure this long instead of what the scenario says
  --kioskd PATH    the daemon, if not the one of this source tree
  --sysctl KEY=VALUE   set the kernels at both ends of the link so, net.* only; the last of a key counts. Without: as this
                   machine's kernel comes, with CUBIC
  --sysctl-file FILE   the same with all of a file, such as config/sysctl/server.conf
  --film FILE      what is sent, any film of a talking head that GStreamer decodes; without: a generated picture
  --out DIR        where the records go (target/bench-link/TIME)
  --report DIR     tables and plots of records that are there, without a run
  --write-docs     put the tables into docs/benchmarks.md and the plots into docs/images
  --json           one JSON object per scenario and peer";

/// What Linux comes with; this machine may be set otherwise.
const CUBIC: &str = "net.ipv4.tcp_congestion_control=cubic";

/// What was asked for.
#[derive(Debug, Default, PartialEq)]
struct Arguments {
    scenarios: Vec<&'static Scenario>,
    peers: Vec<Peer>,
    json: bool,
    seconds: Option<u32>,
    kioskd: Option<PathBuf>,
    sysctls: String,
    film: Option<PathBuf>,
    out: Option<PathBuf>,
    report: Option<PathBuf>,
    write_docs: bool,
}

/// Does what the arguments say. `machine` says where it is measured.
///
/// # Errors
/// Wrong arguments, a link that is not what was asked for, a run that broke. The other runs are made all the same.
pub fn main(arguments: impl Iterator<Item = String>, machine: fn() -> Result<String>) -> Result<()> {
    let arguments = parse(arguments)?;
    let (dir, failed) = match &arguments.report {
        Some(dir) => (dir.clone(), Vec::new()),
        None => {
            signals::catch()?;
            run_all(&arguments)?
        }
    };
    let report = Report::load(&dir)?;
    println!("{}", if arguments.json { report.json()? } else { report.markdown() });
    for (name, _, svg) in report.plots() {
        let path = dir.join(name);
        fs::write(&path, svg).map_err(Error::io(path.display().to_string()))?;
    }
    if arguments.write_docs {
        report.write_docs(&machine()?)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::Other(format!("failed: {}", failed.join(", ")))) }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments> {
    let mut parsed = Arguments::default();
    let mut all = false;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| Error::Other(format!("{argument} needs a value\n{USAGE}")));
        match argument.as_str() {
            "--all" => all = true,
            "--json" => parsed.json = true,
            "--write-docs" => parsed.write_docs = true,
            "--scenario" => {
                let name = value()?;
                let names = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
                let unknown = || Error::Other(format!("no scenario {name:?}; there are {}", names()));
                parsed.scenarios.push(Scenario::find(&name).ok_or_else(unknown)?);
            }
            "--peer" => {
                let name = value()?;
                let names = || Peer::ALL.map(Peer::name).join(", ");
                let unknown = || Error::Other(format!("no peer {name:?}; there are {}", names()));
                parsed.peers.push(Peer::find(&name).ok_or_else(unknown)?);
            }
            "--seconds" => {
                let text = value()?;
                let wrong = || Error::Other(format!("--seconds {text}: a number from 1 to 600 is needed"));
                parsed.seconds =
                    Some(text.parse().ok().filter(|seconds| (1..=600).contains(seconds)).ok_or_else(wrong)?);
            }
            "--kioskd" => parsed.kioskd = Some(absolute(&value()?)?),
            "--sysctl" => add_sysctls(&mut parsed.sysctls, &value()?)?,
            "--sysctl-file" => {
                let path = absolute(&value()?)?;
                let text = fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
                add_sysctls(&mut parsed.sysctls, &text)?;
            }
            "--film" => parsed.film = Some(absolute(&value()?)?),
            "--out" => parsed.out = Some(PathBuf::from(value()?)),
            "--report" => parsed.report = Some(absolute(&value()?)?),
            _ => return Err(Error::Other(USAGE.into())),
        }
    }
    if parsed.scenarios.is_empty() {
        parsed.scenarios = SCENARIOS.iter().filter(|scenario| all || scenario.by_default).collect();
    }
    if parsed.peers.is_empty() {
        parsed.peers = Peer::ALL.into_iter().filter(|peer| peer.by_default()).collect();
    }
    Ok(parsed)
}

/// Adds settings as sysctl.d(5) writes them. Those outside of `net` would be the whole machine's.
fn add_sysctls(to: &mut String, text: &str) -> Result<()> {
    let mut keys = sysctl::settings(text).map(|(key, _)| key).peekable();
    if keys.peek().is_none() || keys.any(|key| !key.starts_with("net.")) {
        return Err(Error::Other(format!("not a kernel setting of the network, such as {CUBIC:?}: {text:?}")));
    }
    *to += &format!("{text}\n");
    Ok(())
}

/// Runs everything; the directory holds the records. Gives the runs that failed too.
fn run_all(arguments: &Arguments) -> Result<(PathBuf, Vec<String>)> {
    let dir = match &arguments.out {
        Some(dir) => dir.clone(),
        None => {
            let time = process::run(Command::new("date").args(["--utc", "+%Y-%m-%dT%H%M%S"]))?;
            repository().join("target/bench-link").join(time.trim())
        }
    };
    fs::create_dir_all(&dir).map_err(Error::io(dir.display().to_string()))?;
    let options = Options {
        recording: film::recording(arguments.film.as_deref())?,
        kioskd: arguments.kioskd.clone(),
        sysctls: format!("{CUBIC}\n{}", arguments.sysctls),
        seconds: arguments.seconds,
    };
    let mut failed = Vec::new();
    for scenario in &arguments.scenarios {
        let into = dir.join(scenario.name);
        fs::create_dir_all(&into).map_err(Error::io(into.display().to_string()))?;
        let check = check_path(scenario, &options)?;
        eprintln!("{}: {check:?}", scenario.name);
        run::write_json(&into.join("path.json"), &check)?;
        for peer in &arguments.peers {
            match run::run(scenario, *peer, &options, &into.join(peer.name())) {
                Ok(machine) => eprintln!("{} {}: {machine:?}", scenario.name, peer.name()),
                Err(error) if signals::asked_to_end() => return Err(error),
                Err(error) => {
                    eprintln!("{} {}: FAILED: {error}", scenario.name, peer.name());
                    failed.push(format!("{} {}", scenario.name, peer.name()));
                }
            }
        }
    }
    eprintln!("records: {}", dir.display());
    Ok((dir, failed))
}

fn check_path(scenario: &Scenario, options: &Options) -> Result<PathCheck> {
    let world = World::new()?;
    let emulator = Emulator::start(&world, scenario, &options.sysctls)?;
    PathCheck::run(&world, &emulator, scenario)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Arguments> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_arguments_the_targets_scenarios_and_all_peers_but_webrtcsink_are_run() {
        let arguments = parsed("").unwrap();
        let names: Vec<&str> = arguments.scenarios.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names, ["steady10", "step", "outage10", "loss1", "share4"]);
        let names = |arguments: &Arguments| arguments.peers.iter().map(|peer| peer.name()).collect::<Vec<_>>();
        assert_eq!(names(&arguments), ["kioskd", "webrtcbin-tcp", "webrtcbin-udp", "chromium-tcp"]);
        assert_eq!(names(&parsed("--peer webrtcsink-tcp").unwrap()), ["webrtcsink-tcp"]);
        assert_eq!(parsed("--all").unwrap().scenarios.len(), SCENARIOS.len());
    }

    #[test]
    fn a_part_can_be_chosen_and_a_wrong_name_is_told_with_the_right_ones() {
        let arguments = parsed("--scenario step --scenario low --peer kioskd --seconds 5 --json").unwrap();
        assert_eq!((arguments.scenarios.len(), arguments.seconds, arguments.json), (2, Some(5), true));
        assert_eq!(arguments.peers, [Peer::Kioskd]);
        assert!(parsed("--scenario stairs").unwrap_err().to_string().contains("step, low"));
        assert!(parsed("--peer zoom").unwrap_err().to_string().contains("webrtcbin-udp"));
        let sysctls = "--sysctl net.ipv4.tcp_sack=0 --sysctl-file ../../config/sysctl/server.conf";
        let sysctls = parsed(sysctls).unwrap().sysctls;
        let first = sysctl::settings(&sysctls).next();
        assert_eq!((first, sysctl::settings(&sysctls).count()), (Some(("net.ipv4.tcp_sack", "0")), 9));
        assert!(parsed("--sysctl net.ipv4.tcp_sack").is_err() && parsed("--sysctl vm.swappiness=0").is_err());
        assert!(parsed("--seconds 0").is_err() && parsed("--seconds").is_err() && parsed("fast").is_err());
    }
}

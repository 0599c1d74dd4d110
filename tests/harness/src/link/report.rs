//! From the directory of a benchmark to tables and plots.

use super::{
    analysis::{Figures, Records, Return, SETTLE_US, Spread, Use, Window},
    peers::Peer,
    plot,
    record::{Line, Run},
    scenario::SCENARIOS,
    targets::{self, Verdict},
};
use crate::{Error, Result, world::repository};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{fmt::Write as _, fs, path::Path};

/// Between these lines of docs/benchmarks.md stands what is written here.
const BEGIN: &str = "<!-- ./dev bench link --write-docs: begin -->\n";
const END: &str = "<!-- ./dev bench link --write-docs: end -->\n";
const HEADING: &str = "\n## The link\n\n";
/// The delay that most targets are about; drawn into plots, milliseconds.
const LIMIT_MS: f64 = 400.0;

/// All runs of a benchmark.
#[derive(Debug)]
pub struct Report {
    runs: Vec<Records>,
    /// Why a run is worth nothing, in their order.
    invalid: Vec<Option<String>>,
    /// What was demanded, and whether it is so.
    pub verdicts: Vec<Verdict>,
}

/// One scenario and peer, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    scenario: &'a str,
    peer: &'a str,
    tcp: bool,
    /// Why this run is worth nothing, if so.
    invalid: Option<&'a str>,
    /// The whole measurement, one for each publisher.
    whole: Vec<Figures>,
    link: Option<Use>,
    /// Between changes of the link, from 2 s after each on.
    phases: Vec<Phase>,
    returns: Vec<Return>,
    verdicts: Vec<&'a Verdict>,
}

#[derive(Debug, Serialize)]
struct Phase {
    kbps: u32,
    figures: Vec<Figures>,
    link: Option<Use>,
}

impl Report {
    /// Reads what `./dev bench link` left in a directory.
    ///
    /// # Errors
    /// When there is nothing, or it can't be read.
    pub fn load(dir: &Path) -> Result<Self> {
        let (mut runs, mut invalid) = (Vec::new(), Vec::new());
        for scenario in SCENARIOS {
            for peer in Peer::ALL {
                let dir = dir.join(scenario.name).join(peer.name());
                if !dir.join("run.json").is_file() {
                    continue;
                }
                let run: Run = read_json(&dir.join("run.json"))?;
                let machine: Value = read_json(&dir.join("machine.json"))?;
                invalid.push(machine["invalid"].as_str().map(str::to_owned));
                runs.push(Records::new(run, lines(&dir.join("received.jsonl"))?));
            }
        }
        if runs.is_empty() {
            return Err(Error::Other(format!("{} has no records of ./dev bench link", dir.display())));
        }
        let verdicts = targets::verdicts(&runs);
        Ok(Self { runs, invalid, verdicts })
    }

    /// One object per scenario and peer.
    ///
    /// # Errors
    /// Never in practice: the figures are numbers and text.
    pub fn json(&self) -> Result<String> {
        let entries: Vec<Entry> = self.runs.iter().zip(&self.invalid).map(|(run, why)| self.entry(run, why)).collect();
        serde_json::to_string_pretty(&entries).map_err(Error::json("the report"))
    }

    fn entry<'a>(&'a self, run: &'a Records, invalid: &'a Option<String>) -> Entry<'a> {
        let phases = run.phases();
        let phase = |(kbps, window): &(u32, Window)| {
            let window = settled(*window);
            Phase { kbps: *kbps, figures: all(run, window), link: run.link_use(window) }
        };
        let ours = run.run.peer == targets::OURS;
        Entry {
            scenario: &run.run.scenario,
            peer: &run.run.peer,
            tcp: run.run.tcp,
            invalid: invalid.as_deref(),
            whole: all(run, run.whole()),
            link: run.link_use(run.whole()),
            phases: if phases.len() > 1 { phases.iter().map(phase).collect() } else { Vec::new() },
            returns: run.run.publishers.iter().flat_map(|publisher| run.returns(publisher)).collect(),
            verdicts: self.verdicts.iter().filter(|v| ours && v.scenario == run.run.scenario).collect(),
        }
    }

    /// The tables, in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut recordings: Vec<&str> = self.runs.iter().map(|run| run.run.recording.as_str()).collect();
        recordings.dedup();
        let mut text = format!("All senders send the recording {}.\n\n", recordings.join(", "));
        if !self.verdicts.is_empty() {
            text += "| link | must be so | measured | |\n|---|---|---|---|\n";
        }
        for verdict in &self.verdicts {
            let reached = match verdict.reached {
                Some(true) => "reached",
                Some(false) => "**not reached**",
                None => "not measured",
            };
            let (scenario, target, measured) = (&verdict.scenario, &verdict.target, &verdict.measured);
            let _ = writeln!(text, "| {scenario} | {target} | {measured} | {reached} |");
        }
        text += "\n| link | sender | picture's delay: median, p95, longest | sound's delay: median, p95 | frames/s \
                 | freezes, longest | sent | link used | SSIM: mean, p5 | PSNR | RTP lost |\n\
                 |---|---|---|---|---|---|---|---|---|---|---|\n";
        for (run, invalid) in self.runs.iter().zip(&self.invalid) {
            let phases = run.phases();
            let note = if invalid.is_some() { " (1)" } else { "" };
            if phases.len() < 2 {
                row(&mut text, &run.run.scenario, note, run, run.whole());
                continue;
            }
            for (kbps, window) in phases.iter().filter(|(kbps, _)| *kbps > 0) {
                let name = format!("{}, {} Mb/s", run.run.scenario, f64::from(*kbps) / 1000.0);
                row(&mut text, &name, note, run, settled(*window));
            }
        }
        for (run, invalid) in self.runs.iter().zip(&self.invalid) {
            if let Some(why) = invalid {
                let _ = write!(text, "\n(1) {} {}: {why}.", run.run.scenario, run.run.peer);
            }
        }
        text
    }

    /// A plot of each scenario: file name, what it shows, content.
    #[must_use]
    pub fn plots(&self) -> Vec<(String, String, String)> {
        let plot = |scenario: &super::scenario::Scenario| {
            let runs: Vec<&Records> = self.runs.iter().filter(|run| run.run.scenario == scenario.name).collect();
            let svg = plot::scenario(scenario.what, &runs, Some(LIMIT_MS));
            (format!("link-{}.svg", scenario.name), scenario.what.to_owned(), svg)
        };
        SCENARIOS.iter().map(plot).filter(|(_, _, svg)| !svg.is_empty()).collect()
    }

    /// Writes plots to docs/images and the tables into docs/benchmarks.md. `machine` says where it was measured.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn write_docs(&self, machine: &str) -> Result<()> {
        let docs = repository().join("docs");
        let mut ours = format!("{BEGIN}Measured on {machine}.\n\n{}\n", self.markdown());
        for (name, what, svg) in self.plots() {
            write(&docs.join("images").join(&name), &svg)?;
            let _ = write!(ours, "\n![{what}: age of the picture by sender, and what each sent](images/{name})\n");
        }
        ours += END;
        let path = docs.join("benchmarks.md");
        let old = fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
        write(&path, &replaced(&old, &ours))
    }
}

/// Puts our part in the place of the one that is there, or at the end.
fn replaced(old: &str, ours: &str) -> String {
    match (old.split_once(BEGIN), old.split_once(END)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{ours}{after}"),
        _ => format!("{old}{HEADING}{ours}"),
    }
}

fn settled(window: Window) -> Window {
    Window { from_us: (window.from_us + SETTLE_US).min(window.to_us), ..window }
}

fn all(run: &Records, window: Window) -> Vec<Figures> {
    run.run.publishers.iter().map(|publisher| run.figures(publisher, window)).collect()
}

/// A line of the table: of several publishers the one with the latest picture, and what all of them sent.
fn row(text: &mut String, link: &str, note: &str, run: &Records, window: Window) {
    let all = all(run, window);
    let p95 = |figures: &Figures| figures.video_delay_ms.map_or(f64::INFINITY, |delay| delay.p95);
    let Some(worst) = all.iter().max_by(|a, b| p95(a).total_cmp(&p95(b))) else { return };
    let spread = |spread: Option<Spread>, show: &dyn Fn(Spread) -> String| spread.map_or("-".into(), show);
    let lost: u64 = all.iter().map(|figures| figures.video_packets_lost + figures.audio_packets_lost).sum();
    let sent: f64 = all.iter().map(|figures| figures.rtp_kbps).sum();
    let used = run.link_use(window).map_or("-".into(), |used| format!("{:.0} %", used.share * 100.0));
    let _ = writeln!(
        text,
        "| {link}{note} | {} | {} | {} | {:.1} | {}, {:.0} ms | {sent:.0} kb/s | {used} | {} | {} | {lost} |",
        run.run.peer,
        spread(worst.video_delay_ms, &|s| format!("{:.0}, {:.0}, {:.0} ms", s.median, s.p95, s.max)),
        spread(worst.audio_delay_ms, &|s| format!("{:.0}, {:.0} ms", s.median, s.p95)),
        worst.frames_per_second,
        worst.freezes.count,
        worst.freezes.longest_ms,
        spread(worst.ssim, &|s| format!("{:.3}, {:.3}", s.mean, s.p5)),
        spread(worst.psnr_db, &|s| format!("{:.1} dB", s.mean)),
    );
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io(path.display().to_string()))?;
    serde_json::from_str(&text).map_err(Error::json(path.display().to_string()))
}

/// The receiver's lines. It is ended while it writes: what follows the last end of a line is no line.
fn lines(path: &Path) -> Result<Vec<Line>> {
    let text = fs::read_to_string(path).map_err(Error::io(path.display().to_string()))?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let read = |line| serde_json::from_str(line).map_err(Error::json(path.display().to_string()));
    whole.lines().map(read).collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::record::{Capacity, Frame};
    use super::*;
    use tempfile::TempDir;

    fn keep(dir: &Path, scenario: &str, peer: &str, link: Vec<Capacity>, cut: bool) {
        let dir = dir.join(scenario).join(peer);
        fs::create_dir_all(&dir).unwrap();
        let run = Run {
            scenario: scenario.into(),
            peer: peer.into(),
            tcp: true,
            begin_us: 0,
            end_us: 10_000_000,
            link,
            crossed: Vec::new(),
            publishers: vec!["kiosk".into()],
            recording: "film".into(),
        };
        let mut lines = String::new();
        for number in 0..300_u64 {
            let (captured_us, shown_us) = (number * 33_333, number * 33_333 + 70_000);
            let (publisher, index, width, height) = ("kiosk".to_owned(), None, 1280, 720);
            let (ssim, psnr) = (Some(0.9), Some(31.0));
            let frame = Line::Frame(Frame { publisher, shown_us, captured_us, index, width, height, ssim, psnr });
            lines += &(serde_json::to_string(&frame).unwrap() + "\n");
        }
        if cut {
            lines += "{\"line\":\"fra";
        }
        fs::write(dir.join("received.jsonl"), lines).unwrap();
        fs::write(dir.join("run.json"), serde_json::to_string(&run).unwrap()).unwrap();
        let invalid = if cut { "\"the machine was busy\"" } else { "null" };
        fs::write(dir.join("machine.json"), format!("{{\"invalid\":{invalid}}}")).unwrap();
    }

    #[test]
    fn records_become_tables_json_and_plots() {
        let dir = TempDir::new().unwrap();
        assert!(Report::load(dir.path()).is_err());
        let change = |at_us, kbps| Capacity { at_us, kbps };
        keep(dir.path(), "loss1", "kioskd", vec![change(0, 3000)], false);
        keep(
            dir.path(),
            "outage3",
            "webrtcbin-tcp",
            vec![change(0, 1500), change(4_000_000, 0), change(5_000_000, 1500)],
            true,
        );
        let report = Report::load(dir.path()).unwrap();
        let markdown = report.markdown();
        assert!(
            markdown.contains("| loss1 | p95 of the picture's delay at most 400 ms | 70 ms | reached |"),
            "{markdown}"
        );
        assert!(markdown.contains("| loss1 | kioskd | 70, 70, 70 ms | - | 29.8 |"), "{markdown}");
        assert_eq!(markdown.matches("| outage3, 1.5 Mb/s (1) |").count(), 2, "{markdown}");
        assert!(markdown.contains("(1) outage3 webrtcbin-tcp: the machine was busy."), "{markdown}");
        let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json.as_array().map(Vec::len), Some(2));
        assert_eq!(json[1]["whole"][0]["ssim"]["mean"].as_f64().map(|mean| (mean * 10.0).round()), Some(9.0));
        assert_eq!(json[0]["phases"].as_array().map(Vec::len), Some(3));
        let names: Vec<String> = report.plots().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["link-outage3.svg", "link-loss1.svg"]);
    }

    #[test]
    fn our_part_of_the_document_is_replaced_and_nothing_else() {
        let first = replaced("# Benchmarks\n", &format!("{BEGIN}old\n{END}"));
        assert_eq!(first, format!("# Benchmarks\n{HEADING}{BEGIN}old\n{END}"));
        let second = replaced(&(first + "more\n"), &format!("{BEGIN}new\n{END}"));
        assert_eq!(second, format!("# Benchmarks\n{HEADING}{BEGIN}new\n{END}more\n"));
    }
}

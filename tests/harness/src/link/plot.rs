//! Plots of a scenario: how late each peer's picture was, and under it what the link carried and what each sent.

use super::analysis::{Records, Spread};
use super::record::Rtp;
use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
/// Left and right of both panels.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 930.0;
/// Upper and lower edge of the panel of delays.
const DELAYS: (f64, f64) = (92.0, 340.0);
/// The same of the panel of rates.
const RATES: (f64, f64) = (384.0, 532.0);
const HEIGHT: f64 = 574.0;
/// The axis of delays is logarithmic, milliseconds.
const LEAST_MS: f64 = 10.0;
const MOST_MS: f64 = 20_000.0;
/// The latest frame of each bin is drawn.
const DELAY_BIN_US: u64 = 200_000;
const RATE_BIN_US: u64 = 500_000;

/// Distinguishable for most people with a weakness in seeing colours (Okabe and Ito).
const COLOURS: [&str; 5] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9"];

/// Draws the runs of one scenario, each in a colour of its own; `limit_ms` is the delay that must not be passed.
/// Nothing of no runs.
#[must_use]
pub fn scenario(what: &str, runs: &[&Records], limit_ms: Option<f64>) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let seconds = runs.iter().map(|run| span(run)).fold(1.0, f64::max);
    let most_kbps = first.run.link.iter().map(|part| f64::from(part.kbps)).fold(1.0, f64::max);
    // A wide link is not drawn to its top: what was sent would lie on the ground.
    let sent = runs.iter().flat_map(|run| rates(run)).flatten().map(|(_, kbps)| kbps).fold(100.0, f64::max);
    // What stood in a queue arrives at once; such tips are cut off.
    let plot = Plot { seconds, top_kbps: nice(most_kbps.min(sent) * 1.3) };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"system-ui,sans-serif\" \
         font-size=\"13\" fill=\"#333\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"28\" font-size=\"17\" font-weight=\"600\">{}</text>\n",
        escape(what)
    );
    legend(&mut svg, runs);
    plot.axes(&mut svg, limit_ms);
    plot.capacity(&mut svg, first);
    for (run, colour) in runs.iter().zip(COLOURS).rev() {
        let width = if run.run.peer == super::targets::OURS { 2.6 } else { 1.5 };
        plot.path(&mut svg, &delays(run), colour, width, |ms| plot.delay_y(ms));
        let thin = width / (run.run.publishers.len() as f64).sqrt();
        for publisher in rates(run) {
            plot.path(&mut svg, &[publisher], colour, thin, |kbps| plot.rate_y(kbps));
        }
    }
    svg + "</svg>\n"
}

struct Plot {
    seconds: f64,
    top_kbps: f64,
}

type Line = Vec<(f64, f64)>;

impl Plot {
    fn x(&self, second: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (second / self.seconds).clamp(0.0, 1.0)
    }

    fn delay_y(&self, ms: f64) -> f64 {
        let share = (ms.clamp(LEAST_MS, MOST_MS) / LEAST_MS).ln() / (MOST_MS / LEAST_MS).ln();
        DELAYS.1 - (DELAYS.1 - DELAYS.0) * share
    }

    fn rate_y(&self, kbps: f64) -> f64 {
        RATES.1 - (RATES.1 - RATES.0) * (kbps / self.top_kbps).clamp(0.0, 1.0)
    }

    fn axes(&self, svg: &mut String, limit_ms: Option<f64>) {
        let text = |svg: &mut String, x: f64, y: f64, anchor: &str, text: &str| {
            let _ =
                writeln!(svg, "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\" fill=\"#666\">{text}</text>");
        };
        let rule = |svg: &mut String, from: (f64, f64), to: (f64, f64)| {
            let (a, b, c, d) = (from.0, from.1, to.0, to.1);
            let _ = writeln!(svg, "<path d=\"M{a:.1} {b:.1}L{c:.1} {d:.1}\" stroke=\"#ddd\"/>");
        };
        for ms in [10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0] {
            let y = self.delay_y(ms);
            rule(svg, (LEFT, y), (RIGHT, y));
            let label = if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.0} s", ms / 1000.0) };
            text(svg, LEFT - 8.0, y + 4.0, "end", &label);
        }
        text(svg, LEFT, DELAYS.0 - 8.0, "start", "age of the picture when it is shown; a gap: nothing new was shown");
        text(svg, LEFT, RATES.0 - 8.0, "start", "what arrived, and what the link carries (grey)");
        let step = nice(self.top_kbps / 3.0);
        let mut kbps = 0.0;
        while kbps <= self.top_kbps * 1.001 {
            let y = self.rate_y(kbps);
            rule(svg, (LEFT, y), (RIGHT, y));
            text(svg, LEFT - 8.0, y + 4.0, "end", &format!("{} Mb/s", trimmed(kbps / 1000.0)));
            kbps += step;
        }
        let every = if self.seconds > 60.0 { 10.0 } else { 5.0 };
        let mut second = 0.0;
        while second <= self.seconds {
            let x = self.x(second);
            rule(svg, (x, RATES.1), (x, RATES.1 + 5.0));
            text(svg, x, RATES.1 + 20.0, "middle", &format!("{second:.0} s"));
            second += every;
        }
        if let Some(ms) = limit_ms {
            let y = self.delay_y(ms);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}L{RIGHT} {y:.1}\" stroke=\"#333\" stroke-dasharray=\"6 4\"/>\n\
                 <text x=\"{RIGHT}\" y=\"{:.0}\" text-anchor=\"end\">not more than {ms:.0} ms</text>",
                y - 5.0
            );
        }
    }

    /// What the link carries, as a grey ground.
    fn capacity(&self, svg: &mut String, run: &Records) {
        let mut path = format!("M{LEFT:.1} {:.1}", RATES.1);
        for (kbps, window) in run.phases() {
            let at = |us: u64| self.x(us.saturating_sub(run.run.begin_us) as f64 / 1e6);
            let (y, from, to) = (self.rate_y(f64::from(kbps)), at(window.from_us), at(window.to_us));
            let _ = write!(path, "L{from:.1} {y:.1}L{to:.1} {y:.1}");
        }
        let end = self.x(span(run));
        let _ = writeln!(svg, "<path d=\"{path}L{end:.1} {:.1}Z\" fill=\"#888\" fill-opacity=\"0.22\"/>", RATES.1);
    }

    fn path(&self, svg: &mut String, lines: &[Line], colour: &str, width: f64, y: impl Fn(f64) -> f64) {
        let mut path = String::new();
        for line in lines {
            for (number, (second, value)) in line.iter().enumerate() {
                let letter = if number == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{letter}{:.1} {:.1}", self.x(*second), y(*value));
            }
            if let [(second, _)] = line.as_slice() {
                // A line of one point is drawn as a dot.
                let _ = write!(path, "L{:.1} {:.1}", self.x(*second) + 0.5, y(line[0].1));
            }
        }
        if !path.is_empty() {
            let _ = writeln!(
                svg,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width:.1}\" \
                 stroke-linejoin=\"round\" stroke-linecap=\"round\"/>"
            );
        }
    }
}

fn legend(svg: &mut String, runs: &[&Records]) {
    let (mut x, mut y) = (LEFT, 46);
    for (run, colour) in runs.iter().zip(COLOURS) {
        let ages = run.frames.iter().filter(|frame| run.whole().has(frame.shown_us));
        let ages = ages.map(|frame| frame.shown_us.saturating_sub(frame.captured_us) as f64 / 1000.0);
        let p95 = Spread::of(ages).map_or("no picture".into(), |spread| format!("p95 {:.0} ms", spread.p95));
        let name = format!("{}, {p95}", escape(&run.run.peer));
        let width = 44.0 + 6.8 * name.len() as f64;
        if x + width > RIGHT {
            (x, y) = (LEFT, y + 18);
        }
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.0} {y}h20\" stroke=\"{colour}\" stroke-width=\"4\" stroke-linecap=\"round\"/>\
             <text x=\"{:.0}\" y=\"{}\">{name}</text>",
            x + 28.0,
            y + 4
        );
        x += width;
    }
}

/// Seconds that were measured.
fn span(run: &Records) -> f64 {
    run.run.end_us.saturating_sub(run.run.begin_us) as f64 / 1e6
}

/// The oldest frame of each bin, of all publishers: lines that are broken where nothing was shown.
fn delays(run: &Records) -> Vec<Line> {
    let bins = run.run.end_us.saturating_sub(run.run.begin_us) / DELAY_BIN_US + 1;
    let mut oldest: Vec<Option<f64>> = vec![None; usize::try_from(bins).unwrap_or(0)];
    for frame in &run.frames {
        let bin = frame.shown_us.checked_sub(run.run.begin_us).map(|since| since / DELAY_BIN_US);
        let bin = bin.and_then(|bin| usize::try_from(bin).ok());
        if let Some(bin) = bin.and_then(|bin| oldest.get_mut(bin)) {
            let ms = frame.shown_us.saturating_sub(frame.captured_us) as f64 / 1000.0;
            *bin = Some(bin.map_or(ms, |other| other.max(ms)));
        }
    }
    let mut lines = vec![Line::new()];
    for (bin, ms) in oldest.into_iter().enumerate() {
        match (ms, lines.last_mut()) {
            (Some(ms), Some(line)) => line.push(((bin as f64 + 0.5) * DELAY_BIN_US as f64 / 1e6, ms)),
            (None, Some(line)) if !line.is_empty() => lines.push(Line::new()),
            _ => {}
        }
    }
    lines
}

/// Kilobits per second that arrived of each publisher, picture and sound.
fn rates(run: &Records) -> Vec<Line> {
    let of = |publisher: &String| {
        let mut bins = vec![0.0; usize::try_from((run.run.end_us - run.run.begin_us) / RATE_BIN_US).unwrap_or(0)];
        let mut last: [Option<&Rtp>; 2] = [None; 2];
        for totals in run.rtp.iter().filter(|totals| totals.publisher == *publisher) {
            let last = &mut last[totals.medium as usize];
            // Totals that go down are those of a new connection.
            let before = last.filter(|last| last.bytes <= totals.bytes).map_or(0, |last| last.bytes);
            let bytes = if last.is_some() { totals.bytes - before } else { 0 };
            *last = Some(totals);
            let bin = totals.at_us.checked_sub(run.run.begin_us).map(|since| since / RATE_BIN_US);
            if let Some(bin) = bin.and_then(|bin| bins.get_mut(usize::try_from(bin).unwrap_or(usize::MAX))) {
                *bin += bytes as f64 * 8.0 / 1000.0 / (RATE_BIN_US as f64 / 1e6);
            }
        }
        let at = |bin: usize| (bin as f64 + 0.5) * RATE_BIN_US as f64 / 1e6;
        bins.into_iter().enumerate().map(|(bin, kbps)| (at(bin), kbps)).collect()
    };
    run.run.publishers.iter().map(of).collect()
}

/// The next of 1, 1.5, 2, 3, 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 5.0, 10.0];
    steps.map(|step| step * power).into_iter().find(|step| *step >= value * 0.999).unwrap_or(value)
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::record::{Capacity, Frame, Line as Note, Medium, Run};
    use super::*;

    fn records(peer: &str, delay_us: u64) -> Records {
        let run = Run {
            scenario: "step".into(),
            peer: peer.into(),
            tcp: true,
            begin_us: 1_000_000,
            end_us: 21_000_000,
            link: vec![Capacity { at_us: 1_000_000, kbps: 1500 }, Capacity { at_us: 11_000_000, kbps: 0 }],
            crossed: Vec::new(),
            publishers: vec!["kiosk".into()],
            recording: "film".into(),
        };
        let mut lines = Vec::new();
        for number in (0..600_u64).filter(|number| !(200..300).contains(number)) {
            let captured_us = 1_000_000 + number * 33_333;
            let publisher = "kiosk".to_owned();
            let frame = Frame {
                publisher: publisher.clone(),
                shown_us: captured_us + delay_us,
                captured_us,
                index: None,
                width: 1280,
                height: 720,
                ssim: None,
                psnr: None,
            };
            lines.push(Note::Frame(frame));
            let (medium, bytes) = (Medium::Video, number * 4000);
            lines.push(Note::Rtp(Rtp {
                publisher,
                at_us: captured_us,
                medium,
                expected: number,
                received: number,
                bytes,
            }));
        }
        Records::new(run, lines)
    }

    #[test]
    fn lines_are_broken_where_nothing_was_shown_and_rates_are_what_arrived() {
        let run = records("kioskd", 50_000);
        let lines: Vec<Line> = delays(&run).into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().flatten().all(|(_, ms)| *ms == 50.0));
        let rates = rates(&run);
        assert!((rates[0][5].1 - 960.0).abs() < 70.0, "{:?}", rates[0]);
    }

    #[test]
    fn a_plot_is_small_and_names_its_peers() {
        let (ours, other) = (records("kioskd", 50_000), records("a<b", 2_000_000));
        let svg = scenario("1.5 Mb/s & less", &[&ours, &other], Some(400.0));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.len() < 40_000, "{}", svg.len());
        for text in ["kioskd", "a&lt;b", "1.5 Mb/s &amp; less", "not more than 400 ms"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(scenario("nothing", &[], None), "");
    }

    #[test]
    fn names_that_do_not_fit_into_one_line_go_on_in_the_next() {
        let runs: Vec<Records> = ["kioskd", "webrtcbin-tcp", "webrtcbin-udp", "chromium-tcp", "webrtcsink-tcp"]
            .map(|peer| records(peer, 50_000))
            .into();
        let svg = scenario("all", &runs.iter().collect::<Vec<_>>(), None);
        let y = |name: &str| svg.lines().find(|line| line.contains(name)).is_some_and(|line| line.contains("y=\"50\""));
        assert!(y("kioskd") && y("chromium-tcp") && !y("webrtcsink-tcp"), "{svg}");
        assert!(svg.contains("webrtcsink-tcp, p95"));
    }

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!([nice(0.9), nice(1.2), nice(700.0), nice(1500.0), nice(4000.0)], [1.0, 1.5, 1000.0, 1500.0, 5000.0]);
        assert_eq!([trimmed(1.5), trimmed(0.25), trimmed(3.0), trimmed(0.0)], ["1.5", "0.25", "3", "0"]);
    }
}

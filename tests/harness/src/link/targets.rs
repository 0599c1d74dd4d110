//! What the daemon must reach on each link, and whether it did.

use super::analysis::{Figures, Records, SETTLE_US, Window};
use serde::Serialize;

/// The daemon's name among peers.
pub const OURS: &str = "kioskd";
/// The peer whose delay over UDP is the measure.
const UDP: &str = "webrtcbin-udp";

/// One demand and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// On which link.
    pub scenario: String,
    /// What must be so.
    pub target: String,
    /// What was.
    pub measured: String,
    /// Whether it is reached; none when the run gave no such figure.
    pub reached: Option<bool>,
}

/// Judges the daemon's runs, beside those of its peers.
#[must_use]
pub fn verdicts(runs: &[Records]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for run in runs.iter().filter(|records| records.run.peer == OURS) {
        let mut judge = Judge { scenario: &run.run.scenario, verdicts: &mut verdicts };
        let of =
            |peer: &str| runs.iter().find(|other| other.run.scenario == run.run.scenario && other.run.peer == peer);
        match run.run.scenario.as_str() {
            "steady10" => steady(&mut judge, run, of(UDP)),
            "step" => step(&mut judge, run),
            "loss1" => loss(&mut judge, run),
            "outage10" => outage(&mut judge, run),
            "share4" => share(&mut judge, run),
            _ => {}
        }
        if has_bottleneck(run) {
            let peers = runs.iter().filter(|other| other.run.scenario == run.run.scenario && other.run.peer != OURS);
            peers.filter(|other| other.run.tcp).for_each(|peer| against(&mut judge, run, peer));
        }
    }
    verdicts
}

struct Judge<'a> {
    scenario: &'a str,
    verdicts: &'a mut Vec<Verdict>,
}

impl Judge<'_> {
    /// A figure that must be at most, or at least, a limit.
    fn most(&mut self, what: &str, value: Option<f64>, limit: f64, unit: &str) {
        self.note(format!("{what} at most {limit:.0} {unit}"), value, unit, |value| value <= limit);
    }

    fn least(&mut self, what: &str, value: Option<f64>, limit: f64, unit: &str) {
        self.note(format!("{what} at least {limit:.0} {unit}"), value, unit, |value| value >= limit);
    }

    fn note(&mut self, target: String, value: Option<f64>, unit: &str, holds: impl Fn(f64) -> bool) {
        let measured = value.map_or("nothing measured".into(), |value| format!("{value:.0} {unit}"));
        self.add(target, measured, value.map(holds));
    }

    fn add(&mut self, target: String, measured: String, reached: Option<bool>) {
        self.verdicts.push(Verdict { scenario: self.scenario.to_owned(), target, measured, reached });
    }
}

fn first(run: &Records) -> String {
    run.run.publishers.first().cloned().unwrap_or_default()
}

/// Each sender's figures of the whole run.
fn all(run: &Records) -> Vec<Figures> {
    run.run.publishers.iter().map(|publisher| run.figures(publisher, run.whole())).collect()
}

/// Of the sender with the most; none where one has shown nothing.
fn worst_p95(all: &[Figures]) -> Option<f64> {
    all.iter().map(video_p95).try_fold(0.0, |worst: f64, p95| Some(worst.max(p95?)))
}

/// SSIM and bitrate, kbit/s, in the mean of all senders; none where one has shown nothing.
fn quality(all: &[Figures]) -> Option<(f64, f64)> {
    let count = all.len().max(1) as f64;
    let ssim = all.iter().try_fold(0.0, |sum, figures| Some(sum + figures.ssim?.mean))?;
    Some((ssim / count, all.iter().map(|figures| figures.rtp_kbps).sum::<f64>() / count))
}

fn video_p95(figures: &Figures) -> Option<f64> {
    figures.video_delay_ms.map(|spread| spread.p95)
}

/// The link carries less than the encoder would make, with its headers and the sound.
fn has_bottleneck(run: &Records) -> bool {
    let narrow =
        |kbps: u32| kbps > 0 && kbps <= super::scenario::MAX_BITRATE_KBPS * run.run.publishers.len().max(1) as u32;
    run.phases().iter().any(|(kbps, _)| narrow(*kbps)) || run.run.scenario == "bulk"
}

fn settled(window: Window) -> Window {
    Window { from_us: (window.from_us + SETTLE_US).min(window.to_us), ..window }
}

fn steady(judge: &mut Judge, run: &Records, udp: Option<&Records>) {
    let ours = run.figures(&first(run), run.whole());
    let theirs = udp.map(|udp| udp.figures(&first(udp), udp.whole()));
    let delays = ours.video_delay_ms.zip(theirs.as_ref().and_then(|theirs| theirs.video_delay_ms));
    for (name, pair) in [
        ("median", delays.map(|(ours, theirs)| (ours.median, theirs.median))),
        ("p95", delays.map(|(ours, theirs)| (ours.p95, theirs.p95))),
    ] {
        judge.add(
            format!("{name} of the picture's delay at most 1.1 times that over UDP"),
            pair.map_or("nothing measured".into(), |(ours, theirs)| format!("{ours:.0} ms, over UDP {theirs:.0} ms")),
            pair.map(|(ours, theirs)| ours <= 1.1 * theirs),
        );
    }
    judge.most("frames left out", Some(ours.frames_left_out as f64), 0.0, "frames");
    let rates = theirs.map(|theirs| (ours.rtp_kbps, theirs.rtp_kbps));
    judge.add(
        "bitrate at least 0.98 of that over UDP".into(),
        rates.map_or("nothing measured".into(), |(ours, theirs)| format!("{ours:.0} kb/s, over UDP {theirs:.0} kb/s")),
        rates.map(|(ours, theirs)| ours >= 0.98 * theirs),
    );
}

fn step(judge: &mut Judge, run: &Records) {
    let phases = run.phases();
    let [_, (_, low), (_, high)] = phases.as_slice() else {
        return judge.add("a step down and a step up".into(), format!("{} rates", phases.len()), None);
    };
    let publisher = first(run);
    let after = run.figures(&publisher, settled(*low));
    judge.most("step down: p95 of the picture's delay from 2 s on", video_p95(&after), 400.0, "ms");
    let sound = after.audio_delay_ms.map(|spread| spread.p95);
    judge.most("step down: p95 of the sound's delay from 2 s on", sound, 250.0, "ms");
    let used = run.link_use(settled(*low)).map(|used| used.share * 100.0);
    judge.least("step down: used of the link", used, 85.0, "%");
    let whole = run.figures(&publisher, *low);
    let lost = (whole.video_packets_lost + whole.audio_packets_lost) as f64;
    judge.most("step down: RTP packets lost in the sender", Some(lost), 0.0, "packets");
    judge.most("step down: longest freeze", Some(whole.freezes.longest_ms), 500.0, "ms");
    judge.most("step up: 80 % of the link used", run.used_after_ms(*high), 5000.0, "ms");
    judge.most("step up: p95 of the picture's delay", video_p95(&run.figures(&publisher, *high)), 400.0, "ms");
}

fn loss(judge: &mut Judge, run: &Records) {
    let figures = run.figures(&first(run), run.whole());
    judge.most("p95 of the picture's delay", video_p95(&figures), 400.0, "ms");
    judge.most("longest freeze", Some(figures.freezes.longest_ms), 1000.0, "ms");
}

fn outage(judge: &mut Judge, run: &Records) {
    let returns = run.returns(&first(run));
    let fresh = returns.first().and_then(|back| back.first_fresh_ms);
    judge.most("first fresh frame after the link's return", fresh, 1500.0, "ms");
    let oldest = returns.first().and_then(|back| back.oldest_shown_ms);
    judge.most("oldest frame shown after it", oldest, 500.0, "ms");
}

fn share(judge: &mut Judge, run: &Records) {
    let (window, all) = (run.whole(), all(run));
    let sum: f64 = all.iter().map(|figures| figures.rtp_kbps).sum();
    // What crossed the link, headers and all, divided as the RTP was.
    let shares: Option<Vec<f64>> = run.link_use(window).map(|used| {
        let fair = used.capacity_kbps / all.len().max(1) as f64;
        all.iter().map(|figures| figures.rtp_kbps / sum.max(1e-9) * used.publishers_kbps / fair).collect()
    });
    let text =
        |shares: &Vec<f64>| shares.iter().map(|share| format!("{:.0} %", share * 100.0)).collect::<Vec<_>>().join(", ");
    judge.add(
        "each within 25 % of its share".into(),
        shares.as_ref().map_or("nothing measured".into(), |shares| format!("{} of it", text(shares))),
        shares.map(|shares| shares.iter().all(|share| (0.75..=1.25).contains(share))),
    );
    judge.most("p95 of the picture's delay, of the worst", worst_p95(&all), 500.0, "ms");
}

/// Later than a peer is worse; so is a picture that is worse at no more bits.
fn against(judge: &mut Judge, run: &Records, peer: &Records) {
    let (ours, theirs) = (all(run), all(peer));
    let name = &peer.run.peer;
    let delays = worst_p95(&ours).zip(worst_p95(&theirs));
    judge.add(
        format!("p95 of the picture's delay below that of {name}"),
        delays.map_or("nothing measured".into(), |(ours, theirs)| format!("{ours:.0} ms, {name} {theirs:.0} ms")),
        delays.map(|(ours, theirs)| ours < theirs),
    );
    let qualities = quality(&ours).zip(quality(&theirs));
    // A thousandth is less than two runs of the same sender differ by.
    judge.add(
        format!("SSIM not below that of {name}, or fewer bits"),
        qualities.map_or("nothing measured".into(), |((a, ours), (b, theirs))| {
            format!("{a:.3} at {ours:.0} kb/s, {name} {b:.3} at {theirs:.0} kb/s")
        }),
        qualities.map(|((a, ours), (b, theirs))| a >= b - 0.001 || ours < 0.95 * theirs),
    );
}

#[cfg(test)]
mod tests {
    use super::super::record::{Capacity, Crossed, Frame, Line, Medium, Rtp, Run, Tone};
    use super::*;

    const S: u64 = 1_000_000;

    /// A run in which every frame is `delay_ms` late and 90 % of the link is used.
    fn run(scenario: &str, peer: &str, link: &[(u64, u32)], delay_ms: u64) -> Records {
        let link: Vec<Capacity> = link.iter().map(|(at, kbps)| Capacity { at_us: at * S, kbps: *kbps }).collect();
        let mut run = Run {
            scenario: scenario.into(),
            peer: peer.into(),
            tcp: !peer.ends_with("udp"),
            begin_us: 0,
            end_us: 40 * S,
            link: link.clone(),
            crossed: Vec::new(),
            publishers: vec!["kiosk".into()],
            recording: "film".into(),
        };
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for tenth in 0..400_u64 {
            let at_us = tenth * 100_000;
            let kbps = link.iter().rev().find(|part| part.at_us <= at_us).map_or(0, |part| u64::from(part.kbps));
            run.crossed.push(Crossed { at_us, bytes, competing_bytes: 0 });
            bytes += kbps * 90 / 8;
            let publisher = "kiosk".to_owned();
            let medium = Medium::Video;
            lines.push(Line::Rtp(Rtp {
                publisher,
                at_us,
                medium,
                expected: tenth,
                received: tenth,
                bytes: bytes * 9 / 10,
            }));
            let publisher = "kiosk".to_owned();
            lines.push(Line::Tone(Tone { publisher, heard_us: at_us + 100_000, sent_us: at_us }));
            for third in 0..3 {
                let captured_us = at_us + third * 33_333;
                let publisher = "kiosk".to_owned();
                let shown_us = captured_us + delay_ms * 1000;
                let (index, width, height, ssim, psnr) = (None, 1280, 720, Some(0.95), None);
                lines.push(Line::Frame(Frame { publisher, shown_us, captured_us, index, width, height, ssim, psnr }));
            }
        }
        Records::new(run, lines)
    }

    fn missed(runs: &[Records]) -> Vec<String> {
        let not_reached = verdicts(runs).into_iter().filter(|verdict| verdict.reached != Some(true));
        not_reached.map(|verdict| format!("{}: {} ({})", verdict.scenario, verdict.target, verdict.measured)).collect()
    }

    const STEP: [(u64, u32); 3] = [(0, 1500), (10, 600), (25, 1500)];

    #[test]
    fn a_good_run_reaches_all_and_a_late_one_does_not() {
        assert_eq!(missed(&[run("step", OURS, &STEP, 150)]), Vec::<String>::new());
        assert_eq!(
            missed(&[run("step", OURS, &STEP, 450)]),
            [
                "step: step down: p95 of the picture's delay from 2 s on at most 400 ms (450 ms)",
                "step: step up: p95 of the picture's delay at most 400 ms (450 ms)"
            ]
        );
    }

    #[test]
    fn over_udp_is_the_measure_on_a_wide_link() {
        let wide = [(0, 10_000)];
        let udp = run("steady10", UDP, &wide, 100);
        assert_eq!(missed(&[run("steady10", OURS, &wide, 105), udp.clone()]), Vec::<String>::new());
        assert_eq!(missed(&[run("steady10", OURS, &wide, 120), udp]).len(), 2);
        // Without the peer nothing is claimed.
        let alone = verdicts(&[run("steady10", OURS, &wide, 105)]);
        assert_eq!(alone.iter().filter(|verdict| verdict.reached.is_none()).count(), 3);
    }

    #[test]
    fn peers_are_beaten_only_where_there_is_a_bottleneck_and_only_over_tcp() {
        let runs = [
            run("low", OURS, &[(0, 300)], 300),
            run("low", "webrtcbin-tcp", &[(0, 300)], 250),
            run("low", UDP, &[(0, 300)], 100),
            run("rtt20", OURS, &[(0, 3000)], 300),
            run("rtt20", "webrtcbin-tcp", &[(0, 3000)], 250),
        ];
        let missed = missed(&runs);
        assert_eq!(
            missed,
            ["low: p95 of the picture's delay below that of webrtcbin-tcp (300 ms, webrtcbin-tcp 250 ms)"]
        );
    }
}

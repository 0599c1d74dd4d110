//! The live figures of the demo.

use crate::procfs::Watched;
use kiosk_proto::figures::{CallFigures, EndpointFigures, LegFigures, PairFigures};
use std::io::{self, IsTerminal, Write};

/// What one redraw shows.
#[derive(Debug)]
pub struct View<'a> {
    /// State of the call.
    pub state: &'a str,
    /// Code and message of what is wrong.
    pub faults: &'a [(String, String)],
    /// Figures of the daemon.
    pub figures: &'a CallFigures,
    /// The daemon's sockets, seen from outside.
    pub outside: &'a Watched,
}

impl View<'_> {
    /// The lines to show.
    pub fn lines(&self) -> Vec<String> {
        let figures = self.figures;
        let seconds = figures.elapsed_ms / 1000;
        let mut lines = vec![
            format!("state     {}  {:02}:{:02}", self.state, seconds / 60, seconds % 60),
            format!("sends     {}", media(&figures.publish)),
            format!("          {}", connection(&figures.publish)),
            format!("receives  {}", media(&figures.receive)),
            format!("          {}", connection(&figures.receive)),
        ];
        let (sockets, outside) = (&figures.sockets, self.outside);
        lines.push(format!(
            "sockets   tcp {} connected, {} listening   udp {} (peak {} in {} looks; from outside {} in {})",
            sockets.tcp_connected,
            sockets.tcp_listening,
            sockets.udp,
            sockets.udp_peak,
            sockets.samples,
            outside.datagram_peak,
            outside.samples
        ));
        let (process, setup) = (&figures.process, &figures.setup);
        lines.push(format!(
            "daemon    {} MiB (peak {})   {} threads   set up in {}",
            process.rss_kib / 1024,
            process.rss_peak_kib / 1024,
            process.threads,
            setup.webrtcup_ms.map_or_else(|| "-".into(), |ms| format!("{ms} ms"))
        ));
        lines.extend(self.faults.iter().map(|(code, message)| format!("fault     {code}: {message}")));
        lines
    }
}

fn media(leg: &LegFigures) -> String {
    let video = &leg.video;
    format!(
        "{}x{}  {:.1} frames/s  {}  {}  sound {}",
        video.width,
        video.height,
        video.frames_per_second,
        bitrate(video.bits_per_second),
        video.codec,
        bitrate(leg.audio.bits_per_second)
    )
}

fn connection(leg: &LegFigures) -> String {
    let Some(PairFigures { local, remote, .. }) = &leg.pair else { return leg.state.clone() };
    let end = |end: &EndpointFigures| format!("{} {}:{}", end.transport, end.address, end.port);
    format!("{} -> {}", end(local), end(remote))
}

fn bitrate(bits_per_second: u64) -> String {
    match bits_per_second {
        0..1_000_000 => format!("{} kb/s", bits_per_second / 1000),
        more => format!("{:.2} Mb/s", more as f64 / 1e6),
    }
}

/// Draws in place on a terminal, and one line after the other elsewhere.
#[derive(Debug, Default)]
pub struct Screen {
    drawn: usize,
}

impl Screen {
    /// Shows the lines instead of those shown before.
    pub fn draw(&mut self, lines: &[String]) {
        let mut out = io::stdout().lock();
        let text = if out.is_terminal() {
            let up = if self.drawn > 0 { format!("\x1b[{}F", self.drawn) } else { String::new() };
            let lines: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
            // No wrapping meanwhile: a line that is too long for a narrow terminal is cut.
            format!("\x1b[?7l{up}{lines}\x1b[J\x1b[?7h")
        } else {
            format!("{}\n", lines.join(" | "))
        };
        self.drawn = lines.len();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_transport_size_rate_and_faults() {
        let mut figures = CallFigures { elapsed_ms: 83_000, ..CallFigures::default() };
        let end = |port| EndpointFigures { transport: "tcp".into(), address: "10.0.0.2".into(), port };
        figures.publish.pair = Some(PairFigures { local: end(50000), remote: end(40001), via: None });
        figures.publish.video.width = 1280;
        figures.publish.video.height = 720;
        figures.publish.video.bits_per_second = 1_040_000;
        figures.publish.video.frames_per_second = 29.97;
        figures.publish.video.codec = "x264enc".into();
        figures.publish.audio.bits_per_second = 37_400;
        figures.receive.state = "new".into();
        let faults = [("camera-unavailable".to_owned(), "no camera".to_owned())];
        let view = View { state: "active", faults: &faults, figures: &figures, outside: &Watched::default() };
        let lines = view.lines();
        assert_eq!(lines[0], "state     active  01:23");
        assert_eq!(lines[1], "sends     1280x720  30.0 frames/s  1.04 Mb/s  x264enc  sound 37 kb/s");
        assert_eq!(lines[2], "          tcp 10.0.0.2:50000 -> tcp 10.0.0.2:40001");
        assert_eq!(lines[4], "          new");
        assert_eq!(lines[7], "fault     camera-unavailable: no camera");
    }
}

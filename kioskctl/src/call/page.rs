//! The page that `kioskctl call status` shows: what a technician wants to know, on one screen.

use super::bus::Status;
use kiosk_proto::figures::{
    AudioFigures, CallFigures, EndpointFigures, GateFigures, LegFigures, LinkFigures, VideoFigures,
};
use std::fmt::Write;

/// Lays out a status as text.
pub fn page(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", format!("{label:<12}{value}").trim_end());
    };
    line("state", status.state.clone());
    for fault in &status.faults {
        line("FAULT", format!("{}: {}", fault.code, fault.message));
    }
    if !status.call_id.is_empty() {
        call(&status.call_id, &status.figures, &mut line);
    }
    let (sockets, process) = (&status.figures.sockets, &status.figures.process);
    line(
        "sockets",
        format!(
            "{} TCP connected, {} TCP listening, {} UDP (at most {} in {} looks)",
            sockets.tcp_connected, sockets.tcp_listening, sockets.udp, sockets.udp_peak, sockets.samples
        ),
    );
    line(
        "daemon",
        format!(
            "version {}, {:.1} MB (peak {:.1} MB), {:.1} s of CPU, {} threads, {} file descriptors",
            status.version,
            megabytes(process.rss_kib),
            megabytes(process.rss_peak_kib),
            process.cpu_seconds,
            process.threads,
            process.fds
        ),
    );
    text
}

fn call(id: &str, figures: &CallFigures, line: &mut impl FnMut(&str, String)) {
    line("call", format!("{id}, {:.1} s", seconds(figures.elapsed_ms)));
    let setup = &figures.setup;
    line(
        "set-up",
        format!(
            "signalling {}, joined {}, media connected {}, agent's media {}",
            milliseconds(setup.signalling_ms),
            milliseconds(setup.joined_ms),
            milliseconds(setup.webrtcup_ms),
            milliseconds(setup.agent_media_ms)
        ),
    );
    for (label, leg) in [("sending", &figures.publish), ("receiving", &figures.receive)] {
        line(label, connection(leg));
        if leg.pair.is_some() {
            line("", video(&leg.video));
            line("", audio(&leg.audio));
        }
    }
    if figures.publish.pair.is_some() {
        line("link", link(&figures.link));
        line("", gate(&figures.publish.gate));
    }
}

fn link(link: &LinkFigures) -> String {
    format!(
        "{:.0} ms of queue (at most {:.0}), RTT {:.0} ms, encoder asked for {} kb/s, {} frames left out, {} segments sent again",
        link.queue_delay_ms,
        link.queue_delay_peak_ms,
        link.smoothed_rtt_ms,
        link.target_bits_per_second / 1000,
        link.frames_left_out,
        link.retransmits
    )
}

fn gate(gate: &GateFigures) -> String {
    let (picture, sound) = (&gate.video, &gate.audio);
    format!(
        "packets of picture/sound: {}/{} sent, {}/{} waiting, {}/{} left out as too late, {} lost",
        picture.packets_out,
        sound.packets_out,
        picture.queued_packets,
        sound.queued_packets,
        picture.packets_discarded,
        sound.packets_discarded,
        gate.packets_lost
    )
}

fn connection(leg: &LegFigures) -> String {
    let state = if leg.state.is_empty() { "no connection" } else { leg.state.as_str() };
    match &leg.pair {
        Some(pair) => {
            let via = pair.via.as_ref().map_or_else(String::new, |via| format!(" by way of {via}"));
            format!("{state}, {} -> {}{via}", endpoint(&pair.local), endpoint(&pair.remote))
        }
        None => state.to_owned(),
    }
}

fn endpoint(end: &EndpointFigures) -> String {
    let address = if end.address.contains(':') { format!("[{}]", end.address) } else { end.address.clone() };
    format!("{} {address}:{}", end.transport, end.port)
}

fn video(video: &VideoFigures) -> String {
    format!(
        "video {}x{}, {:.1} frames/s, {} kb/s, {} frames, {}",
        video.width,
        video.height,
        video.frames_per_second,
        video.bits_per_second / 1000,
        video.frames,
        if video.codec.is_empty() { "no codec" } else { &video.codec }
    )
}

fn audio(audio: &AudioFigures) -> String {
    let peak = audio.peak_dbfs.map(|peak| format!(", peak {peak:.0} dBFS")).unwrap_or_default();
    format!("audio {} kb/s, {} packets{peak}", audio.bits_per_second / 1000, audio.packets)
}

fn milliseconds(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value} ms"))
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

#[cfg(test)]
mod tests {
    use super::super::bus::Fault;
    use super::*;
    use kiosk_proto::figures::{PairFigures, ProcessFigures, QueueFigures, SetupFigures, SocketFigures};
    use kiosk_proto::via::Via;

    fn status(figures: CallFigures, state: &str, faults: Vec<Fault>) -> Status {
        Status { state: state.into(), call_id: figures.call_id.clone(), faults, figures, version: "0.1.0".into() }
    }

    fn end(address: &str, port: u16) -> EndpointFigures {
        EndpointFigures { transport: "tcp".into(), address: address.into(), port }
    }

    #[test]
    fn a_call() {
        let figures = CallFigures {
            call_id: "c-1".into(),
            elapsed_ms: 61_500,
            setup: SetupFigures {
                signalling_ms: Some(31),
                joined_ms: Some(40),
                webrtcup_ms: Some(212),
                agent_media_ms: None,
            },
            publish: LegFigures {
                state: "connected".into(),
                pair: Some(PairFigures {
                    local: end("192.0.2.7", 51_000),
                    remote: end("2001:db8::1", 40_001),
                    via: Some(Via::Proxy("192.0.2.9:3128".into())),
                }),
                video: VideoFigures {
                    width: 1280,
                    height: 720,
                    frames: 1800,
                    frames_per_second: 29.97,
                    bits_per_second: 1_012_345,
                    codec: "x264enc".into(),
                },
                audio: AudioFigures { packets: 3000, bits_per_second: 32_000, peak_dbfs: Some(-12.4) },
                gate: GateFigures {
                    video: QueueFigures { packets_out: 5123, queued_packets: 2, ..QueueFigures::default() },
                    audio: QueueFigures { packets_out: 3000, packets_discarded: 1, ..QueueFigures::default() },
                    ..GateFigures::default()
                },
            },
            receive: LegFigures::default(),
            link: LinkFigures {
                smoothed_rtt_ms: 21.3,
                queue_delay_ms: 4.2,
                queue_delay_peak_ms: 96.0,
                target_bits_per_second: 1_000_000,
                frames_left_out: 3,
                retransmits: 7,
                ..LinkFigures::default()
            },
            sockets: SocketFigures { tcp_connected: 2, tcp_listening: 2, udp: 0, udp_peak: 0, samples: 61 },
            process: ProcessFigures { rss_peak_kib: 78_125, rss_kib: 68_359, cpu_seconds: 21.4, fds: 40, threads: 22 },
        };
        insta::assert_snapshot!(page(&status(figures, "waiting", Vec::new())));
    }

    #[test]
    fn no_call_and_no_camera() {
        let fault = Fault { code: "camera-unavailable".into(), message: "/dev/video0: no such device".into() };
        insta::assert_snapshot!(page(&status(CallFigures::default(), "idle", vec![fault])));
    }
}

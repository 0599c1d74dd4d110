//! The daemon sends a recording with time codes through the real Janus; the receiver reads in every frame and tone when it
//! was captured, and how much of the picture is left.

#![allow(clippy::unwrap_used)]

use kiosk_harness::{
    Error, Result,
    janus::{Janus, JanusOptions, ROOM, WS_PORT},
    kiosk::{Kiosk, KioskConfig},
    link::record::{Frame, Line, Medium, ReceiverOptions, Subscription, Tone},
    scene::SETUP,
    wait::until,
    world::{Host, World, scenario},
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

/// A receiver of the kiosk's room; its lines go to a file.
fn receive(world: &World, janus: &Janus, recording: &Path) -> Result<(kiosk_harness::process::Process, PathBuf)> {
    let tokens = janus.agent_tokens(ROOM)?;
    let publisher = Subscription { name: "kiosk".into(), room: ROOM, room_token: tokens.room_token };
    let options = ReceiverOptions {
        server: format!("ws://127.0.0.1:{WS_PORT}/"),
        token: tokens.token,
        publishers: vec![publisher],
        recording: Some(recording.display().to_string()),
        quality_every: 2,
    };
    let (file, lines) = (world.dir().join("receiver.json"), world.dir().join("receiver.lines"));
    fs::write(&file, serde_json::to_string(&options).unwrap()).map_err(Error::io("receiver.json"))?;
    let place = world.at(Host::Server)?;
    let mut command = place.command("sh");
    let script = "exec \"$0\" \"$1\" > \"$2\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_link-receiver")]).arg(&file).arg(&lines);
    File::create(&lines).map_err(Error::io("receiver.lines"))?;
    command.stdin(Stdio::piped());
    Ok((place.spawn_piped("receiver", &mut command)?, lines))
}

fn read(lines: &Path) -> Result<(Vec<Frame>, Vec<Tone>, Vec<Line>)> {
    let text = fs::read_to_string(lines).map_err(Error::io("receiver.lines"))?;
    let (mut frames, mut tones, mut others) = (Vec::new(), Vec::new(), Vec::new());
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        match serde_json::from_str(line).map_err(Error::json("a line of the receiver"))? {
            Line::Frame(frame) => frames.push(frame),
            Line::Tone(tone) => tones.push(tone),
            other => others.push(other),
        }
    }
    Ok((frames, tones, others))
}

#[test]
fn every_frame_and_tone_says_when_it_was_captured() {
    scenario(|world| {
        let recording = world.dir().join("recording.y4m");
        let count = kiosk_link_media::recording::make(None, &recording).unwrap();
        let mut options = JanusOptions::new(Host::Server.address());
        options.ws_port = Some(WS_PORT);
        let janus = Janus::start(&world.at(Host::Server)?, options)?;
        let config = KioskConfig::new("kiosk-1", &janus, ROOM)?
            .with("camera", "source", "file")
            .with("camera", "file", recording.display().to_string())
            .with("camera", "time_code", true)
            .with("audio", "source", "tone-code");
        let kiosk = Kiosk::start(&world.at(Host::Kiosk)?, "kioskd", &config)?;
        let (mut receiver, lines) = receive(world, &janus, &recording)?;
        kiosk.start_call()?;
        // More than the recording is long, so that it starts over.
        let enough = || {
            receiver.must_run()?;
            let (frames, tones, _) = read(&lines)?;
            Ok((frames.len() > count + 60 && tones.len() > 40).then_some(()))
        };
        until(SETUP, "frames and tones with codes", enough).map_err(|error| receiver.explain(error))?;

        let (mut frames, tones, others) = read(&lines)?;
        frames.sort_by_key(|frame| frame.shown_us);
        assert!(frames.iter().all(|frame| (frame.width, frame.height) == (1280, 720)));
        assert!(frames.windows(2).all(|two| two[0].captured_us < two[1].captured_us), "frames came in order");
        for frame in &frames {
            assert!(frame.shown_us >= frame.captured_us && frame.index.is_some(), "{frame:?}");
        }
        assert!(tones.iter().all(|tone| tone.heard_us >= tone.sent_us), "{tones:?}");
        let judged: Vec<f64> = frames.iter().filter_map(|frame| frame.ssim).collect();
        let mean = judged.iter().sum::<f64>() / judged.len() as f64;
        // A generated picture of fine rings is hard to keep at 1 Mb/s; a wrong frame of it has next to nothing in common.
        assert!(judged.len() * 3 > frames.len() && mean > 0.5, "{} of {}: {mean}", judged.len(), frames.len());
        assert!(others.iter().any(|line| matches!(line, Line::Up { .. })), "{others:?}");
        for medium in [Medium::Video, Medium::Audio] {
            let last = others.iter().rev().find_map(|line| match line {
                Line::Rtp(rtp) if rtp.medium == medium => Some(rtp),
                _ => None,
            });
            assert!(last.is_some_and(|rtp| rtp.received > 100 && rtp.received == rtp.expected), "{last:?}");
        }
        let delays = |mut all: Vec<u64>| {
            all.sort_unstable();
            (all[all.len() / 2] / 1000, all[all.len() * 95 / 100] / 1000)
        };
        println!("picture: {:?} ms", delays(frames.iter().map(|f| f.shown_us - f.captured_us).collect()));
        println!("sound: {:?} ms", delays(tones.iter().map(|t| t.heard_us - t.sent_us).collect()));
        println!("SSIM: {mean}, judged {} of {}", judged.len(), frames.len());
        kiosk.end_call()
    });
}

//! The camera is lost in a call and comes back: the agent sees a picture that says so, and the call goes on.
//!
//! The camera is a recording here, broken in place and mended; tests/lab does the same to a real V4L2 device.

use gstreamer as gst;
use gstreamer::prelude::*;
use kiosk_harness::{
    Error, Result,
    agent::Browser,
    scene::{self, SETUP},
    wait::until,
    world::{repository, scenario},
};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The picture's fields, in luma from 0 to 255.
type Fields = Vec<f64>;
const COLUMNS: usize = 16;
const ROWS: usize = 9;
/// Mean difference of two pictures: below, they are the same but for the codec; the recording is much further off.
const SAME: f64 = 10.0;
/// Mean difference of the recording's pictures and the slate is more.
const FAR: f64 = 50.0;

/// How long the agent may look at a picture that stands still, and how long the camera may take to be back. Each more
/// than what is promised (about 1 s, and 5 s), for a machine that is busy with other things.
const FROZEN_MS: f64 = 10_000.0;
const BACK: Duration = Duration::from_secs(20);
/// The daemon reads the recording ahead, up to a second of it or two; that much of it is still shown.
const LOST: Duration = Duration::from_secs(20);

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Other(format!("GStreamer: {error}"))
}

/// Runs a pipeline to its end.
fn play(description: &str) -> Result<()> {
    let pipeline = gst::parse::launch(description).map_err(failed)?;
    pipeline.set_state(gst::State::Playing).map_err(failed)?;
    let bus = pipeline.bus().ok_or_else(|| failed("no bus"))?;
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends);
    pipeline.set_state(gst::State::Null).map_err(failed)?;
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => Err(failed(error.error())),
        _ => Err(failed(format!("{description} does not end"))),
    }
}

/// The substitute picture, as the probe in the agent's browser measures pictures.
fn slate(dir: &Path) -> Result<Fields> {
    const WIDTH: usize = 1280;
    let (png, raw) = (repository().join("src/media/slate.png"), dir.join("slate.rgb"));
    play(&format!(
        "filesrc location={} ! pngdec ! videoconvert ! video/x-raw,format=RGB,width={WIDTH},height=720 ! filesink location={}",
        png.display(),
        raw.display()
    ))?;
    let bytes = fs::read(&raw).map_err(Error::io("slate.rgb"))?;
    let mut fields = vec![0.0; COLUMNS * ROWS];
    let side = WIDTH / COLUMNS;
    for (index, pixel) in bytes.chunks_exact(3).enumerate() {
        let luma = 0.299 * f64::from(pixel[0]) + 0.587 * f64::from(pixel[1]) + 0.114 * f64::from(pixel[2]);
        fields[index / WIDTH / side * COLUMNS + index % WIDTH / side] += luma / (side * side) as f64;
    }
    Ok(fields)
}

/// Mean difference of two pictures.
fn difference(one: &Fields, other: &Fields) -> f64 {
    assert_eq!((one.len(), other.len()), (COLUMNS * ROWS, COLUMNS * ROWS));
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).sum::<f64>() / one.len() as f64
}

/// What the agent saw, and when, in milliseconds since 1970.
fn pictures(agent: &Browser) -> Vec<(f64, Fields)> {
    let fields = |picture: &Value| picture["luma"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    let at = |picture: &Value| picture["at_ms"].as_f64().unwrap_or(0.0);
    agent.events("picture").iter().map(|picture| (at(picture), fields(picture))).collect()
}

/// The agent's last picture: when it was seen, and how far it is from another.
fn distance(agent: &Browser, from: &Fields) -> Option<(f64, f64)> {
    pictures(agent).pop().map(|(at, picture)| (at, difference(&picture, from)))
}

/// For how long the picture stood still before the slate came. The recording never does.
fn frozen_ms(agent: &Browser, slate: &Fields, begin: f64) -> f64 {
    let seen = pictures(agent);
    let shown = seen.iter().position(|(at, picture)| *at > begin && difference(picture, slate) < SAME);
    let shown = shown.unwrap_or(seen.len() - 1);
    let moved =
        seen[..shown].windows(2).rposition(|pair| difference(&pair[1].1, slate) > FAR && pair[0].1 != pair[1].1);
    seen[shown].0 - moved.map_or(0.0, |index| seen[index + 1].0)
}

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

/// Waits until the agent sees the slate, or sees something else; milliseconds since `begin`.
fn sees(agent: &mut Browser, slate: &Fields, wanted: bool, begin: f64, timeout: Duration) -> Result<f64> {
    let what = if wanted { "the agent to see that the camera is unavailable" } else { "the agent to see the camera" };
    let result = until(timeout, what, || {
        agent.process().must_run()?;
        let seen = distance(agent, slate).filter(|(at, difference)| *at > begin && (*difference < SAME) == wanted);
        Ok(seen.map(|(at, _)| at - begin))
    });
    result.map_err(|error| match error {
        Error::Timeout { what, after, .. } => {
            Error::Timeout { what, after, log: format!("when, how far from the slate: {:?}", distance(agent, slate)) }
        }
        other => other,
    })
}

#[test]
fn a_camera_that_is_lost_and_comes_back_does_not_disturb_the_call() {
    scenario(|world| {
        gst::init().map_err(failed)?;
        let slate = slate(world.dir())?;
        let file = world.dir().join("recording.mkv");
        play(&format!(
            "videotestsrc num-buffers=60 pattern=smpte horizontal-speed=4 ! video/x-raw,width=1280,height=720,framerate=30/1 \
             ! jpegenc quality=70 ! matroskamux ! filesink location={}",
            file.display()
        ))?;
        let recording = fs::read(&file).map_err(Error::io("recording"))?;
        let write = |bytes: &[u8]| fs::write(&file, bytes).map_err(Error::io("recording"));

        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let config = config.with("camera", "source", "file").with("camera", "file", file.display().to_string());
        let mut kiosk = scene::kiosk(world, &config)?;
        kiosk.start_call()?;
        let mut agent = scene::agent(world, &janus)?;
        scene::flows(&mut kiosk, &mut agent, SETUP)?;
        agent.tell("watch")?;
        sees(&mut agent, &slate, false, 0.0, SETUP)?;
        // Longer than the recording is: it starts over.
        let start = agent.stats()?.frames_decoded;
        agent.wait_stats(SETUP, "the recording to be repeated", |stats| stats.frames_decoded > start + 75)?;
        assert_eq!(kiosk.faults()?, []);
        let pairs = |kiosk: &kiosk_harness::kiosk::Kiosk| kiosk.figures().map(|f| (f.publish.pair, f.receive.pair));
        let before = pairs(&kiosk)?;
        assert!(before.0.is_some() && before.1.is_some());
        let connected = agent.events("connected").len();
        let set_up = kiosk.process().log_text().len();

        for (how, broken) in [("cut short", Vec::new()), ("garbage", vec![0xa5; recording.len()])] {
            let begin = now_ms();
            write(&broken)?;
            let lost = sees(&mut agent, &slate, true, begin, LOST)?;
            let frozen = frozen_ms(&agent, &slate, begin);
            println!("{how}: unavailable after {lost:.0} ms, of which the picture stood still for {frozen:.0} ms");
            assert!(frozen < FROZEN_MS, "the picture stood still for {frozen} ms");
            let message = kiosk.wait_fault("camera-unavailable", LOST)?;
            assert!(message.contains("recording.mkv"), "{message}");
            assert!(kiosk.process().log_text().contains(&message));

            // While the substitute is shown, the call goes on: new pictures of it, and the kiosk's sound.
            let at = agent.stats()?;
            agent.wait_stats(SETUP, "pictures and sound without a camera", |stats| {
                stats.frames_decoded > at.frames_decoded + 5
                    && stats.audio.packets > at.audio.packets + 50
                    && stats.audio.energy > at.audio.energy
            })?;
            assert_eq!(kiosk.state()?, "active");
            assert!(distance(&agent, &slate).is_some_and(|(_, difference)| difference < SAME));

            let begin = now_ms();
            write(&recording)?;
            let back = sees(&mut agent, &slate, false, begin, BACK)?;
            kiosk.wait_no_fault(BACK)?;
            println!("{how}: the camera is back after {back:.0} ms");
            scene::flows(&mut kiosk, &mut agent, SETUP)?;
            assert_eq!(pairs(&kiosk)?, before, "the connections are what they were");
        }
        assert_eq!(agent.events("connected").len(), connected);
        assert!(!kiosk.process().log_text()[set_up..].contains("starting over"));
        Ok(())
    });
}

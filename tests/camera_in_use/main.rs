//! A camera that another program has, and one that is unplugged, by the daemon's own way to V4L2: the fault names the device
//! and what is wrong, the call goes on, and the camera is back by itself. The device is a regular file with a library in the
//! daemon that answers for it; tests/lab does the same with a real driver.

use kiosk_harness::{
    Error, Result,
    kiosk::Kiosk,
    process::run,
    scene::{self, SETUP},
    wait::until,
    world::{Host, World, repository, scenario},
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

fn library(world: &World) -> Result<PathBuf> {
    let library = world.dir().join("camera.so");
    let source = repository().join("tests/camera_in_use/camera.c");
    run(Command::new("cc").args(["-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source))?;
    Ok(library)
}

/// Waits for the camera's fault with these words, on D-Bus and in the log.
fn says(kiosk: &mut Kiosk, words: &[&str]) -> Result<()> {
    until(SETUP, &format!("a fault of the camera with {words:?}"), || {
        let all = kiosk.faults()?;
        let told = |text: &str| words.iter().all(|word| text.contains(word));
        let shown = all.iter().any(|(code, message)| code == "camera-unavailable" && told(message));
        let log = kiosk.process().log_text();
        Ok((shown && log.lines().any(|line| line.contains("camera-unavailable") && told(line))).then_some(()))
    })
}

/// Waits until nothing is wrong any more and new pictures leave.
fn recovers(kiosk: &mut Kiosk) -> Result<()> {
    kiosk.wait_no_fault(SETUP)?;
    let frames = kiosk.figures()?.publish.video.frames;
    kiosk.wait_figures(SETUP, "new pictures", |figures| figures.publish.video.frames > frames + 15).map(drop)
}

fn plug_in(node: &Path) -> Result<File> {
    File::create_new(node).map_err(Error::io(node.display().to_string()))
}

#[test]
fn a_camera_that_another_program_has_or_that_is_unplugged_is_named_and_comes_back() {
    scenario(|world| {
        let dev = tempfile::Builder::new().prefix("kiosk-").tempdir_in("/dev/shm").map_err(Error::io("/dev/shm"))?;
        let node = dev.path().join("video0");
        let name = node.display().to_string();
        let other_program = plug_in(&node)?;
        other_program.lock().map_err(Error::io(name.clone()))?;

        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?
            .with("camera", "source", "v4l2")
            .with("camera", "device", name.clone())
            .with("camera", "width", 320)
            .with("camera", "height", 240);
        let preload = [("LD_PRELOAD", library(world)?.display().to_string())];
        let mut kiosk = Kiosk::start_in(&world.at(Host::Kiosk)?, "kioskd", &config, &preload)?;
        kiosk.start_call()?;
        says(&mut kiosk, &[&name, "in use", "another program"])?;
        // The agent can be reached all the same, and sees the substitute picture.
        kiosk.wait_state("waiting", SETUP)?;
        let frames = kiosk.figures()?.publish.video.frames;
        kiosk.wait_figures(SETUP, "the substitute picture", |figures| figures.publish.video.frames > frames + 5)?;
        let pair = kiosk.figures()?.publish.pair;
        assert!(pair.is_some());

        other_program.unlock().map_err(Error::io(name.clone()))?;
        recovers(&mut kiosk)?;

        fs::remove_file(&node).map_err(Error::io(name.clone()))?;
        says(&mut kiosk, &[&name, "not there"])?;
        plug_in(&node)?;
        recovers(&mut kiosk)?;
        assert_eq!((kiosk.state()?.as_str(), kiosk.figures()?.publish.pair), ("waiting", pair), "the same call");

        // Between calls it is free for others.
        kiosk.end_call()?;
        kiosk.wait_state("idle", SETUP)?;
        let other_program = File::open(&node).map_err(Error::io(name.clone()))?;
        until(SETUP, "the camera to be free", || Ok(other_program.try_lock().ok()))
    });
}

//! The daemon as a service: ends cleanly, reads its configuration again, and tells systemd the truth.

use kiosk_harness::{
    Error, Result,
    kiosk::Kiosk,
    scene::{self, SETUP, Scene},
    wait::until,
    world::{Host, World, scenario},
};
use nix::sys::signal::Signal;
use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_stop_ends_the_call_within_three_seconds_and_leaves_the_room() {
    scenario(|world| {
        let mut scene = Scene::start(world)?;
        let destroyed = |scene: &mut Scene| scene.janus.process().log_text().matches("Destroying session").count();
        let before = destroyed(&mut scene);
        let begin = Instant::now();
        let status = scene.kiosk.process().terminate(SETUP)?;
        println!("measured: stopped in {:.2?}", begin.elapsed());
        assert!(status.success(), "{status}");
        // It takes the time itself, and says so if it had to break off.
        let log = scene.kiosk.process().log_text();
        assert!(!log.contains("the call did not end within 3 s"), "{log}");
        // A session whose socket is merely gone stays for 45 s.
        until(Duration::from_secs(20), "the kiosk's farewell at Janus", || {
            Ok((destroyed(&mut scene) == before + 1).then_some(()))
        })?;

        // Nothing of the old call is in the way of the next one; the agent need not do anything.
        scene.kiosk.restart()?;
        scene.kiosk.start_call()?;
        scene.flows(SETUP)
    });
}

/// Waits until three readings in a row show this bitrate, in kbit/s.
fn steady(kiosk: &mut Kiosk, kbps: std::ops::Range<f64>) -> Result<f64> {
    let (mut last, mut good) = (0, 0);
    until(SETUP, &format!("a bitrate of {kbps:?} kbit/s"), || {
        let figures = kiosk.figures()?;
        if figures.elapsed_ms == last || figures.publish.video.frames_per_second == 0.0 {
            return Ok(None);
        }
        last = figures.elapsed_ms;
        let video = &figures.publish.video;
        let rate = video.bits_per_second as f64 / 1000.0;
        good = if kbps.contains(&rate) { good + 1 } else { 0 };
        Ok((good == 3).then_some(rate))
    })
    .map_err(|error| kiosk.process().explain(error))
}

#[test]
fn a_reload_changes_the_bitrate_of_the_call_and_a_broken_file_changes_nothing() {
    scenario(|world| {
        let mut scene = Scene::start(world)?;
        let (kiosk, config) = (&mut scene.kiosk, scene::kiosk_config(&scene.janus)?);
        let high = steady(kiosk, 700.0..1300.0)?;

        kiosk.write_config(&config.clone().with("video", "bitrate_kbps", 300))?;
        kiosk.process().signal(Signal::SIGHUP)?;
        let low = steady(kiosk, 200.0..400.0)?;
        println!("measured: {high:.0} kbit/s before, {low:.0} kbit/s after");

        kiosk.write_config(&config.clone().with("video", "bitrate_kbps", "fast").with("camera", "widht", 640))?;
        kiosk.process().signal(Signal::SIGHUP)?;
        kiosk.process().wait_log("the configuration stays as it was", SETUP)?;
        kiosk.process().wait_log("bitrate_kbps", SETUP)?;
        kiosk.process().wait_log("widht", SETUP)?;
        steady(kiosk, 200.0..400.0)?;

        kiosk.write_config(&config)?;
        kiosk.process().signal(Signal::SIGHUP)?;
        steady(kiosk, 700.0..1300.0)?;
        scene.flows(SETUP)
    });
}

/// What systemd would hear.
struct Systemd {
    socket: UnixDatagram,
}

/// The watchdog's period that the daemon is told; it is to ping more often.
const WATCHDOG: Duration = Duration::from_secs(2);

impl Systemd {
    fn listen(world: &World) -> Result<(Self, Vec<(&'static str, String)>)> {
        let path = world.dir().join("notify");
        let socket = UnixDatagram::bind(&path).map_err(Error::io("the socket for notifications"))?;
        let environment =
            vec![("NOTIFY_SOCKET", path.display().to_string()), ("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())];
        Ok((Self { socket }, environment))
    }

    /// The next message that arrives within this time.
    fn next(&self, timeout: Duration) -> Result<Option<String>> {
        let mut buffer = [0; 4096];
        let failed = Error::io("notification");
        if timeout.is_zero() {
            self.socket.set_nonblocking(true).map_err(failed)?;
        } else {
            self.socket
                .set_nonblocking(false)
                .and_then(|()| self.socket.set_read_timeout(Some(timeout)))
                .map_err(failed)?;
        }
        match self.socket.recv(&mut buffer) {
            Ok(length) => Ok(Some(String::from_utf8_lossy(&buffer[..length]).into_owned())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(Error::io("notification")(error)),
        }
    }

    /// Waits for a message that has this line.
    fn hears(&self, wanted: &str, timeout: Duration) -> Result<String> {
        until(timeout, &format!("{wanted} at systemd's socket"), || {
            let message = self.next(Duration::from_millis(100))?;
            Ok(message.filter(|message| message.lines().any(|line| line == wanted)))
        })
    }

    /// Forgets what has arrived.
    fn drain(&self) -> Result<()> {
        while self.next(Duration::ZERO)?.is_some() {}
        Ok(())
    }
}

#[test]
fn systemd_hears_when_the_daemon_is_ready_alive_reloading_hanging_and_stopping() {
    scenario(|world| {
        let (systemd, environment) = Systemd::listen(world)?;
        let janus = scene::janus(world)?;
        // A pipe without a writer in the place of a token: opening it waits. It is how the task of the call is made to
        // hang from outside.
        let pipe = world.dir().join("token.pipe");
        world.run(Host::Kiosk, "mkfifo", &[&pipe.display().to_string()])?;
        let config = scene::kiosk_config(&janus)?.with("janus", "token_file", pipe.display().to_string());
        let mut kiosk = Kiosk::start_in(&world.at(Host::Kiosk)?, "kioskd", &config, &environment)?;
        systemd.hears("READY=1", SETUP)?;

        for _ in 0..4 {
            systemd.hears("WATCHDOG=1", SETUP)?;
        }

        kiosk.process().signal(Signal::SIGHUP)?;
        let reloading = systemd.hears("RELOADING=1", SETUP)?;
        assert!(reloading.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading}");
        systemd.hears("READY=1", SETUP)?;

        assert!(kiosk.start_call().is_err(), "the call's task does not hang");
        kiosk.process().wait_log("the watchdog is not fed", SETUP)?;
        systemd.drain()?;
        thread::sleep(2 * WATCHDOG);
        assert_eq!(systemd.next(Duration::ZERO)?, None, "a daemon that hangs said that it lives");
        kiosk.process().must_run()?;

        // It was the hang, and nothing else: with its end the pings come again, and the call comes up.
        let (token, _) = janus.kiosk_token_files(kiosk_harness::janus::ROOM)?;
        let mut token = File::open(&token).map_err(Error::io("the token"))?;
        let mut writer = fs::OpenOptions::new().write(true).open(&pipe).map_err(Error::io("the pipe"))?;
        std::io::copy(&mut token, &mut writer).map_err(Error::io("the pipe"))?;
        drop(writer);
        systemd.hears("WATCHDOG=1", SETUP)?;
        kiosk.wait_state("waiting", SETUP)?;

        systemd.drain()?;
        kiosk.process().signal(Signal::SIGTERM)?;
        systemd.hears("STOPPING=1", SETUP)?;
        let status = kiosk.process().wait(SETUP)?;
        assert!(status.success(), "{status}");
        Ok(())
    });
}

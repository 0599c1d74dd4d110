//! What can be wrong at a site: each has its own code and a message that names the thing and what to do, on D-Bus and
//! in the log; the daemon stays up, the call goes on as far as it can, and all is well once the cause is gone.

use kiosk_harness::{
    Error, Result,
    janus::{Janus, ROOM},
    kiosk::{Kiosk, KioskConfig},
    scene,
    tls::ServerIdentity,
    wait::until,
    world::{Host, World, scenario},
};
use nix::sys::signal::Signal;
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a fault gets to show, and to go once its cause is gone: the back-off goes up to 15 s, and a media connection
/// is given up after 12 s.
const TURN: Duration = Duration::from_secs(45);

/// Waits for a fault. Its message holds all of `words`, and stands in the log too.
fn says(kiosk: &mut Kiosk, code: &str, words: &[&str]) -> Result<()> {
    let message = kiosk.wait_fault(code, TURN)?;
    for word in words {
        assert!(message.contains(word), "the fault {code} does not say {word:?}: {message}");
    }
    let log = kiosk.process().log_text();
    let told = log.lines().any(|line| line.contains(code) && words.iter().all(|word| line.contains(word)));
    assert!(told, "no line about {code} with {words:?} in\n{log}");
    Ok(())
}

/// Waits until the kiosk is in its room, and nothing is wrong any more.
fn recovers(kiosk: &mut Kiosk) -> Result<()> {
    kiosk.wait_state("waiting", TURN)?;
    kiosk.wait_no_fault(TURN)
}

/// Janus, and a kiosk in a call that can't come up yet.
fn kiosk(world: &World, config: &KioskConfig) -> Result<Kiosk> {
    let kiosk = scene::kiosk(world, config)?;
    kiosk.start_call()?;
    Ok(kiosk)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(path.display().to_string()))
}

/// A second of darkness, 320x240 at 30 frames/s, as YUV4MPEG2.
fn film() -> String {
    format!(
        "YUV4MPEG2 W320 H240 F30:1 Ip C420jpeg\n{}",
        format!("FRAME\n{}", "\u{10}".repeat(320 * 240 * 3 / 2)).repeat(30)
    )
}

fn restart(janus: &mut Janus) -> Result<()> {
    janus.kill()?;
    janus.restart()
}

#[test]
fn a_server_that_does_not_run() {
    scenario(|world| {
        let mut janus = scene::janus(world)?;
        janus.kill()?;
        let mut kiosk = kiosk(world, &scene::kiosk_config(&janus)?)?;
        says(&mut kiosk, "server-unreachable", &["10.77.1.2:8989", "Connection refused", "is the server running"])?;
        janus.restart()?;
        recovers(&mut kiosk)
    });
}

#[test]
fn a_certificate_of_another_authority_for_another_name_or_expired() {
    scenario(|world| {
        let mut janus = scene::janus(world)?;
        let identity = janus.identity().clone();
        let dir = identity.ca.parent().unwrap_or(world.dir());
        let address = Host::Server.address().to_string();

        let ours = fs::read_to_string(&identity.ca).map_err(Error::io("ca.pem"))?;
        let elsewhere = world.dir().join("elsewhere");
        fs::create_dir(&elsewhere).map_err(Error::io("elsewhere"))?;
        let other = ServerIdentity::create(&elsewhere, &[&address])?;
        fs::copy(&other.ca, &identity.ca).map_err(Error::io("ca.pem"))?;
        let mut kiosk = kiosk(world, &scene::kiosk_config(&janus)?)?;
        says(&mut kiosk, "server-certificate", &["10.77.1.2:8989", "janus.ca_file must hold the CA"])?;
        write(&identity.ca, &ours)?;
        recovers(&mut kiosk)?;
        kiosk.end_call()?;

        janus.kill()?;
        ServerIdentity::create_until(dir, &[&address], 2024)?;
        janus.restart()?;
        kiosk.start_call()?;
        says(&mut kiosk, "server-certificate", &["10.77.1.2:8989", "expired", "renew the server's certificate"])?;
        janus.kill()?;
        ServerIdentity::create(dir, &["janus.example"])?;
        janus.restart()?;
        until(TURN, "the next fault", || {
            Ok(kiosk.faults()?.iter().any(|(_, message)| message.contains("another name")).then_some(()))
        })?;
        says(&mut kiosk, "server-certificate", &["is for another name", "janus.example", "compare it with janus.url"])?;
        janus.kill()?;
        ServerIdentity::create(dir, &[&address])?;
        janus.restart()?;
        recovers(&mut kiosk)
    });
}

#[test]
fn tokens_that_are_missing_wrong_or_expired() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let (token, room_token) = janus.kiosk_token_files(ROOM)?;
        let good = fs::read_to_string(&token).map_err(Error::io("token"))?;
        fs::remove_file(&token).map_err(Error::io("token"))?;
        let mut kiosk = kiosk(world, &config)?;
        let name = token.display().to_string();
        says(&mut kiosk, "secret-unreadable", &[&name, "janus.token_file"])?;

        let forged = good.replacen(char::is_numeric, "9", 1);
        write(&token, &forged)?;
        says(&mut kiosk, "token-refused", &["Janus error 403", "renew the file named by janus.token_file"])?;

        janus.kiosk_token_files_for(ROOM, "1s")?;
        let room_token_expired = fs::read_to_string(&room_token).map_err(Error::io("room token"))?;
        thread::sleep(Duration::from_secs(2));
        let seen = kiosk.process().log_text().matches("Janus error 403").count();
        until(TURN, "the expired token to be refused", || {
            Ok((kiosk.process().log_text().matches("Janus error 403").count() > seen).then_some(()))
        })?;

        janus.kiosk_token_files(ROOM)?;
        recovers(&mut kiosk)?;
        kiosk.end_call()?;

        write(&room_token, &room_token_expired)?;
        kiosk.start_call()?;
        says(&mut kiosk, "token-refused", &["Janus error 433", "janus.room_token_file"])?;
        janus.kiosk_token_files(ROOM)?;
        recovers(&mut kiosk)
    });
}

#[test]
fn a_room_that_does_not_exist_and_a_room_for_another_codec() {
    const ROOMS: &str = "janus.plugin.videoroom.jcfg";
    scenario(|world| {
        let mut janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let mut kiosk = kiosk(world, &config.clone().with("janus", "room", 4711))?;
        says(&mut kiosk, "room-unknown", &["Janus error 426", "4711", "compare janus.room"])?;
        kiosk.write_config(&config)?;
        kiosk.process().signal(Signal::SIGHUP)?;
        recovers(&mut kiosk)?;
        kiosk.end_call()?;

        janus.edit(ROOMS, "videocodec = \"h264\"", "videocodec = \"vp8\"")?;
        restart(&mut janus)?;
        kiosk.start_call()?;
        says(&mut kiosk, "room-codec", &["room 1001 does not take H.264", "videocodec = \"h264\"", ROOMS])?;
        janus.edit(ROOMS, "videocodec = \"vp8\"", "videocodec = \"h264\"")?;
        restart(&mut janus)?;
        recovers(&mut kiosk)
    });
}

#[test]
fn a_room_that_is_full() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let small = config.clone().with("camera", "width", 320).with("camera", "height", 240);
        // Under the kiosk's own name, as sessions of its own that the server has not dropped yet would be.
        let mut others = Vec::new();
        for (host, name) in [(Host::Kiosk2, "kiosk-2"), (Host::Agent2, "kiosk-3")] {
            let mut other = Kiosk::start(&world.at(host)?, name, &small)?;
            other.start_call()?;
            other.wait_state("waiting", TURN)?;
            others.push(other);
        }
        let mut kiosk = kiosk(world, &config)?;
        says(&mut kiosk, "room-full", &["Janus error 432", "another kiosk uses this room"])?;
        others[0].end_call()?;
        recovers(&mut kiosk)
    });
}

#[test]
fn media_ports_that_the_branch_does_not_open() {
    const CLOSED: &str = "table inet branch {\n\
        chain forward { type filter hook forward priority filter; tcp dport 40000-40099 drop; }\n}\n";
    scenario(|world| {
        let janus = scene::janus(world)?;
        world.nft(Host::Router, CLOSED)?;
        let mut kiosk = kiosk(world, &scene::kiosk_config(&janus)?)?;
        says(&mut kiosk, "media-unreachable", &["10.77.1.2:400", "open these TCP ports", "nat_1_1_mapping"])?;
        world.run(Host::Router, "nft", &["delete", "table", "inet", "branch"])?;
        recovers(&mut kiosk)
    });
}

#[test]
fn a_camera_or_an_encoder_that_is_not_there() {
    const ABSENT: &str = "/dev/video63";
    assert!(!Path::new(ABSENT).exists(), "this machine has {ABSENT}");
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let no_camera = config.clone().with("camera", "source", "v4l2").with("camera", "device", ABSENT);
        let mut kiosk = kiosk(world, &no_camera)?;
        says(&mut kiosk, "camera-unavailable", &[ABSENT, "camera.device"])?;
        // The agent can be reached all the same.
        kiosk.wait_state("waiting", TURN)?;
        kiosk.end_call()?;

        // One that is plugged in later: a recording stands for it, since no device can be made here.
        let recording = world.dir().join("camera.y4m");
        let name = recording.display().to_string();
        let later = config.clone().with("camera", "source", "file").with("camera", "file", name.clone());
        kiosk.reload(&later.with("camera", "width", 320).with("camera", "height", 240))?;
        kiosk.start_call()?;
        says(&mut kiosk, "camera-unavailable", &[&name])?;
        kiosk.wait_state("waiting", TURN)?;
        let unfinished = recording.with_extension("part");
        write(&unfinished, &film())?;
        fs::rename(&unfinished, &recording).map_err(Error::io(name))?;
        recovers(&mut kiosk)?;
        kiosk.end_call()?;

        kiosk.reload(&config.clone().with("video", "encoder", "mpph264enc"))?;
        kiosk.start_call()?;
        says(&mut kiosk, "no-encoder", &["mpph264enc: not installed", "`kioskd encoders`"])?;
        kiosk.write_config(&config)?;
        kiosk.process().signal(Signal::SIGHUP)?;
        recovers(&mut kiosk)
    });
}

#[test]
fn a_microphone_and_a_loudspeaker_that_are_not_there() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let alsa = world.dir().join("alsa.conf");
        write(&alsa, "# no device\n")?;
        let microphone = world.dir().join("microphone");
        let config = scene::kiosk_config(&janus)?
            .with("audio", "source", "alsa")
            .with("audio", "source_device", "counter_microphone")
            .with("audio", "sink", "alsa")
            .with("audio", "sink_device", "counter_speaker");
        let environment = [("ALSA_CONFIG_PATH", alsa.display().to_string())];
        let mut kiosk = Kiosk::start_in(&world.at(Host::Kiosk)?, "kioskd", &config, &environment)?;
        kiosk.start_call()?;
        says(&mut kiosk, "microphone-unavailable", &["counter_microphone", "audio.source_device"])?;
        says(&mut kiosk, "speaker-unavailable", &["counter_speaker", "audio.sink_device"])?;
        // The picture goes on its way all the same.
        kiosk.wait_state("waiting", TURN)?;
        let frames = kiosk.figures()?.publish.video.frames;
        kiosk.wait_figures(TURN, "new pictures", |figures| figures.publish.video.frames > frames + 10)?;

        // A loudspeaker that takes everything, and a microphone that hears what is written into a pipe.
        let fifo = Command::new("mkfifo").arg(&microphone).status().map_err(Error::io("mkfifo"))?;
        assert!(fifo.success());
        let hangs = Arc::new(AtomicBool::new(false));
        let heard = thread::spawn({
            let (microphone, hangs) = (microphone.clone(), Arc::clone(&hangs));
            move || speak(&microphone, &hangs)
        });
        let devices = format!(
            "pcm.counter_speaker {{ type null }}\n\
             pcm.counter_microphone {{ type file slave.pcm {{ type null }} file /dev/null infile \"{}\" format raw }}\n",
            microphone.display()
        );
        write(&alsa, &devices)?;
        recovers(&mut kiosk)?;
        let packets = kiosk.figures()?.publish.audio.packets;
        kiosk.wait_figures(TURN, "sound", |figures| figures.publish.audio.packets > packets + 50)?;

        // A microphone that hangs reports no error.
        hangs.store(true, Ordering::Relaxed);
        says(&mut kiosk, "sound-missing", &["no sound has left for 3 s", "the agent hears nothing"])?;
        hangs.store(false, Ordering::Relaxed);
        recovers(&mut kiosk)?;
        kiosk.end_call()?;
        drop(kiosk);
        assert!(heard.join().is_ok());
        Ok(())
    });
}

/// Silence, as fast as a microphone delivers it (48 kHz, mono, 16 bits), until nobody listens; nothing at all while it hangs.
fn speak(pipe: &Path, hangs: &AtomicBool) {
    const STEP: Duration = Duration::from_millis(20);
    let Ok(mut pipe) = File::options().write(true).open(pipe) else { return };
    let mut due = Instant::now();
    while hangs.load(Ordering::Relaxed) || pipe.write_all(&[0; 48_000 * 2 / 50]).is_ok() {
        due += STEP;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

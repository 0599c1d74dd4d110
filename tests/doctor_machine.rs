//! What `kioskd doctor` says of the kiosk's own machine: each of these checks passes where all is well, and does not where
//! the one thing that it looks at is bad.

use kiosk_harness::{
    Error, Result,
    bus::Bus,
    clock::Synchronised,
    doctor::{Found, doctor_in},
    kiosk::KioskConfig,
    machine::{Machine, Rauc},
    scene,
    wait::until,
    world::{Host, World, scenario},
};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// A kiosk whose server does not run: what is asked here needs none.
fn config(world: &World) -> Result<KioskConfig> {
    let mut janus = scene::janus(world)?;
    janus.kill()?;
    scene::kiosk_config(&janus)
}

type Environment = [(&'static str, String)];

/// The findings about the machine.
fn machine(world: &World, config: &KioskConfig, environment: &Environment) -> Result<Vec<Found>> {
    let (_, findings) = doctor_in(world, config, &["--no-call"], environment)?;
    Ok(findings.into_iter().filter(|(id, ..)| id.starts_with("machine.")).collect())
}

#[test]
fn each_thing_that_is_wrong_with_the_machine_is_named_alone() {
    scenario(|world| {
        let bus = Bus::start(&world.at(Host::Kiosk)?, "system")?;
        let config = config(world)?.with("control", "bus", bus.address());
        let environment = [("DBUS_SYSTEM_BUS_ADDRESS", bus.address())];
        let clock = Synchronised::on_bus(&bus.address(), true)?;
        let (well, rauc) = (Machine::new(world)?, Rauc::start(world, &bus.address())?);
        until(Duration::from_secs(15), "RAUC's service", || {
            let findings = machine(world, &config, &environment)?;
            assert!(findings.len() == 7, "{findings:?}");
            Ok(findings.iter().all(|(_, outcome, _)| outcome == "pass").then_some(()))
        })?;

        let alone = |id: &str, outcome: &str, words: &str| -> Result<()> {
            let findings = machine(world, &config, &environment)?;
            let (bad, good): (Vec<_>, Vec<_>) = findings.into_iter().partition(|(_, outcome, _)| outcome != "pass");
            let named = matches!(bad.as_slice(), [(found, how, seen)]
                if found == id && how == outcome && seen.contains(words));
            assert!(named && good.len() == 6, "wanted {id} {outcome} {words:?}: {bad:?}");
            Ok(())
        };
        well.write("class/thermal/thermal_zone1/temp", "85500\n")?;
        alone("machine.temperature", "warn", "85 °C")?;
        well.write("class/thermal/thermal_zone1/temp", "39000\n")?;
        well.write("class/watchdog/watchdog0/state", "inactive\n")?;
        alone("machine.watchdog", "warn", "is not used")?;
        well.write("class/watchdog/watchdog0/state", "active\n")?;
        well.write("meminfo", "MemTotal:        1884360 kB\nMemAvailable:     102400 kB\n")?;
        alone("machine.memory", "fail", "100 MB")?;
        well.write("meminfo", "MemTotal:        3884360 kB\nMemAvailable:    2884360 kB\n")?;
        well.write("net.ipv4.tcp_retries2", "15\n")?;
        alone("machine.sysctl", "warn", "net.ipv4.tcp_retries2 = 15")?;
        well.write("net.ipv4.tcp_retries2", "8\n")?;
        world.run_product(Host::Kiosk, "mount", &["-o", "remount,size=100m", "/var"])?;
        alone("machine.disk", "fail", "104 MB")?;
        world.run_product(Host::Kiosk, "mount", &["-o", "remount,size=1g", "/var"])?;

        for (question, bad, good, words) in [
            ("get-state-A", "bad", "good", "not marked good"),
            ("get-state-B", "bad", "good", "nothing good to fall back to"),
            ("get-primary", "B", "A", "starts rootfs.1 next time"),
        ] {
            rauc.says(question, bad)?;
            alone("machine.slots", "warn", words)?;
            rauc.says(question, good)?;
        }
        drop(clock);
        let _clock = Synchronised::on_bus(&bus.address(), false)?;
        alone("machine.clock", "warn", "not synchronised")
    });
}

/// Writes a sound into a microphone's pipe as fast as a sound card delivers it (48 kHz, mono, 16 bits), until nobody
/// listens. Above zero: something hums.
fn hum(pipe: &Path, loud: i16) {
    const STEP: Duration = Duration::from_millis(10);
    let Ok(mut pipe) = File::options().write(true).open(pipe) else { return };
    let period: Vec<u8> = (0..480).flat_map(|at| if at % 96 < 48 { loud } else { -loud }.to_le_bytes()).collect();
    let mut due = Instant::now();
    while pipe.write_all(&period).is_ok() {
        due += STEP;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

#[test]
fn a_microphone_that_is_muted_or_does_not_hear_the_loudspeaker_is_named() {
    scenario(|world| {
        let config = config(world)?
            .with("audio", "source", "alsa")
            .with("audio", "source_device", "counter_microphone")
            .with("audio", "sink", "alsa")
            .with("audio", "sink_device", "counter_speaker");
        let (alsa, pipe) = (world.dir().join("alsa.conf"), world.dir().join("microphone"));
        let text = format!(
            "pcm.counter_speaker {{ type null }}\n\
             pcm.counter_microphone {{ type file slave.pcm {{ type null }} file /dev/null infile \"{}\" format raw }}\n",
            pipe.display()
        );
        fs::write(&alsa, text).map_err(Error::io("alsa.conf"))?;
        let made = Command::new("mkfifo").arg(&pipe).status().map_err(Error::io("mkfifo"))?;
        assert!(made.success());
        let environment = [("ALSA_CONFIG_PATH", alsa.display().to_string())];
        for (loud, microphone, sound) in [(0, ("fail", "the loudest 0 of"), "warn"), (300, ("pass", "300 of"), "warn")]
        {
            let sounds = thread::spawn({
                let pipe = pipe.clone();
                move || hum(&pipe, loud)
            });
            let (_, findings) = doctor_in(world, &config, &["--no-call"], &environment)?;
            assert!(sounds.join().is_ok());
            let wanted = [
                ("device.speaker", ("pass", "plays")),
                ("device.microphone", microphone),
                ("device.sound", (sound, "0 tones understood")),
            ];
            for (id, (outcome, words)) in wanted {
                let found = findings.iter().find(|(found, ..)| found == id);
                let right = found.is_some_and(|(_, how, seen)| how == outcome && seen.contains(words));
                assert!(right, "{id} {outcome} {words:?}: {found:?}");
            }
        }
        Ok(())
    });
}

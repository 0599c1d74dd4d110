//! The kiosk itself: camera, encoder, firewall, disk, memory, temperature, clock, update slots.

use std::fs;
use std::path::Path;
use std::process::Command;

use kiosk_proto::check::machine::{self, Clock};
use kiosk_proto::check::{Finding, Text, firewall, slots};
use kiosk_proto::config::{CameraSource, Config};
use nix::sys::statvfs::statvfs;

use super::{sound, tls};
use crate::media::{encoder, v4l2};

/// Where journal and state lie.
const STATE: &str = "/var";

/// Everything that needs no server. Camera, microphone and loudspeaker are opened, unless a customer has them.
pub fn check(config: &Config, time: Clock, in_a_call: bool) -> Vec<Finding> {
    let mut findings = vec![machine::clock(time), rules(), sysctls(), watchdog(), chosen_encoder(config)];
    if in_a_call {
        let title = Text::new("camera, microphone, loudspeaker", "카메라, 마이크, 스피커");
        let why = Text::new("a customer is in a call", "고객이 통화 중");
        findings.push(Finding::skipped("device.camera", title, why));
    } else {
        findings.push(camera(config));
        findings.extend(sound::check(&config.audio));
    }
    findings.extend([disk(), memory(), temperature(), update_slots()]);
    findings.extend(config.fleet.iter().map(|fleet| tls::own(&fleet.cert_file)));
    findings
}

fn sysctls() -> Finding {
    machine::sysctls(|key| fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/"))).ok())
}

fn watchdog() -> Finding {
    let all = fs::read_dir("/sys/class/watchdog").into_iter().flatten().flatten();
    let states: Vec<String> = all.filter_map(|one| fs::read_to_string(one.path().join("state")).ok()).collect();
    machine::watchdog(&states)
}

fn rules() -> Finding {
    firewall::judge(answer("nft", &["list", "table", "inet", "kiosk"]).as_deref())
}

fn camera(config: &Config) -> Finding {
    let (id, title) = ("device.camera", Text::new("camera", "카메라"));
    if config.camera.source != CameraSource::V4l2 {
        let why = Text::new("camera.source is not v4l2", "camera.source가 v4l2가 아님");
        return Finding::skipped(id, title, why);
    }
    match v4l2::open(&config.camera) {
        Ok((_, pictures)) => Finding::pass(id, title, Text::same(pictures.info().to_string())),
        Err(error) => Finding::fail(
            id,
            title,
            Text::same(error.to_string()),
            Text::new(
                "Check the cable; kioskd cameras lists what there is",
                "케이블을 확인하십시오. kioskd cameras로 목록을 볼 수 있습니다",
            ),
        ),
    }
}

fn chosen_encoder(config: &Config) -> Finding {
    let (id, title) = ("device.encoder", Text::new("H.264 encoder", "H.264 인코더"));
    match encoder::choose(&config.video.encoder) {
        Ok(spec) => Finding::pass(id, title, Text::same(format!("{}: {}", spec.element, spec.platform))),
        Err(error) => Finding::fail(
            id,
            title,
            Text::same(error.to_string()),
            Text::new(
                "Install the GStreamer plugins that docs/kiosk.md lists",
                "docs/kiosk.md에 있는 GStreamer 플러그인을 설치하십시오",
            ),
        ),
    }
}

fn disk() -> Finding {
    let free = statvfs(Path::new(STATE)).ok().map(|stat| {
        // The product of two sizes of the kernel; u64 on every platform that is built for.
        #[allow(clippy::useless_conversion)]
        let bytes = u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()));
        bytes
    });
    machine::disk(STATE, free)
}

fn memory() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    machine::memory(available.and_then(|kib| kib.trim().trim_end_matches("kB").trim().parse().ok()))
}

fn update_slots() -> Finding {
    slots::slots(answer("rauc", &["status", "--output-format=json"]).as_deref())
}

fn temperature() -> Finding {
    let zones = fs::read_dir("/sys/class/thermal").into_iter().flatten().flatten();
    let hottest =
        zones.filter_map(|zone| fs::read_to_string(zone.path().join("temp")).ok()?.trim().parse::<i32>().ok()).max();
    machine::temperature(hottest)
}

/// What a program prints, if it is there and succeeds.
fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

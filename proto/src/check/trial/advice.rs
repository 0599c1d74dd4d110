//! What follows for the site from what its way carries: how much picture it should be set to.

use super::ramp::{Capacity, Limit};
use crate::check::{Finding, Text};
use crate::config::Config;
use crate::rate::{Ladder, Step};

/// Of what the way carries, so much is for the picture: the rest is for sound, key frames and what else the branch sends.
const SHARE: f64 = 0.7;
/// Sound with its headers, bit/s.
const SOUND: u64 = 60_000;
/// What a pixel needs for a good picture, bit: 1,000 kbit/s for 1280x720 at 30 frames/s.
const GOOD: f64 = 0.0362;

/// What this site should be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recommended {
    /// `video.bitrate_kbps`
    pub bitrate_kbps: u32,
    /// `camera.width`, `height` and `frames_per_second`.
    pub picture: Step,
}

impl Recommended {
    /// For what the way carries: as much as the picture needs, and no more than is there.
    #[must_use]
    pub fn new(config: &Config, capacity: &Capacity) -> Self {
        let (camera, video) = (&config.camera, &config.video);
        let full = Step { width: camera.width, height: camera.height, frames_per_second: camera.frames_per_second };
        let pixels = f64::from(full.width) * f64::from(full.height) * f64::from(full.frames_per_second);
        let wanted = u64::from(video.bitrate_kbps.bits_per_second()).max((pixels * GOOD) as u64);
        let there = capacity.bound().map_or(wanted, |bound| ((bound as f64 * SHARE) as u64).saturating_sub(SOUND));
        // In steps of 50 kbit/s, and what the configuration allows.
        let kbps = (wanted.min(there) / 50_000 * 50).clamp(u64::from(video.min_bitrate_kbps.0), 20_000);
        let mut ladder = Ladder::new(full);
        ladder.begin(kbps as f64 * 1000.0);
        Self { bitrate_kbps: u32::try_from(kbps).unwrap_or(20_000), picture: ladder.step() }
    }

    /// As lines of `kiosk.toml`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Step { width, height, frames_per_second } = self.picture;
        format!(
            "[camera]\nwidth = {width}\nheight = {height}\nframes_per_second = {frames_per_second}\n\n\
             [video]\nbitrate_kbps = {}\n",
            self.bitrate_kbps
        )
    }

    /// As a layer of the fleet: `kioskctl config push` takes it.
    #[must_use]
    pub fn to_layer(&self) -> serde_json::Value {
        let Step { width, height, frames_per_second } = self.picture;
        serde_json::json!({
            "camera": { "width": width, "height": height, "frames_per_second": frames_per_second },
            "video": { "bitrate_kbps": self.bitrate_kbps },
        })
    }

    fn shown(&self) -> String {
        let Step { width, height, frames_per_second } = self.picture;
        format!("{width}x{height}, {frames_per_second}/s, {} kbit/s", self.bitrate_kbps)
    }
}

/// Judges what the way carries, with what the site should be set to.
#[must_use]
pub fn capacity(config: &Config, capacity: &Capacity) -> Vec<Finding> {
    let kbps = |bits: u64| bits / 1000;
    let (up, back) = (kbps(capacity.up), kbps(capacity.back));
    let (english, korean) = match capacity.limit {
        Limit::Up => ("the delay grows there: the way up is full", "이 지점에서 지연 증가: 올라가는 회선이 포화"),
        Limit::Back => (
            "the delay grows there: the way down is full, or this machine decodes no more",
            "이 지점에서 지연 증가: 내려오는 회선 또는 디코딩이 포화",
        ),
        Limit::Encoder => ("no delay grew: the encoder makes no more", "지연 증가 없음: 인코더 최대치"),
        Limit::Enough => ("no delay grew: no more was tried", "지연 증가 없음: 시험 최대치"),
    };
    let seen = Text::new(
        format!("up {up} kbit/s, down {back} kbit/s; {english}"),
        format!("상향 {up} kbit/s, 하향 {back} kbit/s, {korean}"),
    );
    let title = Text::new("trial call: throughput", "시험 통화: 처리량");
    let floor = u64::from(config.video.min_bitrate_kbps.bits_per_second()) + SOUND;
    let throughput = match capacity.bound() {
        Some(bound) if bound < floor => Finding::fail(
            "call.throughput",
            title,
            seen,
            Text::new(
                format!(
                    "Less than a call needs ({} kbit/s): the branch's line has to carry more, or something else fills it",
                    kbps(floor)
                ),
                format!("통화에 필요한 {} kbit/s보다 적습니다. 회선을 늘리거나 다른 사용량을 줄이십시오", kbps(floor)),
            ),
        ),
        _ => Finding::pass("call.throughput", title, seen),
    };
    let title = Text::new("recommended for this site", "이 지점 권장 설정");
    let (recommended, camera) = (Recommended::new(config, capacity), &config.camera);
    let picture = recommended.picture;
    let (configured, shown) = (config.video.bitrate_kbps.0, Text::same(recommended.shown()));
    let fits = (picture.width, picture.height, picture.frames_per_second)
        == (camera.width, camera.height, camera.frames_per_second)
        && configured <= recommended.bitrate_kbps;
    vec![
        throughput,
        if fits {
            Finding::pass("call.recommendation", title, shown)
        } else {
            let remedy = Text::new(
                format!(
                    "The kiosk is set to {}x{}, {}/s, {configured} kbit/s: it will fall back by itself, with delay whenever it tries more. kioskd doctor --proposal FILE writes these values",
                    camera.width, camera.height, camera.frames_per_second
                ),
                format!(
                    "현재 설정은 {}x{}, {}/s, {configured} kbit/s입니다. 자동으로 낮아지지만 높이려 할 때마다 지연이 생깁니다. kioskd doctor --proposal FILE로 권장값을 저장하십시오",
                    camera.width, camera.height, camera.frames_per_second
                ),
            );
            Finding::warn("call.recommendation", title, shown, remedy)
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::ramp::tests::{MUCH, found};
    use super::*;
    use crate::check::Outcome;
    use crate::config;

    fn config() -> Config {
        config::parse("[kiosk]\nid = \"a\"\n[janus]\nurl = \"wss://janus.bank.example/\"\nroom = 1\n").unwrap()
    }

    #[test]
    fn a_slow_site_gets_a_smaller_picture_and_a_fast_one_keeps_what_it_has() {
        let config = config();
        let recommend = |bits| Recommended::new(&config, &found(bits, MUCH, MUCH));
        let fast = recommend(MUCH);
        assert_eq!((fast.bitrate_kbps, fast.picture.height, fast.picture.frames_per_second), (1000, 720, 30));
        let slow = recommend(700_000);
        let full = fast.picture;
        assert_eq!(slow.bitrate_kbps, 400);
        assert!(slow.picture.height < full.height || slow.picture.frames_per_second < full.frames_per_second);
        assert_eq!(recommend(100_000).bitrate_kbps, config.video.min_bitrate_kbps.0);
        let outcomes = |bits| capacity(&config, &found(bits, MUCH, MUCH)).into_iter().map(|f| f.outcome);
        assert!(outcomes(MUCH).eq([Outcome::Pass, Outcome::Pass]));
        assert!(outcomes(700_000).eq([Outcome::Pass, Outcome::Warn]));
        assert!(outcomes(100_000).eq([Outcome::Fail, Outcome::Warn]));
    }

    #[test]
    fn a_proposal_is_a_configuration_and_a_layer() {
        let slow = Recommended::new(&config(), &found(700_000, MUCH, MUCH));
        let text =
            format!("[kiosk]\nid = \"a\"\n[janus]\nurl = \"wss://janus.bank.example/\"\nroom = 1\n{}", slow.to_toml());
        let parsed = config::parse(&text).unwrap();
        let found = (parsed.video.bitrate_kbps.0, parsed.camera.height, parsed.camera.frames_per_second);
        assert_eq!(found, (slow.bitrate_kbps, slow.picture.height, slow.picture.frames_per_second));
        let layer = toml::Table::try_from(slow.to_layer()).unwrap();
        assert_eq!(layer, slow.to_toml().parse::<toml::Table>().unwrap());
    }
}

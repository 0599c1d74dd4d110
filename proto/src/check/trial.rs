//! What a trial call showed: set-up, picture and sound there and back, how late they are, and what the way carries.

use std::time::Duration;

use super::{Finding, Text};
use crate::config::Config;
use crate::rate::{Ladder, Step};

/// From the offer until Janus has the media: beyond this a customer notices.
const SLOW_SETUP: Duration = Duration::from_secs(4);
/// Share of the frames that must come back while nothing is loaded.
const FRAMES_BACK: f64 = 0.8;
/// There and back takes the way twice, as picture and sound between customer and agent take two ways: beyond this people
/// begin to talk at the same time.
const LATE: Duration = Duration::from_millis(800);
/// Of what the way carries, so much is for the picture: the rest is for sound, key frames and what else the branch sends.
const SHARE: f64 = 0.7;
/// Sound with its headers, bit/s.
const SOUND: u64 = 60_000;
/// What a pixel needs for a good picture, bit: 1,000 kbit/s for 1280x720 at 30 frames/s.
const GOOD: f64 = 0.0362;

/// Median and 95th percentile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// Half are at most this.
    pub median: Duration,
    /// 95 of 100 are at most this.
    pub p95: Duration,
    /// Of how many.
    pub count: usize,
}

impl Spread {
    /// Of delays in any order; none of nothing.
    #[must_use]
    pub fn of(mut delays: Vec<Duration>) -> Option<Self> {
        delays.sort_unstable();
        let at = |hundredths: usize| delays.get((delays.len() * hundredths / 100).min(delays.len().checked_sub(1)?));
        Some(Self { median: *at(50)?, p95: *at(95)?, count: delays.len() })
    }

    fn shown(&self) -> String {
        format!("{} ms (95 %: {} ms)", self.median.as_millis(), self.p95.as_millis())
    }
}

/// The call before it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Steady {
    /// From the request to join until Janus said `webrtcup`.
    pub up: Duration,
    /// From the same request until the first picture of its own came back.
    pub first_picture: Option<Duration>,
    /// Frames that left the encoder.
    pub frames_sent: u64,
    /// Frames that came back and were decoded.
    pub frames_back: u64,
    /// Packets of sound that were sent; none when the configuration wants no sound.
    pub sound_sent: u64,
    /// And came back.
    pub sound_back: u64,
    /// How old pictures were when they were decoded again.
    pub picture: Option<Spread>,
    /// The same for tones.
    pub sound: Option<Spread>,
}

/// What one step of the load was like, over about a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// What the encoder was told, bit/s.
    pub target: u64,
    /// What it made, bit/s.
    pub made: u64,
    /// What the server acknowledged, bit/s of everything.
    pub up: u64,
    /// What came back of it, bit/s.
    pub back: u64,
    /// The longest that a packet waited in front of the way up, in the sender and in the network's queues.
    pub waiting: Duration,
    /// How old pictures were when they were decoded again; none: none came.
    pub late: Option<Duration>,
}

/// What ended the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The way to the server is full.
    Up,
    /// The way back is full, or this machine decodes no more.
    Back,
    /// The encoder makes no more.
    Encoder,
    /// Nothing: that was the most that is tried.
    Enough,
}

/// What the way carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The most that the server acknowledged, bit/s.
    pub up: u64,
    /// The most that came back, bit/s.
    pub back: u64,
    /// Why it was not more.
    pub limit: Limit,
}

impl Capacity {
    /// What a picture may count on, bit/s; none when nothing was full.
    #[must_use]
    pub fn bound(&self) -> Option<u64> {
        match self.limit {
            Limit::Up => Some(self.up),
            // What goes up is what comes back, but for what was lost.
            Limit::Back => Some(self.back.min(self.up)),
            Limit::Encoder | Limit::Enough => None,
        }
    }
}

/// Raises the load step by step until the delay grows.
#[derive(Debug, Clone)]
pub struct Ramp {
    target: u64,
    most: u64,
    unloaded: Duration,
    seen: Capacity,
    /// Steps in a row in which the encoder made too little.
    short: u32,
}

impl Ramp {
    /// A step is this much more than the one before.
    const STEP: f64 = 1.45;
    /// A packet that waited for so long met a queue that grows.
    const QUEUE: Duration = Duration::from_millis(200);
    /// Pictures that are so much older than unloaded.
    const LATER: Duration = Duration::from_millis(350);
    /// Less than this share of what went up came back.
    const LOST: f64 = 0.75;
    /// An encoder that makes less than this share of what it is told has reached its end, or saves what it spent before:
    /// which of them, shows in some steps.
    const MADE: f64 = 0.6;
    const SHORT: u32 = 3;

    /// Begins with `begin` bit/s and never tries more than `most`; `unloaded` is how old pictures were before.
    #[must_use]
    pub fn new(begin: u64, most: u64, unloaded: Duration) -> Self {
        let seen = Capacity { up: 0, back: 0, limit: Limit::Enough };
        Self { target: begin.min(most), most, unloaded, seen, short: 0 }
    }

    /// What the encoder is to be told now, bit/s.
    #[must_use]
    pub fn target(&self) -> u64 {
        self.target
    }

    /// Whether so long a wait in front of the way up ends the step at once.
    #[must_use]
    pub fn is_full(waiting: Duration) -> bool {
        waiting >= Self::QUEUE
    }

    /// Takes what a step showed. None: there is another one.
    pub fn take(&mut self, load: &Load) -> Option<Capacity> {
        let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        self.seen.up = self.seen.up.max(load.up);
        self.seen.back = self.seen.back.max(load.back);
        let made_enough = share(load.made, load.target) >= Self::MADE;
        self.short = if made_enough { 0 } else { self.short + 1 };
        let late = load.late.is_none_or(|late| late > self.unloaded + Self::LATER);
        self.seen.limit = if Self::is_full(load.waiting) {
            // What it carried while it was full is what it carries.
            self.seen.up = load.up;
            Limit::Up
        } else if late || share(load.back, load.up) < Self::LOST {
            self.seen.back = load.back;
            Limit::Back
        } else if self.short >= Self::SHORT {
            Limit::Encoder
        } else if self.target >= self.most {
            Limit::Enough
        } else {
            self.target = ((self.target as f64 * Self::STEP) as u64).min(self.most);
            return None;
        };
        Some(self.seen)
    }

    /// What is known when the load has to end before it found anything.
    #[must_use]
    pub fn so_far(&self) -> Capacity {
        self.seen
    }
}

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

/// Judges the call before it was loaded.
#[must_use]
pub fn steady(steady: &Steady) -> Vec<Finding> {
    let ms = |time: Duration| time.as_millis();
    let first = steady.first_picture.map_or_else(|| "-".to_owned(), |first| format!("{} ms", ms(first)));
    let seen = Text::new(
        format!("connected in {} ms, first picture back after {first}", ms(steady.up)),
        format!("연결 {} ms, 첫 화면 수신 {first}", ms(steady.up)),
    );
    let title = Text::new("trial call: set-up", "시험 통화: 연결");
    let mut findings = vec![if steady.up <= SLOW_SETUP {
        Finding::pass("call.setup", title, seen)
    } else {
        let remedy = Text::new(
            "Slower than a call should be: look at the round trip to the server, and at candidates that can't be reached (ice.local_address)",
            "연결이 느립니다. 서버 왕복 시간과 접속할 수 없는 후보(ice.local_address)를 확인하십시오",
        );
        Finding::warn("call.setup", title, seen, remedy)
    }];
    findings.push(picture(steady));
    findings.push(sound(steady));
    findings.extend(delay(steady));
    findings
}

fn picture(steady: &Steady) -> Finding {
    let (id, title) = ("call.picture", Text::new("trial call: picture there and back", "시험 통화: 영상 왕복"));
    let (sent, back) = (steady.frames_sent, steady.frames_back);
    let seen = Text::new(format!("{sent} frames sent, {back} back"), format!("송신 {sent}프레임, 수신 {back}프레임"));
    if back == 0 {
        let remedy = if sent == 0 {
            Text::new(
                "The encoder gives nothing: kioskd encoders",
                "인코더 출력이 없습니다. kioskd encoders를 실행하십시오",
            )
        } else {
            Text::new(
                "It is sent and does not come back: does the room take H.264 (kioskctl server check), and does something on the way close long connections?",
                "보냈지만 돌아오지 않습니다. 방이 H.264를 받는지(kioskctl server check), 중간 장비가 연결을 끊는지 확인하십시오",
            )
        };
        return Finding::fail(id, title, seen, remedy);
    }
    if (back as f64) < sent as f64 * FRAMES_BACK {
        let remedy = Text::new(
            "Frames are lost on the way back: Janus drops what a slow line does not take, or this machine decodes too slowly (top)",
            "돌아오는 길에 프레임이 유실됩니다. 회선이 느려 Janus가 버렸거나 이 기기의 디코딩이 느립니다(top)",
        );
        return Finding::warn(id, title, seen, remedy);
    }
    Finding::pass(id, title, seen)
}

fn sound(steady: &Steady) -> Finding {
    let (id, title) = ("call.sound", Text::new("trial call: sound there and back", "시험 통화: 음성 왕복"));
    let (sent, back) = (steady.sound_sent, steady.sound_back);
    let tones = steady.sound.map_or(0, |spread| spread.count);
    let seen = Text::new(
        format!("{sent} packets sent, {back} back, {tones} tones heard"),
        format!("송신 {sent}패킷, 수신 {back}패킷, 신호음 {tones}회 확인"),
    );
    let (outcome, english, korean): (fn(_, _, _, _) -> Finding, _, _) = match (back, tones) {
        (0, _) => (
            Finding::fail,
            "No sound comes back: does the room have audiocodec = \"opus\"?",
            "음성이 돌아오지 않습니다. 방 설정이 audiocodec = \"opus\"인지 확인하십시오",
        ),
        (_, 0) => (
            Finding::warn,
            "Sound comes back and can't be understood: too much of it is lost",
            "음성이 돌아오지만 알아들을 수 없습니다. 유실이 많습니다",
        ),
        _ => return Finding::pass(id, title, seen),
    };
    outcome(id, title, seen, Text::new(english, korean))
}

fn delay(steady: &Steady) -> Option<Finding> {
    let (id, title) = ("call.delay", Text::new("trial call: delay there and back", "시험 통화: 왕복 지연"));
    let picture = steady.picture?;
    let (english, korean) = match steady.sound {
        Some(sound) => (format!(", sound {}", sound.shown()), format!(", 음성 {}", sound.shown())),
        None => (String::new(), String::new()),
    };
    let seen = Text::new(format!("picture {}{english}", picture.shown()), format!("영상 {}{korean}", picture.shown()));
    let worst = picture.median.max(steady.sound.map_or(Duration::ZERO, |sound| sound.median));
    if worst <= LATE {
        return Some(Finding::pass(id, title, seen));
    }
    let remedy = Text::new(
        "People will talk at the same time: look at the round trip to the server; a queue on the line (see throughput); a processor that is busy",
        "대화가 겹칠 수 있습니다. 서버 왕복 시간, 회선 대기열(처리량 항목), 프로세서 사용률을 확인하십시오",
    );
    Some(Finding::warn(id, title, seen, remedy))
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
    use super::*;
    use crate::check::Outcome;
    use crate::config;

    const MS: Duration = Duration::from_millis(1);

    fn config() -> Config {
        config::parse("[kiosk]\nid = \"a\"\n[janus]\nurl = \"wss://janus.bank.example/\"\nroom = 1\n").unwrap()
    }

    fn good() -> Steady {
        let spread = Spread::of(vec![120 * MS; 40]);
        Steady {
            up: 400 * MS,
            first_picture: Some(700 * MS),
            frames_sent: 120,
            frames_back: 118,
            sound_sent: 200,
            sound_back: 199,
            picture: spread,
            sound: spread,
        }
    }

    fn outcomes(steady: &Steady) -> Vec<(&'static str, Outcome)> {
        super::steady(steady).iter().map(|finding| (finding.id, finding.outcome)).collect()
    }

    #[test]
    fn each_part_of_a_call_can_fail() {
        let only = |changed: Steady| {
            let bad: Vec<_> = outcomes(&changed).into_iter().filter(|(_, o)| *o != Outcome::Pass).collect();
            bad
        };
        assert_eq!(only(good()), []);
        assert_eq!(only(Steady { up: 6000 * MS, ..good() }), [("call.setup", Outcome::Warn)]);
        assert_eq!(only(Steady { frames_back: 0, ..good() }), [("call.picture", Outcome::Fail)]);
        assert_eq!(only(Steady { frames_back: 60, ..good() }), [("call.picture", Outcome::Warn)]);
        assert_eq!(only(Steady { sound_back: 0, ..good() }), [("call.sound", Outcome::Fail)]);
        assert_eq!(only(Steady { sound: None, ..good() }), [("call.sound", Outcome::Warn)]);
        let late = Spread::of(vec![1500 * MS]);
        assert_eq!(only(Steady { sound: late, ..good() }), [("call.delay", Outcome::Warn)]);
        // Without any picture there is no delay to speak of.
        assert_eq!(outcomes(&Steady { picture: None, ..good() }).len(), 3);
    }

    /// A way that carries so much up and down: what is more waits in front of it, or does not come back.
    fn through(target: u64, up: u64, down: u64, encoder: u64) -> Load {
        let made = target.min(encoder);
        let waiting = if made > up { 400 * MS } else { 5 * MS };
        let sent = made.min(up);
        let late = if sent > down { 900 * MS } else { 130 * MS };
        Load { target, made, up: sent, back: sent.min(down), waiting, late: Some(late) }
    }

    fn found(up: u64, down: u64, encoder: u64) -> Capacity {
        let mut ramp = Ramp::new(300_000, 8_000_000, 120 * MS);
        for _ in 0..20 {
            if let Some(capacity) = ramp.take(&through(ramp.target(), up, down, encoder)) {
                return capacity;
            }
        }
        panic!("it does not end");
    }

    const MUCH: u64 = 100_000_000;

    #[test]
    fn the_load_ends_where_the_delay_grows_and_says_why() {
        assert_eq!(found(1_200_000, MUCH, MUCH), Capacity { up: 1_200_000, back: 1_200_000, limit: Limit::Up });
        let back = found(MUCH, 1_200_000, MUCH);
        assert_eq!((back.limit, back.bound()), (Limit::Back, Some(1_200_000)));
        assert_eq!(found(MUCH, MUCH, 2_000_000).limit, Limit::Encoder);
        assert_eq!(found(MUCH, MUCH, MUCH), Capacity { up: 8_000_000, back: 8_000_000, limit: Limit::Enough });
        assert_eq!(found(MUCH, MUCH, MUCH).bound(), None);
        // Full from the first step on.
        assert_eq!(found(200_000, MUCH, MUCH).up, 200_000);
        // An encoder that saves for two steps goes on.
        let mut ramp = Ramp::new(300_000, 8_000_000, 120 * MS);
        let saving = Load { made: 50_000, ..through(300_000, MUCH, MUCH, MUCH) };
        assert!(ramp.take(&saving).is_none() && ramp.take(&saving).is_none());
        assert!(ramp.take(&through(ramp.target(), MUCH, MUCH, MUCH)).is_none() && ramp.take(&saving).is_none());
        let nothing = Load { target: 300_000, made: 300_000, up: 300_000, back: 300_000, ..Load::default() };
        assert_eq!(Ramp::new(300_000, MUCH, MS).take(&nothing).unwrap().limit, Limit::Back, "no picture came back");
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

    #[test]
    fn spreads_count_from_the_smallest() {
        let spread = Spread::of((1..=100).rev().map(|n| n * MS).collect()).unwrap();
        assert_eq!((spread.median, spread.p95, spread.count), (51 * MS, 96 * MS, 100));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}

//! The call before it was loaded: set-up, picture and sound there and back, and how late they are.

use std::time::Duration;

use crate::check::{Finding, Text};

/// From the offer until Janus has the media: beyond this a customer notices.
const SLOW_SETUP: Duration = Duration::from_secs(4);
/// Share of the frames that must come back while nothing is loaded.
const FRAMES_BACK: f64 = 0.8;
/// There and back takes the way twice, as picture and sound between customer and agent take two ways: beyond this people
/// begin to talk at the same time.
const LATE: Duration = Duration::from_millis(800);

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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steady {
    /// From the request to join until Janus said `webrtcup`.
    pub up: Duration,
    /// From the same request until the first picture of its own came back.
    pub first_picture: Option<Duration>,
    /// Frames that left the encoder.
    pub frames_sent: u64,
    /// Packets of the picture that came back.
    pub packets_back: u64,
    /// Frames that came back and were decoded.
    pub frames_back: u64,
    /// The element that decodes them; empty while nothing of the picture came back.
    pub decoder: String,
    /// Packets of sound that were sent; none when the configuration wants no sound.
    pub sound_sent: u64,
    /// And came back.
    pub sound_back: u64,
    /// How old pictures were when they were decoded again.
    pub picture: Option<Spread>,
    /// The same for tones.
    pub sound: Option<Spread>,
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
    if back == 0 {
        return Finding::fail(id, title, nothing_seen(steady), nothing_remedy(steady));
    }
    let seen = Text::new(format!("{sent} frames sent, {back} back"), format!("송신 {sent}프레임, 수신 {back}프레임"));
    if (back as f64) < sent as f64 * FRAMES_BACK {
        let remedy = Text::new(
            "Frames are lost on the way back: Janus drops what a slow line does not take, or this machine decodes too slowly (top)",
            "돌아오는 길에 프레임이 유실됩니다. 회선이 느려 Janus가 버렸거나 이 기기의 디코딩이 느립니다(top)",
        );
        return Finding::warn(id, title, seen, remedy);
    }
    Finding::pass(id, title, seen)
}

fn nothing_seen(steady: &Steady) -> Text {
    let (sent, packets) = (steady.frames_sent, steady.packets_back);
    Text::new(
        format!("{sent} frames sent, 0 back, in {packets} packets"),
        format!("송신 {sent}프레임, 수신 0프레임, {packets}패킷"),
    )
}

/// Where a picture ends that is never seen again.
fn nothing_remedy(steady: &Steady) -> Text {
    let decoder = &steady.decoder;
    match (steady.frames_sent, steady.packets_back) {
        (0, _) => Text::new(
            "The encoder gives nothing: kioskd encoders",
            "인코더 출력이 없습니다. kioskd encoders를 실행하십시오",
        ),
        (_, 0) => Text::new(
            "It is sent and does not come back: does the room take H.264 (kioskctl server check), and does something on the way close long connections?",
            "보냈지만 돌아오지 않습니다. 방이 H.264를 받는지(kioskctl server check), 중간 장비가 연결을 끊는지 확인하십시오",
        ),
        _ => Text::new(
            format!(
                "It comes back, and {decoder} gives no frame: no key frame reaches it, or it does not work. Check once more; if it stays, GST_DEBUG=3 kioskd doctor shows what it says"
            ),
            format!(
                "영상은 돌아오지만 {decoder}에서 프레임이 나오지 않습니다. 키 프레임이 오지 않거나 디코더가 동작하지 않습니다. 다시 점검하고, 계속되면 GST_DEBUG=3 kioskd doctor로 디코더 메시지를 확인하십시오"
            ),
        ),
    }
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
    let (mut english, mut korean) = (Vec::new(), Vec::new());
    let parts = [(steady.picture, "picture", "영상"), (steady.sound, "sound", "음성")];
    for (spread, name, korean_name) in parts {
        let Some(spread) = spread else { continue };
        english.push(format!("{name} {}", spread.shown()));
        korean.push(format!("{korean_name} {}", spread.shown()));
    }
    let worst = parts.iter().filter_map(|(spread, ..)| spread.as_ref()).map(|spread| spread.median).max()?;
    let seen = Text::new(english.join(", "), korean.join(", "));
    if worst <= LATE {
        return Some(Finding::pass(id, title, seen));
    }
    let remedy = Text::new(
        "People will talk at the same time: look at the round trip to the server; a queue on the line (see throughput); a processor that is busy",
        "대화가 겹칠 수 있습니다. 서버 왕복 시간, 회선 대기열(처리량 항목), 프로세서 사용률을 확인하십시오",
    );
    Some(Finding::warn(id, title, seen, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    const MS: Duration = Duration::from_millis(1);

    fn good() -> Steady {
        let spread = Spread::of(vec![120 * MS; 40]);
        Steady {
            up: 400 * MS,
            first_picture: Some(700 * MS),
            frames_sent: 120,
            packets_back: 470,
            frames_back: 118,
            decoder: "openh264dec".to_owned(),
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
        // One of them is enough to know how late it is, and without any there is nothing to say.
        assert_eq!(only(Steady { picture: None, sound: late, ..good() }), [("call.delay", Outcome::Warn)]);
        assert_eq!(only(Steady { picture: late, sound: None, ..good() }).last(), Some(&("call.delay", Outcome::Warn)));
        assert_eq!(outcomes(&Steady { picture: None, ..good() }).len(), 4);
        assert_eq!(outcomes(&Steady { picture: None, sound: None, ..good() }).len(), 3);
    }

    #[test]
    fn a_picture_that_is_not_seen_again_ends_in_one_of_three_places() {
        let said = |frames_sent, packets_back| {
            let finding = picture(&Steady { frames_sent, packets_back, frames_back: 0, ..good() });
            let remedy = finding.remedy.unwrap();
            assert_eq!(finding.outcome, Outcome::Fail);
            (finding.seen.en, remedy.en, remedy.ko)
        };
        let (seen, remedy, korean) = said(120, 470);
        assert_eq!(seen, "120 frames sent, 0 back, in 470 packets");
        assert!(
            remedy.contains("openh264dec gives no frame") && korean.contains("openh264dec에서"),
            "{remedy} {korean}"
        );
        let (seen, remedy, _) = said(120, 0);
        assert_eq!(seen, "120 frames sent, 0 back, in 0 packets");
        assert!(remedy.contains("does not come back"), "{remedy}");
        assert!(said(0, 0).1.contains("kioskd encoders"));
    }

    #[test]
    fn spreads_count_from_the_smallest() {
        let spread = Spread::of((1..=100).rev().map(|n| n * MS).collect()).unwrap();
        assert_eq!((spread.median, spread.p95, spread.count), (51 * MS, 96 * MS, 100));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}

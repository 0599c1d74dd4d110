//! Microphone and loudspeaker: whether they open, and whether the one hears the other.

use super::{Finding, Text};

/// Sounds of this many tones are no accident.
const ENOUGH: usize = 3;

/// What a microphone gave in some seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// Samples.
    pub samples: u64,
    /// The loudest, of 32767.
    pub peak: u16,
    /// Tones of the loudspeaker that were understood.
    pub tones: usize,
}

/// The loudspeaker; none: the configuration wants none.
#[must_use]
pub fn speaker(opened: Option<&Result<(), String>>) -> Finding {
    let (id, title) = ("device.speaker", Text::new("loudspeaker", "스피커"));
    match opened {
        None => Finding::skipped(id, title, Text::new("audio.sink is not alsa", "audio.sink가 alsa가 아님")),
        Some(Ok(())) => Finding::pass(id, title, Text::new("plays", "재생됨")),
        Some(Err(reason)) => {
            let remedy = Text::new(
                "Plug it in, end the program that uses it, or set audio.sink_device to one that aplay -L lists",
                "스피커를 연결하거나, 사용 중인 프로그램을 종료하거나, audio.sink_device를 aplay -L 목록의 장치로 설정하십시오",
            );
            Finding::fail(id, title, Text::same(reason.clone()), remedy)
        }
    }
}

/// The microphone; none: the configuration wants none.
#[must_use]
pub fn microphone(heard: Option<&Result<Heard, String>>) -> Finding {
    let (id, title) = ("device.microphone", Text::new("microphone", "마이크"));
    let heard = match heard {
        None => {
            return Finding::skipped(id, title, Text::new("audio.source is not alsa", "audio.source가 alsa가 아님"));
        }
        Some(Err(reason)) => {
            let remedy = Text::new(
                "Plug it in, end the program that uses it, or set audio.source_device to one that arecord -L lists",
                "마이크를 연결하거나, 사용 중인 프로그램을 종료하거나, audio.source_device를 arecord -L 목록의 장치로 설정하십시오",
            );
            return Finding::fail(id, title, Text::same(reason.clone()), remedy);
        }
        Some(Ok(heard)) => heard,
    };
    let Heard { samples, peak, .. } = heard;
    let seen = Text::new(
        format!("{samples} samples, the loudest {peak} of 32767"),
        format!("샘플 {samples}개, 최대 {peak}/32767"),
    );
    if *samples == 0 || *peak == 0 {
        let remedy = Text::new(
            "It opens and is silent: is it muted (alsamixer, F4), or is audio.source_device another one?",
            "열리지만 소리가 없습니다. 음소거(alsamixer, F4)나 audio.source_device를 확인하십시오",
        );
        return Finding::fail(id, title, seen, remedy);
    }
    Finding::pass(id, title, seen)
}

/// Whether the microphone heard the loudspeaker.
#[must_use]
pub fn loop_back(speaker: Option<&Result<(), String>>, heard: Option<&Result<Heard, String>>) -> Finding {
    let (id, title) =
        ("device.sound", Text::new("the microphone hears the loudspeaker", "스피커 소리가 마이크에 들림"));
    let (Some(Ok(())), Some(Ok(heard))) = (speaker, heard) else {
        return Finding::skipped(id, title, Text::new("needs both", "둘 다 필요함"));
    };
    let seen = Text::new(format!("{} tones understood", heard.tones), format!("신호음 {}회 확인", heard.tones));
    if heard.tones >= ENOUGH {
        return Finding::pass(id, title, seen);
    }
    let remedy = Text::new(
        "Turn the loudspeaker up (alsamixer), and be quiet while it plays; does the sound come out where the customer stands?",
        "스피커 음량을 높이고(alsamixer) 재생 중 조용히 하십시오. 고객 위치에서 소리가 나는지 확인하십시오",
    );
    Finding::warn(id, title, seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn each_device_can_fail() {
        let heard = |peak, tones| Ok(Heard { samples: 48_000, peak, tones });
        let broken: Result<Heard, String> = Err("no such device".to_owned());
        let microphone = |heard: Option<&Result<Heard, String>>| super::microphone(heard).outcome;
        assert_eq!(microphone(None), Outcome::Skipped);
        assert_eq!(microphone(Some(&broken)), Outcome::Fail);
        assert_eq!(microphone(Some(&heard(0, 0))), Outcome::Fail);
        assert_eq!(microphone(Some(&heard(900, 0))), Outcome::Pass);
        assert_eq!(speaker(None).outcome, Outcome::Skipped);
        assert_eq!(speaker(Some(&Ok(()))).outcome, Outcome::Pass);
        assert_eq!(speaker(Some(&Err("busy".to_owned()))).outcome, Outcome::Fail);
        let both = |heard: &Result<Heard, String>| loop_back(Some(&Ok(())), Some(heard)).outcome;
        assert_eq!((both(&heard(900, 0)), both(&heard(9000, 12))), (Outcome::Warn, Outcome::Pass));
        assert_eq!(both(&broken), Outcome::Skipped);
    }
}

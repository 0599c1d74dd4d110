//! The two systems of which a kiosk runs one: what RAUC says of them.

use serde::Deserialize;
use std::collections::BTreeMap;

use super::{Finding, Text};

/// What `rauc status --output-format=json` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Status {
    /// Which of them the boot loader starts next.
    boot_primary: Option<String>,
    /// Each under its own name.
    slots: Vec<BTreeMap<String, Slot>>,
}

#[derive(Debug, Deserialize)]
struct Slot {
    state: String,
    bootname: Option<String>,
    boot_status: Option<String>,
}

impl Slot {
    fn is_good(&self) -> bool {
        self.boot_status.as_deref() == Some("good")
    }
}

/// The slots; `status` is RAUC's answer, none where there is no RAUC.
#[must_use]
pub fn slots(status: Option<&str>) -> Finding {
    let (id, title) = ("machine.slots", Text::new("update slots", "업데이트 슬롯"));
    let Some(status) = status else {
        return Finding::skipped(id, title, Text::new("this machine has none (RAUC)", "슬롯 없음(RAUC)"));
    };
    let unknown = || Text::new("rauc status tells of no slot that is booted", "rauc status에 부팅된 슬롯이 없음");
    let asked = Text::new("See rauc status; journalctl -u rauc", "rauc status와 journalctl -u rauc를 확인하십시오");
    let Ok(status) = serde_json::from_str::<Status>(status) else {
        return Finding::warn(id, title, unknown(), asked);
    };
    let all = status.slots.iter().flatten().filter(|(_, slot)| slot.bootname.is_some());
    let (booted, others): (Vec<_>, Vec<_>) = all.partition(|(_, slot)| slot.state == "booted");
    let Some((name, booted)) = booted.first() else { return Finding::warn(id, title, unknown(), asked) };
    let spare = others.iter().find(|(_, slot)| slot.is_good());
    if !booted.is_good() {
        let seen = Text::new(
            format!("runs from {name}, which is not marked good: it may fall back at the next start"),
            format!("{name}에서 실행 중이나 정상(good) 표시가 없어 다음 시작 때 되돌아갈 수 있음"),
        );
        let remedy = Text::new(
            "Wait until the daemon has proved the update, or install it again: rauc status",
            "업데이트 확인이 끝날 때까지 기다리거나 다시 설치하십시오: rauc status",
        );
        return Finding::warn(id, title, seen, remedy);
    }
    if let Some(next) = status.boot_primary.filter(|next| next != *name) {
        let seen = Text::new(
            format!("runs from {name}, and starts {next} next time"),
            format!("{name}에서 실행 중, 다음 시작은 {next}"),
        );
        let remedy = Text::new(
            "An update waits for a restart, or the last one fell back: rauc status",
            "업데이트가 재시작을 기다리거나 이전 상태로 되돌아갔습니다: rauc status",
        );
        return Finding::warn(id, title, seen, remedy);
    }
    let Some((spare, _)) = spare else {
        let seen = Text::new(
            format!("runs from {name}, and there is nothing good to fall back to"),
            format!("{name}에서 실행 중, 되돌아갈 정상 슬롯이 없음"),
        );
        let remedy = Text::new(
            "Install the system once more, into the other slot: rauc install BUNDLE",
            "다른 슬롯에 시스템을 다시 설치하십시오: rauc install BUNDLE",
        );
        return Finding::warn(id, title, seen, remedy);
    };
    let seen = Text::new(
        format!("runs from {name}, can fall back to {spare}"),
        format!("{name}에서 실행 중, {spare}로 되돌아갈 수 있음"),
    );
    Finding::pass(id, title, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    /// As RAUC 1.8 prints it.
    const GOOD: &str = r#"{"compatible":"kiosk","variant":"","booted":"A","boot_primary":"rootfs.0","slots":[
        {"rootfs.1":{"class":"rootfs","device":"/dev/mmcblk0p3","type":"raw","bootname":"B","state":"inactive",
            "parent":null,"mountpoint":null,"boot_status":"good"}},
        {"rootfs.0":{"class":"rootfs","device":"/dev/mmcblk0p2","type":"raw","bootname":"A","state":"booted",
            "parent":null,"mountpoint":null,"boot_status":"good"}}]}"#;

    #[test]
    fn two_good_slots_pass_and_whatever_else_is_told() {
        let good = slots(Some(GOOD));
        assert_eq!(
            (good.outcome, good.seen.en.as_str()),
            (Outcome::Pass, "runs from rootfs.0, can fall back to rootfs.1")
        );
        let last = GOOD.rfind("\"good\"").unwrap();
        let trial = format!("{}\"bad\"{}", &GOOD[..last], &GOOD[last + 6..]);
        for (text, shown) in [
            (trial.as_str(), "not marked good"),
            (&GOOD.replace("boot_primary\":\"rootfs.0", "boot_primary\":\"rootfs.1"), "starts rootfs.1 next time"),
            (&GOOD.replacen("\"good\"", "\"bad\"", 1), "nothing good to fall back to"),
            (&GOOD.replace("booted\",", "inactive\","), "no slot that is booted"),
            ("", "no slot that is booted"),
        ] {
            let finding = slots(Some(text));
            assert!(finding.outcome == Outcome::Warn && finding.seen.en.contains(shown), "{finding:?}");
        }
        assert_eq!(slots(None).outcome, Outcome::Skipped);
    }
}

//! The kiosk itself, judged from what the system says.

use super::{Finding, Text};
use crate::sysctl::{KIOSK, Off, compare};

/// Below this the journal and the state of the fleet are in danger.
const LOW_DISK_BYTES: u64 = 200 * 1024 * 1024;
/// A call takes about 100 MB.
const LOW_MEMORY_KIB: u64 = 200 * 1024;
/// Boards of this class slow down from 80 °C on.
const HOT_MILLIDEGREES: i32 = 80_000;

/// Whether the clock follows a time server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// It does.
    Synchronised,
    /// It does not.
    Free,
    /// Nobody can tell.
    Unknown,
}

/// Certificates and tokens have dates.
#[must_use]
pub fn clock(clock: Clock) -> Finding {
    let (id, title) = ("machine.clock", Text::new("clock", "시계"));
    match clock {
        Clock::Synchronised => Finding::pass(id, title, Text::new("synchronised", "동기화됨")),
        Clock::Free => Finding::warn(
            id,
            title,
            Text::new("not synchronised", "동기화되지 않음"),
            Text::new(
                "Certificates and tokens are refused when the clock is wrong: set the bank's time server for systemd-timesyncd",
                "시계가 틀리면 인증서와 토큰이 거부됩니다. systemd-timesyncd에 은행 시간 서버를 설정하십시오",
            ),
        ),
        Clock::Unknown => {
            Finding::skipped(id, title, Text::new("nobody tells (systemd-timedated)", "응답 없음(systemd-timedated)"))
        }
    }
}

/// `free` bytes on the file system that holds `path`.
#[must_use]
pub fn disk(path: &str, free: Option<u64>) -> Finding {
    let (id, title) = ("machine.disk", Text::new(format!("space on {path}"), format!("{path} 여유 공간")));
    let Some(free) = free else {
        return Finding::skipped(id, title, Text::new("unknown", "알 수 없음"));
    };
    let seen = Text::same(format!("{} MB", free / 1_000_000));
    if free >= LOW_DISK_BYTES {
        return Finding::pass(id, title, seen);
    }
    Finding::fail(
        id,
        title,
        seen,
        Text::new("Make room: journalctl --vacuum-size=100M", "공간을 확보하십시오: journalctl --vacuum-size=100M"),
    )
}

/// `available` KiB as `/proc/meminfo` has it.
#[must_use]
pub fn memory(available: Option<u64>) -> Finding {
    let (id, title) = ("machine.memory", Text::new("available memory", "사용 가능 메모리"));
    let Some(available) = available else {
        return Finding::skipped(id, title, Text::new("unknown", "알 수 없음"));
    };
    let seen = Text::same(format!("{} MB", available / 1024));
    if available >= LOW_MEMORY_KIB {
        return Finding::pass(id, title, seen);
    }
    Finding::fail(
        id,
        title,
        seen,
        Text::new(
            "A call takes about 100 MB: what else runs here?",
            "통화에 약 100MB가 필요합니다. 다른 프로그램을 확인하십시오",
        ),
    )
}

/// The hottest thermal zone, thousandths of a degree Celsius.
#[must_use]
pub fn temperature(hottest: Option<i32>) -> Finding {
    let (id, title) = ("machine.temperature", Text::new("temperature", "온도"));
    let Some(hottest) = hottest else {
        return Finding::skipped(id, title, Text::new("no thermal zone", "온도 센서 없음"));
    };
    let seen = Text::same(format!("{} °C", hottest / 1000));
    if hottest < HOT_MILLIDEGREES {
        return Finding::pass(id, title, seen);
    }
    let remedy = Text::new(
        "Clear the vents: from 80 °C on the processor slows down",
        "통풍구를 확인하십시오. 80도부터 프로세서가 느려집니다",
    );
    Finding::warn(id, title, seen, remedy)
}

/// What the kernel has, against `config/sysctl/kiosk.conf`. `read` gives the value of a key with dots.
#[must_use]
pub fn sysctls(read: impl Fn(&str) -> Option<String>) -> Finding {
    let (id, title) = ("machine.sysctl", Text::new("kernel settings", "커널 설정"));
    let off = compare(KIOSK, read);
    if off.is_empty() {
        return Finding::pass(id, title, Text::new("as config/sysctl/kiosk.conf has them", "kiosk.conf와 같음"));
    }
    let shown = |off: &Off<'_>| format!("{} = {}", off.key, off.value.as_deref().unwrap_or("-"));
    let list = off.iter().map(shown).collect::<Vec<_>>().join("; ");
    let remedy = Text::new(
        "Calls work without them, less well on a bad line: install config/sysctl/kiosk.conf as /etc/sysctl.d/60-kiosk.conf, then sysctl --system",
        "통화는 되지만 나쁜 회선에서 품질이 떨어집니다. config/sysctl/kiosk.conf를 /etc/sysctl.d/60-kiosk.conf로 설치하고 sysctl --system을 실행하십시오",
    );
    Finding::warn(id, title, Text::same(list), remedy)
}

/// The hardware's watchdog: the states of all that there are (`/sys/class/watchdog/*/state`).
#[must_use]
pub fn watchdog(states: &[String]) -> Finding {
    let (id, title) = ("machine.watchdog", Text::new("hardware watchdog", "하드웨어 워치독"));
    if states.is_empty() {
        return Finding::skipped(id, title, Text::new("this machine has none", "워치독 장치 없음"));
    }
    if states.iter().any(|state| state.trim() == "active") {
        return Finding::pass(id, title, Text::new("is fed", "동작 중"));
    }
    let remedy = Text::new(
        "A machine that hangs stays so until somebody comes: RuntimeWatchdogSec=30 in /etc/systemd/system.conf",
        "기기가 멈추면 사람이 올 때까지 그대로입니다. /etc/systemd/system.conf에 RuntimeWatchdogSec=30을 설정하십시오",
    );
    Finding::warn(id, title, Text::new("is not used", "사용하지 않음"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn each_check_can_fail() {
        assert_eq!(clock(Clock::Synchronised).outcome, Outcome::Pass);
        assert_eq!(clock(Clock::Free).outcome, Outcome::Warn);
        assert_eq!(clock(Clock::Unknown).outcome, Outcome::Skipped);
        assert_eq!(disk("/", Some(1 << 30)).outcome, Outcome::Pass);
        assert_eq!(disk("/", Some(1 << 20)).outcome, Outcome::Fail);
        assert_eq!(memory(Some(1 << 20)).outcome, Outcome::Pass);
        assert_eq!(memory(Some(1 << 10)).outcome, Outcome::Fail);
        assert_eq!(temperature(Some(45_000)).outcome, Outcome::Pass);
        assert_eq!(temperature(Some(85_000)).outcome, Outcome::Warn);
        assert_eq!(temperature(None).outcome, Outcome::Skipped);
    }

    #[test]
    fn kernel_settings_and_watchdog_can_be_off() {
        let wanted = |key: &str| crate::sysctl::settings(KIOSK).find(|(k, _)| *k == key).map(|(_, v)| v.to_owned());
        assert_eq!(sysctls(wanted).outcome, Outcome::Pass);
        let off = sysctls(|key| wanted(key).filter(|_| !key.ends_with("congestion_control")));
        assert_eq!((off.outcome, off.seen.en.as_str()), (Outcome::Warn, "net.ipv4.tcp_congestion_control = -"));
        let state = |words: &[&str]| watchdog(&words.iter().map(ToString::to_string).collect::<Vec<_>>()).outcome;
        assert_eq!(state(&[]), Outcome::Skipped);
        assert_eq!((state(&["inactive\n"]), state(&["inactive", "active\n"])), (Outcome::Warn, Outcome::Pass));
    }
}

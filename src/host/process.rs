//! What the daemon itself uses, from `/proc/self`.

use std::fs;

use kiosk_proto::figures::ProcessFigures;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// Reads the figures; what can't be read stays zero.
pub fn figures(fds: u64) -> ProcessFigures {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    let cpu = getrusage(UsageWho::RUSAGE_SELF);
    ProcessFigures {
        rss_peak_kib: field("VmHWM:").unwrap_or(0),
        rss_kib: field("VmRSS:").unwrap_or(0),
        cpu_seconds: cpu.map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time())),
        fds,
        threads: field("Threads:").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_itself() {
        let figures = super::figures(7);
        assert!(figures.rss_peak_kib > 1000 && figures.threads >= 1 && figures.cpu_seconds > 0.0, "{figures:?}");
        assert_eq!(figures.fds, 7);
    }
}

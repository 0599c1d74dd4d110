//! Figures of the machine, from `/proc` and `/sys`, and how it is started again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kiosk_proto::fleet::HostMetrics;
use nix::sys::statvfs::statvfs;
use zbus::Connection;

use super::process;

/// Starts the machine again, by logind.
///
/// # Errors
/// When logind is not there, or does not let the daemon do it.
pub async fn reboot(bus: &Connection) -> zbus::Result<()> {
    let (service, manager) = (Some("org.freedesktop.login1"), Some("org.freedesktop.login1.Manager"));
    bus.call_method(service, "/org/freedesktop/login1", manager, "Reboot", &false).await.map(drop)
}

/// Remembers the last look, so that counters become shares.
#[derive(Debug)]
pub struct Machine {
    at: Instant,
    jiffies: Option<(u64, u64)>,
    daemon_seconds: f64,
}

impl Machine {
    /// The first look.
    pub fn new() -> Self {
        Self { at: Instant::now(), jiffies: jiffies(), daemon_seconds: process::figures(0).cpu_seconds }
    }

    /// Figures since the last look; what can't be read is absent. `state` is a folder on the disk that matters.
    pub fn look(&mut self, state: &Path, clock_synchronised: bool) -> HostMetrics {
        let elapsed = self.at.elapsed().max(Duration::from_millis(1));
        let (own, now) = (process::figures(0), jiffies());
        let share = |(busy, all): (u64, u64), (busy_before, all_before): (u64, u64)| {
            let all = all.saturating_sub(all_before).max(1) as f64;
            rounded(100.0 * busy.saturating_sub(busy_before) as f64 / all)
        };
        let memory = memory();
        let metrics = HostMetrics {
            cpu_percent: now.zip(self.jiffies).map(|(now, before)| share(now, before)),
            daemon_cpu_percent: Some(rounded(
                100.0 * (own.cpu_seconds - self.daemon_seconds).max(0.0) / elapsed.as_secs_f64(),
            )),
            daemon_memory_kib: Some(own.rss_kib),
            memory_total_kib: memory.get("MemTotal").copied(),
            memory_available_kib: memory.get("MemAvailable").copied(),
            temperature_c: temperature(Path::new("/sys/class/thermal")),
            disk_free_kib: statvfs(state).ok().map(|disk| disk.blocks_available() * disk.fragment_size() / 1024),
            clock_synchronised,
        };
        (self.at, self.jiffies, self.daemon_seconds) = (Instant::now(), now, own.cpu_seconds);
        metrics
    }
}

fn rounded(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}

/// The kernel's release.
pub fn kernel() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(text.trim().to_owned())
}

/// Time of all processors: busy, and all (proc(5), `/proc/stat`).
fn jiffies() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let numbers: Vec<u64> = text.lines().next()?.split_ascii_whitespace().skip(1).flat_map(str::parse).collect();
    // user nice system idle iowait irq softirq steal; what follows is part of the first two.
    let all: u64 = numbers.iter().take(8).sum();
    Some((all - numbers.get(3)? - numbers.get(4)?, all))
}

fn memory() -> BTreeMap<String, u64> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        Some((name.to_owned(), rest.split_ascii_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// The hottest of the sensors.
fn temperature(zones: &Path) -> Option<f64> {
    let zones = fs::read_dir(zones).ok()?.flatten();
    let millidegrees = zones.filter_map(|zone| fs::read_to_string(zone.path().join("temp")).ok()?.trim().parse().ok());
    millidegrees.max().map(|hottest: i64| hottest as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn looks_at_this_machine() {
        let mut machine = Machine::new();
        std::thread::sleep(Duration::from_millis(30));
        let host = machine.look(Path::new("/"), true);
        assert!((0.0..=100.0).contains(&host.cpu_percent.unwrap()), "{host:?}");
        assert!(host.daemon_memory_kib > Some(500) && host.memory_total_kib > host.memory_available_kib, "{host:?}");
        assert!(host.clock_synchronised && host.disk_free_kib.is_some());
        assert!(kernel().is_some_and(|release| !release.is_empty()));
    }

    #[test]
    fn the_hottest_sensor_counts_and_a_machine_may_have_none() {
        let dir = TempDir::new().unwrap();
        assert_eq!(temperature(dir.path()), None);
        for (zone, text) in [("thermal_zone0", "41500\n"), ("thermal_zone1", "63250\n"), ("cooling_device0", "x")] {
            fs::create_dir(dir.path().join(zone)).unwrap();
            fs::write(dir.path().join(zone).join("temp"), text).unwrap();
        }
        assert_eq!(temperature(dir.path()), Some(63.25));
    }
}

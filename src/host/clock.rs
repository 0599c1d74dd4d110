//! The time of day, and whether it can be relied on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::timeout;
use zbus::Connection;
use zbus::OwnedVariant;

/// systemd's service for it; started by the bus when it is asked.
const SERVICE: &str = "org.freedesktop.timedate1";
const PATH: &str = "/org/freedesktop/timedate1";
const ANSWER: Duration = Duration::from_secs(3);

/// Seconds since 1970, by the machine's clock, right or wrong.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether the kernel's clock is synchronised, as systemd tells (`timedatectl`). Where nobody tells, it is not.
pub async fn synchronised(bus: &Connection) -> bool {
    told(bus).await.unwrap_or(false)
}

/// The same; none where nobody tells.
pub async fn told(bus: &Connection) -> Option<bool> {
    let ask = async {
        let properties = Some("org.freedesktop.DBus.Properties");
        let answer =
            bus.call_method(Some(SERVICE), PATH, properties, "Get", &(SERVICE, "NTPSynchronized")).await.ok()?;
        bool::try_from(answer.body().deserialize::<OwnedVariant>().ok()?).ok()
    };
    timeout(ANSWER, ask).await.ok().flatten()
}

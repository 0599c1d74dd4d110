//! Whether the kernel is set as `config/sysctl/kiosk.conf` says. The comparison is `kiosk_proto::sysctl`.

use std::fs;

use kiosk_proto::sysctl::{KIOSK, compare};
use tracing::warn;

/// Warns of each setting that is off. Calls work without them; what each does stands in the file.
pub fn check() {
    let read = |key: &str| fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/"))).ok();
    for off in compare(KIOSK, read) {
        warn!(
            key = off.key,
            value = off.value.as_deref().unwrap_or("missing in this kernel"),
            wanted = off.wanted,
            "the kernel is not set as a kiosk's should be: install config/sysctl/kiosk.conf as /etc/sysctl.d/60-kiosk.conf"
        );
    }
}

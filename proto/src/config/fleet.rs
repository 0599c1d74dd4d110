//! `[fleet]`: the link to the fleet's broker, and whose pushes count.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{BrokerUrl, SecretFile};
use crate::fleet::{GroupName, TrustedKey};

/// `[fleet]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// Address of the MQTT broker, always with TLS. Without a port: 8883.
    #[schemars(
        example = "mqtts://broker.bank.example:8883",
        extend("x-fleet" = "two-signatures", "x-takes-effect" = "at-once")
    )]
    pub broker: BrokerUrl,
    /// PEM file with the certificates that may have signed the broker's. Without it: those of the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "format" = "absolute-path",
        "pattern" = "^/.",
        "x-fleet" = "two-signatures",
        "x-takes-effect" = "at-once"
    ))]
    pub ca_file: Option<PathBuf>,
    /// PEM file with the kiosk's own certificate; its common name is `kiosk.id`.
    #[schemars(
        example = "/etc/kiosk/fleet.crt",
        extend("format" = "absolute-path", "pattern" = "^/.", "x-fleet" = "site-only")
    )]
    pub cert_file: PathBuf,
    /// PEM file with the private key of that certificate.
    #[schemars(example = "/etc/kiosk/fleet.key", extend("x-fleet" = "site-only"))]
    pub key_file: SecretFile,
    /// Groups whose configuration applies here, a later one over an earlier one.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-fleet" = "site-only"))]
    pub groups: Vec<GroupName>,
    /// Public keys whose signatures count.
    #[schemars(
        length(min = 1, max = 16),
        example = Fleet::example_keys(),
        extend("x-fleet" = "two-signatures", "x-takes-effect" = "at-once")
    )]
    pub keys: Vec<TrustedKey>,
    /// Whether keys that can cut the kiosk off are only changed with the signatures of two of them.
    #[serde(default)]
    #[schemars(extend("x-fleet" = "site-only"))]
    pub two_signatures: bool,
    /// Directory where the kiosk keeps what was pushed, and what it has to report.
    #[serde(default = "Fleet::default_state_dir")]
    #[schemars(extend(
        "format" = "absolute-path",
        "pattern" = "^/.",
        "x-fleet" = "site-only"
    ))]
    pub state_dir: PathBuf,
    /// Seconds between two snapshots of the metrics.
    #[serde(default = "Fleet::default_metrics_interval_s")]
    #[schemars(range(min = 1, max = 3600), extend("x-takes-effect" = "at-once"))]
    pub metrics_interval_s: u32,
    /// Seconds between signs of life on the link; after one and a half of them the broker counts the kiosk as gone.
    #[serde(default = "Fleet::default_keepalive_s")]
    #[schemars(range(min = 5, max = 600), extend("x-takes-effect" = "at-once"))]
    pub keepalive_s: u32,
    /// Seconds that a pushed configuration has to prove itself: broker, media server, camera and encoder.
    #[serde(default = "Fleet::default_trial_deadline_s")]
    #[schemars(range(min = 5, max = 900), extend("x-takes-effect" = "at-once"))]
    pub trial_deadline_s: u32,
}

impl Fleet {
    fn example_keys() -> [&'static str; 1] {
        ["ed25519:6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw= Ada"]
    }

    fn default_state_dir() -> PathBuf {
        "/var/lib/kiosk/fleet".into()
    }

    fn default_metrics_interval_s() -> u32 {
        60
    }

    fn default_keepalive_s() -> u32 {
        30
    }

    fn default_trial_deadline_s() -> u32 {
        60
    }
}

//! The keys of `kiosk.toml`, section by section, with their defaults and ranges.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fleet::Fleet;
use super::proxy::Proxy;
use super::relay::Relay;
use super::values::{Adjustment, Bus, CameraDevice, EncoderChoice, JanusUrl, Kbps, KioskId, PortRange, SecretFile};

/// The configuration of a kiosk. Every key has a default but `kiosk.id`, `janus.url` and `janus.room`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this kiosk is.
    pub kiosk: Kiosk,
    /// The server that carries the call.
    pub janus: Janus,
    /// How media connections are dialled.
    #[serde(default)]
    pub ice: Ice,
    /// The way out of a branch that lets nothing through but an HTTP proxy. Without this section every server is dialled itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// A TURN server for branches that reach nothing but one port of it. Without this section media is dialled directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Relay>,
    /// Where the customer's picture comes from.
    #[serde(default)]
    pub camera: Camera,
    /// How the customer's picture is encoded.
    #[serde(default)]
    pub video: Video,
    /// Microphone and loudspeaker.
    #[serde(default)]
    pub audio: Audio,
    /// Where the agent's picture goes.
    #[serde(default)]
    pub display: Display,
    /// How programs on this machine start and end calls.
    #[serde(default)]
    pub control: Control,
    /// The link to the fleet's broker. Without this section there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
}

/// `[kiosk]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kiosk {
    /// The name of this kiosk: agents see it, the journal carries it.
    #[schemars(example = "demo-1", extend("x-fleet" = "site-only"))]
    pub id: KioskId,
}

/// `[janus]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Janus {
    /// Address of the Janus API over WebSocket. Without a port: 443.
    #[schemars(example = "wss://janus.bank.example:8989/", extend("x-fleet" = "two-signatures"))]
    pub url: JanusUrl,
    /// PEM file with the certificates that may have signed the server's. Without it: those of the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "absolute-path", "pattern" = "^/.", "x-fleet" = "two-signatures"))]
    pub ca_file: Option<PathBuf>,
    /// The videoroom of this kiosk.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64), example = 1001, extend("x-fleet" = "two-signatures"))]
    pub room: u64,
    /// File with the room's PIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-fleet" = "site-only"))]
    pub pin_file: Option<SecretFile>,
    /// File with the token of the Janus API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-fleet" = "site-only"))]
    pub token_file: Option<SecretFile>,
    /// File with the signed token of the videoroom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-fleet" = "site-only"))]
    pub room_token_file: Option<SecretFile>,
    /// Seconds between keepalives. Janus drops a session after 60 s without one.
    #[serde(default = "Janus::default_keepalive_s")]
    #[schemars(range(min = 1, max = 55))]
    pub keepalive_s: u32,
    /// TCP ports of the server that may carry media: any other one ends the call.
    #[serde(default)]
    #[schemars(extend("x-fleet" = "two-signatures"))]
    pub media_ports: PortRange,
}

impl Janus {
    fn default_keepalive_s() -> u32 {
        25
    }
}

/// `[ice]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ice {
    /// The one local address to dial from, on a machine with several interfaces. Without it: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "ip-address", "x-fleet" = "two-signatures"))]
    pub local_address: Option<IpAddr>,
    /// Seconds without an acknowledgement until the media connection is taken for dead: nothing is sent, and what waited is
    /// thrown away. Three seconds later it is replaced.
    #[schemars(range(min = 1, max = 10))]
    pub dead_link_s: u32,
}

impl Default for Ice {
    fn default() -> Self {
        Self { local_address: None, dead_link_s: 2 }
    }
}

/// `[camera]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Camera {
    /// Where pictures come from.
    pub source: CameraSource,
    /// The camera of `source = "v4l2"`: `auto` takes the first that can capture.
    pub device: CameraDevice,
    /// The recording that `source = "file"` plays in a loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "absolute-path", "pattern" = "^/."))]
    pub file: Option<PathBuf>,
    /// Wanted width in pixels.
    #[schemars(range(min = 160, max = 3840), extend("multipleOf" = 2))]
    pub width: u32,
    /// Wanted height in pixels.
    #[schemars(range(min = 120, max = 2160), extend("multipleOf" = 2))]
    pub height: u32,
    /// Wanted frames per second.
    #[schemars(range(min = 1, max = 60))]
    pub frames_per_second: u32,
    /// Frequency of the mains, against flicker from lamps.
    pub power_line: PowerLine,
    /// `auto`, or the time of exposure in units of 100 µs.
    pub exposure: Adjustment,
    /// `auto`, or the distance in the camera's own unit.
    pub focus: Adjustment,
    /// Write the time of capture into every picture, as a strip along its lower edge: for measuring, never in service.
    #[schemars(extend("x-fleet" = "site-only"))]
    pub time_code: bool,
}

impl Default for Camera {
    fn default() -> Self {
        Self {
            source: CameraSource::V4l2,
            device: CameraDevice::Auto,
            file: None,
            width: 1280,
            height: 720,
            frames_per_second: 30,
            power_line: PowerLine::Auto,
            exposure: Adjustment::Auto,
            focus: Adjustment::Auto,
            time_code: false,
        }
    }
}

/// Where the customer's picture comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum CameraSource {
    /// A camera of this machine.
    V4l2,
    /// A recording, looped.
    File,
    /// A moving test pattern.
    Test,
}

/// The frequency of the mains, as a camera's control knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum PowerLine {
    /// 50 Hz.
    #[serde(rename = "50hz")]
    Hz50,
    /// 60 Hz.
    #[serde(rename = "60hz")]
    Hz60,
    /// The camera finds out, where it can; else it stays as it is.
    Auto,
    /// No filter.
    Disabled,
}

/// `[video]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Video {
    /// `auto`, or the one GStreamer element to use.
    pub encoder: EncoderChoice,
    /// What the picture gets where the link carries it, kbit/s.
    #[schemars(extend("x-takes-effect" = "at-once"))]
    pub bitrate_kbps: Kbps,
    /// What it gets at least, however slow the link, kbit/s.
    #[schemars(extend("x-takes-effect" = "at-once"))]
    pub min_bitrate_kbps: Kbps,
    /// Requests for a key frame that come sooner than this after the last one wait, milliseconds.
    #[schemars(range(min = 100, max = 10_000))]
    pub keyframe_min_interval_ms: u32,
}

impl Default for Video {
    fn default() -> Self {
        Self {
            encoder: EncoderChoice::Auto,
            bitrate_kbps: Kbps(1000),
            min_bitrate_kbps: Kbps(150),
            keyframe_min_interval_ms: 500,
        }
    }
}

/// `[audio]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audio {
    /// Where sound comes from.
    #[schemars(extend("x-fleet-except" = ["tone-code"]))]
    pub source: AudioSource,
    /// ALSA name of the microphone.
    #[schemars(length(min = 1, max = 128))]
    pub source_device: String,
    /// Where the agent's sound goes.
    pub sink: AudioSink,
    /// ALSA name of the loudspeaker.
    #[schemars(length(min = 1, max = 128))]
    pub sink_device: String,
    /// Take the loudspeaker's sound out of the microphone's.
    pub echo_cancellation: bool,
    /// How hard steady noise is held down.
    pub noise_suppression: NoiseSuppression,
    /// Amplification of the microphone, dB.
    #[schemars(range(min = -30.0, max = 30.0))]
    pub gain_db: f64,
}

impl Default for Audio {
    fn default() -> Self {
        Self {
            source: AudioSource::Alsa,
            source_device: "default".into(),
            sink: AudioSink::Alsa,
            sink_device: "default".into(),
            echo_cancellation: true,
            noise_suppression: NoiseSuppression::Moderate,
            gain_db: 0.0,
        }
    }
}

/// Where the customer's sound comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum AudioSource {
    /// A microphone.
    Alsa,
    /// A tone.
    Test,
    /// Tones that say when they were sent: for measuring, never in service.
    #[serde(rename = "tone-code")]
    ToneCode,
    /// No sound is sent.
    None,
}

/// Where the agent's sound goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum AudioSink {
    /// A loudspeaker.
    Alsa,
    /// Nowhere: it is counted and dropped.
    None,
}

/// How hard `webrtcdsp` holds steady noise down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum NoiseSuppression {
    /// Not at all.
    Off,
    /// A little.
    Low,
    /// The usual.
    Moderate,
    /// In a loud hall.
    High,
}

/// `[display]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Display {
    /// Where the agent's picture is shown.
    pub sink: DisplaySink,
}

impl Default for Display {
    fn default() -> Self {
        Self { sink: DisplaySink::Auto }
    }
}

/// Where the agent's picture is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum DisplaySink {
    /// In a window where there is a display, else nowhere.
    Auto,
    /// In a window; without a display that is an error.
    Window,
    /// Nowhere: it is decoded, counted and dropped.
    None,
}

/// `[control]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// The D-Bus on which calls are started and ended.
    #[schemars(extend("x-takes-effect" = "restart"))]
    pub bus: Bus,
}

impl Default for Control {
    fn default() -> Self {
        Self { bus: Bus::System }
    }
}

//! Choices among devices, encoders and the like.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InvalidValue, invalid};

/// Which camera to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "camera-device", "pattern" = "^(auto|/dev/.+)$"))]
pub enum CameraDevice {
    /// The first one that can capture.
    Auto,
    /// This device node.
    Path(PathBuf),
}

impl TryFrom<String> for CameraDevice {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            path if path.len() > 5 && path.starts_with("/dev/") => Ok(Self::Path(text.into())),
            _ => invalid("\"auto\" or a device such as \"/dev/video0\" or \"/dev/v4l/by-id/...\""),
        }
    }
}

impl From<CameraDevice> for String {
    fn from(device: CameraDevice) -> Self {
        match device {
            CameraDevice::Auto => "auto".into(),
            CameraDevice::Path(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// Which encoder to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "encoder", "pattern" = "^[a-z0-9_-]{1,64}$"))]
pub enum EncoderChoice {
    /// The best one that starts.
    Auto,
    /// This GStreamer element and no other.
    Element(String),
}

impl TryFrom<String> for EncoderChoice {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            name if (1..=64).contains(&name.len()) && name.chars().all(allowed) => Ok(Self::Element(text)),
            _ => invalid(
                "\"auto\" or the name of a GStreamer element, such as \"x264enc\" (`kioskd encoders` lists them)",
            ),
        }
    }
}

impl From<EncoderChoice> for String {
    fn from(choice: EncoderChoice) -> Self {
        match choice {
            EncoderChoice::Auto => "auto".into(),
            EncoderChoice::Element(name) => name,
        }
    }
}

/// Which D-Bus the daemon is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "bus", "pattern" = "^(system|session|unix:.+)$"))]
pub enum Bus {
    /// That of the machine.
    System,
    /// That of the user's session.
    Session,
    /// A bus at this D-Bus address.
    Address(String),
}

impl TryFrom<String> for Bus {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        match text.as_str() {
            "system" => Ok(Self::System),
            "session" => Ok(Self::Session),
            address if address.len() > 5 && address.starts_with("unix:") => Ok(Self::Address(text)),
            _ => invalid("\"system\", \"session\" or an address such as \"unix:path=/run/user/1000/bus\""),
        }
    }
}

impl From<Bus> for String {
    fn from(bus: Bus) -> Self {
        match bus {
            Bus::System => "system".into(),
            Bus::Session => "session".into(),
            Bus::Address(address) => address,
        }
    }
}

/// A property of the camera that it can look after itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "AdjustmentText", into = "AdjustmentText")]
#[schemars(inline)]
pub enum Adjustment {
    /// The camera decides.
    Auto,
    /// This value, in the unit of the property.
    Fixed(u32),
}

/// How an [`Adjustment`] is written: `"auto"` or a number.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum AdjustmentText {
    Auto(AutoText),
    Fixed(#[schemars(range(min = 0, max = 1_000_000))] u32),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum AutoText {
    Auto,
}

impl From<AdjustmentText> for Adjustment {
    fn from(text: AdjustmentText) -> Self {
        match text {
            AdjustmentText::Auto(AutoText::Auto) => Self::Auto,
            AdjustmentText::Fixed(value) => Self::Fixed(value),
        }
    }
}

impl From<Adjustment> for AdjustmentText {
    fn from(adjustment: Adjustment) -> Self {
        match adjustment {
            Adjustment::Auto => Self::Auto(AutoText::Auto),
            Adjustment::Fixed(value) => Self::Fixed(value),
        }
    }
}

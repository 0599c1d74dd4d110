//! Values that carry a rule: what can't be allowed can't be built.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a value of its type: what is allowed, in words that go into an error message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(pub String);

fn invalid<T>(allowed: impl Into<String>) -> Result<T, InvalidValue> {
    Err(InvalidValue(allowed.into()))
}

/// The name of a kiosk: 1 to 63 of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "kiosk-id", "pattern" = "^[a-z0-9-]{1,63}$"))]
pub struct KioskId(String);

impl KioskId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KioskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for KioskId {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 63 || !text.chars().all(allowed) {
            return invalid("1 to 63 lower-case letters, digits and hyphens, such as \"branch-0421-1\"");
        }
        Ok(Self(text))
    }
}

impl From<KioskId> for String {
    fn from(id: KioskId) -> Self {
        id.0
    }
}

/// Where the Janus API is spoken: `wss://host[:port][/path]`, or `ws://` to this machine itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "janus-url", "pattern" = "^wss?://"))]
pub struct JanusUrl {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl JanusUrl {
    /// Whether the connection is encrypted; false only to this machine itself.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Name or literal address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to dial.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What to ask for, beginning with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for JanusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}{}", self.host, self.port, self.path)
    }
}

impl TryFrom<String> for JanusUrl {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        const FORM: &str = "wss://host[:port][/path], such as \"wss://janus.bank.example:8989/\"";
        let (tls, rest) = match text.split_once("://") {
            Some(("wss", rest)) => (true, rest),
            Some(("ws", rest)) => (false, rest),
            _ => return invalid(FORM),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if authority.contains('@') {
            return invalid("an address without a user and password; tokens go into janus.token_file");
        }
        if !path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'\\')) {
            return invalid("a path without query, fragment and spaces; tokens go into janus.token_file");
        }
        let (host, port) = split_port(authority).ok_or_else(|| InvalidValue(FORM.into()))?;
        let port = match port {
            None if tls => 443,
            None => 80,
            Some(port) => match port.parse() {
                Ok(port) if port != 0 => port,
                _ => return invalid("a port from 1 to 65535"),
            },
        };
        if !is_host(host) {
            return invalid(FORM);
        }
        if !tls && !is_loopback(host) {
            return invalid(
                "wss:// (ws:// is not encrypted, and only allowed to this machine: localhost, 127.0.0.1, [::1])",
            );
        }
        Ok(Self { tls, host: host.to_ascii_lowercase(), port, path: path.into() })
    }
}

impl From<JanusUrl> for String {
    fn from(url: JanusUrl) -> Self {
        url.to_string()
    }
}

/// Where the fleet's broker listens: `mqtts://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "broker-url", "pattern" = "^mqtts://"))]
pub struct BrokerUrl {
    host: String,
    port: u16,
}

impl BrokerUrl {
    /// Name or literal address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to dial.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "mqtts://{open}{}{close}:{}", self.host, self.port)
    }
}

impl TryFrom<String> for BrokerUrl {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        const FORM: &str =
            "mqtts://host[:port], such as \"mqtts://broker.bank.example:8883\"; there is no link without TLS";
        let authority = text.strip_prefix("mqtts://").ok_or_else(|| InvalidValue(FORM.into()))?;
        let (host, port) = split_port(authority).ok_or_else(|| InvalidValue(FORM.into()))?;
        let port = match port.map(str::parse) {
            None => 8883,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => return invalid("a port from 1 to 65535"),
        };
        if !is_host(host) {
            return invalid(FORM);
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl From<BrokerUrl> for String {
    fn from(url: BrokerUrl) -> Self {
        url.to_string()
    }
}

/// Splits `host:port`, `host`, `[v6]:port` and `[v6]`.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

pub(super) fn is_host(host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // A name whose last label is a number is a mistyped IPv4 address.
    let numeric_end = host.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    host.len() <= 253 && host.split('.').all(label) && !numeric_end
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A closed range of TCP ports, written `first-last`; at least two, because a call needs one for each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = "port-range", "pattern" = "^[0-9]{1,5}-[0-9]{1,5}$"))]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The lowest port.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The highest port.
    pub fn last(&self) -> u16 {
        self.last
    }

    /// Whether a port is one of them.
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl Default for PortRange {
    fn default() -> Self {
        Self { first: 40_000, last: 40_099 }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl TryFrom<String> for PortRange {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        const FORM: &str = "two ports from 1 to 65535 with a hyphen between them, such as \"40000-40099\"";
        let port = |digits: &str| -> Option<u16> {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|port| plain && *port != 0)
        };
        let Some((first, last)) = text.split_once('-').and_then(|(f, l)| port(f).zip(port(l))) else {
            return invalid(FORM);
        };
        if first > last {
            return invalid(format!("the lower port first: \"{last}-{first}\""));
        }
        if first == last {
            return invalid("at least 2 ports: a call needs one for sending and one for receiving");
        }
        Ok(Self { first, last })
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

/// A bitrate in kbit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Kbps(#[schemars(range(min = 50, max = 20_000))] pub u32);

impl Kbps {
    /// The same in bit/s.
    pub fn bits_per_second(self) -> u32 {
        self.0.saturating_mul(1000)
    }
}

impl fmt::Display for Kbps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kbit/s", self.0)
    }
}

/// A file that holds a secret. The configuration names the file and never holds the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("format" = "secret-file", "pattern" = "^/."))]
pub struct SecretFile(pub PathBuf);

impl SecretFile {
    /// Where the secret is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

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

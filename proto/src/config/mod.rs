//! What a site can set: `kiosk.toml`, strict, with defaults, ranges and rules between keys.
//!
//! The structs of [`schema`] are the only place where keys, defaults and ranges are written. The JSON Schema is generated from them, and
//! [`parse`] checks a file against that very schema, so that what is published and what is enforced can't drift apart.

mod schema;
mod values;

pub use schema::{
    Audio, AudioSink, AudioSource, Camera, CameraSource, Config, Control, Display, DisplaySink, Ice, Janus, Kiosk,
    NoiseSuppression, PowerLine, Video,
};
pub use values::{
    Adjustment, Bus, CameraDevice, EncoderChoice, InvalidValue, JanusUrl, Kbps, KioskId, PortRange, SecretFile,
};

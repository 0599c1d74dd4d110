//! The kiosk as one of a fleet: configuration, commands and reports over MQTT.
//!
//! What is decided stands in `kiosk_proto::fleet`; here it is carried out.

pub mod diagnostics;
pub mod link;
pub mod store;
pub mod upload;

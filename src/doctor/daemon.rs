//! What the system's bus tells: whether the daemon of this machine is in a call, so that its devices are a customer's; and
//! whether the clock is right.

use std::time::Duration;

use kiosk_proto::check::machine::Clock;
use kiosk_proto::config::Bus;
use tokio::time::timeout;
use zbus::Connection;
use zbus::connection::Builder;

use crate::control::{NAME, PATH};
use crate::host::clock;

const ASK: Duration = Duration::from_secs(2);

/// The daemon's bus; none when there is none.
pub async fn bus(bus: &Bus) -> Option<Connection> {
    let connect = async {
        let builder = match bus {
            Bus::System => Builder::system(),
            Bus::Session => Builder::session(),
            Bus::Address(address) => Builder::address(address.as_str()),
        };
        builder.build().await.ok()
    };
    timeout(ASK, connect).await.ok().flatten()
}

/// The state of the running daemon's call; none when there is no daemon, or it does not let us ask.
pub async fn state(bus: &Connection) -> Option<String> {
    let ask = async {
        let properties = Some("org.freedesktop.DBus.Properties");
        let answer = bus.call_method(Some(NAME), PATH, properties, "Get", &(NAME, "State")).await.ok()?;
        let state: zbus::OwnedVariant = answer.body().deserialize().ok()?;
        String::try_from(state).ok()
    };
    timeout(ASK, ask).await.ok().flatten()
}

/// What systemd says of the clock.
pub async fn clock(bus: &Connection) -> Clock {
    match clock::told(bus).await {
        Some(true) => Clock::Synchronised,
        Some(false) => Clock::Free,
        None => Clock::Unknown,
    }
}

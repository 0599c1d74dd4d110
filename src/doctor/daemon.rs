//! Whether the daemon of this machine is in a call: then its devices are a customer's.

use std::time::Duration;

use kiosk_proto::config::Bus;
use tokio::time::timeout;
use zbus::connection::Builder;

use crate::control::{NAME, PATH};

const ASK: Duration = Duration::from_secs(2);

/// The state of the running daemon's call; none when there is no daemon, or it does not let us ask.
pub async fn state(bus: &Bus) -> Option<String> {
    let ask = async {
        let builder = match bus {
            Bus::System => Builder::system(),
            Bus::Session => Builder::session(),
            Bus::Address(address) => Builder::address(address.as_str()),
        };
        let bus = builder.build().await.ok()?;
        let properties = Some("org.freedesktop.DBus.Properties");
        let answer = bus.call_method(Some(NAME), PATH, properties, "Get", &(NAME, "State")).await.ok()?;
        let state: zbus::OwnedVariant = answer.body().deserialize().ok()?;
        String::try_from(state).ok()
    };
    timeout(ASK, ask).await.ok().flatten()
}

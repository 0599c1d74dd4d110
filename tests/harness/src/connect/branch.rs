//! A branch behind its firewall, the bank's server, and what stands between them.

use crate::{
    Result,
    janus::{Janus, JanusOptions, ROOM, WSS_PORT},
    kiosk::{Kiosk, KioskConfig},
    process::Process,
    proxy::{HttpProxy, PORT},
    relay::Relay,
    world::{Host, World},
};
use serde::Serialize;

/// Where relay and proxy are.
const BETWEEN: Host = Host::Agent2;

/// How the branch gets out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// To the server's own ports.
    Direct,
    /// To port 443 alone: signalling to the server, media to coturn in TLS.
    Relay,
    /// To tinyproxy alone, which asks for a password.
    Proxy,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Relay, Self::Proxy];

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Proxy => "proxy",
        }
    }
}

#[derive(Debug)]
enum Between {
    Nothing,
    Relay(Relay),
    Proxy(HttpProxy),
}

/// A kiosk that has one way to its room, in a network of its own.
#[derive(Debug)]
pub struct Branch {
    /// The kiosk.
    pub kiosk: Kiosk,
    between: Between,
    /// Its server.
    pub janus: Janus,
    world: World,
}

impl Branch {
    /// Starts all of it. The firewalls are those of config/nftables, set as docs/site.md says for this way.
    pub fn start(way: Way) -> Result<Self> {
        let world = World::new()?;
        world.firewall(Host::Server, "server.nft", &[])?;
        let (server, between) = (Host::Server.address(), BETWEEN.address());
        let wss_port = if way == Way::Relay { 443 } else { WSS_PORT };
        let janus = Janus::start(&world.at(Host::Server)?, JanusOptions { wss_port, ..JanusOptions::new(server) })?;
        let config = KioskConfig::new("kiosk-1", &janus, ROOM)?;
        let (addresses, signalling, media) = match way {
            Way::Direct => (format!("{{ {server} }}"), format!("{{ {WSS_PORT} }}"), janus.media_ports().to_owned()),
            Way::Relay => (format!("{{ {server}, {between} }}"), "{ 443 }".to_owned(), "443".to_owned()),
            Way::Proxy => (format!("{{ {between} }}"), format!("{{ {PORT} }}"), PORT.to_string()),
        };
        let media = format!("{{ {media} }}");
        let open =
            [("server_addresses", addresses.as_str()), ("signalling_ports", &signalling), ("media_ports", &media)];
        world.firewall(Host::Kiosk, "kiosk.nft", &open)?;
        let place = world.at(BETWEEN)?;
        let (between, config) = match way {
            Way::Direct => (Between::Nothing, config),
            Way::Relay => {
                let relay = Relay::start(&place, between, &[server.into()])?;
                let config = relay.used_by(config, "relay");
                (Between::Relay(relay), config)
            }
            Way::Proxy => {
                let ports = [WSS_PORT].into_iter().chain(40000..=40099);
                let proxy = HttpProxy::start(&place, between, ports, &[])?;
                let config = proxy.used_by(config);
                (Between::Proxy(proxy), config)
            }
        };
        let kiosk = Kiosk::start(&world.at(Host::Kiosk)?, "kioskd", &config)?;
        Ok(Self { kiosk, between, janus, world })
    }

    /// The relay or the proxy.
    pub fn between(&mut self) -> Option<&mut Process> {
        match &mut self.between {
            Between::Nothing => None,
            Between::Relay(relay) => Some(relay.process()),
            Between::Proxy(proxy) => Some(proxy.process()),
        }
    }

    /// UDP packets that the kiosk's host tried to send or was sent.
    pub fn udp_packets(&self) -> Result<u64> {
        let seen = |name| self.world.counter(Host::Kiosk, name);
        Ok(seen("udp_in")?.packets + seen("udp_out")?.packets)
    }
}

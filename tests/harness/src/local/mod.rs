//! All parts on this machine, without namespaces: what the demo and the benchmark stand on.

pub mod bench;
pub mod broker;
pub mod console;
pub mod fleet_bench;
pub mod network;
pub mod report;
pub mod screen;
pub mod signals;
pub mod simulated;

use crate::{
    Error, Result,
    janus::{Janus, JanusOptions, ROOM, built},
    kiosk::KioskConfig,
    place::Place,
    process::run,
};
use broker::LocalBroker;
use network::{Network, free_port, free_range};
use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::PathBuf, process::Command};
use tempfile::TempDir;

/// Name of the kiosk.
pub const KIOSK: &str = "demo-1";
/// The group that it is in.
const GROUP: &str = "demo";

/// A server of one room on this machine, and a folder for files that vanish at the end.
#[derive(Debug)]
pub struct Local {
    /// Janus.
    pub janus: Janus,
    network: Network,
    place: Place,
    // Last, so that the folder is removed when nothing writes to it any more.
    _dir: TempDir,
}

impl Local {
    /// Finds an address and free ports, starts Janus.
    pub fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("kiosk-demo-").tempdir().map_err(Error::io("temporary directory"))?;
        let place = Place::here(dir.path());
        let network = Network::find()?;
        let loopback = Ipv4Addr::LOCALHOST;
        let options = JanusOptions {
            signalling_address: Some(loopback.into()),
            wss_port: free_port(crate::janus::WSS_PORT)?,
            ws_port: Some(free_port(crate::janus::WS_PORT)?),
            media_ports: free_range(40000, 100)?,
            rooms: vec![(ROOM, "Demo branch, kiosk 1".into())],
            ..JanusOptions::new(network.address())
        };
        let janus = Janus::start(&place, options)?;
        Ok(Self { janus, network, place, _dir: dir })
    }

    /// Starts a broker for the kiosk of this server.
    pub fn start_broker(&self) -> Result<LocalBroker> {
        let ports = [free_port(broker::KIOSK_PORT)?, free_port(broker::ADMIN_PORT)?];
        let groups = BTreeMap::from([(GROUP.to_owned(), vec![KIOSK.to_owned()])]);
        LocalBroker::start(&self.place, ports, &groups)
    }

    /// The kiosk as one of the broker's fleet.
    pub fn in_fleet(&self, config: KioskConfig, broker: &LocalBroker) -> Result<KioskConfig> {
        let identity = broker.kiosk(KIOSK);
        let path = |path: PathBuf| path.display().to_string();
        Ok(config
            .with("fleet", "broker", format!("mqtts://localhost:{}", broker.kiosk_port))
            .with("fleet", "ca_file", path(broker.ca()))
            .with("fleet", "cert_file", path(identity.certificate))
            .with("fleet", "key_file", path(identity.key))
            .with("fleet", "groups", vec![GROUP])
            .with("fleet", "keys", vec![broker.trusted_key()?.to_string()])
            .with("fleet", "state_dir", path(self.place.dir().join("fleet-state"))))
    }

    /// Where to start programs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A kiosk with what this machine has: camera, microphone and speaker, or a test picture and a tone.
    pub fn kiosk_config(&self) -> Result<KioskConfig> {
        let mut config = self.test_config()?;
        if has_camera()? {
            config = config.with("camera", "source", "v4l2");
        }
        let (microphone, speaker) = sound_devices();
        if microphone {
            config = config.with("audio", "source", "alsa");
        }
        if speaker {
            config = config.with("audio", "sink", "alsa");
        }
        Ok(config)
    }

    /// A kiosk with a test picture and a tone, whatever this machine has.
    pub fn test_config(&self) -> Result<KioskConfig> {
        let address = self.network.address().to_string();
        Ok(KioskConfig::new(KIOSK, &self.janus, ROOM)?.with("ice", "local_address", address))
    }
}

/// Whether the daemon lists a camera: one line for each, that begins with the device.
fn has_camera() -> Result<bool> {
    let listed = run(Command::new(built("kioskd")?).arg("cameras"));
    Ok(listed.is_ok_and(|text| text.lines().any(|line| line.starts_with("/dev/video"))))
}

/// Whether there are ALSA devices to record from and to play to.
fn sound_devices() -> (bool, bool) {
    let names: Vec<String> = fs::read_dir("/dev/snd").map_or_else(
        |_| Vec::new(),
        |entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
    );
    let any = |end: char| names.iter().any(|name| name.starts_with("pcm") && name.ends_with(end));
    (any('c'), any('p'))
}

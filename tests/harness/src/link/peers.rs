//! Who sends over the link: the daemon, and what it is compared with.

use super::scenario::{MAX_BITRATE_KBPS, Scenario};
use crate::{
    Error, Result,
    agent::{Browser, BrowserOptions, Part},
    janus::{Janus, ROOM, built, write_secret},
    kiosk::{Kiosk, KioskConfig},
    place::Place,
    process::Process,
};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// What a publisher prints when Janus has taken its offer.
pub const PUBLISHED: &str = "published";
/// How long a sender gets to come up, on the narrowest link.
const START: Duration = Duration::from_secs(30);

/// Something that can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The daemon.
    Kioskd,
    /// `webrtcbin` as it comes, over TCP.
    WebrtcbinTcp,
    /// The same over UDP: only ever in this benchmark.
    WebrtcbinUdp,
    /// Headless Chromium, over TCP.
    ChromiumTcp,
    /// `webrtcsink` of gst-plugins-rs with its congestion control, over TCP. Only when asked for: it is built apart.
    WebrtcsinkTcp,
}

/// What a peer's media go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP, dialled by the kiosk.
    Tcp,
    /// UDP.
    Udp,
}

/// What `link-publisher` is told, in a file: tokens must not stand among arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublisherOptions {
    /// TCP or UDP.
    pub transport: Transport,
    /// Janus's WebSocket without TLS.
    pub server: String,
    /// Token of the Janus API.
    pub token: String,
    /// The room.
    pub room: u64,
    /// Token for the room.
    pub room_token: String,
    /// Name in the room, such as `kiosk/kiosk-1`.
    pub display: String,
    /// The recording, played over and over.
    pub recording: PathBuf,
    /// Pixels: width, height.
    pub size: (u32, u32),
    /// What the encoder is told, and keeps; `webrtcsink` begins with it, and never tells it more.
    pub bits_per_second: u64,
    /// The plugin with `webrtcsink`; without it, `webrtcbin` sends.
    pub webrtcsink: Option<PathBuf>,
}

/// What all senders of a run need.
#[derive(Debug)]
pub struct Site<'a> {
    /// The senders' host.
    pub place: Place,
    /// The server.
    pub janus: &'a Janus,
    /// Where it takes signalling without TLS.
    pub ws_url: String,
    /// The recording.
    pub recording: &'a Path,
    /// The daemon, if not the one that was built beside this program.
    pub kioskd: Option<&'a Path>,
    /// The link.
    pub scenario: &'a Scenario,
}

/// One running sender.
#[derive(Debug)]
pub enum Sender {
    /// The daemon, in a call.
    Kioskd(Box<Kiosk>),
    /// `link-publisher`.
    Publisher(Process),
    /// Chromium with its driver.
    Chromium(Box<Browser>),
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Kioskd, Self::WebrtcbinTcp, Self::WebrtcbinUdp, Self::ChromiumTcp, Self::WebrtcsinkTcp];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kioskd => "kioskd",
            Self::WebrtcbinTcp => "webrtcbin-tcp",
            Self::WebrtcbinUdp => "webrtcbin-udp",
            Self::ChromiumTcp => "chromium-tcp",
            Self::WebrtcsinkTcp => "webrtcsink-tcp",
        }
    }

    /// By name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// Whether it runs when no peer is named.
    pub fn by_default(self) -> bool {
        self != Self::WebrtcsinkTcp
    }

    /// What its media go over.
    pub fn transport(self) -> Transport {
        if self == Self::WebrtcbinUdp { Transport::Udp } else { Transport::Tcp }
    }

    /// Starts the sender with this number, counted from 0. It sends to the room of that number.
    pub fn start(self, site: &Site, number: usize) -> Result<Sender> {
        let name = publisher_name(number);
        match self {
            Self::Kioskd => start_kioskd(site, &name, room(number)),
            Self::WebrtcbinTcp | Self::WebrtcbinUdp | Self::WebrtcsinkTcp => {
                start_publisher(site, &name, room(number), self)
            }
            Self::ChromiumTcp => start_chromium(site, &name, room(number)),
        }
    }
}

impl Sender {
    /// An error when it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self {
            Self::Kioskd(kiosk) => kiosk.process().must_run(),
            Self::Publisher(process) => process.must_run(),
            Self::Chromium(browser) => browser.process().must_run(),
        }
    }

    /// The daemon's figures, in JSON; others have none.
    pub fn figures(&self) -> Result<Option<String>> {
        match self {
            Self::Kioskd(kiosk) => kiosk.figures_text().map(Some),
            Self::Publisher(_) | Self::Chromium(_) => Ok(None),
        }
    }
}

/// How records name the sender with this number, counted from 0.
pub fn publisher_name(number: usize) -> String {
    format!("kiosk-{}", number + 1)
}

/// Its room.
pub fn room(number: usize) -> u64 {
    ROOM + number as u64
}

/// The daemon as in service, but for what it sees and hears, and the limit that all peers have.
fn start_kioskd(site: &Site, name: &str, room: u64) -> Result<Sender> {
    let (width, height) = site.scenario.size;
    let config = KioskConfig::new(name, site.janus, room)?
        .with("camera", "source", "file")
        .with("camera", "file", site.recording.display().to_string())
        .with("camera", "width", i64::from(width))
        .with("camera", "height", i64::from(height))
        .with("camera", "time_code", true)
        .with("audio", "source", "tone-code")
        .with("video", "bitrate_kbps", i64::from(MAX_BITRATE_KBPS));
    let program = site.kioskd.map_or_else(|| built("kioskd"), |path| Ok(path.to_owned()))?;
    let kiosk = Kiosk::start_program(program, &site.place, name, &config, &[])?;
    kiosk.start_call()?;
    Ok(Sender::Kioskd(Box::new(kiosk)))
}

/// Where `./dev bench link --peer webrtcsink-tcp` leaves the plugin.
fn webrtcsink() -> Result<PathBuf> {
    let publisher = built("link-publisher")?;
    let target = publisher.ancestors().nth(2).unwrap_or(Path::new("target"));
    let plugin = target.join("webrtcsink/release/liblink_webrtcsink.so");
    if plugin.is_file() {
        return Ok(plugin);
    }
    let message = format!("{} is missing: `./dev bench link --peer webrtcsink-tcp` builds it", plugin.display());
    Err(Error::Other(message))
}

fn start_publisher(site: &Site, name: &str, room: u64, peer: Peer) -> Result<Sender> {
    let tokens = site.janus.agent_tokens(room)?;
    let options = PublisherOptions {
        transport: peer.transport(),
        server: site.ws_url.clone(),
        token: tokens.token,
        room,
        room_token: tokens.room_token,
        display: format!("kiosk/{name}"),
        recording: site.recording.to_owned(),
        size: site.scenario.size,
        bits_per_second: u64::from(MAX_BITRATE_KBPS) * 1000,
        webrtcsink: if peer == Peer::WebrtcsinkTcp { Some(webrtcsink()?) } else { None },
    };
    let file = write_options(&site.place, name, &options)?;
    let mut command = site.place.product_command(built("link-publisher")?);
    command.arg(file);
    let mut process = site.place.spawn(name, &mut command)?;
    process.wait_log(PUBLISHED, START)?;
    Ok(Sender::Publisher(process))
}

fn start_chromium(site: &Site, name: &str, room: u64) -> Result<Sender> {
    let (width, height) = site.scenario.size;
    let options = BrowserOptions {
        driver: vec![
            "--time-code".into(),
            format!("--size={width}x{height}"),
            format!("--bitrate={}", u64::from(MAX_BITRATE_KBPS) * 1000),
        ],
        video: Some(site.recording.display().to_string()),
        ..BrowserOptions::new(Part::PublishingKiosk, name, site.janus, room)?
    };
    Ok(Sender::Chromium(Box::new(Browser::start(&site.place, &options)?)))
}

/// Writes what a program is told, tokens included, so that only its owner can read it.
pub(super) fn write_options(place: &Place, name: &str, options: &impl Serialize) -> Result<PathBuf> {
    let file = place.dir().join(format!("{name}.json"));
    write_secret(&file, &serde_json::to_string(options).map_err(Error::json("options"))?)?;
    Ok(file)
}

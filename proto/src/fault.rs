//! Everything that can be wrong at a kiosk, by code. D-Bus, the journal, the fleet's events and the tables of
//! `docs/kiosk.md` all take their codes from here; the message of a fault, made where it is met, names the thing.

#[cfg(test)]
mod tests;

use std::fmt;

/// Declares the codes, each with what it means and what to do, in Markdown for the documentation.
macro_rules! codes {
    ($($variant:ident in $part:ident $code:literal: $meaning:literal => $remedy:literal;)+) => {
        /// Stable name of a fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultCode {
            $(#[doc = $meaning] $variant,)+
        }

        impl FaultCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name for programs: on D-Bus, in the journal's field `FAULT`, in the fleet's events.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// What it is about.
            #[must_use]
            pub const fn part(self) -> Part {
                match self { $(Self::$variant => Part::$part),+ }
            }

            /// What it means, for a technician; Markdown.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }

            /// What to do; Markdown.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),+ }
            }
        }
    };
}

/// What a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The way to the server. Such a fault is gone once the call is up.
    Server,
    /// The media connections and what GStreamer needs for them. Gone once the call is up, too.
    Media,
    /// The agent's media. Only the journal tells of it: the kiosk's own media is not concerned.
    Agent,
    /// What ended the call and is shown until the next one.
    Violation,
    /// What the daemon keeps for the fleet. Only the journal and the fleet are told.
    Fleet,
    /// A device; the call goes on without it. Gone once it works.
    Device,
}

codes! {
    ServerUnreachable in Server "server-unreachable":
        "no address for the name, no TCP connection, or no WebSocket behind it" =>
        "the message says which of them: DNS over TCP, firewall and port, `janus.url`";
    ProxyRefused in Server "proxy-refused":
        "the proxy does not lead to a server" =>
        "the message says why: password (407), a port that it does not allow (403), no way from it to the server (500, 502, 503, 504), no proxy at `proxy.address`";
    ServerCertificate in Server "server-certificate":
        "TLS failed, or `janus.ca_file` can't be used" =>
        "renew the certificate, set the clock, put the right CA into `janus.ca_file`, compare the name";
    ServerLost in Server "server-lost":
        "the connection was there and is gone" =>
        "nothing: the kiosk takes its session back, and the media goes on where Janus still holds it";
    ServerSilent in Server "server-silent":
        "Janus did not answer a request for 10 s" =>
        "nothing: the kiosk connects again. If it stays, look at Janus's log";
    SessionExpired in Server "session-expired":
        "Janus dropped the session" =>
        "nothing: the call starts over. Often: the link was away for long, or the clock jumped";
    SecretUnreadable in Server "secret-unreadable":
        "a token or PIN file can't be read" =>
        "`chown root:kiosk`, `chmod 640`, compare the path";
    TokenRefused in Server "token-refused":
        "token or PIN is wrong or has expired" =>
        "sign a new one (`kioskctl server token`)";
    RoomUnknown in Server "room-unknown":
        "there is no room of this number" =>
        "compare `janus.room` with the server's `site.toml`";
    RoomFull in Server "room-full":
        "the room has two publishers already" =>
        "another kiosk uses this room, or an old session has not timed out yet (up to 45 s)";
    RoomOfAnother in Server "room-of-another":
        "another kiosk is in this kiosk's room" =>
        "compare `janus.room` of both with `site.toml`: each kiosk has a room of its own";
    RoomCodec in Server "room-codec":
        "the room does not take H.264, or not Opus" =>
        "render the server's configuration with `kioskctl server render`";
    RoomClosed in Server "room-closed":
        "the room was destroyed" =>
        "see the server; the kiosk tries again until it exists";
    RemovedFromRoom in Server "removed-from-room":
        "someone kicked the kiosk" =>
        "nothing: it joins again";
    ServerBusy in Server "server-busy":
        "Janus has no free media port, or fails inside (its error 490)" =>
        "nothing: the kiosk tries again until a call ends. If it happens often: a wider range, four ports for each call";
    ServerMisconfigured in Server "server-misconfigured":
        "Janus has no videoroom plugin" =>
        "render its configuration";
    ServerRefused in Server "server-refused":
        "any other error of Janus, with its number and text" =>
        "the log of Janus";
    NoTcpCandidate in Media "no-tcp-candidate":
        "Janus offered nothing that may be dialled" =>
        "`ice_tcp = true`; the same port range in `janus.media_ports` and `media.ports` of the server";
    MediaUnreachable in Media "media-unreachable":
        "none of the server's ports could be reached" =>
        "the message says why a proxy or a relay does not lead there; without one: open the ports that the message names from kiosk to server; `public_address` if the server is behind NAT";
    MediaLost in Media "media-lost":
        "the connection was up and failed" =>
        "nothing: a new one is made";
    MediaFailed in Media "media-failed":
        "GStreamer refused something, or the ICE agent can't be made TCP only" =>
        "the message; `ice.local_address` must be an address of this machine";
    NoEncoder in Media "no-encoder":
        "no H.264 encoder works" =>
        "`kioskd encoders`";
    PluginMissing in Media "plugin-missing":
        "a GStreamer element is not installed" =>
        "the packages above";
    AgentMediaMissing in Agent "agent-media-missing":
        "the agent publishes, and nothing arrives; journal only" =>
        "nothing: the kiosk tries again every second";
    AgentMediaLost in Agent "agent-media-lost":
        "the agent's media arrived and failed, or has stopped for 6 s; journal only" =>
        "nothing: the kiosk tries again every second";
    TcpOnlyViolation in Violation "tcp-only-violation":
        "the audit saw UDP, a port outside the range, a media connection beside the gate, or an inbound connection. The call was ended" =>
        "keep the journal: it has the evidence. Then see \"Verify\" below. Shown until the next call";
    FleetStateDamaged in Fleet "fleet-state-damaged":
        "a file in `fleet.state_dir` could not be read; the one before it is used, or none" =>
        "look at the disk. The fleet is told, and what it wants comes again from the broker";
    FleetStateNotStored in Fleet "fleet-state-not-stored":
        "the disk is full, can only be read, or is not the daemon's" =>
        "make room; until then nothing that the fleet asks for is done";
    CameraUnavailable in Device "camera-unavailable":
        "no picture from the camera. The agent sees a picture that says so" =>
        "the message tells: not there, used by another program, not allowed, no usable mode, no picture";
    MicrophoneUnavailable in Device "microphone-unavailable":
        "the microphone can't be opened, or failed" =>
        "`arecord -L` lists the names for `audio.source_device`";
    SoundMissing in Device "sound-missing":
        "the microphone was opened and gives nothing, or its sound is lost on its way through the kiosk" =>
        "look at the cable, `arecord -d 3 /dev/null`; a new call opens it anew";
    SpeakerUnavailable in Device "speaker-unavailable":
        "the loudspeaker can't be opened, or failed" =>
        "`aplay -L` lists the names for `audio.sink_device`";
    DisplayUnavailable in Device "display-unavailable":
        "no window can be shown" =>
        "a session with a display must run, or `display.sink = \"none\"`";
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is wrong now, for D-Bus and the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of fault.
    pub code: FaultCode,
    /// What, with what, and what to do, for a technician.
    pub message: String,
}

impl Fault {
    /// A fault.
    #[must_use]
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

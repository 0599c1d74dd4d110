//! What Janus' error codes mean to the person who has to mend it.

use thiserror::Error;

use crate::fault::FaultCode;

/// An error that Janus, or its videoroom plugin, answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Janus error {code} ({reason}): {}", self.remedy())]
pub struct JanusError {
    /// Code, from `apierror.h` (403-499 of the core) or from the videoroom plugin (421-440).
    pub code: u16,
    /// What Janus says of it.
    pub reason: String,
    /// Whether the videoroom plugin said it: the plugin's codes overlap those of the core.
    pub plugin: bool,
}

impl JanusError {
    /// The room has as many publishers as it may.
    pub const ROOM_FULL: u16 = 432;
    /// The core knows no such session: it timed out, or Janus was restarted.
    pub const NO_SUCH_SESSION: u16 = 458;

    /// What the operator can do, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        if self.plugin { self.plugin_remedy() } else { self.core_remedy() }
    }

    /// A short name for the fault that this error is to the kiosk's operator.
    #[must_use]
    pub fn fault_code(&self) -> FaultCode {
        match (self.plugin, self.code) {
            (false, 403 | 405) | (true, 433) => FaultCode::TokenRefused,
            (true, 426) => FaultCode::RoomUnknown,
            (true, 432) => FaultCode::RoomFull,
            (false, 490) => FaultCode::ServerBusy,
            (false, 460) => FaultCode::ServerMisconfigured,
            _ => FaultCode::ServerRefused,
        }
    }

    fn core_remedy(&self) -> &'static str {
        match self.code {
            403 => "the API token is missing, wrong or expired: renew the file named by janus.token_file",
            405 => "the token does not allow the videoroom plugin: issue one that names it",
            458 => "the session is gone; the kiosk opens a new one by itself",
            459 => "the handle is gone; the kiosk attaches again by itself",
            460 => "the videoroom plugin is not loaded: see plugins.disable in janus.jcfg",
            465 => "Janus could not use the session description: compare the room's codecs with the kiosk's",
            490 => {
                "the server has no free media port: a call takes four of media.ports in its site.toml, and the kiosk tries again until one ends; if there are few calls, see the log of Janus"
            }
            _ => "see the log of Janus for the request",
        }
    }

    fn plugin_remedy(&self) -> &'static str {
        match self.code {
            425 => "the kiosk is in the room already; the kiosk starts again by itself",
            426 => "the room does not exist: compare janus.room with the rooms in janus.plugin.videoroom.jcfg",
            428 => "the agent left before the kiosk could subscribe; the kiosk waits for the next one",
            432 => {
                "the room already has as many publishers as it may: another kiosk uses this room, or an earlier session has not timed out yet"
            }
            433 => {
                "the room's PIN or token is wrong or expired: renew the files named by janus.pin_file and janus.room_token_file"
            }
            436 => "the kiosk is in the room already; the kiosk starts again by itself",
            _ => "see the log of Janus for the videoroom request",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_code_differs_between_core_and_plugin() {
        let error = |code, plugin| JanusError { code, reason: "r".to_owned(), plugin };
        assert_eq!(error(432, true).fault_code(), FaultCode::RoomFull);
        assert_eq!(error(432, false).fault_code(), FaultCode::ServerRefused);
        assert_eq!(error(490, false).fault_code(), FaultCode::ServerBusy);
        assert_eq!(error(403, false).fault_code(), FaultCode::TokenRefused);
        let text = error(426, true).to_string();
        assert!(text.contains("426") && text.contains("janus.room"), "{text}");
    }
}

//! Signed tokens, in the form that Janus checks (auth.c, `janus_auth_check_signature_contains`):
//! `expiry,realm,descriptor,...:base64(HMAC-SHA1(secret, everything before the colon))`.
//!
//! Two of them open a room. The API token's realm is `janus`; it goes into every request and names the plugins that
//! may be attached to. The room token's realm is the plugin; it goes into `join` and names the rooms.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha1::Sha1;
use std::time::Duration;

const PLUGIN: &str = "janus.plugin.videoroom";
const DAY: u64 = 24 * 60 * 60;

/// Who holds the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A bank agent: any number of rooms, at most a day.
    Agent,
    /// A kiosk: its own room, at most two years.
    Kiosk,
}

/// What tokens are asked for.
#[derive(Debug)]
pub struct Grant {
    rooms: Vec<u64>,
    valid_for: Duration,
}

/// The tokens of one holder.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Tokens {
    /// Goes into every request to Janus as `token`.
    pub token: String,
    /// Goes into the body of `join` as `token`.
    pub room_token: String,
    /// Unix time from which Janus refuses both.
    pub expires: u64,
}

/// Why a grant is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// A kiosk stands in one room.
    #[error("a kiosk has one room, but {0} were given; name one --room, or use --kind agent")]
    KioskRooms(usize),
    /// Janus numbers rooms from 1.
    #[error("--room 0: there is no such room")]
    RoomZero,
    /// Janus knows no way to take a signed token back, so it must end by itself.
    #[error("--valid-for is too long: tokens cannot be revoked one by one, so at most {0} days are allowed here")]
    TooLong(u64),
}

impl Grant {
    /// Checks what is asked for.
    pub fn new(kind: Kind, mut rooms: Vec<u64>, valid_for: Duration) -> Result<Self, GrantError> {
        rooms.sort_unstable();
        rooms.dedup();
        if kind == Kind::Kiosk && rooms.len() != 1 {
            return Err(GrantError::KioskRooms(rooms.len()));
        }
        if rooms.contains(&0) {
            return Err(GrantError::RoomZero);
        }
        let days = match kind {
            Kind::Agent => 1,
            Kind::Kiosk => 731,
        };
        if valid_for.as_secs() > days * DAY {
            return Err(GrantError::TooLong(days));
        }
        Ok(Self { rooms, valid_for })
    }

    /// Signs the tokens. `now` is Unix time in seconds.
    pub fn sign(&self, secret: &str, now: u64) -> Tokens {
        let expires = now + self.valid_for.as_secs();
        let rooms: String = self.rooms.iter().map(|room| format!(",room={room}")).collect();
        Tokens {
            token: signed(secret, &format!("{expires},janus,{PLUGIN}")),
            room_token: signed(secret, &format!("{expires},{PLUGIN}{rooms}")),
            expires,
        }
    }
}

fn signed(secret: &str, text: &str) -> String {
    format!("{text}:{}", STANDARD.encode(hmac_sha1(secret.as_bytes(), text.as_bytes())))
}

/// HMAC-SHA1 (RFC 2104): the only algorithm that Janus knows for tokens.
pub fn hmac_sha1(secret: &[u8], text: &[u8]) -> [u8; 20] {
    // A key of any length is allowed; the error type exists for other algorithms.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) else { unreachable!("HMAC takes keys of any length") };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Reads `90s`, `30m`, `8h` or `365d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write 90s, 30m, 8h or 365d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => DAY,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    match count.checked_mul(seconds) {
        Some(total) if total > 0 => Ok(Duration::from_secs(total)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202, test case 2.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let expected: [u8; 20] = [
            0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f, 0xa2, 0xd2, 0x74, 0x16, 0xd5, 0xf1, 0x84, 0xdf, 0x9c, 0x25, 0x9a,
            0x7c, 0x79,
        ];
        assert_eq!(hmac_sha1(b"Jefe", b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn tokens_name_expiry_realm_and_what_they_open() {
        let grant = Grant::new(Kind::Agent, vec![1002, 1001, 1002], Duration::from_secs(8 * 3600)).unwrap();
        let tokens = grant.sign("0123456789abcdef0123456789abcdef", 1_800_000_000);
        assert_eq!(tokens.expires, 1_800_028_800);
        let (api, api_signature) = tokens.token.split_once(':').unwrap();
        assert_eq!(api, "1800028800,janus,janus.plugin.videoroom");
        assert_eq!(STANDARD.decode(api_signature).unwrap().len(), 20);
        let (room, _) = tokens.room_token.split_once(':').unwrap();
        assert_eq!(room, "1800028800,janus.plugin.videoroom,room=1001,room=1002");
    }

    #[test]
    fn a_kiosk_has_one_room_and_an_agent_one_day() {
        let hour = Duration::from_secs(3600);
        assert_eq!(Grant::new(Kind::Kiosk, vec![1, 2], hour).unwrap_err(), GrantError::KioskRooms(2));
        assert_eq!(Grant::new(Kind::Agent, vec![0], hour).unwrap_err(), GrantError::RoomZero);
        assert_eq!(Grant::new(Kind::Agent, vec![1], 25 * hour).unwrap_err(), GrantError::TooLong(1));
        assert_eq!(Grant::new(Kind::Kiosk, vec![1], 732 * 24 * hour).unwrap_err(), GrantError::TooLong(731));
        assert!(Grant::new(Kind::Kiosk, vec![1], 365 * 24 * hour).is_ok());
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(parse_duration("8h"), Ok(Duration::from_secs(28800)));
        assert_eq!(parse_duration("365d"), Ok(Duration::from_secs(365 * 86400)));
        for wrong in
            ["", "8", "h", "0h", "-1h", "1.5h", "8 h", "8w", "é", "99999999999999999999d", "999999999999999999d"]
        {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }
}

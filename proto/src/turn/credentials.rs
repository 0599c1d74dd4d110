//! Who the kiosk is to a relay: the long-term mechanism (RFC 8489 section 9.2), and time-limited names for it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::secret::{Credentials, Secret};

/// Credentials that end by themselves, as coturn's `use-auth-secret` takes them: the name is the time at which they end
/// (Unix, seconds) and whose they are, the password is its HMAC-SHA1 (draft-uberti-behave-turn-rest-00 section 2.2).
#[must_use]
pub fn rest(secret: &Secret, whose: &str, now: Duration, valid_for: Duration) -> Credentials {
    let username = format!("{}:{whose}", now.saturating_add(valid_for).as_secs());
    let password = STANDARD.encode(hmac_sha1(secret.expose().as_bytes(), username.as_bytes()));
    Credentials { username, password: Secret::new(password) }
}

/// RFC 2104.
pub(super) fn hmac_sha1(key: &[u8], data: &[u8]) -> [u8; 20] {
    match <Hmac<Sha1> as KeyInit>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(data).finalize().into_bytes().into(),
        // It takes keys of any length.
        Err(_) => [0; 20],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limited_credentials_are_those_that_coturn_computes() {
        let credentials = rest(
            &Secret::new("north"),
            "branch-7",
            Duration::from_millis(1_699_913_600_500),
            Duration::from_secs(86_400),
        );
        assert_eq!(credentials.username, "1700000000:branch-7");
        // echo -n 1700000000:branch-7 | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(credentials.password.expose(), "+wzAOURcq1dg71iKKKFg9S4Cji4=");
    }
}

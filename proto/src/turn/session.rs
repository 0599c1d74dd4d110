//! The talk with a relay: requests that prove who asks, and what the answers mean.

use std::net::SocketAddr;
use std::time::Duration;

use md5::{Digest, Md5};
use thiserror::Error;

use super::message::{
    CONNECTION_ID, LIFETIME, Malformed, Message, NONCE, REALM, REQUESTED_ADDRESS_FAMILY, REQUESTED_TRANSPORT, Request,
    USERNAME, XOR_PEER_ADDRESS,
};
use crate::secret::Credentials;

/// RFC 8656 section 17, RFC 6062 section 6.1.
const ALLOCATE: u16 = 0x003;
const REFRESH: u16 = 0x004;
const CONNECT: u16 = 0x00A;
const CONNECTION_BIND: u16 = 0x00B;
/// REQUESTED-TRANSPORT: the number of TCP, and three reserved bytes.
const TCP: [u8; 4] = [6, 0, 0, 0];
/// A relay asks for credentials once, and for a new nonce once more; who goes on asking will not stop.
const CHALLENGES: u8 = 3;
/// Realm and nonce have less than 128 characters (RFC 8489 sections 14.9 and 14.10): at most this many bytes.
const MAX_TEXT_BYTES: usize = 763;

/// REQUESTED-ADDRESS-FAMILY (RFC 8656 section 18.6): the number of IPv6, and three reserved bytes.
const IPV6: [u8; 4] = [2, 0, 0, 0];

/// Of which kind the relay's own address must be: of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<SocketAddr> for Family {
    fn from(server: SocketAddr) -> Self {
        if server.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// An allocation for TCP connections.
    Allocate(Family),
    /// To keep the allocation.
    Refresh,
    /// A connection to the server.
    Connect(SocketAddr),
    /// That this connection to the relay carry the one of this number.
    Bind(u32),
}

impl Ask {
    fn method(self) -> u16 {
        match self {
            Self::Allocate(_) => ALLOCATE,
            Self::Refresh => REFRESH,
            Self::Connect(_) => CONNECT,
            Self::Bind(_) => CONNECTION_BIND,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Not for this request, or an indication: read on.
    Other,
    /// The relay wants a proof, or a newer one: ask again.
    Again,
    /// The allocation stands for so long.
    Kept(Duration),
    /// The relay is connected to the server; the number of the connection.
    Connected(u32),
    /// From here on this connection is the server's.
    Bound,
}

/// Why a relay does not lead to the server, with what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// 401 again and again.
    #[error(
        "it does not take the credentials (401); compare relay.secret_file with static-auth-secret of the relay (or \
         username and password_file), and the clocks of both"
    )]
    Credentials,
    /// 403 to an allocation or a connection.
    #[error("it forbids this (403); the server's address must be one of allowed-peer-ip of the relay")]
    Forbidden,
    /// 442: no TCP allocations.
    #[error("it makes no TCP connections for clients (442); take no-tcp-relay out of its configuration")]
    NoTcp,
    /// 440, 443: the address family.
    #[error("it has no address of the server's family ({0})")]
    Family(u16),
    /// 447: it tried.
    #[error("it has no connection to the server (447); is Janus running, and is the port open between the two?")]
    NoWay,
    /// 486, 508.
    #[error("it has no room ({0}); raise user-quota, total-quota or the range min-port to max-port of the relay")]
    Full(u16),
    /// Any other code.
    #[error("it answers with error {0} ({1}); see its log")]
    Error(u16, String),
    /// Not STUN, or damaged.
    #[error("{0}; is relay.url the port of a TURN server, with turns: for TLS and turn: without?")]
    Malformed(#[from] Malformed),
    /// The answer lacks something, or was not made by who knows the password.
    #[error("its answer proves nothing; is it the bank's relay?")]
    Unproven,
    /// The connection ended before an answer.
    #[error("it ended the connection without an answer; is relay.url the port of a TURN server?")]
    Ended,
    /// No answer in time.
    #[error("it does not answer in time; does it reach the server?")]
    Silent,
}

/// The key of the long-term mechanism (RFC 8489 section 9.2.2). MD5 is what relays understand; what it protects is on a
/// TLS connection, or short-lived.
pub(super) fn key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{username}:{realm}:{password}")).into()
}

/// One connection's talk with a relay.
#[derive(Debug, Clone)]
pub struct Session {
    credentials: Credentials,
    /// Realm, nonce and key, once the relay has asked for a proof.
    proof: Option<(Vec<u8>, Vec<u8>, [u8; 16])>,
    challenges: u8,
    asked: Option<(Ask, [u8; 12])>,
}

impl Session {
    /// Before the first request.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, proof: None, challenges: 0, asked: None }
    }

    /// The request; `transaction` is random.
    pub fn request(&mut self, ask: Ask, transaction: [u8; 12]) -> Vec<u8> {
        if self.asked.is_none_or(|(asked, _)| asked != ask) {
            self.challenges = 0;
        }
        self.asked = Some((ask, transaction));
        let request = Request::new(ask.method(), &transaction);
        let request = match ask {
            Ask::Allocate(Family::V4) => request.with(REQUESTED_TRANSPORT, &TCP),
            Ask::Allocate(Family::V6) => request.with(REQUESTED_TRANSPORT, &TCP).with(REQUESTED_ADDRESS_FAMILY, &IPV6),
            Ask::Refresh => request,
            Ask::Connect(server) => request.with_address(XOR_PEER_ADDRESS, server),
            Ask::Bind(connection) => request.with(CONNECTION_ID, &connection.to_be_bytes()),
        };
        let Some((realm, nonce, key)) = &self.proof else { return request.bytes() };
        let request = request.with(USERNAME, self.credentials.username.as_bytes());
        request.with(REALM, realm).with(NONCE, nonce).signed(key).bytes()
    }

    /// Takes one whole message of the relay.
    ///
    /// # Errors
    /// Why there is no way, with what to do.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Answer, Refusal> {
        let message = Message::parse(bytes)?;
        let Some((ask, transaction)) = self.asked else { return Ok(Answer::Other) };
        if message.transaction() != transaction || message.method() != ask.method() {
            return Ok(Answer::Other);
        }
        if message.is_error() {
            return self.refused(ask, &message);
        }
        let proven = self.proof.as_ref().is_some_and(|(_, _, key)| message.is_from(key));
        if !message.is_success() || !proven {
            return Err(Refusal::Unproven);
        }
        self.asked = None;
        match ask {
            Ask::Allocate(_) | Ask::Refresh => {
                let seconds = message.number(LIFETIME).ok_or(Refusal::Unproven)?;
                Ok(Answer::Kept(Duration::from_secs(seconds.into())))
            }
            Ask::Connect(_) => message.number(CONNECTION_ID).map(Answer::Connected).ok_or(Refusal::Unproven),
            Ask::Bind(_) => Ok(Answer::Bound),
        }
    }

    fn refused(&mut self, ask: Ask, message: &Message<'_>) -> Result<Answer, Refusal> {
        let (code, reason) = message.error();
        match code {
            // 401 to a request that had a proof means that the proof is wrong; 438 that it is too old.
            401 if self.challenges > 0 => return Err(Refusal::Credentials),
            401 | 438 if self.challenges < CHALLENGES => {}
            401 | 438 => return Err(Refusal::Credentials),
            403 => return Err(Refusal::Forbidden),
            440 | 443 => return Err(Refusal::Family(code)),
            442 => return Err(Refusal::NoTcp),
            447 => return Err(Refusal::NoWay),
            486 | 508 => return Err(Refusal::Full(code)),
            _ => return Err(Refusal::Error(code, reason)),
        }
        let text = |kind| message.attribute(kind).filter(|value| value.len() <= MAX_TEXT_BYTES).map(<[u8]>::to_vec);
        let (realm, nonce) = text(REALM).zip(text(NONCE)).ok_or(Refusal::Unproven)?;
        let Credentials { username, password } = &self.credentials;
        let key = key(username, &String::from_utf8_lossy(&realm), password.expose());
        self.proof = Some((realm, nonce, key));
        self.challenges += 1;
        self.asked = Some((ask, [0; 12]));
        Ok(Answer::Again)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{ERROR_CODE, MESSAGE_INTEGRITY};
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;

    const ID: [u8; 12] = *b"transaction1";
    const IPV4: Ask = Ask::Allocate(Family::V4);

    fn session() -> Session {
        Session::new(Credentials { username: "1700000000:branch-7".into(), password: Secret::new("pw") })
    }

    fn relay_key() -> [u8; 16] {
        key("1700000000:branch-7", "bank", "pw")
    }

    fn answer(class: u16, ask: Ask) -> Request {
        Request::new(ask.method() | class, &ID)
    }

    fn error(ask: Ask, code: u16) -> Vec<u8> {
        let value = [0, 0, u8::try_from(code / 100).unwrap(), u8::try_from(code % 100).unwrap(), b'x', b'\n'];
        answer(0x110, ask).with(ERROR_CODE, &value).with(REALM, b"bank").with(NONCE, b"n-1").bytes()
    }

    fn success(ask: Ask, kind: u16, value: u32) -> Vec<u8> {
        answer(0x100, ask).with(kind, &value.to_be_bytes()).signed(&relay_key()).bytes()
    }

    #[test]
    fn a_connection_is_made_in_the_order_of_rfc_6062() {
        let server: SocketAddr = "192.0.2.1:40003".parse().unwrap();
        let mut control = session();
        let first = control.request(IPV4, ID);
        let first = Message::parse(&first).unwrap();
        assert_eq!(first.attribute(REQUESTED_TRANSPORT), Some(TCP.as_slice()));
        assert_eq!(first.attribute(MESSAGE_INTEGRITY), None);
        assert_eq!(control.take(&error(IPV4, 401)), Ok(Answer::Again));
        let second = control.request(IPV4, ID);
        let second = Message::parse(&second).unwrap();
        assert!(second.is_from(&relay_key()));
        assert_eq!(second.attribute(NONCE), Some(b"n-1".as_slice()));
        assert_eq!(control.take(&error(IPV4, 438)), Ok(Answer::Again));
        control.request(IPV4, ID);
        let kept = Answer::Kept(Duration::from_secs(600));
        assert_eq!(control.take(&success(IPV4, LIFETIME, 600)), Ok(kept));
        let connect = Ask::Connect(server);
        control.request(connect, ID);
        // What was answered before, and what nobody asked.
        assert_eq!(control.take(&success(IPV4, LIFETIME, 600)), Ok(Answer::Other));
        assert_eq!(control.take(&success(connect, CONNECTION_ID, 77)), Ok(Answer::Connected(77)));
        // The other connection: what is known of the relay is known.
        let mut data = control.clone();
        let bind = data.request(Ask::Bind(77), ID);
        assert_eq!(Message::parse(&bind).unwrap().number(CONNECTION_ID), Some(77));
        assert_eq!(data.take(&answer(0x100, Ask::Bind(77)).signed(&relay_key()).bytes()), Ok(Answer::Bound));
        control.request(Ask::Refresh, ID);
        assert_eq!(control.take(&success(Ask::Refresh, LIFETIME, 600)), Ok(kept));
    }

    #[test]
    fn an_address_of_the_servers_family_is_asked_for() {
        let asked = |server: &str| {
            let server: SocketAddr = server.parse().unwrap();
            let request = session().request(Ask::Allocate(server.into()), ID);
            Message::parse(&request).unwrap().attribute(REQUESTED_ADDRESS_FAMILY).map(<[u8]>::to_vec)
        };
        // Without the attribute it is one of IPv4 (RFC 8656 section 7.2).
        assert_eq!(asked("192.0.2.1:40003"), None);
        assert_eq!(asked("[2001:db8::1]:40003"), Some(vec![2, 0, 0, 0]));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (code, expected) in [
            (403, Refusal::Forbidden),
            (442, Refusal::NoTcp),
            (440, Refusal::Family(440)),
            (447, Refusal::NoWay),
            (486, Refusal::Full(486)),
            (500, Refusal::Error(500, "x".into())),
        ] {
            let mut session = session();
            session.request(IPV4, ID);
            assert_eq!(session.take(&error(IPV4, code)), Err(expected));
        }
        let mut wrong = session();
        wrong.request(IPV4, ID);
        assert_eq!(wrong.take(&error(IPV4, 401)), Ok(Answer::Again));
        wrong.request(IPV4, ID);
        assert_eq!(wrong.take(&error(IPV4, 401)), Err(Refusal::Credentials));
    }

    #[test]
    fn who_does_not_know_the_password_is_not_the_relay() {
        let mut session = session();
        session.request(IPV4, ID);
        session.take(&error(IPV4, 401)).unwrap();
        session.request(IPV4, ID);
        let forged = answer(0x100, IPV4).with(LIFETIME, &[0, 0, 2, 88]);
        assert_eq!(session.take(&forged.clone().bytes()), Err(Refusal::Unproven));
        assert_eq!(session.take(&forged.signed(b"another key").bytes()), Err(Refusal::Unproven));
    }

    proptest! {
        #[test]
        fn no_relay_keeps_the_kiosk_asking(codes in prop::collection::vec(prop_oneof![Just(401_u16), Just(438)], 5)) {
            let mut session = session();
            let mut again = 0;
            for code in codes {
                session.request(IPV4, ID);
                match session.take(&error(IPV4, code)) {
                    Ok(answer) => prop_assert_eq!(answer, Answer::Again),
                    Err(refusal) => { prop_assert_eq!(refusal, Refusal::Credentials); break }
                }
                again += 1;
            }
            prop_assert!(again <= CHALLENGES);
        }
    }
}

//! HTTP CONNECT: what is asked of a proxy, and what its answer means (RFC 9110 section 9.3.6, RFC 9112; Basic
//! authentication: RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::secret::{Credentials, Secret};

/// The longest answer that is read, bytes, interim answers included. Proxies explain a refusal in a page of HTML, but
/// that is its body.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// A host and a port as they stand in a request: an IPv6 address in brackets.
#[must_use]
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The request for a tunnel to `target`, an [`authority`]. With credentials they are in it from the start: that the proxy
/// wants them is known, and to be asked first would cost a connection.
#[must_use]
pub fn request(target: &str, credentials: Option<&Credentials>) -> Secret {
    let proof = credentials.map_or_else(String::new, |Credentials { username, password }| {
        let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
        format!("Proxy-Authorization: Basic {pair}\r\n")
    });
    Secret::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proof}\r\n"))
}

/// Why a proxy does not lead to where it was asked to, with what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// 407, or 401 as tinyproxy has it, and the kiosk said who it is.
    #[error(
        "it does not take the user name and the password ({0}); compare proxy.username and proxy.password_file with it"
    )]
    WrongCredentials(u16),
    /// 407, and the kiosk said nothing.
    #[error("it wants a user name and a password (407); set proxy.username and proxy.password_file")]
    NoCredentials,
    /// 407 by a method that is not Basic.
    #[error(
        "it wants {0} (407), and the kiosk knows only Basic; let it take Basic for the kiosk, or let in its address"
    )]
    OtherMethod(String),
    /// 403.
    #[error("it forbids this (403); let it allow CONNECT to this host and port for the kiosk's address")]
    Forbidden,
    /// 400, 405, 501: not even tried.
    #[error("it does not do CONNECT ({0}); is proxy.address the port of a forward proxy?")]
    NoConnect(u16),
    /// 500, 502, 503, 504: it tried.
    #[error(
        "it has no connection to there ({0}); is the server running, and does the bank let the proxy reach this port?"
    )]
    NoWay(u16),
    /// Any other status.
    #[error("it answers with status {0}; see its log")]
    Status(u16),
    /// It speaks something else.
    #[error("it does not answer in HTTP/1; is proxy.address the plain HTTP port of a proxy?")]
    NotHttp,
    /// More than [`MAX_ANSWER_BYTES`].
    #[error("its answer does not end; is proxy.address a proxy?")]
    TooLong,
    /// The connection ended before an answer.
    #[error(
        "it ended the connection without an answer; is proxy.address an HTTP proxy, and does it let in the kiosk's address?"
    )]
    Ended,
    /// No answer in so many seconds.
    #[error("it does not answer in {0} s; does the bank let it reach this host and port?")]
    Silent(u64),
}

/// Reads the answer to [`request`], a byte at a time: behind its last byte begins what the other end of the tunnel says.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    head: Vec<u8>,
    read: usize,
    with_credentials: bool,
}

/// How a status line begins.
const HTTP_1: &[u8] = b"HTTP/1.";

impl Answer {
    /// Of a proxy that was told who the kiosk is, or was not.
    #[must_use]
    pub fn new(with_credentials: bool) -> Self {
        Self { with_credentials, ..Self::default() }
    }

    /// Takes the next byte. `None` while there is more to come; then whether there is a tunnel.
    pub fn push(&mut self, byte: u8) -> Option<Result<(), Refusal>> {
        self.read += 1;
        if self.read > MAX_ANSWER_BYTES {
            return Some(Err(Refusal::TooLong));
        }
        self.head.push(byte);
        if self.head.iter().zip(HTTP_1).any(|(is, must)| is != must) {
            return Some(Err(Refusal::NotHttp));
        }
        // A line may end without CR (RFC 9112 section 2.2).
        if !self.head.ends_with(b"\r\n\r\n") && !self.head.ends_with(b"\n\n") {
            return None;
        }
        let head = std::mem::take(&mut self.head);
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.lines();
        let Some(status) = lines.next().and_then(status) else { return Some(Err(Refusal::NotHttp)) };
        match status {
            // Interim: the answer follows.
            100..=199 => None,
            200..=299 => Some(Ok(())),
            401 | 407 => Some(Err(self.unauthorized(status, lines))),
            403 => Some(Err(Refusal::Forbidden)),
            400 | 405 | 501 => Some(Err(Refusal::NoConnect(status))),
            500 | 502..=504 => Some(Err(Refusal::NoWay(status))),
            _ => Some(Err(Refusal::Status(status))),
        }
    }

    fn unauthorized<'a>(&self, status: u16, fields: impl Iterator<Item = &'a str>) -> Refusal {
        let challenges = fields.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("proxy-authenticate").then(|| value.trim())
        });
        // One challenge for each field, as proxies send them; the method is its first word.
        let methods: Vec<String> = challenges
            .filter_map(|challenge| challenge.split([' ', ',']).next())
            .map(|method| method.chars().filter(char::is_ascii_alphanumeric).take(32).collect())
            .collect();
        if !methods.is_empty() && !methods.iter().any(|method: &String| method.eq_ignore_ascii_case("basic")) {
            return Refusal::OtherMethod(methods.into_iter().take(4).collect::<Vec<_>>().join(" or "));
        }
        if self.with_credentials { Refusal::WrongCredentials(status) } else { Refusal::NoCredentials }
    }
}

/// The code of a status line: `HTTP/1.x`, a space, three digits, and a space or nothing.
fn status(line: &str) -> Option<u16> {
    let mut words = line.splitn(3, ' ');
    let (version, code) = (words.next()?, words.next()?);
    let plain = version.len() == 8 && code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    code.parse().ok().filter(|code| plain && *code >= 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The answer, and how many bytes of the text it took.
    fn read(text: &[u8], with_credentials: bool) -> (Option<Result<(), Refusal>>, usize) {
        let mut answer = Answer::new(with_credentials);
        for (index, byte) in text.iter().enumerate() {
            if let Some(end) = answer.push(*byte) {
                return (Some(end), index + 1);
            }
        }
        (None, text.len())
    }

    fn refusal(text: &str, with_credentials: bool) -> Refusal {
        read(text.as_bytes(), with_credentials).0.unwrap().unwrap_err()
    }

    #[test]
    fn a_request_names_the_target_and_proves_who_asks() {
        assert_eq!(authority("2001:db8::1", 40_000), "[2001:db8::1]:40000");
        let target = authority("janus.bank.example", 8989);
        let plain = "CONNECT janus.bank.example:8989 HTTP/1.1\r\nHost: janus.bank.example:8989\r\n";
        assert_eq!(request(&target, None).expose(), format!("{plain}\r\n"));
        // The example of RFC 7617 section 2.
        let aladdin = Credentials { username: "Aladdin".into(), password: Secret::new("open sesame") };
        let proof = "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
        assert_eq!(request(&target, Some(&aladdin)).expose(), format!("{plain}{proof}\r\n"));
    }

    #[test]
    fn a_tunnel_begins_behind_the_answer() {
        for head in [
            "HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n",
            "HTTP/1.1 200 \r\n\r\n",
            "HTTP/1.1 200\n\n",
            // What follows 2xx is the tunnel, whatever the length says.
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nVia: 1.1 proxy\r\n\r\n",
        ] {
            assert_eq!(read(format!("{head}\x00\x14stun").as_bytes(), true), (Some(Ok(())), head.len()), "{head}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let basic = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
        assert_eq!(refusal(basic, true), Refusal::WrongCredentials(407));
        assert_eq!(refusal(basic, false), Refusal::NoCredentials);
        assert_eq!(refusal("HTTP/1.0 401 Unauthorized\r\n\r\n", true), Refusal::WrongCredentials(401));
        let windows = "HTTP/1.1 407 x\r\nproxy-authenticate: Negotiate\r\nProxy-Authenticate: NTLM abc=\r\n\r\n";
        assert_eq!(refusal(windows, true), Refusal::OtherMethod("Negotiate or NTLM".into()));
        let either = "HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: basic realm=x\r\n\r\n";
        assert_eq!(refusal(either, false), Refusal::NoCredentials);
        for (status, expected) in [
            (403, Refusal::Forbidden),
            (405, Refusal::NoConnect(405)),
            (500, Refusal::NoWay(500)),
            (502, Refusal::NoWay(502)),
            (504, Refusal::NoWay(504)),
            (302, Refusal::Status(302)),
        ] {
            assert_eq!(refusal(&format!("HTTP/1.1 {status} x\r\n\r\n"), false), expected);
        }
    }

    #[test]
    fn what_is_no_proxy_is_known_at_once_or_in_the_end() {
        assert_eq!(read(b"\x15\x03\x01", false), (Some(Err(Refusal::NotHttp)), 1));
        assert_eq!(read(b"SSH-2.0-OpenSSH", false).1, 1);
        for line in ["HTTP/1.1", "HTTP/1.1 20", "HTTP/1.1 2000 x", "HTTP/1.1 099 x", "HTTP/1.1 +20 x", "HTTP/1.12 200"]
        {
            assert_eq!(refusal(&format!("{line}\r\n\r\n"), false), Refusal::NotHttp, "{line}");
        }
        let endless = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &[b'y'; MAX_ANSWER_BYTES]].concat();
        assert_eq!(read(&endless, false), (Some(Err(Refusal::TooLong)), MAX_ANSWER_BYTES + 1));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
        assert_eq!(refusal(&interim, false), Refusal::TooLong);
    }

    proptest! {
        #[test]
        fn any_bytes_end_within_the_bound(bytes in prop::collection::vec(any::<u8>(), 0..600), http in any::<bool>()) {
            let text = if http { [b"HTTP/1.1 ".as_slice(), &bytes].concat() } else { bytes };
            let (end, taken) = read(&text, true);
            if end == Some(Ok(())) {
                prop_assert!(text.starts_with(HTTP_1) && text[..taken].ends_with(b"\n"));
            }
        }

        #[test]
        fn a_tunnel_is_found_behind_any_fields(fields in prop::collection::vec("[A-Za-z-]{1,20}: [ -~]{0,40}", 0..20)) {
            let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
            fields.iter().for_each(|field| head.push_str(&format!("{field}\r\n")));
            head.push_str("\r\n");
            prop_assert_eq!(read(format!("{head}rest").as_bytes(), false), (Some(Ok(())), head.len()));
        }
    }
}

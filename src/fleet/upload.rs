//! One file to one HTTPS address, by PUT (RFC 9110, RFC 9112). Over our own TLS, like all else.

use std::path::Path;
use std::time::Duration;

use kiosk_proto::config::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::Uri;

use crate::dial::{self, Keys, Server};

/// For the whole of it.
const UPLOAD: Duration = Duration::from_secs(120);
/// An answer's first line is shorter.
const MAX_STATUS_LINE: usize = 1024;
/// What an address in a command is called in messages.
const KEYS: Keys = Keys { server: "the upload", address: "the command's url", ca: "fleet.ca_file" };

/// Puts a gzip file to an address. Who may have signed the server's certificate is what `fleet.ca_file` says.
///
/// # Errors
/// What went wrong. The path and the query of the address are not part of it: they may hold a right to write.
pub async fn put(url: &str, ca_file: Option<&Path>, proxy: Option<&Proxy>, content: &[u8]) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|_| "the url is not one".to_owned())?;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or("the url must begin with https://")?;
    let port = uri.port_u16().unwrap_or(443);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kioskd/{}\r\nContent-Type: application/gzip\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        uri.authority().map_or(host, |authority| authority.as_str()),
        env!("CARGO_PKG_VERSION"),
        content.len()
    );
    let server = Server {
        host: host.trim_matches(['[', ']']),
        port,
        tls: true,
        ca_file,
        identity: None,
        user_timeout: Some(UPLOAD),
        proxy,
        keys: KEYS,
    };
    let exchange = async {
        let mut stream = dial::connect(&server).await.map_err(|error| error.to_string())?;
        let failed = |error: std::io::Error| format!("{host} ended the connection: {error}");
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        stream.write_all(content).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let mut answer = Vec::new();
        while !answer.contains(&b'\n') && answer.len() < MAX_STATUS_LINE {
            let mut buffer = [0; 256];
            match stream.read(&mut buffer).await.map_err(failed)? {
                0 => break,
                count => answer.extend_from_slice(&buffer[..count]),
            }
        }
        status(&answer).map_err(|line| format!("{host} answered {line:?}"))
    };
    timeout(UPLOAD, exchange).await.map_err(|_| format!("{host} took longer than {} s", UPLOAD.as_secs()))?
}

/// Whether the first line of an answer is a success (2xx); else what it says.
fn status(answer: &[u8]) -> Result<(), String> {
    let line = String::from_utf8_lossy(answer).lines().next().unwrap_or_default().trim().to_owned();
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse::<u16>().ok());
    if code.is_some_and(|code| (200..300).contains(&code)) { Ok(()) } else { Err(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_is_one() {
        for good in ["HTTP/1.1 200 OK\r\nx: y", "HTTP/1.0 204 No Content\r\n", "HTTP/1.1 201 \r\n"] {
            assert_eq!(status(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["", "HTTP/1.1 403 Forbidden\r\n", "HTTP/1.1 302 Found\r\n", "HTTP/2 200", "200", "HTTP/1.1 2"] {
            assert!(status(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

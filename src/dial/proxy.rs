//! A tunnel through the branch's HTTP proxy: `kiosk_proto::proxy` decides, here bytes are moved.

use std::time::Duration;

use kiosk_proto::config::{Proxy, ProxyAddress};
use kiosk_proto::proxy::{Answer, Refusal, request};
use kiosk_proto::secret::Credentials;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{DialError, Keys};
use crate::config::secret;

/// The proxy in messages.
pub const PROXY: Keys = Keys { server: "the proxy", address: "proxy.address", ca: "" };
/// For the proxy's own connection to the server, and its answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The proxy, and who the kiosk is to it. The password is read for each tunnel: a changed file counts at once.
///
/// # Errors
/// When the file with the password can't be read.
pub(super) fn credentials(proxy: &Proxy) -> Result<Option<Credentials>, DialError> {
    let password = secret("proxy.password_file", proxy.password_file.as_ref());
    let password = password.map_err(|error| DialError::Secret(error.to_string()))?;
    Ok(proxy.username.clone().zip(password).map(|(username, password)| Credentials { username, password }))
}

/// Asks the proxy at the other end of `stream` for a tunnel to `target`; behind it, `stream` is the server's.
///
/// # Errors
/// Why there is none, with what to do.
pub(super) async fn ask(
    stream: &mut TcpStream,
    proxy: &ProxyAddress,
    target: &str,
    credentials: Option<&Credentials>,
) -> Result<(), DialError> {
    let refused = |refusal| DialError::Proxy { proxy: proxy.clone(), target: target.to_owned(), refusal };
    let talk = async {
        let request = request(target, credentials);
        stream.write_all(request.expose().as_bytes()).await.map_err(|_| Refusal::Ended)?;
        let mut answer = Answer::new(credentials.is_some());
        loop {
            let byte = stream.read_u8().await.map_err(|_| Refusal::Ended)?;
            if let Some(end) = answer.push(byte) {
                return end;
            }
        }
    };
    timeout(ANSWER, talk).await.unwrap_or(Err(Refusal::Silent(ANSWER.as_secs()))).map_err(refused)
}

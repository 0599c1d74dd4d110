//! Asks the branch's HTTP proxy: whether it is there, lets the kiosk in, and leads to the server and its media ports.

use kiosk_proto::check::{Finding, Text, proxy as judge};
use kiosk_proto::config::{PortRange, Proxy};
use kiosk_proto::proxy::{Refusal, authority};
use tokio::time::timeout;

use super::reach::{self, WAIT, Way};
use crate::dial::{self, DialError, Server};

/// Everything up to the server's signalling port.
pub(super) async fn check(server: &Server<'_>, proxy: &Proxy) -> (Vec<Finding>, Option<Way>) {
    let (host, port) = (proxy.address.host(), proxy.address.port());
    let itself = Server { host, port, tls: false, proxy: None, keys: dial::PROXY, ..*server };
    let addresses = match dial::resolve(&itself).await {
        Ok(addresses) => addresses,
        Err(error) => return (vec![unasked("proxy.reach", &error)], None),
    };
    let (reached, found) = reach::first(addresses, port).await;
    let mut findings = vec![judge::reached(&proxy.address.to_string(), &reached)];
    if found.is_none() {
        return (findings, None);
    }
    match ask(server).await {
        Ok(answer) => {
            findings.extend(judge::tunnel(&authority(server.host, server.port), &answer));
            (findings, answer.is_ok().then_some(Way::Proxy))
        }
        Err(error) => {
            findings.push(unasked("proxy.credentials", &error));
            (findings, None)
        }
    }
}

/// A sample of the media range, each by a tunnel of its own.
pub(super) async fn media_ports(server: &Server<'_>, range: PortRange) -> Finding {
    let tries = reach::sample(range).into_iter().map(|port| async move {
        let answer = timeout(WAIT, ask(&Server { port, ..*server })).await;
        // What can't be asked for was asked for once already: it went meanwhile.
        (port, answer.map_or(Err(Refusal::Silent(WAIT.as_secs())), |answer| answer.unwrap_or(Err(Refusal::Ended))))
    });
    judge::media_range(range, &futures_util::future::join_all(tries).await)
}

/// What the proxy says to the request for a tunnel to a server.
///
/// # Errors
/// Why it could not be asked.
pub(super) async fn ask(server: &Server<'_>) -> Result<Result<(), Refusal>, DialError> {
    match dial::connect(&Server { tls: false, ..*server }).await {
        Ok(_) => Ok(Ok(())),
        Err(DialError::Proxy { refusal, .. }) => Ok(Err(refusal)),
        Err(error) => Err(error),
    }
}

fn unasked(id: &'static str, error: &DialError) -> Finding {
    let remedy = Text::new(
        "Compare proxy.address and proxy.password_file of kiosk.toml with what is there",
        "kiosk.toml의 proxy.address와 proxy.password_file을 확인하십시오",
    );
    Finding::fail(id, Text::new("the proxy", "프록시"), Text::same(error.to_string()), remedy)
}

//! Connects to the ports that a site must have opened.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use kiosk_proto::check::reach::{self, Reach};
use kiosk_proto::check::{Finding, Text};
use kiosk_proto::config::{Config, PortRange};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tls;
use crate::dial::Server;
use crate::{dial, janus};

/// A port that does not answer within this time is dropped on the way: a SYN is sent again after 1 s and 3 s.
const WAIT: Duration = Duration::from_secs(4);

/// Tries one port.
pub async fn attempt(address: SocketAddr) -> Reach {
    let begin = Instant::now();
    match timeout(WAIT, TcpStream::connect(address)).await {
        Err(_) => Reach::Dropped(WAIT),
        Ok(Ok(_)) => Reach::Connected(begin.elapsed()),
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Reach::Refused(begin.elapsed()),
            io::ErrorKind::TimedOut => Reach::Dropped(begin.elapsed()),
            _ => Reach::NoRoute(error.to_string()),
        },
    }
}

/// The server's name, its signalling port, and a sample of the media range. With the address that signalling was reached
/// at, if it was.
pub async fn server(config: &Config) -> (Vec<Finding>, Option<IpAddr>) {
    let (host, port) = (config.janus.url.host(), config.janus.url.port());
    let title = Text::new(format!("the name {host}"), format!("서버 이름 {host}"));
    let addresses = match dial::resolve(&janus::server(config)).await {
        Ok(addresses) if !addresses.is_empty() => addresses,
        outcome => {
            let reason = outcome.err().map_or_else(|| "no address".to_owned(), |error| error.to_string());
            let remedy = Text::new(
                "Compare janus.url with the bank's name servers; they must answer over TCP (port 53/tcp)",
                "janus.url의 이름과 은행 DNS를 확인하십시오. DNS는 TCP 53번으로 응답해야 합니다",
            );
            return (vec![Finding::fail("network.name", title, Text::same(reason), remedy)], None);
        }
    };
    let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut findings = vec![Finding::pass("network.name", title, Text::same(list))];
    let mut reached = Reach::NoRoute("no address".to_owned());
    let mut server = None;
    for address in addresses {
        reached = attempt(SocketAddr::new(address, port)).await;
        if matches!(reached, Reach::Connected(_)) {
            server = Some(address);
            break;
        }
    }
    let title = Text::new(format!("signalling port {port}"), format!("신호 포트 {port}"));
    findings.push(reach::port("network.signalling", title, &reached));
    if let Some(address) = server {
        let (url, title) = (&config.janus.url, Text::new("the server's certificate", "서버 인증서"));
        if url.is_tls() {
            let at = SocketAddr::new(address, port);
            findings.extend(tls::server("tls.server", title, at, host, config.janus.ca_file.as_deref()).await);
        }
        findings.push(media(address, config.janus.media_ports).await);
    }
    findings.extend(broker(config).await);
    (findings, server)
}

/// The fleet's broker, if there is one.
async fn broker(config: &Config) -> Vec<Finding> {
    let Some(fleet) = &config.fleet else { return Vec::new() };
    let (host, port) = (fleet.broker.host(), fleet.broker.port());
    let title = Text::new(format!("the broker {host}:{port}"), format!("브로커 {host}:{port}"));
    let server = Server {
        host,
        port,
        tls: true,
        ca_file: fleet.ca_file.as_deref(),
        identity: None,
        user_timeout: None,
        keys: dial::BROKER,
        proxy: None,
    };
    let Some(address) = dial::resolve(&server).await.ok().and_then(|all| all.first().copied()) else {
        let remedy = Text::new(
            "Compare fleet.broker with the bank's name servers; they must answer over TCP (port 53/tcp)",
            "fleet.broker의 이름과 은행 DNS를 확인하십시오. DNS는 TCP 53번으로 응답해야 합니다",
        );
        return vec![Finding::fail("network.broker", title, Text::new("no address", "주소 없음"), remedy)];
    };
    let at = SocketAddr::new(address, port);
    let reached = attempt(at).await;
    let mut findings = vec![reach::port("network.broker", title, &reached)];
    if matches!(reached, Reach::Connected(_)) {
        let title = Text::new("the broker's certificate", "브로커 인증서");
        findings.extend(tls::server("tls.broker", title, at, host, fleet.ca_file.as_deref()).await);
    }
    findings
}

async fn media(server: IpAddr, range: PortRange) -> Finding {
    let middle = range.first() + (range.last() - range.first()) / 2;
    let mut ports = vec![range.first(), middle, range.last()];
    ports.dedup();
    let tries = ports.into_iter().map(|port| async move { (port, attempt(SocketAddr::new(server, port)).await) });
    let samples = futures_util::future::join_all(tries).await;
    reach::media_range(range, &samples)
}

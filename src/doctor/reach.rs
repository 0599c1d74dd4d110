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

/// How the server was reached.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// At this address.
    Direct(IpAddr),
    /// By the proxy, which alone knows the address.
    Proxy,
}

/// The way to the server: name and signalling port, or the proxy; its certificate; a sample of the media range; the broker.
pub async fn server(config: &Config) -> (Vec<Finding>, Option<Way>) {
    let server = janus::server(config);
    let (mut findings, way) = match server.proxy {
        Some(_) => proxy(&server).await,
        None => direct(&server).await,
    };
    if way.is_some() && server.tls {
        let title = Text::new("the server's certificate", "서버 인증서");
        findings.extend(tls::server("tls.server", title, &server).await);
    }
    let range = config.janus.media_ports;
    findings.extend(match way {
        Some(Way::Direct(address)) => Some(media(address, range).await),
        Some(Way::Proxy) => Some(Finding::skipped(
            "network.media-ports",
            Text::new(format!("media ports {range}"), format!("미디어 포트 {range}")),
            Text::new("by the proxy: the trial call shows it", "프록시 경유: 시험 통화에서 확인"),
        )),
        None => None,
    });
    findings.extend(broker(config).await);
    (findings, way)
}

/// Whether the proxy leads there.
async fn proxy(server: &Server<'_>) -> (Vec<Finding>, Option<Way>) {
    let title = Text::new(
        format!("the proxy leads to {}:{}", server.host, server.port),
        format!("프록시 경유 {}:{}", server.host, server.port),
    );
    match dial::connect(&Server { tls: false, ..*server }).await {
        Ok(_) => (vec![Finding::pass("network.proxy", title, Text::new("it does", "연결됨"))], Some(Way::Proxy)),
        Err(error) => {
            let remedy = Text::new(
                "Have the branch's proxy allow CONNECT to the server's signalling and media ports for this kiosk; compare proxy.username and proxy.password_file",
                "지점 프록시에서 이 키오스크의 CONNECT(신호 및 미디어 포트)를 허용해 달라고 요청하고 proxy.username과 proxy.password_file을 확인하십시오",
            );
            (vec![Finding::fail("network.proxy", title, Text::same(error.to_string()), remedy)], None)
        }
    }
}

async fn direct(server: &Server<'_>) -> (Vec<Finding>, Option<Way>) {
    let (host, port) = (server.host, server.port);
    let title = Text::new(format!("the name {host}"), format!("서버 이름 {host}"));
    let addresses = match dial::resolve(server).await {
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
    let mut way = None;
    for address in addresses {
        reached = attempt(SocketAddr::new(address, port)).await;
        if matches!(reached, Reach::Connected(_)) {
            way = Some(Way::Direct(address));
            break;
        }
    }
    let title = Text::new(format!("signalling port {port}"), format!("신호 포트 {port}"));
    findings.push(reach::port("network.signalling", title, &reached));
    (findings, way)
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
        proxy: config.proxy.as_ref(),
        keys: dial::BROKER,
    };
    match timeout(WAIT, dial::connect(&Server { tls: false, ..server })).await {
        Ok(Ok(_)) => {
            let certificate = Text::new("the broker's certificate", "브로커 인증서");
            let mut findings = vec![Finding::pass("network.broker", title, Text::new("connected", "연결됨"))];
            findings.extend(tls::server("tls.broker", certificate, &server).await);
            findings
        }
        outcome => {
            let seen = match outcome {
                Ok(Err(error)) => Text::same(error.to_string()),
                _ => Text::new(
                    format!("no answer within {} s", WAIT.as_secs()),
                    format!("{}초 동안 응답 없음", WAIT.as_secs()),
                ),
            };
            let remedy = Text::new(
                "Is the broker running, and is this port open from the kiosk to it? Calls go on without it",
                "브로커가 실행 중인지, 이 포트가 열려 있는지 확인하십시오. 브로커 없이도 통화는 됩니다",
            );
            vec![Finding::fail("network.broker", title, seen, remedy)]
        }
    }
}

async fn media(server: IpAddr, range: PortRange) -> Finding {
    let middle = range.first() + (range.last() - range.first()) / 2;
    let mut ports = vec![range.first(), middle, range.last()];
    ports.dedup();
    let tries = ports.into_iter().map(|port| async move { (port, attempt(SocketAddr::new(server, port)).await) });
    let samples = futures_util::future::join_all(tries).await;
    reach::media_range(range, &samples)
}

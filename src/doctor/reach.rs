//! Connects to the ports that a site must have opened.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use kiosk_proto::check::reach::{self, Reach};
use kiosk_proto::check::{Finding, Text, relay as judge_relay};
use kiosk_proto::config::{Config, PortRange, RelayPolicy};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{proxy, relay, tls};
use crate::dial::Server;
use crate::{dial, janus};

/// A port that does not answer within this time is dropped on the way: a SYN is sent again after 1 s and 3 s.
pub(super) const WAIT: Duration = Duration::from_secs(4);

/// For a connection that was accepted to show that it lasts. Neither TLS nor ICE ends one this soon.
const LASTS: Duration = Duration::from_millis(300);

/// Tries one port.
pub async fn attempt(address: SocketAddr) -> Reach {
    let begin = Instant::now();
    match timeout(WAIT, TcpStream::connect(address)).await {
        Err(_) => Reach::Dropped(WAIT),
        Ok(Ok(stream)) => {
            let connected = begin.elapsed();
            // Nothing is sent, so there is nothing to be read unless it ends.
            match timeout(LASTS, stream.peek(&mut [0])).await {
                Ok(Ok(0) | Err(_)) => Reach::BrokenOff(begin.elapsed()),
                Ok(Ok(_)) | Err(_) => Reach::Connected(connected),
            }
        }
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Reach::Refused(begin.elapsed()),
            // The reset came behind the answer, before anybody looked.
            io::ErrorKind::ConnectionReset => Reach::BrokenOff(begin.elapsed()),
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

/// What the checks of a server's name and port are called.
pub(super) struct Called {
    /// Identifier and title of the name's check.
    pub(super) name: (&'static str, Text),
    /// Identifier and title of the port's.
    pub(super) port: (&'static str, Text),
    /// What must listen there.
    pub(super) who: Text,
}

/// The way to the server: name and signalling port, or the proxy; its certificate; the way of the media; the broker.
pub async fn server(config: &Config) -> (Vec<Finding>, Option<Way>) {
    let server = janus::server(config);
    let (mut findings, way) = match &config.proxy {
        Some(proxy) => proxy::check(&server, proxy).await,
        None => {
            let called = Called {
                name: ("network.name", name(server.host)),
                port: (
                    "network.signalling",
                    Text::new(format!("signalling port {}", server.port), format!("신호 포트 {}", server.port)),
                ),
                who: Text::same(reach::JANUS),
            };
            let (findings, reached) = direct(&server, called).await;
            (findings, reached.map(Way::Direct))
        }
    };
    if way.is_some() && server.tls {
        let title = Text::new("the server's certificate", "서버 인증서");
        findings.extend(tls::server("tls.server", title, &server).await);
    }
    findings.extend(media(config, way).await);
    findings.extend(broker(config).await);
    (findings, way)
}

pub(super) fn name(host: &str) -> Text {
    Text::new(format!("the name {host}"), format!("서버 이름 {host}"))
}

/// The media ports, the relay, or both.
async fn media(config: &Config, way: Option<Way>) -> Vec<Finding> {
    let range = config.janus.media_ports;
    let policy = config.relay.as_ref().map_or(RelayPolicy::Direct, |relay| relay.policy);
    let ports = async {
        match way? {
            _ if policy == RelayPolicy::Relay => Some(judge_relay::media_range_not_needed(range)),
            Way::Direct(address) => Some(media_ports(address, range).await),
            Way::Proxy => Some(proxy::media_ports(&janus::server(config), range).await),
        }
    };
    let (ports, relay) = tokio::join!(ports, relay::check(config));
    judge_relay::either(policy, ports, relay)
}

/// Name and port, dialled. Where it was reached, if it was.
pub(super) async fn direct(server: &Server<'_>, called: Called) -> (Vec<Finding>, Option<IpAddr>) {
    let (id, title) = called.name;
    let addresses = match dial::resolve(server).await {
        Ok(addresses) if !addresses.is_empty() => addresses,
        outcome => {
            let reason = outcome.err().map_or_else(|| "no address".to_owned(), |error| error.to_string());
            let key = server.keys.address;
            let remedy = Text::new(
                format!("Compare {key} with the bank's name servers; they must answer over TCP (port 53/tcp)"),
                format!("{key}의 이름과 은행 DNS를 확인하십시오. DNS는 TCP 53번으로 응답해야 합니다"),
            );
            return (vec![Finding::fail(id, title, Text::same(reason), remedy)], None);
        }
    };
    let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (reached, way) = first(addresses, server.port).await;
    let (port, port_title) = called.port;
    let findings =
        vec![Finding::pass(id, title, Text::same(list)), reach::port(port, port_title, &called.who, &reached)];
    (findings, way)
}

/// Tries addresses until one accepts; how the last one did, and which accepted.
pub(super) async fn first(addresses: Vec<IpAddr>, port: u16) -> (Reach, Option<IpAddr>) {
    let mut reached = Reach::NoRoute("no address".to_owned());
    for address in addresses {
        reached = attempt(SocketAddr::new(address, port)).await;
        if matches!(reached, Reach::Connected(_)) {
            return (reached, Some(address));
        }
    }
    (reached, None)
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

/// The first, the last and one between.
pub(super) fn sample(range: PortRange) -> Vec<u16> {
    let middle = range.first() + (range.last() - range.first()) / 2;
    let mut ports = vec![range.first(), middle, range.last()];
    ports.dedup();
    ports
}

async fn media_ports(server: IpAddr, range: PortRange) -> Finding {
    let tries =
        sample(range).into_iter().map(|port| async move { (port, attempt(SocketAddr::new(server, port)).await) });
    reach::media_range(range, &futures_util::future::join_all(tries).await)
}

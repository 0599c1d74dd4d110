//! Asks the relay: whether it is there, who signed its certificate, and whether it makes connections for this kiosk.

use std::net::SocketAddr;
use std::time::Instant;

use kiosk_proto::check::{Finding, Text, proxy as judge_proxy, relay as judge};
use kiosk_proto::config::Config;
use kiosk_proto::turn::Refusal;
use tokio::time::timeout;

use super::reach::{self, Called, WAIT};
use super::{proxy, tls};
use crate::dial::{self, DialError, Learnt, Route, Server};

/// Everything but the connection to Janus, which needs a candidate.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let route = Route::new(config);
    let Some(relay) = route.relay() else { return vec![judge::stun(None)] };
    let url = &relay.url;
    let server = Server {
        host: url.host(),
        port: url.port(),
        tls: url.is_tls(),
        ca_file: relay.ca_file.as_deref(),
        identity: None,
        user_timeout: None,
        proxy: config.proxy.as_ref(),
        keys: dial::RELAY,
    };
    let title = Text::new(format!("the relay {url}"), format!("릴레이 {url}"));
    let (mut findings, reached) = match server.proxy {
        Some(_) => by_proxy(&server, title).await,
        None => {
            let who = Text::new("coturn", "coturn");
            let called = Called { name: ("relay.name", reach::name(url.host())), port: ("relay.port", title), who };
            let (findings, reached) = reach::direct(&server, called).await;
            (findings, reached.is_some())
        }
    };
    if !reached {
        findings.push(judge::stun(None));
        return findings;
    }
    if url.is_tls() {
        let title = Text::new("the relay's certificate", "릴레이 인증서");
        findings.extend(tls::server("tls.relay", title, &server).await);
    }
    match timeout(WAIT, route.ask_relay()).await {
        Err(_) => findings.extend(judge::allocation(&Err(Refusal::Silent))),
        Ok(Some(Ok(answer))) => {
            findings.extend(judge::allocation(&answer.as_ref().map(|granted| granted.lifetime).map_err(Clone::clone)));
            findings.push(judge::stun(answer.ok().and_then(|granted| granted.seen_as)));
        }
        Ok(Some(Err(error))) => findings.push(unasked(&error)),
        Ok(None) => {}
    }
    findings
}

async fn by_proxy(server: &Server<'_>, title: Text) -> (Vec<Finding>, bool) {
    match timeout(WAIT, proxy::ask(server))
        .await
        .unwrap_or(Ok(Err(kiosk_proto::proxy::Refusal::Silent(WAIT.as_secs()))))
    {
        Ok(Ok(())) => {
            let seen = Text::new("the proxy leads to it", "프록시 경유 연결됨");
            (vec![Finding::pass("relay.port", title, seen)], true)
        }
        Ok(Err(refusal)) => (vec![judge_proxy::refused("relay.port", title, &refusal)], false),
        Err(error) => (vec![unasked(&error)], false),
    }
}

/// No secure connection, or a secret that can't be read.
fn unasked(error: &DialError) -> Finding {
    let (id, title) = match error {
        DialError::Secret(_) => {
            ("relay.credentials", Text::new("the relay takes the kiosk's credentials", "릴레이 인증"))
        }
        _ => ("relay.allocation", Text::new("the relay makes TCP connections for the kiosk", "릴레이 TCP 중계")),
    };
    let remedy = Text::new(
        "Compare [relay] of kiosk.toml: url with the names in the relay's certificate, ca_file with who signed it, secret_file with what is there",
        "kiosk.toml의 [relay]를 확인하십시오: url과 릴레이 인증서의 이름, ca_file과 발급 기관, secret_file 파일",
    );
    Finding::fail(id, title, Text::same(error.to_string()), remedy)
}

/// The connection to one of Janus's candidates, made as a call makes it.
pub(super) async fn dial(config: &Config, candidate: SocketAddr, id: &'static str, title: Text) -> Finding {
    let begin = Instant::now();
    match dial::media(candidate, &Route::new(config), &Learnt::default(), |_| ()).await {
        Ok(media) => {
            let ms = begin.elapsed().as_millis();
            let seen = match media.via {
                Some(via) => {
                    Text::new(format!("connected in {ms} ms by way of {via}"), format!("{via} 경유 연결됨, {ms} ms"))
                }
                None => Text::new(format!("connected in {ms} ms"), format!("연결됨, {ms} ms")),
            };
            Finding::pass(id, title, seen)
        }
        Err(DialError::Relay { refusal, .. }) => judge::refused(id, title, &refusal),
        Err(DialError::Proxy { refusal, .. }) => judge_proxy::refused(id, title, &refusal),
        Err(error) => {
            let remedy = Text::new(
                "See the checks of the way to the server above; the media ports must be open, or the relay must work",
                "위의 경로 점검 결과를 확인하십시오. 미디어 포트가 열려 있거나 릴레이가 동작해야 합니다",
            );
            Finding::fail(id, title, Text::same(error.to_string()), remedy)
        }
    }
}

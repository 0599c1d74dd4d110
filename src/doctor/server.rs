//! Asks Janus about itself and the room, and negotiates a trial publication, up to the candidates.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kiosk_proto::call::Fault;
use kiosk_proto::check::reach::Reach;
use kiosk_proto::check::{Finding, Text, exit_code, server};
use kiosk_proto::config::Config;
use kiosk_proto::ice::TcpOnlyPolicy;
use kiosk_proto::janus::VIDEOROOM;
use kiosk_proto::secret::Secret;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::reach;
use crate::config::secret;
use crate::dial::Stream;
use crate::janus;

/// For one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Before a negotiation is tried again, and how often.
const AGAIN: Duration = Duration::from_millis(500);
const TRIES: u32 = 8;

/// An offer as a kiosk makes it; nothing is ever sent on it. Janus answers with its candidates.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:0\r\na=sendonly\r\na=setup:actpass\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-1 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\na=rtcp-fb:96 nack pli\r\n";

struct Client {
    socket: WebSocketStream<Box<dyn Stream>>,
    token: Option<Secret>,
    session: u64,
    handle: u64,
    number: u64,
}

impl Client {
    /// Sends a request and waits for what Janus has to say to it, after its `ack`.
    async fn ask(&mut self, mut request: Value) -> Result<Value, String> {
        self.number += 1;
        let transaction = format!("doctor-{}", self.number);
        request["transaction"] = json!(transaction);
        if let Some(token) = &self.token {
            request["token"] = json!(token.expose());
        }
        if self.session != 0 {
            request["session_id"] = json!(self.session);
        }
        if self.handle != 0 {
            request["handle_id"] = json!(self.handle);
        }
        self.socket.send(Frame::text(request.to_string())).await.map_err(|error| error.to_string())?;
        let answer = async {
            while let Some(frame) = self.socket.next().await {
                let Frame::Text(text) = frame.map_err(|error| error.to_string())? else { continue };
                let answer: Value = serde_json::from_str(text.as_str()).map_err(|error| error.to_string())?;
                if answer["transaction"] == transaction.as_str() && answer["janus"] != "ack" {
                    return Ok(answer);
                }
            }
            Err("the server closed the connection".to_owned())
        };
        let answer = timeout(ANSWER, answer).await.map_err(|_| format!("no answer in {} s", ANSWER.as_secs()))??;
        let error = [("/error/reason", false), ("/plugindata/data/error", true)]
            .iter()
            .find_map(|(path, plugin)| Some((answer.pointer(path)?.as_str()?.to_owned(), *plugin)));
        let Some((reason, plugin)) = error else { return Ok(answer) };
        let code = answer.pointer(if plugin { "/plugindata/data/error_code" } else { "/error/code" });
        let code = code.and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()).unwrap_or_default();
        Err(kiosk_proto::janus::JanusError { code, reason, plugin }.to_string())
    }

    async fn attach(&mut self) -> Result<(), String> {
        let id = |answer: &Value| answer.pointer("/data/id").and_then(Value::as_u64).unwrap_or_default();
        self.handle = 0;
        if self.session == 0 {
            self.session = id(&self.ask(json!({"janus": "create"})).await?);
        }
        self.handle = id(&self.ask(json!({"janus": "attach", "plugin": VIDEOROOM})).await?);
        Ok(())
    }

    async fn plugin(&mut self, body: Value) -> Result<Value, String> {
        let answer = self.ask(json!({"janus": "message", "body": body})).await?;
        Ok(answer.pointer("/plugindata/data").cloned().unwrap_or_default())
    }
}

/// Everything that is asked of Janus.
pub async fn check(config: &Config, server: IpAddr) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(finding) = ask_all(config, server, &mut findings).await {
        findings.push(*finding);
    }
    findings
}

fn refused(id: &'static str, title: Text) -> impl FnOnce(String) -> Box<Finding> {
    move |reason| {
        // What Janus says names its remedy already.
        let remedy = Text::new(
            "See the reason; on the server: kioskctl server check, journalctl -u janus",
            "표시된 사유를 확인하고, 서버에서 kioskctl server check와 journalctl -u janus를 실행하십시오",
        );
        Box::new(Finding::fail(id, title, Text::same(reason), remedy))
    }
}

async fn ask_all(config: &Config, server: IpAddr, findings: &mut Vec<Finding>) -> Result<(), Box<Finding>> {
    let title = || Text::new("secure WebSocket to Janus", "Janus 보안 웹소켓");
    let socket = janus::handshake(config).await.map_err(|Fault { code, message }| {
        let remedy = Text::new(
            "Compare janus.url and janus.ca_file with the server's certificate; a certificate by an unknown authority can also be a box that opens TLS on the way",
            "janus.url과 janus.ca_file을 서버 인증서와 비교하십시오. 알 수 없는 기관의 인증서라면 중간의 TLS 검사 장비일 수 있습니다",
        );
        Box::new(Finding::fail("janus.websocket", title(), Text::same(format!("{code}: {message}")), remedy))
    })?;
    findings.push(Finding::pass("janus.websocket", title(), Text::same(config.janus.url.to_string())));
    let files = &config.janus;
    let read = |key, file| secret(key, file).map_err(|error| secret_missing(error.to_string()));
    let token = read("janus.token_file", files.token_file.as_ref())?;
    let room_token = read("janus.room_token_file", files.room_token_file.as_ref())?;
    let pin = read("janus.pin_file", files.pin_file.as_ref())?;
    let mut client = Client { socket, token, session: 0, handle: 0, number: 0 };

    let outcome = trial(config, server, &mut client, room_token, pin, findings).await;
    // What was made for the trial goes with the session; should this not arrive, Janus drops it within 60 s.
    client.handle = 0;
    let _ = client.ask(json!({"janus": "destroy"})).await;
    outcome
}

async fn trial(
    config: &Config,
    server: IpAddr,
    client: &mut Client,
    room_token: Option<Secret>,
    pin: Option<Secret>,
    findings: &mut Vec<Finding>,
) -> Result<(), Box<Finding>> {
    let info = client.ask(json!({"janus": "info"})).await;
    let info = info.map_err(refused("janus.version", Text::new("Janus answers", "Janus 응답")))?;
    findings.extend(server::info(&info));
    let title = || Text::new("the token is accepted", "토큰 확인");
    client.attach().await.map_err(refused("janus.token", title()))?;
    findings.push(Finding::pass("janus.token", title(), Text::new("accepted", "승인됨")));
    let room = config.janus.room;
    let list = client.plugin(json!({"request": "list"})).await;
    let list = list.map_err(refused("janus.room", Text::new("rooms", "상담방 목록")))?;
    let judged = server::room(&list, room);
    let usable = exit_code(&judged) == 0;
    findings.extend(judged);
    if !usable {
        return Ok(());
    }

    let title = || Text::new("a trial negotiation", "시험 협상");
    let mut join = json!({
        "request": "joinandconfigure", "ptype": "publisher", "room": room, "display": format!("doctor/{}", config.kiosk.id)
    });
    for (key, secret) in [("token", &room_token), ("pin", &pin)] {
        if let Some(secret) = secret {
            join[key] = json!(secret.expose());
        }
    }
    let request = json!({"janus": "message", "body": join, "jsep": {"type": "offer", "sdp": OFFER}});
    let mut answer = client.ask(request.clone()).await;
    // Janus 1.1.2 now and then can't open its ports (error 490) and can some seconds later: a kiosk tries again, too.
    for _ in 0..TRIES {
        if !answer.as_ref().is_err_and(|reason| reason.contains("error 490")) {
            break;
        }
        sleep(AGAIN).await;
        client.attach().await.map_err(refused("janus.token", Text::new("the token is accepted", "토큰 확인")))?;
        answer = client.ask(request.clone()).await;
    }
    let answer = answer.map_err(refused("ice.negotiation", title()))?;
    let sdp = answer.pointer("/jsep/sdp").and_then(Value::as_str).unwrap_or_default();
    let offered = server::candidates(sdp, &TcpOnlyPolicy { media_ports: config.janus.media_ports }, server);
    findings.extend(offered.findings);
    if let Some(address) = offered.dial.first() {
        let title = Text::new(format!("media connection to {address}"), format!("미디어 연결 {address}"));
        let reached: Reach = reach::attempt(*address).await;
        findings.push(kiosk_proto::check::reach::port("ice.dial", title, &reached));
    }
    Ok(())
}

fn secret_missing(reason: String) -> Box<Finding> {
    Box::new(Finding::fail(
        "janus.token",
        Text::new("the token is accepted", "토큰 확인"),
        Text::same(reason),
        Text::new(
            "Bring the files that kioskctl server token wrote for this kiosk",
            "kioskctl server token으로 만든 이 키오스크의 토큰 파일을 넣으십시오",
        ),
    ))
}

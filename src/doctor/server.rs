//! Asks Janus about itself and the room, negotiates a trial publication up to the candidates, and makes the trial call.

use std::time::Duration;

use kiosk_proto::check::trial::Recommended;
use kiosk_proto::check::{
    Finding, Outcome, Text, exit_code, proof, reach as judge_reach, relay as judge_relay, server, trial as judge,
};
use kiosk_proto::config::Config;
use kiosk_proto::fault::Fault;
use kiosk_proto::ice::TcpOnlyPolicy;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::client::Client;
use super::reach::{self, Way};
use super::relay;
use super::trial::{self, Keys, Shown, Stop};
use crate::config::secret;
use crate::dial::Route;
use crate::janus;

/// Before a negotiation is tried again.
pub const AGAIN: Duration = Duration::from_millis(500);
/// How often it is tried.
pub const TRIES: u32 = 8;
/// Janus 1.1.2 now and then can't open its ports, and can some seconds later: a kiosk tries again, too.
pub const NO_PORTS: &str = "error 490";

/// An offer as a kiosk makes it; nothing is ever sent on it. Janus answers with its candidates.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:0\r\na=sendonly\r\na=setup:actpass\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-1 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\na=rtcp-fb:96 nack pli\r\n";

/// What is to be asked of Janus, beside whether it is there.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Make the trial call.
    pub call: bool,
    /// Tells that the self-check is to end.
    pub stop: watch::Receiver<bool>,
    /// Told what takes its time.
    pub progress: fn(&Text),
}

/// Everything that is asked of Janus, and what follows from the trial call for this site.
pub async fn check(config: &Config, way: Way, wanted: &Wanted) -> (Vec<Finding>, Option<Recommended>) {
    let (mut findings, mut recommended) = (Vec::new(), None);
    if let Err(finding) = ask_all(config, way, wanted, &mut findings, &mut recommended).await {
        findings.push(*finding);
    }
    (findings, recommended)
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

async fn ask_all(
    config: &Config,
    way: Way,
    wanted: &Wanted,
    findings: &mut Vec<Finding>,
    recommended: &mut Option<Recommended>,
) -> Result<(), Box<Finding>> {
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
    let keys = Keys {
        token: read("janus.room_token_file", files.room_token_file.as_ref())?,
        pin: read("janus.pin_file", files.pin_file.as_ref())?,
    };
    let mut client = Client::new(socket, token);

    let outcome = negotiate(config, way, &mut client, &keys, findings).await;
    let outcome = match outcome {
        Ok(reached) => {
            *recommended = call(config, &mut client, &keys, reached, wanted, findings).await;
            Ok(())
        }
        Err(finding) => Err(finding),
    };
    // What was made for the trial goes with the session.
    client.destroy().await;
    outcome
}

/// Asks what Janus and the room are, and for candidates. Why there should be no trial call after that, if so.
async fn negotiate(
    config: &Config,
    way: Way,
    client: &mut Client,
    keys: &Keys,
    findings: &mut Vec<Finding>,
) -> Result<Result<(), Text>, Box<Finding>> {
    let info = client.ask(json!({"janus": "info"})).await;
    let info = info.map_err(refused("janus.version", Text::new("Janus answers", "Janus 응답")))?;
    findings.extend(server::info(&info));
    let title = || Text::new("the token is accepted", "토큰 확인");
    let handle = client.attach().await.map_err(refused("janus.token", title()))?;
    findings.push(Finding::pass("janus.token", title(), Text::new("accepted", "승인됨")));
    let room = config.janus.room;
    let list = client.plugin(json!({"request": "list"})).await;
    let list = list.map_err(refused("janus.room", Text::new("rooms", "상담방 목록")))?;
    let judged = server::room(&list, room);
    let usable = exit_code(&judged) == 0;
    findings.extend(judged);
    if !usable {
        return Ok(Err(Text::new("the room can't be used", "상담방을 사용할 수 없음")));
    }

    let title = || Text::new("a trial negotiation", "시험 협상");
    let others = trial::others(client, handle, room).await.map_err(refused("ice.negotiation", title()))?;
    if let Some(other) = others.first() {
        let why = in_the_room(&other.display);
        findings.push(Finding::skipped("ice.negotiation", title(), why.clone()));
        return Ok(Err(why));
    }
    let mut join = json!({
        "request": "joinandconfigure", "ptype": "publisher", "room": room, "display": format!("doctor/{}", config.kiosk.id)
    });
    for (key, secret) in [("token", &keys.token), ("pin", &keys.pin)] {
        if let Some(secret) = secret {
            join[key] = json!(secret.expose());
        }
    }
    let request = json!({"janus": "message", "body": join, "jsep": {"type": "offer", "sdp": OFFER}});
    let mut answer = client.ask(request.clone()).await;
    for _ in 0..TRIES {
        if !answer.as_ref().is_err_and(|reason| reason.contains(NO_PORTS)) {
            break;
        }
        sleep(AGAIN).await;
        let again = refused("janus.token", Text::new("the token is accepted", "토큰 확인"));
        client.attach().await.map_err(again)?;
        answer = client.ask(request.clone()).await;
    }
    let answer = answer.map_err(refused("ice.negotiation", title()))?;
    let sdp = answer.pointer("/jsep/sdp").and_then(Value::as_str).unwrap_or_default();
    let at = match way {
        Way::Direct(address) => Some(address),
        Way::Proxy => None,
    };
    let offered = server::candidates(sdp, &TcpOnlyPolicy { media_ports: config.janus.media_ports }, at);
    findings.extend(offered.findings);
    let mut reached = Err(Text::new("there is no media connection", "미디어 연결 없음"));
    if let Some(address) = offered.dial.first() {
        let title = Text::new(format!("media connection to {address}"), format!("미디어 연결 {address}"));
        let alone = Route::new(config).relay().is_none();
        let judged = match way {
            Way::Direct(_) if alone => {
                judge_reach::port("ice.dial", title, &Text::same(judge_reach::JANUS), &reach::attempt(*address).await)
            }
            _ => relay::dial(config, *address, "ice.dial", title).await,
        };
        if judged.outcome == Outcome::Pass {
            reached = Ok(());
        }
        findings.push(judged);
    }
    let _ = client.detach().await;
    Ok(reached)
}

fn in_the_room(who: &str) -> Text {
    Text::new(
        format!("{who} is in the room: nobody is disturbed; run it again when the call is over"),
        format!("{who} 님이 상담방에 있어 방해하지 않습니다. 통화가 끝난 뒤 다시 실행하십시오"),
    )
}

/// The trial call, and the proofs.
async fn call(
    config: &Config,
    client: &mut Client,
    keys: &Keys,
    reached: Result<(), Text>,
    wanted: &Wanted,
    findings: &mut Vec<Finding>,
) -> Option<Recommended> {
    let title = || Text::new("trial call", "시험 통화");
    let skipped = |why| Finding::skipped("call", title(), why);
    if let Err(why) = reached {
        findings.push(skipped(why));
        return None;
    }
    if !wanted.call {
        findings.push(skipped(Text::new("not wanted (--no-call)", "요청하지 않음(--no-call)")));
        return None;
    }
    (wanted.progress)(&Text::new("trial call, about 20 s", "시험 통화, 약 20초"));
    let mut shown = Shown::default();
    let outcome = trial::call(config, client, keys, wanted.stop.clone(), &mut shown).await;
    findings.extend(judge_relay::way(config.relay.as_ref().map(|relay| relay.policy), &shown.ways));
    findings.extend(shown.steady.iter().flat_map(judge::steady));
    findings.extend(shown.capacity.iter().flat_map(|capacity| judge::capacity(config, capacity)));
    match outcome {
        Ok(()) => {}
        Err(Stop::Failed(reason)) => findings.push(*refused("call", title())(reason)),
        Err(Stop::Disturbs(who)) => findings.push(skipped(in_the_room(&who))),
        Err(Stop::Asked) => findings.push(skipped(Text::new("the self-check was ended", "점검이 중단됨"))),
    }
    findings.push(proof::candidates(&shown.signalled));
    findings.push(proof::descriptions(&shown.signalled));
    findings.push(proof::sockets(&shown.sockets, config.janus.media_ports));
    findings.extend(shown.wire.iter().map(|wire| proof::wire(wire, &shown.sockets.media)));
    findings.push(proof::pairs(&shown.pairs));
    shown.capacity.map(|capacity| Recommended::new(config, &capacity))
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

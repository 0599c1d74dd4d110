//! What is wrong in a Janus configuration for calls over TCP: above all the settings that a widespread guide has, and that
//! Janus never had or reads differently. Checked against `janus.c` and `ice.c` of Janus 1.1.2. Pure.

use super::edit::Edit;
use super::jcfg::{Document, Setting};
use crate::site::{PORTS_PER_CALL, PortRange, check_secret};
use kiosk_proto::check::{Finding, Text};
use std::net::IpAddr;

/// A finding, and what mends it without asking anyone.
#[derive(Debug)]
pub struct Judged {
    /// For the list.
    pub finding: Finding,
    /// Changes to the file that was judged; empty when only a person can mend it.
    pub edits: Vec<Edit>,
}

/// The network interfaces of this server.
#[derive(Debug, Default)]
pub struct Interfaces {
    /// `eth0` and the like.
    pub names: Vec<String>,
    /// All addresses but loopback's.
    pub addresses: Vec<IpAddr>,
}

fn pass(id: &'static str, title: Text, seen: impl Into<String>) -> Judged {
    Judged { finding: Finding::pass(id, title, Text::same(seen)), edits: Vec::new() }
}

fn fail(id: &'static str, title: Text, seen: impl Into<String>, remedy: Text, edits: Vec<Edit>) -> Judged {
    Judged { finding: Finding::fail(id, title, Text::same(seen), remedy), edits }
}

fn warn(id: &'static str, title: Text, seen: impl Into<String>, remedy: Text, edits: Vec<Edit>) -> Judged {
    Judged { finding: Finding::warn(id, title, Text::same(seen), remedy), edits }
}

fn shown(setting: &Setting) -> String {
    let name = setting.path.rsplit('.').next().unwrap_or_default();
    format!("line {}: {name} = {:?}", setting.line, setting.text())
}

/// The last name of a setting's path.
fn is_named(setting: &Setting, name: &str) -> bool {
    setting.path.rsplit('.').next() == Some(name)
}

/// Settings of the guide that Janus does not have: name, what is so, the right setting to move the value to.
const NOT_JANUS: [(&str, Option<&str>, &str, &str); 8] = [
    (
        "public_ip",
        Some("nat.nat_1_1_mapping"),
        "Janus has no public_ip: the public address of a 1:1 NAT is nat.nat_1_1_mapping",
        "Janus에는 public_ip가 없습니다. 1:1 NAT의 공인 주소는 nat.nat_1_1_mapping에 씁니다",
    ),
    (
        "rtp_min_port",
        None,
        "Janus has no rtp_min_port: the range is media.rtp_port_range",
        "Janus에는 rtp_min_port가 없습니다. 포트 범위는 media.rtp_port_range에 씁니다",
    ),
    (
        "rtp_max_port",
        None,
        "Janus has no rtp_max_port: the range is media.rtp_port_range",
        "Janus에는 rtp_max_port가 없습니다. 포트 범위는 media.rtp_port_range에 씁니다",
    ),
    (
        "ice_udp",
        None,
        "Janus has no ice_udp: it always offers UDP candidates; kiosk, agent's page and firewall drop them",
        "Janus에는 ice_udp가 없으며 UDP 후보를 항상 제시합니다. 키오스크, 상담원 화면, 방화벽이 이를 차단합니다",
    ),
    (
        "tcp_only",
        None,
        "Janus has no tcp_only: kiosk, agent's page and firewall see to it",
        "Janus에는 tcp_only가 없습니다. TCP 전용은 키오스크, 상담원 화면, 방화벽이 보장합니다",
    ),
    (
        "wss",
        None,
        "WSS is not set in janus.jcfg but in janus.transport.websockets.jcfg",
        "WSS는 janus.jcfg가 아니라 janus.transport.websockets.jcfg에서 설정합니다",
    ),
    (
        "wss_port",
        None,
        "WSS is not set in janus.jcfg but in janus.transport.websockets.jcfg",
        "WSS는 janus.jcfg가 아니라 janus.transport.websockets.jcfg에서 설정합니다",
    ),
    (
        "https",
        None,
        "HTTPS is not set in janus.jcfg; this system needs only WSS, in janus.transport.websockets.jcfg",
        "HTTPS는 janus.jcfg에서 설정하지 않습니다. 이 시스템은 janus.transport.websockets.jcfg의 WSS만 사용합니다",
    ),
];

/// Judges `janus.jcfg`. `rooms` is the number of rooms in the videoroom plugin's file.
pub fn core(file: &Document, interfaces: &Interfaces, rooms: usize) -> Vec<Judged> {
    let mut judged = foreign(file);
    judged.push(ice_tcp(file));
    judged.push(enforce_list(file, interfaces));
    judged.push(port_range(file, rooms));
    judged.push(lite(file));
    judged.extend(turn(file));
    judged.push(public_address(file, interfaces));
    judged.push(tokens(file));
    judged.push(debug_level(file));
    judged
}

fn foreign(file: &Document) -> Vec<Judged> {
    let title = || Text::new("settings that Janus does not have", "Janus에 없는 설정");
    let mut judged = Vec::new();
    for setting in &file.settings {
        let Some((name, right, en, ko)) = NOT_JANUS.iter().find(|(name, ..)| is_named(setting, name)) else { continue };
        let mut edits = vec![Edit::Remove(setting.path.clone())];
        if let Some(right) = right
            && file.get(right).is_none()
            && setting.text().parse::<IpAddr>().is_ok()
        {
            edits.push(Edit::Set((*right).to_owned(), format!("\"{}\"", setting.text())));
        }
        if *name == "rtp_min_port" && file.get("media.rtp_port_range").is_none() {
            let high = file.settings.iter().find(|other| is_named(other, "rtp_max_port"));
            if let Some(range) = high.map(|high| format!("{}-{}", setting.text(), high.text()))
                && PortRange::try_from(range.clone()).is_ok()
            {
                edits.push(Edit::Set("media.rtp_port_range".to_owned(), format!("\"{range}\"")));
            }
        }
        judged.push(fail("janus.unknown-setting", title(), shown(setting), Text::new(*en, *ko), edits));
    }
    if judged.is_empty() {
        judged.push(pass("janus.unknown-setting", title(), "none"));
    }
    judged
}

fn ice_tcp(file: &Document) -> Judged {
    let (id, title) = ("janus.ice-tcp", Text::new("ICE over TCP is on", "ICE-TCP 사용"));
    match file.get("nat.ice_tcp") {
        Some(setting) if setting.is_true() => pass(id, title, shown(setting)),
        found => fail(
            id,
            title,
            found.map_or_else(|| "nat.ice_tcp is not set, so it is off".to_owned(), shown),
            Text::new(
                "Without it Janus offers no TCP candidate and no call connects: nat: { ice_tcp = true }",
                "이 설정이 없으면 Janus가 TCP 후보를 제시하지 않아 통화가 연결되지 않습니다: nat: { ice_tcp = true }",
            ),
            vec![Edit::Set("nat.ice_tcp".to_owned(), "true".to_owned())],
        ),
    }
}

fn enforce_list(file: &Document, interfaces: &Interfaces) -> Judged {
    let (id, title) = ("janus.enforce-list", Text::new("addresses that Janus offers", "Janus가 제시하는 주소"));
    let Some(setting) = file.get("nat.ice_enforce_list") else {
        return pass(id, title, "nat.ice_enforce_list is not set: all addresses");
    };
    // Janus compares the beginning of an address, and the whole name of an interface.
    let exists = |entry: &str| {
        interfaces.names.iter().any(|name| name == entry)
            || interfaces.addresses.iter().any(|address| address.to_string().starts_with(entry))
    };
    let wrong: Vec<&str> =
        setting.text().split(',').map(str::trim).filter(|entry| !entry.is_empty() && !exists(entry)).collect();
    if wrong.is_empty() {
        return pass(id, title, shown(setting));
    }
    let protocol = wrong.iter().any(|entry| matches!(entry.to_ascii_lowercase().as_str(), "tcp" | "udp"));
    let remedy = if protocol {
        Text::new(
            "This list takes interfaces and addresses, not protocols: with \"tcp\" Janus finds no interface of that name, offers \
             no candidate, and UDP is not forbidden by it either. Take the line out",
            "이 목록에는 프로토콜이 아니라 인터페이스와 주소를 씁니다. \"tcp\"라는 인터페이스는 없으므로 후보가 하나도 제시되지 \
             않으며, UDP를 막는 효과도 없습니다. 이 줄을 삭제하십시오",
        )
    } else {
        Text::new(
            format!("This server has no interface or address {}: correct it or take the line out", wrong.join(", ")),
            format!("이 서버에 {} 인터페이스나 주소가 없습니다. 고치거나 줄을 삭제하십시오", wrong.join(", ")),
        )
    };
    // A misspelt address is a person's to correct.
    let edits = if protocol { vec![Edit::Remove(setting.path.clone())] } else { Vec::new() };
    fail(id, title, shown(setting), remedy, edits)
}

fn port_range(file: &Document, rooms: usize) -> Judged {
    let (id, title) = ("janus.media-ports", Text::new("media ports", "미디어 포트"));
    let set = || vec![Edit::Set("media.rtp_port_range".to_owned(), "\"40000-40099\"".to_owned())];
    let Some(setting) = file.get("media.rtp_port_range") else {
        // The guide's two settings are moved here by their own finding.
        let moved = file.settings.iter().any(|setting| is_named(setting, "rtp_min_port"));
        return fail(
            id,
            title,
            "media.rtp_port_range is not set: any port may carry media",
            Text::new(
                "The firewall opens 40000-40099 only: media: { rtp_port_range = \"40000-40099\" }",
                "방화벽은 40000-40099만 엽니다: media: { rtp_port_range = \"40000-40099\" }",
            ),
            if moved { Vec::new() } else { set() },
        );
    };
    let Ok(range) = PortRange::try_from(setting.text().to_owned()) else {
        return fail(
            id,
            title,
            shown(setting),
            Text::new("Write first-last, such as 40000-40099", "40000-40099처럼 처음-끝 형식으로 쓰십시오"),
            set(),
        );
    };
    let calls = range.count() / PORTS_PER_CALL;
    let seen = format!("{}: {calls} calls at the same time, {rooms} rooms", shown(setting));
    if usize::try_from(calls).is_ok_and(|calls| calls < rooms) {
        let en = format!(
            "A call takes {PORTS_PER_CALL} ports: call {} finds the server busy, unless rooms are never all in use",
            calls + 1
        );
        let ko = format!(
            "통화 하나에 포트 {PORTS_PER_CALL}개가 필요합니다. {}번째 통화는 서버 사용 중으로 거절됩니다",
            calls + 1
        );
        return warn(id, title, seen, Text::new(en, ko), Vec::new());
    }
    pass(id, title, seen)
}

fn lite(file: &Document) -> Judged {
    let (id, title) = ("janus.ice-lite", Text::new("ICE lite fits the network", "ICE lite 설정"));
    // `public_ip` is what becomes of it once it is mended.
    let mapping =
        file.settings.iter().any(|setting| setting.path == "nat.nat_1_1_mapping" || is_named(setting, "public_ip"));
    let lite = file.get("nat.ice_lite").is_some_and(Setting::is_true);
    let seen = format!("ice_lite {lite}, nat_1_1_mapping {}", if mapping { "set" } else { "not set" });
    let set = |value: &str| vec![Edit::Set("nat.ice_lite".to_owned(), value.to_owned())];
    match (lite, mapping) {
        (true, true) => warn(
            id,
            title,
            seen,
            Text::new(
                "Janus documents nat_1_1_mapping as working without ICE lite only: nat: { ice_lite = false }",
                "nat_1_1_mapping은 ICE lite를 끈 상태에서만 지원됩니다: nat: { ice_lite = false }",
            ),
            set("false"),
        ),
        (false, false) => warn(
            id,
            title,
            seen,
            Text::new(
                "With ICE-TCP and a server that everyone can dial, Janus works better with ICE lite: nat: { ice_lite = true }",
                "모두가 직접 접속하는 서버에서 ICE-TCP를 쓸 때는 ICE lite가 안정적입니다: nat: { ice_lite = true }",
            ),
            set("true"),
        ),
        _ => pass(id, title, seen),
    }
}

fn turn(file: &Document) -> Option<Judged> {
    let setting = file.get("nat.turn_server")?;
    let edits = file
        .settings
        .iter()
        .filter(|setting| setting.path.starts_with("nat.turn_"))
        .map(|setting| Edit::Remove(setting.path.clone()))
        .collect();
    Some(warn(
        "janus.turn",
        Text::new("TURN is not Janus's own", "Janus 자신의 TURN 사용 안 함"),
        shown(setting),
        Text::new(
            "These settings make Janus itself reach kiosks through TURN; they do nothing for a kiosk. Take them out; TURN is set in the kiosk",
            "이 설정은 Janus 자신이 TURN을 쓰게 할 뿐 키오스크에는 도움이 되지 않습니다. 삭제하고 TURN은 키오스크에서 설정하십시오",
        ),
        edits,
    ))
}

fn public_address(file: &Document, interfaces: &Interfaces) -> Judged {
    let (id, title) = ("janus.address", Text::new("an address that kiosks can dial", "키오스크가 접속할 수 있는 주소"));
    if let Some(setting) = file.get("nat.nat_1_1_mapping") {
        let good =
            setting.text().parse::<IpAddr>().is_ok_and(|address| !address.is_loopback() && !address.is_unspecified());
        return if good {
            pass(id, title, shown(setting))
        } else {
            fail(
                id,
                title,
                shown(setting),
                Text::new("Write one literal address, the public one", "공인 IP 주소 하나를 쓰십시오"),
                Vec::new(),
            )
        };
    }
    let list = interfaces.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if interfaces.addresses.is_empty() {
        return fail(
            id,
            title,
            "this server has no address but loopback's",
            Text::new("Connect it to the network", "네트워크에 연결하십시오"),
            Vec::new(),
        );
    }
    let private = |address: &IpAddr| match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    if interfaces.addresses.iter().all(private) {
        return warn(
            id,
            title,
            list,
            Text::new(
                "All addresses are private. Right inside the bank's own network; for kiosks beyond a NAT set nat.nat_1_1_mapping to the public address",
                "모든 주소가 사설 주소입니다. 은행 내부망이면 맞습니다. NAT 밖의 키오스크가 접속한다면 nat.nat_1_1_mapping에 공인 주소를 쓰십시오",
            ),
            Vec::new(),
        );
    }
    pass(id, title, list)
}

fn tokens(file: &Document) -> Judged {
    let (id, title) = ("janus.secrets", Text::new("tokens and secrets", "토큰과 비밀값"));
    // Not a word of a secret is shown.
    if !file.get("general.token_auth").is_some_and(Setting::is_true) {
        return fail(
            id,
            title,
            "general.token_auth is off: anyone who reaches the port can use the server",
            Text::new(
                "Write the configuration with kioskctl server render",
                "kioskctl server render로 설정을 만드십시오",
            ),
            Vec::new(),
        );
    }
    for key in ["general.token_auth_secret", "general.admin_secret"] {
        let secret = file.get(key).map(Setting::text).unwrap_or_default();
        if let Err(error) = check_secret(key, secret) {
            return fail(
                id,
                title,
                error.to_string(),
                Text::new("Replace the secret and render again", "비밀값을 바꾸고 다시 render 하십시오"),
                Vec::new(),
            );
        }
    }
    pass(id, title, "signed tokens; no sample secret")
}

fn debug_level(file: &Document) -> Judged {
    let (id, title) = ("janus.log-level", Text::new("no secret in the log", "로그에 비밀값 없음"));
    let level = file.get("general.debug_level").and_then(|setting| setting.text().parse::<u8>().ok()).unwrap_or(4);
    if level < 5 {
        return pass(id, title, format!("debug_level {level}"));
    }
    warn(
        id,
        title,
        format!("debug_level {level}"),
        Text::new(
            "From 5 on Janus writes its configuration to the log, secrets and all",
            "5 이상이면 Janus가 비밀값을 포함한 설정을 로그에 남깁니다",
        ),
        vec![Edit::Set("general.debug_level".to_owned(), "4".to_owned())],
    )
}

/// Judges `janus.plugin.videoroom.jcfg`.
pub fn rooms(file: &Document) -> Vec<Judged> {
    let title = || Text::new("rooms", "상담방");
    let names: Vec<&str> = room_names(file).collect();
    if names.is_empty() {
        return vec![fail(
            "janus.rooms",
            title(),
            "no room",
            Text::new(
                "Each kiosk needs one: kioskctl server render",
                "키오스크마다 하나가 필요합니다: kioskctl server render",
            ),
            Vec::new(),
        )];
    }
    let wrong: Vec<Judged> = names.iter().flat_map(|room| room_faults(file, room)).collect();
    if wrong.is_empty() {
        return vec![pass("janus.rooms", title(), format!("{} rooms: H.264, two senders, signed tokens", names.len()))];
    }
    wrong
}

/// The groups that are rooms.
pub fn room_names(file: &Document) -> impl Iterator<Item = &str> {
    file.groups.iter().map(|(path, _)| path.as_str()).filter(|path| path.starts_with("room-"))
}

fn room_faults(file: &Document, room: &str) -> Vec<Judged> {
    let value = |key: &str| file.get(&format!("{room}.{key}")).map(Setting::text).unwrap_or_default();
    let set = |key: &str, value: &str| vec![Edit::Set(format!("{room}.{key}"), value.to_owned())];
    let title = || Text::new(format!("room {room}"), format!("상담방 {room}"));
    let seen = |key: &str| format!("{key} = {:?}", value(key));
    let mut wrong = Vec::new();
    if !value("videocodec").split(',').any(|codec| codec.trim().eq_ignore_ascii_case("h264")) {
        let remedy = Text::new(
            "Janus's default is VP8, and it then drops a kiosk's H.264 without a word: videocodec = \"h264\"",
            "기본값은 VP8이며 이 경우 키오스크의 H.264 영상이 아무 알림 없이 버려집니다: videocodec = \"h264\"",
        );
        wrong.push(fail("janus.room-codec", title(), seen("videocodec"), remedy, set("videocodec", "\"h264\"")));
    }
    if value("publishers") != "2" {
        let remedy = Text::new("One kiosk and one agent: publishers = 2", "키오스크 1대와 상담원 1명: publishers = 2");
        wrong.push(fail("janus.room-publishers", title(), seen("publishers"), remedy, set("publishers", "2")));
    }
    if !matches!(value("fir_freq"), "" | "0") {
        let remedy = Text::new(
            "Key frames by the clock are bursts on a thin line: fir_freq = 0",
            "주기적 키프레임은 느린 회선에서 지연을 만듭니다: fir_freq = 0",
        );
        wrong.push(warn("janus.room-keyframes", title(), seen("fir_freq"), remedy, set("fir_freq", "0")));
    }
    wrong
}

/// Judges `janus.transport.websockets.jcfg`.
pub fn websockets(file: &Document) -> Vec<Judged> {
    let title = || Text::new("WebSocket over TLS", "TLS 웹소켓(WSS)");
    let mut judged = Vec::new();
    if file.get("general.wss").is_some_and(Setting::is_true) {
        let port = file.get("general.wss_port").map_or("8989", Setting::text);
        judged.push(pass("janus.wss", title(), format!("port {port}")));
    } else {
        judged.push(fail(
            "janus.wss",
            title(),
            "general.wss is off",
            Text::new(
                "Kiosks speak WSS only: kioskctl server render",
                "키오스크는 WSS만 사용합니다: kioskctl server render",
            ),
            Vec::new(),
        ));
    }
    let open = file.get("general.ws").is_some_and(Setting::is_true)
        && !file.get("general.ws_ip").is_some_and(|ip| ip.text().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()));
    if open {
        judged.push(fail(
            "janus.ws",
            Text::new("no unencrypted WebSocket", "암호화되지 않은 웹소켓 없음"),
            "general.ws is on for every address",
            Text::new("Tokens travel readable to everyone: ws = false", "토큰이 평문으로 전송됩니다: ws = false"),
            vec![Edit::Set("general.ws".to_owned(), "false".to_owned())],
        ));
    }
    judged
}

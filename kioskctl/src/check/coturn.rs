//! The relay's configuration, against what kiosks need of it: TCP only, in TLS, to Janus and nobody else, for who has a
//! name that ends. Checked against coturn 4.6. Pure.

use crate::site::check_secret;
use kiosk_proto::check::{Finding, Text};
use std::fmt;
use std::net::IpAddr;

/// A change to the file: every line of a setting goes, and perhaps others come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The setting.
    pub name: &'static str,
    /// Its lines, from then on.
    pub lines: Vec<&'static str>,
}

impl fmt::Display for Edit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() { write!(out, "{} removed", self.name) } else { out.write_str(&self.lines.join(", ")) }
    }
}

/// A finding, and what mends it without asking anyone.
#[derive(Debug)]
pub struct Judged {
    /// For the list.
    pub finding: Finding,
    /// Empty when only a person can mend it.
    pub edits: Vec<Edit>,
}

/// Every address of both families.
const EVERYBODY: [(&str, &str); 2] =
    [("0.0.0.0", "255.255.255.255"), ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")];
const EVERYBODY_LINES: [&str; 2] =
    ["denied-peer-ip=0.0.0.0-255.255.255.255", "denied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"];

/// Name and value of a line: behind a name stands `=` or a blank.
fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (name, value) = line.split_once(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or((line, ""));
    Some((name, value.trim_start_matches(|c: char| c == '=' || c.is_ascii_whitespace())))
}

/// The settings of `turnserver.conf`.
#[derive(Debug, Clone)]
pub struct Settings<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Settings<'a> {
    /// Of a file.
    pub fn parse(text: &'a str) -> Self {
        Self(text.lines().filter_map(setting).collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// The value that counts: the last one.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.all(name).last().filter(|value| !value.is_empty())
    }

    /// A flag is on without a value, and with any but these.
    fn is_on(&self, name: &str) -> bool {
        let off = |value: &str| ["0", "n", "N", "f", "F"].iter().any(|no| value.starts_with(no));
        self.all(name).last().is_some_and(|value| !off(value))
    }

    /// The port at which it takes TLS.
    pub fn port(&self) -> u16 {
        self.get("tls-listening-port").and_then(|port| port.parse().ok()).unwrap_or(5349)
    }
}

/// The file after some changes. Comments and everything else stay as they are.
pub fn apply(text: &str, edits: &[Edit]) -> String {
    let mut text = text.to_owned();
    for edit in edits {
        let kept = text.lines().filter(|line| setting(line).is_none_or(|(name, _)| name != edit.name));
        text = kept.chain(edit.lines.iter().copied()).flat_map(|line| [line, "\n"]).collect();
    }
    text
}

fn on(name: &'static str) -> Edit {
    Edit { name, lines: vec![name] }
}

fn off(name: &'static str) -> Edit {
    Edit { name, lines: Vec::new() }
}

/// A check of flags: those that must be on, and those that must not.
struct Flags {
    id: &'static str,
    title: (&'static str, &'static str),
    must: &'static [&'static str],
    must_not: &'static [&'static str],
    good: (&'static str, &'static str),
    remedy: (&'static str, &'static str),
    bad: fn(&'static str, Text, Text, Text) -> Finding,
}

const FLAGS: [Flags; 4] = [
    Flags {
        id: "relay.clients",
        title: ("no UDP towards kiosks", "키오스크와의 UDP 차단"),
        must: &["no-udp", "no-dtls"],
        must_not: &[],
        good: ("no-udp, no-dtls", "no-udp, no-dtls"),
        remedy: (
            "A kiosk never asks by UDP; whoever does is somebody else: no-udp and no-dtls",
            "키오스크는 UDP를 쓰지 않습니다. no-udp와 no-dtls를 설정하십시오",
        ),
        bad: Finding::fail,
    },
    Flags {
        id: "relay.transport",
        title: ("TCP towards Janus", "Janus와의 TCP 중계"),
        must: &["no-udp-relay"],
        must_not: &["no-tcp-relay"],
        good: ("TCP alone", "TCP만 사용"),
        remedy: (
            "Media goes to Janus by TCP (RFC 6062) and by nothing else: no-udp-relay, and no no-tcp-relay",
            "미디어는 Janus까지 TCP(RFC 6062)로만 갑니다. no-udp-relay를 넣고 no-tcp-relay를 빼십시오",
        ),
        bad: Finding::fail,
    },
    Flags {
        id: "relay.tls-versions",
        title: ("versions of TLS", "TLS 버전"),
        must: &["no-tlsv1", "no-tlsv1_1"],
        must_not: &[],
        good: ("1.2 and later", "1.2 이상"),
        remedy: (
            "Old versions of TLS can be broken, and no kiosk uses them: no-tlsv1 and no-tlsv1_1",
            "구버전 TLS는 안전하지 않고 키오스크도 쓰지 않습니다. no-tlsv1과 no-tlsv1_1을 설정하십시오",
        ),
        bad: Finding::warn,
    },
    Flags {
        id: "relay.doors",
        title: ("no other doors", "관리 기능"),
        must: &["no-cli", "no-multicast-peers"],
        must_not: &["web-admin", "allow-loopback-peers"],
        good: ("closed", "꺼짐"),
        remedy: (
            "Console, web page and peers that are no Janus are of no use here: no-cli and no-multicast-peers, and neither web-admin nor allow-loopback-peers",
            "콘솔, 웹 관리, 기타 피어는 필요 없습니다. no-cli와 no-multicast-peers를 넣고 web-admin과 allow-loopback-peers를 빼십시오",
        ),
        bad: Finding::warn,
    },
];

/// Judges `turnserver.conf`.
pub fn judge(text: &str) -> Vec<Judged> {
    let all = Settings::parse(text);
    let mut judged: Vec<Judged> = FLAGS.iter().map(|check| flags(&all, check)).collect();
    judged.extend([tls(&all), plain(&all), peers(&all), who(&all), secret(&all)]);
    judged
}

fn pass(id: &'static str, title: Text, seen: Text) -> Judged {
    Judged { finding: Finding::pass(id, title, seen), edits: Vec::new() }
}

fn flags(all: &Settings<'_>, check: &Flags) -> Judged {
    let text = |(en, ko): (&str, &str)| Text::new(en, ko);
    let lacks: Vec<&'static str> = check.must.iter().copied().filter(|name| !all.is_on(name)).collect();
    let has: Vec<&'static str> = check.must_not.iter().copied().filter(|name| all.is_on(name)).collect();
    if lacks.is_empty() && has.is_empty() {
        return pass(check.id, text(check.title), text(check.good));
    }
    let mut seen: Vec<(String, String)> = Vec::new();
    seen.extend(lacks.iter().map(|name| (format!("{name} is missing"), format!("{name} 없음"))));
    seen.extend(has.iter().map(|name| (format!("{name} is set"), format!("{name} 설정됨"))));
    let (en, ko): (Vec<String>, Vec<String>) = seen.into_iter().unzip();
    let finding = (check.bad)(check.id, text(check.title), Text::new(en.join("; "), ko.join(", ")), text(check.remedy));
    Judged { finding, edits: lacks.into_iter().map(on).chain(has.into_iter().map(off)).collect() }
}

fn tls(all: &Settings<'_>) -> Judged {
    let (id, title) = ("relay.tls", Text::new("TLS towards kiosks", "키오스크와의 TLS"));
    let missing: Vec<&str> = ["cert", "pkey"].into_iter().filter(|name| all.get(name).is_none()).collect();
    if missing.is_empty() && !all.is_on("no-tls") {
        let port = all.port();
        return pass(id, title, Text::new(format!("port {port}"), format!("포트 {port}")));
    }
    let (seen, edits) = match missing.as_slice() {
        [] => (Text::new("no-tls is set", "no-tls 설정됨"), vec![off("no-tls")]),
        missing => {
            let list = missing.join(", ");
            (Text::new(format!("{list} missing"), format!("{list} 없음")), Vec::new())
        }
    };
    let remedy = Text::new(
        "turns: needs a certificate: tls of the relay's site.toml, and kioskctl server render --server coturn",
        "turns:에는 인증서가 필요합니다. 릴레이 site.toml의 tls를 채우고 kioskctl server render --server coturn을 실행하십시오",
    );
    Judged { finding: Finding::fail(id, title, seen, remedy), edits }
}

fn plain(all: &Settings<'_>) -> Judged {
    let (id, title) = ("relay.plain", Text::new("TURN without TLS", "TLS 없는 TURN"));
    if all.is_on("no-tcp") {
        return pass(id, title, Text::new("none", "사용 안 함"));
    }
    if let Some(port) = all.get("listening-port") {
        // Media is encrypted by itself; who wants this port has named it.
        return pass(id, title, Text::new(format!("port {port}, as set"), format!("포트 {port} (설정됨)")));
    }
    let seen = Text::new("port 3478, by default", "기본값 3478 포트 열림");
    let remedy = Text::new(
        "Nobody asked for it: no-tcp closes it, listen.plain_port of site.toml names it",
        "의도하지 않은 포트입니다. no-tcp로 닫거나 site.toml의 listen.plain_port로 지정하십시오",
    );
    Judged { finding: Finding::warn(id, title, seen, remedy), edits: vec![on("no-tcp")] }
}

/// First and last address of a peer setting.
fn addresses(value: &str) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

fn peers(all: &Settings<'_>) -> Judged {
    let (id, title) = ("relay.peers", Text::new("whom it connects to", "연결 대상"));
    let denied: Vec<_> = all.all("denied-peer-ip").filter_map(addresses).collect();
    let allowed: Vec<&str> = all.all("allowed-peer-ip").collect();
    let everybody = EVERYBODY
        .iter()
        .all(|(first, last)| denied.iter().any(|range| Some(*range) == first.parse().ok().zip(last.parse().ok())));
    let wide = allowed.iter().find(|value| addresses(value).is_none_or(|(first, last)| first != last));
    let list = allowed.join(", ");
    let (seen, edits) = match (allowed.is_empty(), wide, everybody) {
        (false, None, true) => {
            let seen = Text::new(format!("{list} and nobody else"), format!("{list} 외 차단"));
            return pass(id, title, seen);
        }
        (true, ..) => (Text::new("no allowed-peer-ip", "allowed-peer-ip 없음"), Vec::new()),
        (_, Some(wide), _) => {
            let wide = format!("allowed-peer-ip={wide}");
            (Text::new(format!("{wide} is more than one host"), format!("{wide}: 주소가 하나가 아님")), Vec::new())
        }
        (_, None, false) => (
            Text::new("others are not denied", "다른 주소가 차단되지 않음"),
            vec![Edit { name: "denied-peer-ip", lines: EVERYBODY_LINES.to_vec() }],
        ),
    };
    let remedy = Text::new(
        "Whoever has a kiosk's secret could reach the bank's network by it: the addresses of Janus as allowed-peer-ip (peers in site.toml), everybody else denied",
        "키오스크 비밀이 유출되면 은행 내부망에 접속될 수 있습니다. Janus 주소만 allowed-peer-ip(site.toml의 peers)로 두고 나머지는 차단하십시오",
    );
    Judged { finding: Finding::fail(id, title, seen, remedy), edits }
}

fn who(all: &Settings<'_>) -> Judged {
    let (id, title) = ("relay.users", Text::new("who may use it", "사용 권한"));
    if all.is_on("no-auth") {
        let remedy = Text::new(
            "Anybody could use it: take no-auth out, use-auth-secret in",
            "누구나 사용할 수 있습니다. no-auth를 빼고 use-auth-secret을 넣으십시오",
        );
        let finding = Finding::fail(id, title, Text::new("everybody: no-auth is set", "no-auth 설정됨"), remedy);
        return Judged { finding, edits: vec![off("no-auth"), on("use-auth-secret")] };
    }
    if !all.is_on("use-auth-secret") {
        let remedy = Text::new(
            "Kiosks make themselves names that end (relay.secret_file): use-auth-secret",
            "키오스크는 유효 시간이 있는 이름을 만듭니다(relay.secret_file). use-auth-secret을 넣으십시오",
        );
        let seen = Text::new("use-auth-secret is missing", "use-auth-secret 없음");
        return Judged { finding: Finding::fail(id, title, seen, remedy), edits: vec![on("use-auth-secret")] };
    }
    let users = all.all("user").count();
    if users > 0 {
        let seen = Text::new(format!("{users} users whose names never end"), format!("만료되지 않는 사용자 {users}명"));
        let remedy = Text::new(
            "Give kiosks relay.secret_file in the place of username and password_file, then take the user lines out",
            "키오스크에 username, password_file 대신 relay.secret_file을 설정한 뒤 user 줄을 지우십시오",
        );
        return Judged { finding: Finding::warn(id, title, seen, remedy), edits: Vec::new() };
    }
    pass(id, title, Text::new("who has the secret, for a day", "비밀을 가진 키오스크, 하루 유효"))
}

fn secret(all: &Settings<'_>) -> Judged {
    let (id, title) = ("relay.secret", Text::new("the secret of relay and kiosks", "릴레이 공유 비밀"));
    // A relay may have several, of which each lets in.
    let checked = all.all("static-auth-secret").map(|secret| check_secret("static-auth-secret", secret));
    let weak = match checked.reduce(Result::and) {
        None => "static-auth-secret is missing".to_owned(),
        Some(Ok(())) => return pass(id, title, Text::new("long enough", "충분히 김")),
        Some(Err(error)) => error.to_string(),
    };
    let remedy = Text::new(
        "openssl rand -hex 32 makes one; it goes into the file of secret_file in the relay's site.toml and of relay.secret_file on the kiosks",
        "openssl rand -hex 32로 만들어 릴레이 site.toml의 secret_file과 키오스크의 relay.secret_file 파일에 넣으십시오",
    );
    Judged { finding: Finding::fail(id, title, Text::same(weak), remedy), edits: Vec::new() }
}

#[cfg(test)]
mod tests;

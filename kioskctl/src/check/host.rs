//! What runs on this server: listening ports, firewall, log. The answers of the system are judged by pure functions.

use super::janus::Interfaces;
use super::jcfg::{Document, Setting};
use crate::site::PortRange;
use kiosk_proto::check::firewall::{behind_proxy, judge_server};
use kiosk_proto::check::ports::{self, Needed, Range};
use kiosk_proto::check::{Finding, Text};
use std::path::Path;
use std::process::Command;

/// A log file is read from its end, so far back.
const LOG_TAIL: u64 = 4 * 1024 * 1024;

/// Names and addresses of this machine's network interfaces.
pub fn interfaces() -> Interfaces {
    let mut found = Interfaces::default();
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        if !found.names.contains(&interface.interface_name) {
            found.names.push(interface.interface_name.clone());
        }
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
        let v6 = address.as_sockaddr_in6().map(|v6| v6.ip().into());
        found.addresses.extend(v4.or(v6).filter(|address: &std::net::IpAddr| !address.is_loopback()));
    }
    found
}

/// Is the port of `janus.transport.websockets.jcfg` listened on?
pub fn listening(websockets: &Document) -> Finding {
    let port = websockets.get("general.wss_port").and_then(|port| port.text().parse().ok()).unwrap_or(8989);
    judge_listening(&tables(), port, &JANUS)
}

/// Is the relay's port of TLS listened on?
pub fn relay_listening(port: u16) -> Finding {
    judge_listening(&tables(), port, &COTURN)
}

fn tables() -> String {
    ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default()).concat()
}

/// A program that must listen.
struct Program {
    id: &'static str,
    title: (&'static str, &'static str),
    unit: &'static str,
}

const JANUS: Program = Program { id: "janus.listening", title: ("Janus answers", "Janus 동작"), unit: "janus" };
const COTURN: Program =
    Program { id: "relay.listening", title: ("the relay answers", "릴레이 동작"), unit: "coturn" };

fn judge_listening(table: &str, port: u16, program: &Program) -> Finding {
    let Program { id, title, unit } = program;
    let title = Text::new(title.0, title.1);
    // proc_pid_net(5): the second column is the local address and port in hex, the fourth the state, 0A is LISTEN.
    let listens = table.lines().any(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let local = columns.next().and_then(|local| local.rsplit(':').next());
        let here = local.and_then(|hex| u16::from_str_radix(hex, 16).ok()) == Some(port);
        here && columns.nth(1) == Some("0A")
    });
    if listens {
        return Finding::pass(id, title, Text::new(format!("port {port} listens"), format!("포트 {port} 수신 중")));
    }
    Finding::fail(
        id,
        title,
        Text::new(format!("nothing listens on port {port}"), format!("포트 {port}에서 수신하는 프로그램이 없습니다")),
        Text::new(
            format!("systemctl start {unit}; if it does not stay up: journalctl -u {unit}"),
            format!("systemctl start {unit} 실행. 계속 종료되면 journalctl -u {unit} 확인"),
        ),
    )
}

/// The firewall: our nftables table, or ufw with the right ports open.
pub fn firewall(ports: Option<PortRange>, wss: u16) -> Finding {
    let (id, title) = ("firewall", Text::new("firewall", "방화벽"));
    let table = answer("nft", &["list", "table", "inet", "kiosk_server"]);
    if let Some(table) = &table {
        let media = ports.unwrap_or(PortRange::DEFAULT);
        return judge_server(table, wss, (media.first, media.last));
    }
    match answer("ufw", &["status"]) {
        Some(status) => judge_ufw(&status, ports, wss),
        None if answer("nft", &["list", "tables"]).is_none() => Finding::skipped(
            id,
            title,
            Text::new(
                "neither nft nor ufw could be asked: run this as root",
                "nft와 ufw를 조회할 수 없습니다. root로 실행하십시오",
            ),
        ),
        None => no_firewall(),
    }
}

fn no_firewall() -> Finding {
    Finding::fail(
        "firewall",
        Text::new("firewall", "방화벽"),
        Text::new("no table kiosk_server, and ufw is not active", "kiosk_server 테이블이 없고 ufw도 꺼져 있습니다"),
        Text::new(
            "Janus always offers UDP too; only a firewall ends it: load config/nftables/server.nft",
            "Janus는 항상 UDP도 제시하므로 방화벽으로 막아야 합니다. config/nftables/server.nft를 적용하십시오",
        ),
    )
}

/// As a rule of ufw.
fn ufw((first, last): Range) -> String {
    if first == last { format!("{first}/tcp") } else { format!("{first}:{last}/tcp") }
}

fn judge_ufw(status: &str, range: Option<PortRange>, wss: u16) -> Finding {
    let (id, title) = ("firewall", Text::new("firewall", "방화벽"));
    if !status.lines().any(|line| line.trim() == "Status: active") {
        return no_firewall();
    }
    let allowed =
        status.lines().filter(|line| line.contains("ALLOW")).filter_map(|line| line.split_whitespace().next());
    let opened = allowed.filter(|rule| !rule.ends_with("/udp")).map(|rule| rule.trim_end_matches("/tcp"));
    let opened = opened.flat_map(|rule| rule.split(',')).filter_map(ports::range).collect();
    let media = range.unwrap_or(PortRange::DEFAULT);
    let missing: Vec<String> = match ports::needed(opened, wss, (media.first, media.last)) {
        Needed::Open => return Finding::pass(id, title, Text::same("ufw")),
        Needed::BehindProxy => return behind_proxy(wss),
        Needed::Shut(shut) => shut.into_iter().map(ufw).collect(),
    };
    let commands = missing.iter().map(|rule| format!("ufw allow {rule}")).collect::<Vec<_>>().join("; ");
    Finding::fail(
        id,
        title,
        Text::new(
            format!("ufw does not open {}", missing.join(", ")),
            format!("ufw에서 열리지 않은 포트: {}", missing.join(", ")),
        ),
        Text::same(commands),
    )
}

/// What Janus itself said at its start.
pub fn log(core: &Document) -> Finding {
    let text = match core.get("general.log_to_file").map(Setting::text).filter(|path| !path.is_empty()) {
        Some(path) => tail(Path::new(path)),
        None => answer("journalctl", &["--unit=janus", "--boot", "--output=cat", "--no-pager", "--lines=5000"]),
    };
    judge_log(text.as_deref())
}

fn judge_log(text: Option<&str>) -> Finding {
    let (id, title) = ("janus.log", Text::new("Janus's log names TCP candidates", "Janus 로그의 TCP 후보"));
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Finding::skipped(
            id,
            title,
            Text::new("no log of Janus could be read", "Janus 로그를 읽을 수 없습니다"),
        );
    };
    match text.lines().rev().find(|line| line.contains("ICE-TCP candidates")) {
        Some(line) if line.contains("enabled") => Finding::pass(id, title, Text::same(line.trim())),
        found => Finding::fail(
            id,
            title,
            found.map_or_else(
                || Text::new("no line about ICE-TCP since the start", "시작 이후 ICE-TCP에 관한 로그가 없습니다"),
                |line| Text::same(line.trim()),
            ),
            Text::new(
                "Is the configuration that was checked the one that runs? systemctl restart janus",
                "점검한 설정으로 실행 중인지 확인하십시오: systemctl restart janus",
            ),
        ),
    }
}

fn tail(path: &Path) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a program prints, if it is there and succeeds.
fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiosk_proto::check::Outcome;

    #[test]
    fn a_listening_port_is_found_in_the_kernels_table() {
        // 0x231D is 8989; the second line is a connection from another host's port 8989.
        let listening = "   0: 00000000:231D 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1\n";
        let connected = "   1: 0100007F:1F90 0100007F:231D 01 00000000:00000000 00:00000000 00000000 0 0 1 1\n";
        assert_eq!(judge_listening(&format!("{connected}{listening}"), 8989, &JANUS).outcome, Outcome::Pass);
        assert_eq!(judge_listening(connected, 8989, &COTURN).outcome, Outcome::Fail);
        assert_eq!(judge_listening(connected, 8080, &JANUS).outcome, Outcome::Fail, "it does not listen");
    }

    #[test]
    fn ufw_must_open_what_calls_need() {
        let status = "Status: active\n\nTo Action From\n8989/tcp ALLOW Anywhere\n40000:40099/tcp ALLOW Anywhere\n";
        let range = PortRange::try_from("40000-40099".to_owned()).ok();
        assert_eq!(judge_ufw(status, range, 8989).outcome, Outcome::Pass);
        let closed = judge_ufw(&status.replace("40099", "40009"), range, 8989);
        assert_eq!(closed.remedy.unwrap().en, "ufw allow 40000:40099/tcp");
        let halves = status.replace("40000:40099/tcp", "40000:40049/tcp ALLOW Anywhere\n40050:40099/tcp");
        assert_eq!(judge_ufw(&halves, range, 8989).outcome, Outcome::Pass);
        let udp = status.replace("40099/tcp", "40099/udp");
        assert_eq!(judge_ufw(&udp, range, 8989).outcome, Outcome::Fail);
        assert_eq!(judge_ufw(&status.replace("8989/tcp", "443"), range, 8989).outcome, Outcome::Warn);
        assert_eq!(judge_ufw("Status: inactive", range, 8989).outcome, Outcome::Fail);
    }

    #[test]
    fn the_last_start_in_the_log_counts() {
        let judged = |text: &str| judge_log(Some(text)).outcome;
        assert_eq!(judged("[x] ICE-TCP candidates disabled\n[y] ICE-TCP candidates enabled\n"), Outcome::Pass);
        assert_eq!(judged("[x] ICE-TCP candidates enabled\n[y] ICE-TCP candidates disabled\n"), Outcome::Fail);
        assert_eq!(judged("[x] started\n"), Outcome::Fail);
        assert_eq!(judge_log(None).outcome, Outcome::Skipped);
    }
}

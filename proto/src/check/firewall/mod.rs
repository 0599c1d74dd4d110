//! The firewall in force, compared with the one that this program comes with, rule by rule. Addresses and ports are the
//! site's; everything else is not.

mod rules;
#[cfg(test)]
mod tests;

use super::ports::{self, Needed, Range};
use super::{Finding, Outcome, Text};
use rules::{Shipped, compare, is_shut};

const KIOSK: Shipped = Shipped {
    file: "kiosk.nft",
    rules: include_str!("../../../../config/nftables/kiosk.nft"),
    shut: [("input", 2), ("output", 2)],
};

/// The server asks names and the time by UDP: all of its output is about that.
const SERVER: Shipped = Shipped {
    file: "server.nft",
    rules: include_str!("../../../../config/nftables/server.nft"),
    shut: [("input", 4), ("output", usize::MAX)],
};

/// Differences that are shown.
const SHOWN: usize = 3;

/// `listing` is what `nft list table inet kiosk` prints.
#[must_use]
pub fn judge(listing: Option<&str>) -> Finding {
    let (id, title) = ("firewall", Text::new("firewall", "방화벽"));
    let Some(listing) = listing else {
        return Finding::warn(
            id,
            title,
            Text::new("no table inet kiosk, or not run as root", "kiosk 테이블이 없거나 root 권한이 아님"),
            Text::new(
                "Load config/nftables/kiosk.nft (docs/firewall.md); run kioskd doctor as root to see the rules",
                "config/nftables/kiosk.nft를 적용하십시오(docs/firewall.md). 규칙을 보려면 root로 실행하십시오",
            ),
        );
    };
    compared(&KIOSK, listing, |value| {
        let (hosts, signalling, media) = (value("server_addresses"), value("signalling_ports"), value("media_ports"));
        Text::new(
            format!("out to {hosts}, signalling {signalling}, media {media}"),
            format!("허용: {hosts}, 신호 {signalling}, 미디어 {media}"),
        )
    })
}

/// The firewall of the central server; `listing` is what `nft list table inet kiosk_server` prints. Janus takes connections
/// on the port of signalling and on the range of media.
#[must_use]
pub fn judge_server(listing: &str, signalling: u16, media: Range) -> Finding {
    let finding = compared(&SERVER, listing, |value| {
        let (signalling, media, fleet) = (value("signalling_ports"), value("media_ports"), value("fleet_ports"));
        Text::new(
            format!("in to signalling {signalling}, media {media}, fleet {fleet}"),
            format!("허용: 신호 {signalling}, 미디어 {media}, 플릿 {fleet}"),
        )
    });
    let values = compare(&SERVER, listing).1;
    let opened = ["signalling_ports", "media_ports"].iter().filter_map(|name| values.get(*name));
    let opened = opened.flat_map(|ports| ports.split(',')).filter_map(ports::range).collect();
    match ports::needed(opened, signalling, media) {
        Needed::Shut(shut) if finding.outcome != Outcome::Fail => {
            let shut = shut.iter().map(shown).collect::<Vec<_>>().join(", ");
            let seen = Text::new(
                format!("{} does not open {shut}", SERVER.file),
                format!("{}에서 열리지 않음: {shut}", SERVER.file),
            );
            let remedy = Text::new(
                "Compare signalling_ports and media_ports of server.nft with Janus's configuration, and load it again",
                "server.nft의 signalling_ports, media_ports를 Janus 설정과 비교하고 다시 적용하십시오",
            );
            Finding::fail(finding.id, finding.title, seen, remedy)
        }
        Needed::BehindProxy if finding.outcome == Outcome::Pass => behind_proxy(signalling),
        _ => finding,
    }
}

/// Signalling comes in by 443 alone, and something else than Janus listens there.
#[must_use]
pub fn behind_proxy(signalling: u16) -> Finding {
    let seen = Text::new(
        format!("443/tcp is open, and Janus's own {signalling}/tcp is not"),
        format!("443/tcp는 열려 있고 Janus의 {signalling}/tcp는 닫혀 있음"),
    );
    let remedy = Text::new(
        "Right where a reverse proxy on this server leads from 443 to Janus, and janus.url of the kiosks names 443. Otherwise open Janus's port",
        "이 서버의 리버스 프록시가 443을 Janus로 연결하고 키오스크의 janus.url이 443이면 올바릅니다. 아니면 Janus의 포트를 여십시오",
    );
    Finding::warn("firewall", Text::new("firewall", "방화벽"), seen, remedy)
}

fn shown((first, last): &Range) -> String {
    if first == last { format!("{first}/tcp") } else { format!("{first}-{last}/tcp") }
}

/// `open` says what the values of the variables let through.
fn compared(shipped: &Shipped, listing: &str, open: impl FnOnce(&dyn Fn(&str) -> String) -> Text) -> Finding {
    let (id, title, file) = ("firewall", Text::new("firewall", "방화벽"), shipped.file);
    let again = || {
        Text::new(
            format!("Put the site's values into config/nftables/{file} and load that (docs/firewall.md)"),
            format!("config/nftables/{file}에 현장 값을 넣어 적용하십시오(docs/firewall.md)"),
        )
    };
    let (differences, values) = compare(shipped, listing);
    let list = |language: fn(&Text) -> &str| {
        let mut list = differences.iter().take(SHOWN).map(language).collect::<Vec<_>>().join("; ");
        if differences.len() > SHOWN {
            list.push_str(&format!("; +{}", differences.len() - SHOWN));
        }
        list
    };
    let seen = || Text::new(list(|text| &text.en), list(|text| &text.ko));
    if !is_shut(shipped, listing) {
        let order = Text::new("the order of the rules is another one", "규칙의 순서가 다름");
        return Finding::fail(id, title, if differences.is_empty() { order } else { seen() }, again());
    }
    if !differences.is_empty() {
        return Finding::warn(id, title, seen(), again());
    }
    let open = open(&|name| values.get(name).map_or_else(|| "-".to_owned(), |value| value.replace(',', ", ")));
    let seen = Text::new(
        format!("each rule of {file} and no other; {}", open.en),
        format!("{file}와 규칙이 모두 같음. {}", open.ko),
    );
    Finding::pass(id, title, seen)
}

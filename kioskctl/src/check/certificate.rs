//! The certificate that kiosks and browsers see. Pure.

use kiosk_proto::check::{Finding, Text};
use std::net::IpAddr;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

/// Days before its end at which a certificate is worth a warning: time to order and install another.
const SOON: i64 = 30;
const DAY: i64 = 24 * 3600;

/// Judges the server's certificate file; `now` in seconds since 1970.
pub fn judge(pem: &[u8], now: i64) -> Finding {
    let (id, title) = ("tls.certificate", Text::new("the server's certificate", "서버 인증서"));
    let unreadable = |why: String| {
        let remedy = Text::new(
            "Put the certificate with its chain there, PEM",
            "인증서와 중간 인증서를 PEM 형식으로 넣으십시오",
        );
        Finding::fail(id, title.clone(), Text::same(why), remedy)
    };
    let blocks: Vec<Pem> =
        Pem::iter_from_buffer(pem).filter_map(Result::ok).filter(|pem| pem.label == "CERTIFICATE").collect();
    let Some(first) = blocks.first() else { return unreadable("no certificate in the file".to_owned()) };
    let leaf = match first.parse_x509() {
        Ok(leaf) => leaf,
        Err(error) => return unreadable(error.to_string()),
    };
    let names = leaf
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|san| san.value.general_names.iter().map(shown).collect::<Vec<_>>().join(", "))
        .unwrap_or_default();
    let (begin, end) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    let days = (end - now).div_euclid(DAY);
    let seen = Text::new(
        format!("names: {names}; {} in the chain; valid for {days} more days", blocks.len()),
        format!("이름: {names}, 체인 {}개, 유효 기간 {days}일 남음", blocks.len()),
    );
    if now < begin || now >= end {
        let remedy = if now < begin {
            Text::new(
                "It is not valid yet: is this server's clock right?",
                "아직 유효하지 않습니다. 서버 시계를 확인하십시오",
            )
        } else {
            Text::new(
                "It has expired: every kiosk refuses it. Install a new one and restart Janus",
                "만료되어 모든 키오스크가 거부합니다. 새 인증서를 설치하고 Janus를 재시작하십시오",
            )
        };
        return Finding::fail(id, title, seen, remedy);
    }
    if names.is_empty() {
        let remedy = Text::new(
            "Kiosks and browsers look for the server's name among the alternative names (RFC 6125): have it signed with one",
            "키오스크와 브라우저는 주체 대체 이름(SAN)을 확인합니다. SAN을 포함해 다시 발급받으십시오",
        );
        return Finding::fail(id, title, seen, remedy);
    }
    if days < SOON {
        let remedy = Text::new(
            format!("It expires in {days} days: renew it"),
            format!("{days}일 뒤에 만료됩니다. 갱신하십시오"),
        );
        return Finding::warn(id, title, seen, remedy);
    }
    Finding::pass(id, title, seen)
}

fn shown(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.map_or_else(|_| name.to_string(), |address| address.to_string())
        }
        other => other.to_string(),
    }
}

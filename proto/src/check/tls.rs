//! Certificates: who signed them, and how long they are good.

use super::{Finding, Text};

/// Days before its end at which a certificate is worth a warning: time to order and install another.
pub const SOON_DAYS: i64 = 30;
const DAY: i64 = 24 * 3600;

/// What is read of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Valid from, seconds since 1970.
    pub begin: i64,
    /// Valid until, seconds since 1970.
    pub end: i64,
}

fn dates(id: &'static str, title: Text, certificate: &Certificate, now: i64, renew: (&str, &str)) -> Finding {
    let days = (certificate.end - now).div_euclid(DAY);
    let (subject, issuer) = (&certificate.subject, &certificate.issuer);
    let seen = Text::new(
        format!("{subject}, signed by {issuer}, valid for {days} more days"),
        format!("{subject}, 발급자 {issuer}, 유효 기간 {days}일 남음"),
    );
    if now < certificate.begin {
        let remedy = Text::new(
            "It is not valid yet: is the kiosk's clock right?",
            "아직 유효하지 않습니다. 키오스크 시계를 확인하십시오",
        );
        return Finding::fail(id, title, seen, remedy);
    }
    let remedy = Text::new(renew.0, renew.1);
    if now >= certificate.end {
        Finding::fail(id, title, seen, remedy)
    } else if days < SOON_DAYS {
        Finding::warn(id, title, seen, remedy)
    } else {
        Finding::pass(id, title, seen)
    }
}

/// A server's certificate with its chain, as it was presented here. `authorities` are the subjects of the certificates
/// that this kiosk trusts; empty: those of the operating system, which is not looked at.
#[must_use]
pub fn server(id: &'static str, title: Text, chain: &[Certificate], authorities: &[String], now: i64) -> Finding {
    let Some(leaf) = chain.first() else {
        let remedy = Text::new("Is this a TLS port?", "TLS 포트가 맞는지 확인하십시오");
        return Finding::fail(id, title, Text::new("no certificate", "인증서 없음"), remedy);
    };
    let known = |certificate: &Certificate| authorities.contains(&certificate.issuer);
    if !authorities.is_empty() && !chain.iter().any(known) {
        let (issuer, ours) = (&chain.last().unwrap_or(leaf).issuer, authorities.join(", "));
        let seen = Text::new(
            format!("signed by {issuer}, and not by {ours}"),
            format!("발급자 {issuer} (등록된 기관 {ours}이(가) 아님)"),
        );
        let remedy = Text::new(
            "Somebody else answers in the server's place. A box that opens TLS on the way (proxy, firewall with TLS inspection) does this: have the kiosk's connections to the server exempted from it. Or the server has a certificate of another authority: put that one into ca_file",
            "서버 대신 다른 장비가 응답합니다. 중간의 TLS 검사 장비(프록시, 방화벽)라면 이 키오스크의 서버 연결을 검사에서 제외해 달라고 요청하십시오. 서버 인증서의 발급 기관이 바뀌었다면 ca_file을 교체하십시오",
        );
        return Finding::fail(id, title, seen, remedy);
    }
    let renew = (
        "Renew the server's certificate: after its end every kiosk refuses it",
        "서버 인증서를 갱신하십시오. 만료되면 모든 키오스크가 거부합니다",
    );
    dates(id, title, leaf, now, renew)
}

/// The kiosk's own certificate.
#[must_use]
pub fn own(certificate: Result<&Certificate, String>, now: i64) -> Finding {
    let (id, title) = ("tls.own", Text::new("the kiosk's own certificate", "키오스크 인증서"));
    match certificate {
        Ok(certificate) => {
            let renew = (
                "Sign a new one for this kiosk (kioskctl ca issue): without it the broker refuses the kiosk",
                "이 키오스크의 인증서를 새로 발급하십시오(kioskctl ca issue). 없으면 브로커가 거부합니다",
            );
            dates(id, title, certificate, now, renew)
        }
        Err(reason) => {
            let remedy = Text::new(
                "fleet.cert_file must be a certificate as PEM, readable for kioskd",
                "fleet.cert_file은 kioskd가 읽을 수 있는 PEM 인증서여야 합니다",
            );
            Finding::fail(id, title, Text::same(reason), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    const NOW: i64 = 1_000_000_000;

    fn certificate(issuer: &str, days: i64) -> Certificate {
        Certificate { subject: "CN=janus".to_owned(), issuer: issuer.to_owned(), begin: 0, end: NOW + days * DAY }
    }

    #[test]
    fn a_box_on_the_way_is_named_by_who_signed() {
        let ours = ["CN=Bank CA".to_owned()];
        let judged = |chain: &[Certificate], ours: &[String]| server("x", Text::same("x"), chain, ours, NOW);
        assert_eq!(judged(&[certificate("CN=Bank CA", 90)], &ours).outcome, Outcome::Pass);
        let opened = judged(&[certificate("CN=ACME Inspection", 90)], &ours);
        assert!(opened.outcome == Outcome::Fail && opened.seen.en.contains("CN=ACME Inspection"), "{opened:?}");
        // An intermediate that the bank's signed.
        let chain = [certificate("CN=Branch CA", 90), certificate("CN=Bank CA", 900)];
        assert_eq!(judged(&chain, &ours).outcome, Outcome::Pass);
        // The operating system's authorities: whether they trust it is seen when it is used.
        assert_eq!(judged(&[certificate("CN=Public", 90)], &[]).outcome, Outcome::Pass);
        assert_eq!(judged(&[], &ours).outcome, Outcome::Fail);
    }

    #[test]
    fn an_end_that_is_near_is_a_warning() {
        let judged = |days| own(Ok(&certificate("CN=Bank CA", days)), NOW).outcome;
        assert_eq!((judged(31), judged(29), judged(0)), (Outcome::Pass, Outcome::Warn, Outcome::Fail));
        let early = Certificate { begin: NOW + 1, ..certificate("CN=Bank CA", 90) };
        assert_eq!(own(Ok(&early), NOW).outcome, Outcome::Fail);
        assert_eq!(own(Err("no".to_owned()), NOW).outcome, Outcome::Fail);
    }
}

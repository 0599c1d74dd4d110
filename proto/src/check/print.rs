//! A check list as text for a terminal, and as one self-contained page for the hand-over of an installation.

use std::fmt::Write as _;

use super::{Finding, Language, Outcome, Text};

/// Lines for a terminal, with colours or without.
#[must_use]
pub fn terminal(findings: &[Finding], language: Language, colours: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let (on, off) = match finding.outcome {
            _ if !colours => ("", ""),
            Outcome::Pass => ("\x1b[32m", "\x1b[0m"),
            Outcome::Warn => ("\x1b[33m", "\x1b[0m"),
            Outcome::Fail => ("\x1b[1;31m", "\x1b[0m"),
            Outcome::Skipped | Outcome::Info => ("\x1b[2m", "\x1b[0m"),
        };
        let (word, title) = (finding.outcome.word(language), finding.title.get(language));
        // Writing to a String does not fail.
        let _ = writeln!(text, "{on}{word}{off}  {title}: {}", finding.seen.get(language));
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "      -> {}", remedy.get(language));
        }
    }
    let _ = writeln!(text, "{}", summary(findings, language));
    text
}

/// One line with the counts.
#[must_use]
pub fn summary(findings: &[Finding], language: Language) -> String {
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let (pass, warn, fail) = (count(Outcome::Pass), count(Outcome::Warn), count(Outcome::Fail));
    let (info, skip) = (count(Outcome::Info), count(Outcome::Skipped));
    match language {
        Language::English => {
            format!("{pass} passed, {warn} warnings, {fail} failed, {info} for information, {skip} skipped")
        }
        Language::Korean => format!("정상 {pass}, 주의 {warn}, 실패 {fail}, 참고 {info}, 생략 {skip}"),
    }
}

const STYLE: &str = "body{font:16px/1.5 system-ui,'Noto Sans KR','Noto Sans CJK KR',sans-serif;max-width:60rem;\
    margin:2rem auto;padding:0 1rem;color:#1c2733;word-break:keep-all;overflow-wrap:anywhere}\
    h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}.sub{color:#5a6b7b;margin:0 0 1rem}\
    .v{border-left:.4rem solid;padding:.6rem .9rem;margin:0;font-weight:600;background:#f3f6f9}\
    table{border-collapse:collapse;width:100%}td{border-top:1px solid #dde4ea;padding:.45rem .6rem;vertical-align:top}\
    .o{white-space:nowrap;font-weight:600;width:3.5rem}.t{width:15rem}tr{break-inside:avoid}h2{break-after:avoid}\
    .pass{color:#0b6b3a}.warn{color:#8a5a00}.fail{color:#b3261e}.info,.skipped{color:#5a6b7b}\
    tr.bad-warn{background:#fff8e6}tr.bad-fail{background:#fdecea}.r{margin-top:.2rem}.r:before{content:'\u{2192} '}\
    .s{color:#3d4c5a}a{color:inherit}li{margin:.2rem 0}.sign{display:flex;gap:2rem;margin-top:3.5rem;break-inside:avoid}\
    .sign div{flex:1;border-top:1px solid #5a6b7b;color:#5a6b7b;padding-top:.3rem}@media(max-width:40rem){.t{width:8rem}}\
    @media print{body{margin:0;font-size:12px}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

/// A page that needs nothing else. `heading` names the kiosk, `line` when and with which version.
#[must_use]
pub fn page(findings: &[Finding], language: Language, heading: &str, line: &str) -> String {
    let lang = if language == Language::Korean { "ko" } else { "en" };
    let (heading, line) = (escape(heading), escape(line));
    let (mut rows, mut part) = (String::new(), None);
    for (number, finding) in findings.iter().enumerate() {
        let of = part_of(finding.id);
        if part.as_ref() != Some(&of) {
            let end = if part.is_some() { "</table>" } else { "" };
            let _ = write!(rows, "{end}<h2>{}</h2><table>", escape(of.get(language)));
            part = Some(of);
        }
        let class = class(finding.outcome);
        let remedy = finding
            .remedy
            .as_ref()
            .map(|text| format!("<div class=\"r {class}\">{}</div>", escape(text.get(language))))
            .unwrap_or_default();
        let _ = write!(
            rows,
            "<tr id=c{number} class=bad-{class}><td class=\"o {class}\">{}</td><td class=t>{}</td>\
             <td><div class=s>{}</div>{remedy}</td></tr>",
            finding.outcome.word(language),
            escape(finding.title.get(language)),
            escape(finding.seen.get(language)),
        );
    }
    if part.is_some() {
        rows.push_str("</table>");
    }
    let signed = [("Technician", "기술자"), ("Branch", "지점"), ("Date", "날짜")]
        .map(|(en, ko)| format!("<div>{}</div>", if language == Language::Korean { ko } else { en }))
        .concat();
    format!(
        "<!doctype html><html lang={lang}><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{heading}</title><style>{STYLE}</style><h1>{heading}</h1><p class=sub>{line}<br>{}</p>{}{rows}\
         <div class=sign>{signed}</div></html>\n",
        summary(findings, language),
        verdict(findings, language)
    )
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Warn => "warn",
        Outcome::Fail => "fail",
        Outcome::Info => "info",
        Outcome::Skipped => "skipped",
    }
}

/// What it comes to, and where to begin: everything that failed, then the warnings.
fn verdict(findings: &[Finding], language: Language) -> String {
    let worst = findings.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::Skipped);
    let text = match worst {
        Outcome::Fail => Text::new("Not ready: this must be mended", "사용 불가: 다음 항목을 조치하십시오"),
        Outcome::Warn => Text::new("Nothing failed; this is to be looked after", "실패 없음: 다음 항목을 확인하십시오"),
        Outcome::Pass | Outcome::Info | Outcome::Skipped => Text::new("Nothing to do", "조치할 항목 없음"),
    };
    let mut list = String::new();
    for outcome in [Outcome::Fail, Outcome::Warn] {
        for (number, finding) in findings.iter().enumerate().filter(|(_, finding)| finding.outcome == outcome) {
            let (class, title) = (class(outcome), escape(finding.title.get(language)));
            let _ = write!(list, "<li class={class}><a href=#c{number}>{title}</a></li>");
        }
    }
    let list = if list.is_empty() { list } else { format!("<ul>{list}</ul>") };
    format!("<p class=\"v {}\">{}</p>{list}", class(worst.max(Outcome::Pass)), text.get(language))
}

/// The part of the list that a check belongs to, by the first word of its name.
fn part_of(id: &str) -> Text {
    match id.split('.').next().unwrap_or_default() {
        "network" | "proxy" | "relay" => Text::new("The way to the server", "서버까지의 경로"),
        "janus" | "ice" => Text::new("The server", "서버"),
        "call" => Text::new("Trial call", "시험 통화"),
        "proof" => Text::new("Proof that all of it is TCP", "TCP 전용 증거"),
        "tls" if id != "tls.own" => Text::new("The way to the server", "서버까지의 경로"),
        _ => Text::new("This kiosk", "이 키오스크"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Text;

    fn list() -> Vec<Finding> {
        let title = || Text::new("ports", "포트");
        vec![
            Finding::pass("a", title(), Text::same("open")),
            Finding::fail("b", title(), Text::same("<script>"), Text::new("open them", "여십시오")),
        ]
    }

    #[test]
    fn the_terminal_reads_in_both_languages() {
        assert_eq!(
            terminal(&list(), Language::English, false),
            "pass  ports: open\nFAIL  ports: <script>\n      -> open them\n1 passed, 0 warnings, 1 failed, 0 for information, 0 skipped\n"
        );
        assert!(terminal(&list(), Language::Korean, true).contains("실패\x1b[0m  포트"));
    }

    #[test]
    fn what_was_seen_can_not_become_markup() {
        let page = page(&list(), Language::Korean, "kiosk <1>", "now");
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"));
        assert!(page.contains("kiosk &lt;1&gt;") && page.contains("lang=ko"));
        assert!(!page.contains("http"), "it needs nothing from elsewhere");
    }

    #[test]
    fn a_page_begins_with_what_it_comes_to() {
        let shown = |findings: &[Finding]| page(findings, Language::English, "kiosk", "now");
        let all = shown(&list());
        let begin = all.find("Not ready").unwrap();
        assert!(
            begin < all.find("<table>").unwrap() && all.contains("<li class=fail><a href=#c1>ports</a></li>"),
            "{all}"
        );
        assert!(all.contains("<tr id=c1 class=bad-fail>"));
        let good = shown(&list()[..1]);
        assert!(good.contains("Nothing to do") && !good.contains("<li"), "{good}");
        assert_eq!(good.matches("<table>").count(), good.matches("</table>").count());
    }
}

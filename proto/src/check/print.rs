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

const STYLE: &str = "body{font:16px/1.5 system-ui,'Noto Sans KR',sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}\
    h1{font-size:1.5rem;margin:0}.sub{color:#5a6b7b;margin:0 0 1.5rem}table{border-collapse:collapse;width:100%}\
    td,th{border-top:1px solid #dde4ea;padding:.45rem .6rem;vertical-align:top;text-align:left}td.o{white-space:nowrap;font-weight:600;width:3.5rem}\
    td.t{width:15rem}th{padding-top:1.4rem;border-top:0;font-size:1.05rem}tr{break-inside:avoid}\
    .pass{color:#0b6b3a}.warn{color:#8a5a00}.fail{color:#b3261e}.info,.skipped{color:#5a6b7b}.r{color:#8a3b00;margin-top:.2rem}\
    .s{color:#3d4c5a;overflow-wrap:anywhere}@media print{body{margin:0}}";

/// A page that needs nothing else. `heading` names the kiosk, `line` when and with which version.
#[must_use]
pub fn page(findings: &[Finding], language: Language, heading: &str, line: &str) -> String {
    let lang = if language == Language::Korean { "ko" } else { "en" };
    let (heading, line) = (escape(heading), escape(line));
    let (mut rows, mut part) = (String::new(), None);
    for finding in findings {
        let of = part_of(finding.id);
        if part.as_ref() != Some(&of) {
            let _ = write!(rows, "<tr><th colspan=3>{}</th></tr>", escape(of.get(language)));
            part = Some(of);
        }
        let class = match finding.outcome {
            Outcome::Pass => "pass",
            Outcome::Warn => "warn",
            Outcome::Fail => "fail",
            Outcome::Info => "info",
            Outcome::Skipped => "skipped",
        };
        let remedy = finding
            .remedy
            .as_ref()
            .map(|text| format!("<div class=r>{}</div>", escape(text.get(language))))
            .unwrap_or_default();
        let _ = write!(
            rows,
            "<tr><td class=\"o {class}\">{}</td><td class=t>{}</td><td><div class=s>{}</div>{remedy}</td></tr>",
            finding.outcome.word(language),
            escape(finding.title.get(language)),
            escape(finding.seen.get(language)),
        );
    }
    format!(
        "<!doctype html><html lang={lang}><meta charset=utf-8><title>{heading}</title><style>{STYLE}</style>\
         <h1>{heading}</h1><p class=sub>{line}<br>{}</p><table>{rows}</table></html>\n",
        summary(findings, language)
    )
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
}

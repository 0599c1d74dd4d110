//! The outcome of a check list, as a technician reads it: what was looked at, what was seen, what to do about it.
//! `kioskctl server check` fills it in on the server; the wording is English and Korean.

pub mod cause;
pub mod firewall;
pub mod machine;
pub mod ports;
pub mod print;
pub mod proof;
pub mod proxy;
pub mod reach;
pub mod relay;
pub mod report;
pub mod server;
pub mod slots;
pub mod sound;
pub mod tls;
pub mod trial;

use serde::Serialize;

/// A language that technicians read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// The default.
    #[default]
    English,
    /// `LANG=ko_KR.UTF-8`.
    Korean,
}

impl Language {
    /// From a locale such as `ko_KR.UTF-8` or a plain `ko`; everything else is English.
    #[must_use]
    pub fn of_locale(locale: &str) -> Self {
        if locale.split(['_', '.', '-', '@']).next() == Some("ko") { Self::Korean } else { Self::English }
    }
}

/// One sentence in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// English.
    pub en: String,
    /// Korean.
    pub ko: String,
}

impl Text {
    /// Both.
    pub fn new(en: impl Into<String>, ko: impl Into<String>) -> Self {
        Self { en: en.into(), ko: ko.into() }
    }

    /// What needs no translation: an address, a path, a line of a file.
    pub fn same(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { en: text.clone(), ko: text }
    }

    /// In one language.
    #[must_use]
    pub fn get(&self, language: Language) -> &str {
        match language {
            Language::English => &self.en,
            Language::Korean => &self.ko,
        }
    }
}

/// How a check ended, from good to bad; a check that was not made comes first, since it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Not made; `seen` says why.
    Skipped,
    /// Looked at, and neither good nor bad; `seen` says why it does not matter.
    Info,
    /// As it must be.
    Pass,
    /// Works, but not as it should.
    Warn,
    /// A call will fail, or the site is not safe.
    Fail,
}

impl Outcome {
    /// The word that stands before a line.
    #[must_use]
    pub fn word(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Skipped, Language::English) => "skip",
            (Self::Info, Language::English) => "info",
            (Self::Pass, Language::English) => "pass",
            (Self::Warn, Language::English) => "warn",
            (Self::Fail, Language::English) => "FAIL",
            (Self::Skipped, Language::Korean) => "생략",
            (Self::Info, Language::Korean) => "참고",
            (Self::Pass, Language::Korean) => "정상",
            (Self::Warn, Language::Korean) => "주의",
            (Self::Fail, Language::Korean) => "실패",
        }
    }
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name for machines, such as `janus.ice-tcp`.
    pub id: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was looked at.
    pub title: Text,
    /// What was seen.
    pub seen: Text,
    /// What to do; nothing for what is as it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Text>,
}

impl Finding {
    /// A check that passed.
    #[must_use]
    pub fn pass(id: &'static str, title: Text, seen: Text) -> Self {
        Self { id, outcome: Outcome::Pass, title, seen, remedy: None }
    }

    /// A check that could not be made.
    #[must_use]
    pub fn skipped(id: &'static str, title: Text, why: Text) -> Self {
        Self { id, outcome: Outcome::Skipped, title, seen: why, remedy: None }
    }

    /// What was seen, for who wants to know.
    #[must_use]
    pub fn info(id: &'static str, title: Text, seen: Text) -> Self {
        Self { id, outcome: Outcome::Info, title, seen, remedy: None }
    }

    /// Something to look after.
    #[must_use]
    pub fn warn(id: &'static str, title: Text, seen: Text, remedy: Text) -> Self {
        Self { id, outcome: Outcome::Warn, title, seen, remedy: Some(remedy) }
    }

    /// Something that must be mended.
    #[must_use]
    pub fn fail(id: &'static str, title: Text, seen: Text, remedy: Text) -> Self {
        Self { id, outcome: Outcome::Fail, title, seen, remedy: Some(remedy) }
    }
}

/// The exit code of a program that made these checks: 0 nothing to do, 1 at least one failed, 2 at least one warning and
/// none failed.
#[must_use]
pub fn exit_code(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.outcome).max() {
        Some(Outcome::Fail) => 1,
        Some(Outcome::Warn) => 2,
        Some(Outcome::Pass | Outcome::Info | Outcome::Skipped) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(outcome: Outcome) -> Finding {
        Finding { id: "x", outcome, title: Text::same("x"), seen: Text::same("y"), remedy: None }
    }

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let code = |outcomes: &[Outcome]| exit_code(&outcomes.iter().map(|o| with(*o)).collect::<Vec<_>>());
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[Outcome::Pass, Outcome::Info, Outcome::Skipped]), 0);
        assert_eq!(code(&[Outcome::Pass, Outcome::Warn, Outcome::Skipped]), 2);
        assert_eq!(code(&[Outcome::Warn, Outcome::Fail, Outcome::Pass]), 1);
    }

    #[test]
    fn korean_is_chosen_by_locale() {
        for locale in ["ko", "ko_KR.UTF-8", "ko-KR", "ko.UTF-8"] {
            assert_eq!(Language::of_locale(locale), Language::Korean, "{locale}");
        }
        for locale in ["", "C.UTF-8", "en_US.UTF-8", "kok_IN"] {
            assert_eq!(Language::of_locale(locale), Language::English, "{locale}");
        }
    }
}

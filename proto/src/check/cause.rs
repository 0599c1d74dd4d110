//! One cause, one fault: what can't work because of something that failed before is not a fault of its own.

use super::{Finding, Outcome, Text};

/// What follows from what: a check, and those without which it can't pass.
const FOLLOWS: [(&str, &[&str]); 5] = [
    ("janus.websocket", &["tls.server"]),
    // The first thing for which a token is needed is a handle of that plugin.
    ("janus.token", &["janus.videoroom"]),
    ("relay.allocation", &["tls.relay"]),
    ("ice.candidates", &["janus.ice-tcp"]),
    (
        "ice.dial",
        &[
            "ice.nat",
            "network.media-ports",
            "relay.name",
            "relay.port",
            "tls.relay",
            "relay.credentials",
            "relay.allocation",
        ],
    ),
];

/// The list with each failure that follows from another one skipped, and why.
#[must_use]
pub fn one_each(mut findings: Vec<Finding>) -> Vec<Finding> {
    for (id, causes) in FOLLOWS {
        let cause = causes
            .iter()
            .find_map(|cause| findings.iter().find(|finding| finding.id == *cause && finding.outcome == Outcome::Fail));
        let Some(title) = cause.map(|cause| cause.title.clone()) else { continue };
        for finding in findings.iter_mut().filter(|finding| finding.id == id && finding.outcome == Outcome::Fail) {
            let why = Text::new(
                format!("can't pass before this does: {}", title.en),
                format!("먼저 해결할 항목: {}", title.ko),
            );
            *finding = Finding::skipped(finding.id, finding.title.clone(), why);
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(found: &[(&'static str, Outcome)]) -> Vec<Finding> {
        let made = found.iter().map(|(id, outcome)| Finding {
            outcome: *outcome,
            ..Finding::fail(id, Text::new(format!("the {id}"), *id), Text::same("x"), Text::same("y"))
        });
        one_each(made.collect())
    }

    fn outcomes(findings: &[Finding]) -> Vec<Outcome> {
        findings.iter().map(|finding| finding.outcome).collect()
    }

    #[test]
    fn what_follows_is_skipped_and_names_the_cause() {
        use Outcome::{Fail, Pass, Skipped};
        let dial = list(&[("relay.port", Pass), ("relay.credentials", Fail), ("ice.dial", Fail)]);
        assert_eq!(outcomes(&dial), [Pass, Fail, Skipped]);
        assert_eq!(
            (dial[2].seen.en.as_str(), &dial[2].remedy),
            ("can't pass before this does: the relay.credentials", &None)
        );
        let chain = list(&[("tls.relay", Fail), ("relay.allocation", Fail), ("ice.dial", Fail)]);
        assert_eq!(outcomes(&chain), [Fail, Skipped, Skipped]);
        assert_eq!(chain[2].seen.en, "can't pass before this does: the tls.relay");
    }

    #[test]
    fn what_has_no_cause_among_the_others_stays() {
        use Outcome::{Fail, Info, Pass, Warn};
        for before in [Pass, Warn, Info] {
            assert_eq!(outcomes(&list(&[("network.media-ports", before), ("ice.dial", Fail)])), [before, Fail]);
        }
        assert_eq!(outcomes(&list(&[("relay.credentials", Fail), ("ice.dial", Pass)])), [Fail, Pass]);
        assert_eq!(outcomes(&list(&[("relay.credentials", Fail), ("janus.room", Fail)])), [Fail, Fail]);
    }
}

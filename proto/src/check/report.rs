//! A self-check between programs: the configuration that goes in, and the list that comes out.

use serde_json::{Value, json};

use crate::config::Config;

/// The most that is read of a report, bytes.
pub const MOST_READ: u64 = 256 * 1024;
/// The most that goes further, bytes: half of what is let into a message of the fleet.
const MOST: usize = 32 * 1024;

/// A configuration as a file that has it.
///
/// # Errors
/// When it can't be written as TOML.
pub fn hand_over(config: &Config) -> Result<String, String> {
    toml::to_string(config).map_err(|error| error.to_string())
}

/// Takes what `kioskd doctor --json` printed. Where it is too long, checks that passed are left out, and then those that
/// were skipped or say only what was seen; `left_out` says how many.
///
/// # Errors
/// When it is no report.
pub fn bounded(bytes: &[u8]) -> Result<Value, String> {
    let mut report: Value = serde_json::from_slice(bytes).map_err(|error| format!("no report: {error}"))?;
    let checks = report.get("checks").and_then(Value::as_array).cloned().ok_or("no report: it has no checks")?;
    let (all, mut kept) = (checks.len(), checks);
    for dull in ["pass", "skipped", "info"] {
        if report.to_string().len() <= MOST {
            return Ok(report);
        }
        kept.retain(|check| check["outcome"] != dull);
        report["checks"] = json!(kept);
        report["left_out"] = json!(all - kept.len());
    }
    while report.to_string().len() > MOST && kept.pop().is_some() {
        report["checks"] = json!(kept);
        report["left_out"] = json!(all - kept.len());
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_configuration_comes_out_as_it_went_in() {
        let text = "[kiosk]\nid = \"a\"\n[janus]\nurl = \"wss://janus.bank.example/\"\nroom = 1\n\
            [camera]\nsource = \"test\"\nexposure = 20\n[audio]\ngain_db = -3.5\n\
            [fleet]\nbroker = \"mqtts://b.example\"\ncert_file = \"/a\"\nkey_file = \"/b\"\n\
            keys = [\"ed25519:6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw= Ada\"]\n";
        let config = config::parse(text).unwrap();
        assert_eq!(config::parse(&hand_over(&config).unwrap()).unwrap(), config);
    }

    #[test]
    fn a_long_report_keeps_what_is_wrong() {
        let check = |outcome: &str, length: usize| json!({"id": "x", "outcome": outcome, "seen": "y".repeat(length)});
        let report = |checks: Vec<Value>| bounded(json!({"kiosk": "a", "checks": checks}).to_string().as_bytes());
        let short = report(vec![check("pass", 10), check("fail", 10)]).unwrap();
        assert_eq!((short["checks"].as_array().unwrap().len(), short.get("left_out")), (2, None));
        let long = report(vec![check("pass", MOST), check("skipped", 10), check("fail", 10)]).unwrap();
        assert_eq!((long["checks"].as_array().unwrap().len(), &long["left_out"]), (2, &json!(1)));
        let broken = report(vec![check("fail", MOST / 2); 5]).unwrap();
        assert!(broken.to_string().len() <= MOST && broken["left_out"] == 4, "{}", broken["left_out"]);
        assert!(bounded(b"ended before it was done").is_err() && bounded(b"{}").is_err());
    }
}

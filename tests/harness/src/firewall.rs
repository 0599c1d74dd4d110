//! Packet filters of a world's hosts, and their counters.

use crate::{
    Error, Result,
    world::{Host, World, repository},
};
use serde::Deserialize;
use std::fs;

/// What a named nftables counter has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Counted {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl World {
    /// Loads nftables rules on a host, added to those that are there.
    pub fn nft(&self, host: Host, rules: &str) -> Result<()> {
        let file = self.dir().join(format!("{}.nft", host.name()));
        fs::write(&file, rules).map_err(Error::io(file.display().to_string()))?;
        self.run(host, "nft", &["--file", &file.display().to_string()]).map(drop)
    }

    /// Loads a file of config/nftables on a host, its variables set as an administrator sets them.
    pub fn firewall(&self, host: Host, file: &str, variables: &[(&str, &str)]) -> Result<()> {
        let file = repository().join("config/nftables").join(file);
        let text = fs::read_to_string(&file).map_err(Error::io(file.display().to_string()))?;
        self.nft(host, &with_variables(&text, variables)?)
    }

    /// Reads a named counter, in whichever table it is.
    pub fn counter(&self, host: Host, name: &str) -> Result<Counted> {
        let text = self.run(host, "nft", &["--json", "list", "counters"])?;
        find(&text, name)?.ok_or_else(|| Error::Other(format!("{} has no nftables counter \"{name}\"", host.name())))
    }
}

/// Replaces the values of `define` lines; each variable must be there.
fn with_variables(rules: &str, variables: &[(&str, &str)]) -> Result<String> {
    let mut lines: Vec<String> = rules.lines().map(str::to_owned).collect();
    for (name, value) in variables {
        let start = format!("define {name} =");
        let Some(line) = lines.iter_mut().find(|line| line.starts_with(&start)) else {
            return Err(Error::Other(format!("the rules define no variable {name}")));
        };
        *line = format!("{start} {value}");
    }
    Ok(lines.join("\n") + "\n")
}

fn find(json: &str, name: &str) -> Result<Option<Counted>> {
    let value: serde_json::Value = serde_json::from_str(json).map_err(Error::json("nft --json"))?;
    let counters = value["nftables"].as_array().into_iter().flatten().map(|object| &object["counter"]);
    counters
        .filter(|counter| counter["name"] == name)
        .map(|counter| Counted::deserialize(counter).map_err(Error::json("nft --json")))
        .next()
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_and_a_missing_one_is_an_error() {
        let rules = "define a = { 1 }\ndefine b = 2\n";
        assert_eq!(with_variables(rules, &[("b", "3")]).unwrap(), "define a = { 1 }\ndefine b = 3\n");
        assert!(with_variables(rules, &[("c", "3")]).is_err());
    }

    const LISTED: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"counter": {"family": "inet", "name": "udp", "table": "t", "handle": 1, "packets": 3, "bytes": 99}}]}"#;

    #[test]
    fn a_counter_is_found_by_name() {
        assert_eq!(find(LISTED, "udp").unwrap(), Some(Counted { packets: 3, bytes: 99 }));
        assert_eq!(find(LISTED, "tcp").unwrap(), None);
    }
}

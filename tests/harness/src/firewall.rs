//! Packet filters of a world's hosts, and their counters.

use crate::{
    Error, Result,
    world::{Host, World},
};
use serde::Deserialize;
use std::{fs, path::Path};

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
        self.nft_file(host, &file, &[])
    }

    /// Loads a file of rules on a host, with values for its variables (`nft -D`).
    pub fn nft_file(&self, host: Host, file: &Path, variables: &[(&str, &str)]) -> Result<()> {
        let mut args: Vec<String> = Vec::new();
        for (name, value) in variables {
            args.extend(["--define".to_owned(), format!("{name}={value}")]);
        }
        args.extend(["--file".to_owned(), file.display().to_string()]);
        self.run(host, "nft", &args.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
    }

    /// Reads a named counter, in whichever table it is.
    pub fn counter(&self, host: Host, name: &str) -> Result<Counted> {
        let text = self.run(host, "nft", &["--json", "list", "counters"])?;
        find(&text, name)?.ok_or_else(|| Error::Other(format!("{} has no nftables counter \"{name}\"", host.name())))
    }
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

    const LISTED: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"counter": {"family": "inet", "name": "udp", "table": "t", "handle": 1, "packets": 3, "bytes": 99}}]}"#;

    #[test]
    fn a_counter_is_found_by_name() {
        assert_eq!(find(LISTED, "udp").unwrap(), Some(Counted { packets: 3, bytes: 99 }));
        assert_eq!(find(LISTED, "tcp").unwrap(), None);
    }
}

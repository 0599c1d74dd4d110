//! Where `policy = "auto"` had to use the relay: kept by the kiosk, so that not every call waits for a server that can't be
//! reached, and questioned from time to time, so that a firewall that was opened is noticed.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long the server itself is not tried again.
const LET_BE: Duration = Duration::from_secs(60 * 60);
/// Ways that are remembered at once: more addresses than a media server names.
const MOST: usize = 4;

/// All of the configuration on which it depends whether a server can be reached: when a part changes, nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// The media server's address.
    pub server: IpAddr,
    /// `relay.url`
    pub relay: String,
    /// `proxy.address`
    pub proxy: Option<String>,
    /// `ice.local_address`
    pub from: Option<IpAddr>,
}

/// What to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The server, and the relay when that fails.
    ServerFirst,
    /// The relay alone.
    Relay,
    /// Both at once, and who answers first is taken: nobody waits for a firewall that is still closed, and a server that
    /// can be reached answers long before a relay does.
    Both,
}

/// The ways on which the relay was needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Needed(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    way: Way,
    /// When the server itself was tried last, seconds since 1970.
    tried: u64,
}

impl Needed {
    /// What was written by [`Needed::written`]; none when it is damaged.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|Self(entries)| entries.len() <= MOST)
    }

    /// As it is stored.
    #[must_use]
    pub fn written(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What to dial at `now`, the time since 1970. A clock that was set back only makes it ask again.
    pub fn choose(&mut self, way: &Way, now: Duration) -> Choice {
        let Some(entry) = self.0.iter_mut().find(|entry| entry.way == *way) else { return Choice::ServerFirst };
        let since = now.as_secs().checked_sub(entry.tried);
        if since.is_some_and(|since| since < LET_BE.as_secs()) {
            return Choice::Relay;
        }
        // The other connections of the same call need not try it too.
        entry.tried = now.as_secs();
        Choice::Both
    }

    /// The server could not be reached at `now`, and the relay reached it.
    pub fn keep(&mut self, way: Way, now: Duration) {
        self.drop(&way);
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(Entry { way, tried: now.as_secs() });
    }

    /// The server itself was reached, or the relay does not help either: everything is tried again.
    pub fn drop(&mut self, way: &Way) {
        self.0.retain(|entry| entry.way != *way);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_790_000_000);

    fn way(server: &str) -> Way {
        Way { server: server.parse().unwrap(), relay: "turns:turn.bank.example:443".into(), proxy: None, from: None }
    }

    fn kept() -> Needed {
        let mut needed = Needed::default();
        needed.keep(way("203.0.113.9"), NOW);
        needed
    }

    #[test]
    fn for_an_hour_the_relay_alone_is_dialled_and_then_one_connection_tries_both() {
        let (mut needed, same) = (kept(), way("203.0.113.9"));
        let minutes = |minutes: u64| NOW + Duration::from_secs(60 * minutes);
        for at in [0, 1, 59] {
            assert_eq!(needed.choose(&same, minutes(at)), Choice::Relay, "{at} min");
        }
        assert_eq!(needed.choose(&same, minutes(60)), Choice::Both);
        assert_eq!(needed.choose(&same, minutes(60)), Choice::Relay, "the second connection of the call");
        assert_eq!(needed.choose(&same, minutes(119)), Choice::Relay);
        assert_eq!(needed.choose(&same, minutes(100_000)), Choice::Both, "a kiosk that was off for long");
        assert_eq!(kept().choose(&same, NOW - Duration::from_secs(1)), Choice::Both, "a clock that was set back");
    }

    #[test]
    fn what_was_learnt_counts_for_one_server_and_one_configuration() {
        let same = way("203.0.113.9");
        let others = [
            way("203.0.113.10"),
            way("2001:db8::9"),
            Way { relay: "turn:turn.bank.example:443".into(), ..same.clone() },
            Way { proxy: Some("10.0.0.8:3128".into()), ..same.clone() },
            Way { from: "10.0.0.7".parse().ok(), ..same.clone() },
        ];
        for other in others {
            assert_eq!(kept().choose(&other, NOW), Choice::ServerFirst, "{other:?}");
        }
        let mut needed = kept();
        needed.drop(&same);
        assert_eq!(needed, Needed::default());
    }

    #[test]
    fn it_stays_small_and_the_newest_stay() {
        let mut needed = Needed::default();
        let ways: Vec<Way> = (0..9).map(|number| way(&format!("203.0.113.{number}"))).collect();
        for way in &ways {
            needed.keep(way.clone(), NOW);
            needed.keep(way.clone(), NOW);
        }
        let known: Vec<bool> = ways.iter().map(|way| needed.choose(way, NOW) == Choice::Relay).collect();
        assert_eq!(known, [false, false, false, false, false, true, true, true, true]);
    }

    #[test]
    fn it_is_stored_in_this_form_and_damage_is_none() {
        let text = kept().written();
        insta::assert_snapshot!(text, @r#"[{"way":{"server":"203.0.113.9","relay":"turns:turn.bank.example:443","proxy":null,"from":null},"tried":1790000000}]"#);
        assert_eq!(Needed::read(&text), Some(kept()));
        let many = Needed(vec![kept().0.remove(0); MOST + 1]).written();
        for damage in ["", "[", &text[1..], "[{}]", "{}", &text.replace("tried", "fried"), &many] {
            assert_eq!(Needed::read(damage), None, "{damage}");
        }
    }
}

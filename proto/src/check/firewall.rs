//! The firewall in force, compared with the one that this program comes with, rule by rule. Addresses and ports are the
//! site's; everything else is not.

use std::collections::BTreeMap;

use super::{Finding, Text};

/// The firewall that a kiosk is to have.
const SHIPPED: &str = include_str!("../../../config/nftables/kiosk.nft");
/// Differences that are shown.
const SHOWN: usize = 3;

/// Chains by name: each with its rules as words. A set of values is one word, in an order of its own.
type Chains = BTreeMap<String, Vec<Vec<String>>>;

/// Reads a file of rules, or what `nft list table` prints of them.
fn chains(text: &str) -> Chains {
    let mut chains = Chains::new();
    let (mut chain, mut rule): (Option<String>, String) = (None, String::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(name) = &chain else {
            chain =
                line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix('{')).map(|name| name.trim().to_owned());
            if let Some(name) = &chain {
                chains.entry(name.clone()).or_default();
            }
            continue;
        };
        if line == "}" && rule.is_empty() {
            chain = None;
            continue;
        }
        rule.push_str(line);
        rule.push(' ');
        // A long set goes over several lines.
        if rule.matches('{').count() == rule.matches('}').count() {
            chains.entry(name.clone()).or_default().push(words(&rule));
            rule.clear();
        }
    }
    chains
}

/// A rule in words that do not depend on how it was written.
fn words(rule: &str) -> Vec<String> {
    let sorted = |values: &str| {
        let mut values: Vec<&str> = values.split(',').map(str::trim).filter(|value| !value.is_empty()).collect();
        values.sort_unstable();
        values.join(",")
    };
    let plain = rule.replace('"', "").replace(';', " ").replace("& (syn | ack) == syn", "syn / syn,ack");
    let mut words = Vec::new();
    let mut rest = plain.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (set, behind) = after.split_once('}').unwrap_or((after, ""));
        words.extend(before.split_whitespace().map(sorted));
        words.push(sorted(set));
        rest = behind;
    }
    words.extend(rest.split_whitespace().map(sorted));
    // nft prints the number where there is no /etc/protocols.
    let mut of_protocol = false;
    for word in &mut words {
        if of_protocol && word == "17" {
            "udp".clone_into(word);
        }
        of_protocol = word == "l4proto";
    }
    words
}

/// Whether a rule is the shipped one, with some value in the place of each variable.
fn is_same(shipped: &[String], found: &[String], values: &mut BTreeMap<String, String>) -> bool {
    let alike = shipped.len() == found.len()
        && shipped.iter().zip(found).all(|(shipped, found)| shipped.starts_with('$') || shipped == found);
    if alike {
        let variables =
            shipped.iter().zip(found).filter_map(|(shipped, found)| Some((shipped.strip_prefix('$')?, found)));
        values.extend(variables.map(|(name, value)| (name.to_owned(), value.clone())));
    }
    alike
}

/// What is different, as `chain: rule`; and the values of the variables.
fn compare(listing: &str) -> (Vec<Text>, BTreeMap<String, String>) {
    let (shipped, mut found) = (chains(SHIPPED), chains(listing));
    let (mut differences, mut values) = (Vec::new(), BTreeMap::new());
    for (chain, wanted) in &shipped {
        let mut left = found.remove(chain).unwrap_or_default();
        for rule in wanted {
            match left.iter().position(|found| is_same(rule, found, &mut values)) {
                Some(at) => {
                    left.remove(at);
                }
                None => differences.push(told(chain, rule, "is missing", "없음")),
            }
        }
        differences.extend(left.iter().map(|rule| told(chain, rule, "is not of the product", "제품 규칙이 아님")));
    }
    let strange = found.iter().flat_map(|(chain, rules)| rules.iter().map(move |rule| (chain, rule)));
    differences.extend(strange.map(|(chain, rule)| told(chain, rule, "is not of the product", "제품 규칙이 아님")));
    (differences, values)
}

fn told(chain: &str, rule: &[String], en: &str, ko: &str) -> Text {
    let rule = rule.join(" ");
    Text::new(format!("{chain}: \"{rule}\" {en}"), format!("{chain}: \"{rule}\" {ko}"))
}

/// Whether UDP is dropped before anything else is looked at, and what is not named is dropped, both ways.
fn is_closed(listing: &str) -> bool {
    let (shipped, found) = (chains(SHIPPED), chains(listing));
    ["input", "output"].iter().all(|chain| {
        // The chain's hook with its policy, and the first rule, which is about UDP.
        let begins =
            |chains: &Chains| chains.get(*chain).map(|rules| rules.iter().take(2).cloned().collect::<Vec<_>>());
        begins(&shipped) == begins(&found)
    })
}

/// `listing` is what `nft list table inet kiosk` prints.
#[must_use]
pub fn judge(listing: Option<&str>) -> Finding {
    let (id, title) = ("firewall", Text::new("firewall", "방화벽"));
    let again = || {
        Text::new(
            "Put the site's values into config/nftables/kiosk.nft and load that (docs/firewall.md)",
            "config/nftables/kiosk.nft에 지점 값을 넣어 적용하십시오(docs/firewall.md)",
        )
    };
    let Some(listing) = listing else {
        return Finding::warn(
            id,
            title,
            Text::new("no table inet kiosk, or not run as root", "kiosk 테이블이 없거나 root 권한이 아님"),
            Text::new(
                "Load config/nftables/kiosk.nft (docs/firewall.md); run kioskd doctor as root to see the rules",
                "config/nftables/kiosk.nft를 적용하십시오(docs/firewall.md). 규칙을 보려면 root로 실행하십시오",
            ),
        );
    };
    let (differences, values) = compare(listing);
    let list = |language: fn(&Text) -> &str| {
        let mut list = differences.iter().take(SHOWN).map(language).collect::<Vec<_>>().join("; ");
        if differences.len() > SHOWN {
            list.push_str(&format!("; +{}", differences.len() - SHOWN));
        }
        list
    };
    let seen = || Text::new(list(|text| &text.en), list(|text| &text.ko));
    if !is_closed(listing) {
        return Finding::fail(id, title, seen(), again());
    }
    if !differences.is_empty() {
        return Finding::warn(id, title, seen(), again());
    }
    let value = |name: &str| values.get(name).map_or_else(|| "-".to_owned(), |value| value.replace(',', ", "));
    let (hosts, signalling, media) = (value("server_addresses"), value("signalling_ports"), value("media_ports"));
    let seen = Text::new(
        format!("each rule of kiosk.nft and no other; out to {hosts}, signalling {signalling}, media {media}"),
        format!("kiosk.nft와 규칙이 모두 같음. 허용: {hosts}, 신호 {signalling}, 미디어 {media}"),
    );
    Finding::pass(id, title, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    /// As nft 1.1 prints the shipped rules with a site's values.
    const LISTED: &str = r#"table inet kiosk {
	counter udp_in {
		packets 3 bytes 99
	}

	chain input {
		type filter hook input priority filter; policy drop;
		meta l4proto udp counter name "udp_in" drop
		iif "lo" accept
		ct state established,related accept
		ip6 hoplimit 255 icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		tcp flags syn / syn,ack counter name "tcp_in" drop
		counter name "other_in" drop
	}

	chain output {
		type filter hook output priority filter; policy drop;
		meta l4proto udp counter name "udp_out" drop
		oif "lo" accept
		ct state established,related accept
		ct state new ip daddr { 10.0.0.5, 10.0.0.7,
					10.0.0.9 } jump to_server
		ct state new ip6 daddr 2001:db8::10 jump to_server
		ct state new ip daddr 192.0.2.53 tcp dport 53 counter name "dns_out" accept
		ct state new ip6 daddr 2001:db8::53 tcp dport 53 counter name "dns_out" accept
		ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept
		icmpv6 type mld2-listener-report accept
		counter name "other_out" drop
	}

	chain to_server {
		tcp dport 443 counter name "signalling_out" accept
		tcp dport 40000-40099 counter name "media_out" accept
		tcp dport 8883 counter name "fleet_out" accept
	}

	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
"#;

    #[test]
    fn the_shipped_rules_pass_as_they_stand_in_the_file_and_as_they_are_listed() {
        for text in [SHIPPED, LISTED] {
            let finding = judge(Some(text));
            assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        }
        // Without /etc/protocols.
        let by_number = LISTED.replace("l4proto udp", "l4proto 17");
        assert_eq!(judge(Some(&by_number)).outcome, Outcome::Pass);
        let seen = judge(Some(LISTED)).seen.en;
        assert!(seen.ends_with("out to 10.0.0.5, 10.0.0.7, 10.0.0.9, signalling 443, media 40000-40099"), "{seen}");
    }

    #[test]
    fn whatever_is_different_is_shown_and_an_open_door_is_a_fault() {
        for (from, to, outcome, shown) in [
            (
                "output priority filter; policy drop",
                "output priority filter; policy accept",
                Outcome::Fail,
                "policy accept",
            ),
            ("meta l4proto udp counter name \"udp_out\" drop", "", Outcome::Fail, "is missing"),
            (
                "meta l4proto udp counter name \"udp_out\" drop",
                "udp dport 53 accept\nmeta l4proto udp counter name \"udp_out\" drop",
                Outcome::Fail,
                "output: \"udp dport 53 accept\" is not of the product",
            ),
            ("iif \"lo\" accept", "iif \"lo\" accept\ntcp dport 22 accept", Outcome::Warn, "tcp dport 22 accept"),
            (
                "tcp dport 8883 counter name \"fleet_out\" accept",
                "",
                Outcome::Warn,
                "to_server: \"tcp dport $fleet_ports",
            ),
            ("chain forward {", "chain other {\naccept\n}\nchain forward {", Outcome::Warn, "other: \"accept\""),
            ("chain output", "chain input2", Outcome::Fail, "is missing"),
        ] {
            let text = LISTED.replacen(from, to, 1);
            assert_ne!(text, LISTED, "{from}");
            let finding = judge(Some(&text));
            assert!(finding.outcome == outcome && finding.seen.en.contains(shown), "{to}: {finding:?}");
        }
        assert_eq!(judge(None).outcome, Outcome::Warn);
        assert_eq!(judge(Some("table inet kiosk {\n}\n")).outcome, Outcome::Fail);
    }
}

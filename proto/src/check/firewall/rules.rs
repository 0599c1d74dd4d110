//! Rules as nft writes them, whichever way they were written: read, and compared with those of a file.

use std::collections::BTreeMap;

use crate::check::Text;

/// A firewall that the product comes with.
pub(super) struct Shipped {
    /// Its file below config/nftables.
    pub(super) file: &'static str,
    /// What that holds.
    pub(super) rules: &'static str,
    /// Chains, and how many rules from their beginning must be as shipped for the door to be shut: the hook with its policy,
    /// and what stands before and in the rule about UDP.
    pub(super) shut: [(&'static str, usize); 2],
}

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
    // The default, which newer versions of nft print.
    let plain = plain.replace("burst 5 packets", "");
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
pub(super) fn compare(shipped: &Shipped, listing: &str) -> (Vec<Text>, BTreeMap<String, String>) {
    let (shipped, mut found) = (chains(shipped.rules), chains(listing));
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

/// Whether UDP is dropped before anything else is looked at, and what is not named is dropped.
pub(super) fn is_shut(shipped: &Shipped, listing: &str) -> bool {
    let (wanted, found) = (chains(shipped.rules), chains(listing));
    shipped.shut.iter().all(|(chain, most)| {
        let rules = |chains: &Chains| chains.get(*chain).cloned().unwrap_or_default();
        let (wanted, found) = (rules(&wanted), rules(&found));
        let end = wanted.len().min(*most);
        let as_long = if *most > wanted.len() { found.len() == wanted.len() } else { found.len() >= end };
        as_long
            && wanted.iter().zip(&found).take(end).all(|(wanted, found)| is_same(wanted, found, &mut BTreeMap::new()))
    })
}

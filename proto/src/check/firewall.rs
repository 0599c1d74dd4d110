//! The firewall in force, compared with the one that this program comes with, rule by rule. Addresses and ports are the
//! site's; everything else is not.

use std::collections::BTreeMap;

use super::ports::{self, Needed, Range};
use super::{Finding, Outcome, Text};

/// A firewall that the product comes with.
struct Shipped {
    /// Its file below config/nftables.
    file: &'static str,
    /// What that holds.
    rules: &'static str,
    /// Chains, and how many rules from their beginning must be as shipped for the door to be shut: the hook with its policy,
    /// and what stands before and in the rule about UDP.
    shut: [(&'static str, usize); 2],
}

const KIOSK: Shipped = Shipped {
    file: "kiosk.nft",
    rules: include_str!("../../../config/nftables/kiosk.nft"),
    shut: [("input", 2), ("output", 2)],
};

/// The server asks names and the time by UDP: all of its output is about that.
const SERVER: Shipped = Shipped {
    file: "server.nft",
    rules: include_str!("../../../config/nftables/server.nft"),
    shut: [("input", 4), ("output", usize::MAX)],
};

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
fn compare(shipped: &Shipped, listing: &str) -> (Vec<Text>, BTreeMap<String, String>) {
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
fn is_shut(shipped: &Shipped, listing: &str) -> bool {
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

/// `listing` is what `nft list table inet kiosk` prints.
#[must_use]
pub fn judge(listing: Option<&str>) -> Finding {
    let (id, title) = ("firewall", Text::new("firewall", "방화벽"));
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
    compared(&KIOSK, listing, |value| {
        let (hosts, signalling, media) = (value("server_addresses"), value("signalling_ports"), value("media_ports"));
        Text::new(
            format!("out to {hosts}, signalling {signalling}, media {media}"),
            format!("허용: {hosts}, 신호 {signalling}, 미디어 {media}"),
        )
    })
}

/// The firewall of the central server; `listing` is what `nft list table inet kiosk_server` prints. Janus takes connections
/// on the port of signalling and on the range of media.
#[must_use]
pub fn judge_server(listing: &str, signalling: u16, media: Range) -> Finding {
    let finding = compared(&SERVER, listing, |value| {
        let (signalling, media, fleet) = (value("signalling_ports"), value("media_ports"), value("fleet_ports"));
        Text::new(
            format!("in to signalling {signalling}, media {media}, fleet {fleet}"),
            format!("허용: 신호 {signalling}, 미디어 {media}, 플릿 {fleet}"),
        )
    });
    let values = compare(&SERVER, listing).1;
    let opened = ["signalling_ports", "media_ports"].iter().filter_map(|name| values.get(*name));
    let opened = opened.flat_map(|ports| ports.split(',')).filter_map(ports::range).collect();
    match ports::needed(opened, signalling, media) {
        Needed::Shut(shut) if finding.outcome != Outcome::Fail => {
            let shut = shut.iter().map(shown).collect::<Vec<_>>().join(", ");
            let seen = Text::new(
                format!("{} does not open {shut}", SERVER.file),
                format!("{}에서 열리지 않음: {shut}", SERVER.file),
            );
            let remedy = Text::new(
                "Compare signalling_ports and media_ports of server.nft with Janus's configuration, and load it again",
                "server.nft의 signalling_ports, media_ports를 Janus 설정과 비교하고 다시 적용하십시오",
            );
            Finding::fail(finding.id, finding.title, seen, remedy)
        }
        Needed::BehindProxy if finding.outcome == Outcome::Pass => behind_proxy(signalling),
        _ => finding,
    }
}

/// Signalling comes in by 443 alone, and something else than Janus listens there.
#[must_use]
pub fn behind_proxy(signalling: u16) -> Finding {
    let seen = Text::new(
        format!("443/tcp is open, and Janus's own {signalling}/tcp is not"),
        format!("443/tcp는 열려 있고 Janus의 {signalling}/tcp는 닫혀 있음"),
    );
    let remedy = Text::new(
        "Right where a reverse proxy on this server leads from 443 to Janus, and janus.url of the kiosks names 443. Otherwise open Janus's port",
        "이 서버의 리버스 프록시가 443을 Janus로 연결하고 키오스크의 janus.url이 443이면 올바릅니다. 아니면 Janus의 포트를 여십시오",
    );
    Finding::warn("firewall", Text::new("firewall", "방화벽"), seen, remedy)
}

fn shown((first, last): &Range) -> String {
    if first == last { format!("{first}/tcp") } else { format!("{first}-{last}/tcp") }
}

/// `open` says what the values of the variables let through.
fn compared(shipped: &Shipped, listing: &str, open: impl FnOnce(&dyn Fn(&str) -> String) -> Text) -> Finding {
    let (id, title, file) = ("firewall", Text::new("firewall", "방화벽"), shipped.file);
    let again = || {
        Text::new(
            format!("Put the site's values into config/nftables/{file} and load that (docs/firewall.md)"),
            format!("config/nftables/{file}에 현장 값을 넣어 적용하십시오(docs/firewall.md)"),
        )
    };
    let (differences, values) = compare(shipped, listing);
    let list = |language: fn(&Text) -> &str| {
        let mut list = differences.iter().take(SHOWN).map(language).collect::<Vec<_>>().join("; ");
        if differences.len() > SHOWN {
            list.push_str(&format!("; +{}", differences.len() - SHOWN));
        }
        list
    };
    let seen = || Text::new(list(|text| &text.en), list(|text| &text.ko));
    if !is_shut(shipped, listing) {
        let order = Text::new("the order of the rules is another one", "규칙의 순서가 다름");
        return Finding::fail(id, title, if differences.is_empty() { order } else { seen() }, again());
    }
    if !differences.is_empty() {
        return Finding::warn(id, title, seen(), again());
    }
    let open = open(&|name| values.get(name).map_or_else(|| "-".to_owned(), |value| value.replace(',', ", ")));
    let seen = Text::new(
        format!("each rule of {file} and no other; {}", open.en),
        format!("{file}와 규칙이 모두 같음. {}", open.ko),
    );
    Finding::pass(id, title, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in [KIOSK.rules, LISTED] {
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

    /// As nft 1.0.6 prints the chains of server.nft with the values of the file.
    const SERVER_LISTED: &str = r#"table inet kiosk_server {
	chain input {
		type filter hook input priority filter; policy drop;
		iif "lo" accept
		ct state established,related accept
		meta l4proto udp counter name "udp_in" drop
		ip6 hoplimit 255 icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		icmp type echo-request limit rate 10/second accept
		icmpv6 type echo-request limit rate 10/second accept
		ct state new tcp dport { 443, 8989 } counter name "signalling_in" accept
		ct state new tcp dport 40000-40099 counter name "media_in" accept
		ct state new tcp dport 8883 counter name "fleet_in" accept
		ct state new ip saddr 192.0.2.20 tcp dport 8884 counter name "fleet_in" accept
		ct state new ip6 saddr 2001:db8::20 tcp dport 8884 counter name "fleet_in" accept
		ct state new ip saddr 192.0.2.20 tcp dport 22 counter name "ssh_in" accept
		ct state new ip6 saddr 2001:db8::20 tcp dport 22 counter name "ssh_in" accept
		tcp flags syn / syn,ack counter name "tcp_in" drop
		counter name "other_in" drop
	}

	chain output {
		type filter hook output priority filter; policy accept;
		oif "lo" accept
		ip daddr 192.0.2.53 udp dport 53 accept
		ip6 daddr 2001:db8::53 udp dport 53 accept
		ip daddr 192.0.2.123 udp dport 123 accept
		ip6 daddr 2001:db8::123 udp dport 123 accept
		meta l4proto udp counter name "udp_out" drop
	}

	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
"#;

    const MEDIA: Range = (40000, 40099);

    fn judge_server(listing: &str) -> Finding {
        super::judge_server(listing, 8989, MEDIA)
    }

    #[test]
    fn the_servers_rules_pass_as_they_stand_in_the_file_and_as_they_are_listed() {
        let newer = SERVER_LISTED.replace("/second", "/second burst 5 packets");
        // In the file the ports are variables, of which nothing is known.
        let (differences, _) = compare(&SERVER, SERVER.rules);
        assert!(differences.is_empty() && is_shut(&SERVER, SERVER.rules), "{differences:?}");
        let halves = SERVER_LISTED.replace("40000-40099", "{ 40050-40099, 40000-40049 }");
        for text in [SERVER_LISTED, &newer, &halves] {
            let finding = judge_server(text);
            assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        }
        let seen = judge_server(SERVER_LISTED).seen.en;
        assert!(seen.ends_with("in to signalling 443, 8989, media 40000-40099, fleet 8883"), "{seen}");
    }

    #[test]
    fn a_server_that_lets_udp_through_is_a_fault_and_another_open_port_a_warning() {
        let udp = "meta l4proto udp counter name \"udp_in\" drop";
        let last = "meta l4proto udp counter name \"udp_out\" drop";
        let (early, late) = (format!("udp dport 40000-40099 accept\n{udp}"), format!("udp dport 7000 accept\n{last}"));
        for (from, to, outcome, shown) in [
            (udp, "", Outcome::Fail, "is missing"),
            (udp, early.as_str(), Outcome::Fail, "input: \"udp dport 40000-40099 accept\" is not of the product"),
            (last, "", Outcome::Fail, "output: \"meta l4proto udp counter name udp_out drop\" is missing"),
            (last, late.as_str(), Outcome::Fail, "output: \"udp dport 7000 accept\" is not of the product"),
            ("oif \"lo\" accept\n", "oif \"lo\" accept\nip daddr 10.0.0.1 accept\n", Outcome::Fail, "10.0.0.1"),
            (
                "input priority filter; policy drop",
                "input priority filter; policy accept",
                Outcome::Fail,
                "policy accept",
            ),
            ("tcp flags syn", "tcp dport 8088 accept\ntcp flags syn", Outcome::Warn, "tcp dport 8088 accept"),
        ] {
            let text = SERVER_LISTED.replacen(from, to, 1);
            assert_ne!(text, SERVER_LISTED, "{from}");
            let finding = judge_server(&text);
            assert!(finding.outcome == outcome && finding.seen.en.contains(shown), "{to}: {finding:?}");
        }
        let swapped =
            SERVER_LISTED.replace(last, "LAST").replace("oif \"lo\" accept", last).replace("LAST", "oif \"lo\" accept");
        let finding = judge_server(&swapped);
        assert!(finding.outcome == Outcome::Fail && finding.seen.en.contains("order"), "{finding:?}");
        assert_eq!(judge_server("table inet kiosk_server {\n}\n").outcome, Outcome::Fail);
    }

    #[test]
    fn ports_that_janus_needs_are_missed_and_a_reverse_proxy_is_no_fault() {
        for (from, to, shown) in [
            ("dport { 443, 8989 }", "dport 80", "server.nft does not open 8989/tcp"),
            ("40000-40099", "40000-40009", "server.nft does not open 40000-40099/tcp"),
            ("40000-40099", "{ 40000-40049, 40051-40099 }", "server.nft does not open 40000-40099/tcp"),
        ] {
            let finding = judge_server(&SERVER_LISTED.replace(from, to));
            assert!(finding.outcome == Outcome::Fail && finding.seen.en == shown, "{finding:?}");
        }
        let proxy = SERVER_LISTED.replace("dport { 443, 8989 }", "dport 443");
        let finding = judge_server(&proxy);
        assert!(finding.outcome == Outcome::Warn && finding.seen.en.contains("8989/tcp is not"), "{finding:?}");
        // A fault of the rules comes first, and so does another warning.
        for (rule, outcome) in [("udp dport 7000 accept", Outcome::Fail), ("", Outcome::Warn)] {
            let last = "meta l4proto udp counter name \"udp_out\" drop";
            let text = proxy
                .replace(last, &format!("{rule}\n{last}"))
                .replace("tcp flags syn", "tcp dport 8 accept\ntcp flags syn");
            let finding = judge_server(&text);
            assert!(finding.outcome == outcome && finding.seen.en.contains("not of the product"), "{finding:?}");
        }
    }
}

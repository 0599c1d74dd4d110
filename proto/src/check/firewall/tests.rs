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
        ("tcp dport 8883 counter name \"fleet_out\" accept", "", Outcome::Warn, "to_server: \"tcp dport $fleet_ports"),
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
        ("input priority filter; policy drop", "input priority filter; policy accept", Outcome::Fail, "policy accept"),
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

//! The rendered configuration and the signed tokens, before the real Janus.

use super::firewall::{counter, load};
use super::place::{done, in_own_network, kioskctl, refused};
use super::server::{Client, Server, write_site};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

const UNAUTHORIZED_REQUEST: i64 = 403;
const ROOM_UNAUTHORIZED: i64 = 433;

/// Lines that Janus logs as warnings for settings that are meant: what is not loaded, and mDNS left alone.
fn is_meant(line: &str) -> bool {
    line.contains("has been disabled, skipping...") || line.contains("mDNS resolution disabled")
}

#[test]
fn janus_starts_with_it_and_has_nothing_to_complain_about() {
    in_own_network("janus::janus_starts_with_it_and_has_nothing_to_complain_about", || {
        let server = Server::start("");
        let log = server.log();
        let complaints: Vec<&str> = log
            .lines()
            .filter(|line| ["[WARN]", "[ERR]", "[FATAL]"].iter().any(|level| line.contains(level)) && !is_meant(line))
            .collect();
        assert_eq!(complaints, [""; 0]);
        for expected in [
            "Signed-Token based authentication enabled",
            "RTP port range: 40000 -- 40099",
            "(Lite mode, ICE-TCP candidates enabled",
            "Configuring Janus to use ICE regular nomination",
            "Event handlers support disabled",
        ] {
            assert!(log.contains(expected), "{expected:?} is not in\n{log}");
        }
        let loaded: BTreeSet<&str> =
            log.lines().filter_map(|line| line.split_once("oading ")?.1.split('\'').nth(1)).collect();
        assert_eq!(loaded, BTreeSet::from(["libjanus_videoroom.so", "libjanus_websockets.so"]));
        // Signalling, and nothing else: no HTTP, no admin API, no UDP.
        let listening = done(Command::new("ss").args(["-Hltun"]));
        let doors: BTreeSet<String> = listening
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .map(|fields| format!("{} {}", fields[0], fields[4]))
            .collect();
        assert_eq!(doors, BTreeSet::from(["tcp 127.0.0.1:8188".to_owned(), "tcp *:8989".to_owned()]));
    });
}

#[test]
fn behind_a_nat_janus_offers_the_public_address_with_full_ice() {
    in_own_network("janus::behind_a_nat_janus_offers_the_public_address_with_full_ice", || {
        let server = Server::start("public_address = \"198.51.100.7\"\naddress = \"203.0.113.5\"\n");
        let complaints: Vec<String> = server
            .log()
            .lines()
            .filter(|line| line.contains("[WARN]") && !is_meant(line))
            .map(|line| line.split_once("[WARN] ").unwrap().1.to_owned())
            .collect();
        // Janus says this of every ICE-TCP without ICE lite.
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].starts_with("You may experience problems when having ICE-TCP enabled without"));
        let tokens = server.tokens(&["--kind", "kiosk", "--room", "1001", "--valid-for", "1h"]);
        let answer = Client::new(&tokens.0).publish(1001, &tokens.1);
        let candidates = candidates(&answer);
        assert!(!answer.contains("a=ice-lite"), "{answer}");
        assert!(candidates.iter().any(|c| c.contains(" 198.51.100.7 ") && c.contains("tcptype passive")));
        assert!(!answer.contains("203.0.113.5"), "{answer}");
    });
}

#[test]
fn janus_offers_passive_tcp_in_the_range_and_each_connection_takes_one_port() {
    in_own_network("janus::janus_offers_passive_tcp_in_the_range_and_each_connection_takes_one_port", || {
        let server = Server::start("ports = \"41000-41007\"\n");
        load("config/nftables/server.nft", &[]);
        let tokens = server.tokens(&["--kind", "agent", "--room", "1001", "1002", "--valid-for", "1h"]);
        let mut clients = Vec::new();
        for (room, count) in [(1001, 1), (1001, 2), (1002, 3), (1002, 4)] {
            let mut client = Client::new(&tokens.0);
            let answer = client.publish(room, &tokens.1);
            assert!(answer.contains("a=ice-lite"), "{answer}");
            let passive: Vec<String> =
                candidates(&answer).into_iter().filter(|c| c.contains("tcptype passive")).collect();
            assert_eq!(passive.len(), 1, "{answer}");
            let fields: Vec<&str> = passive[0].split(' ').collect();
            assert_eq!((fields[2].to_lowercase().as_str(), fields[4]), ("tcp", "203.0.113.5"));
            let port: u16 = fields[5].parse().unwrap();
            assert!((41000..=41007).contains(&port), "{port}");
            assert_eq!(media_ports().len(), count, "one listening port for each connection");
            clients.push(client);
        }
        let media = media_ports();
        assert!(media.iter().all(|port| (41000..=41007).contains(port)), "{media:?}");
        // Janus has UDP sockets, and sends nothing with them while nobody offers it a UDP candidate.
        assert_ne!(done(Command::new("ss").args(["-Hlun"])), "");
        assert_eq!(counter("kiosk_server", "udp_out"), 0);
    });
}

#[test]
fn signalling_is_encrypted_with_the_site_s_certificate_and_forward_secret() {
    in_own_network("janus::signalling_is_encrypted_with_the_site_s_certificate_and_forward_secret", || {
        let server = Server::start("");
        let dial = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command.args(["s_client", "-connect", "127.0.0.1:8989", "-verify_return_error", "-verify_hostname"]);
            command.args(["localhost", "-CAfile"]).arg(server.certificate()).args(arguments).stdin(Stdio::null());
            command
        };
        assert!(done(&mut dial(&["-tls1_3"])).contains("Verify return code: 0 (ok)"));
        assert!(done(&mut dial(&["-tls1_2"])).contains("Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"));
        // A client that knows only a suite without authenticated encryption is turned away.
        refused(&mut dial(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]));
    });
}

/// Local TCP ports that listen on the media address.
fn media_ports() -> BTreeSet<u16> {
    done(Command::new("ss").args(["-Hltn"]))
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3)?.strip_prefix("203.0.113.5:")?.parse().ok())
        .collect()
}

fn candidates(sdp: &str) -> Vec<String> {
    sdp.lines().filter(|line| line.starts_with("a=candidate:")).map(str::to_owned).collect()
}

fn error_code(answer: &Value) -> i64 {
    answer.pointer("/error/code").or(answer.pointer("/plugindata/data/error_code")).and_then(Value::as_i64).unwrap_or(0)
}

fn join(client: &mut Client, room: u64, token: &str) -> Value {
    client.ask(json!({ "request": "join", "ptype": "publisher", "room": room, "token": token, "display": "kiosk/x" }))
}

fn joined(answer: &Value) -> bool {
    answer.pointer("/plugindata/data/videoroom").and_then(Value::as_str) == Some("joined")
}

#[test]
fn tokens_open_their_rooms_until_they_expire() {
    in_own_network("janus::tokens_open_their_rooms_until_they_expire", || {
        let server = Server::start("");
        let (api, room) = server.tokens(&["--kind", "agent", "--room", "1001", "1002", "--valid-for", "8h"]);
        assert!(joined(&join(&mut Client::new(&api), 1001, &room)));
        assert!(joined(&join(&mut Client::new(&api), 1002, &room)));
        let list = Client::new(&api).ask(json!({ "request": "list" }));
        let rooms = list.pointer("/plugindata/data/list").unwrap().as_array().unwrap();
        let described = rooms.iter().find(|r| r["room"] == 1002).unwrap();
        assert_eq!(described["description"], "강남 \"2\" \\ x");

        // A token for one room does not open another, nor does one with a word changed, nor none, nor the API token.
        let (_, other) = server.tokens(&["--kind", "kiosk", "--room", "1002", "--valid-for", "365d"]);
        for wrong in [other.as_str(), &other.replace("room=1002", "room=1001"), "", &api] {
            let answer = join(&mut Client::new(&api), 1001, wrong);
            assert_eq!(error_code(&answer), ROOM_UNAUTHORIZED, "{wrong}: {answer}");
        }
        // The same for a receiver.
        let subscribe = json!({ "request": "join", "ptype": "subscriber", "room": 1001, "token": other, "feed": 1 });
        assert_eq!(error_code(&Client::new(&api).ask(subscribe)), ROOM_UNAUTHORIZED);

        // Without an API token, or with one that nobody signed, there is not even a session.
        for wrong in ["", "x", &room, &api.replace("janus,", "janus, "), &format!("9{api}")] {
            let answer = Client::connect().request(json!({ "janus": "create", "token": wrong }));
            assert_eq!(error_code(&answer), UNAUTHORIZED_REQUEST, "{wrong}: {answer}");
        }
        // Nor does it open another plugin, were one loaded.
        let mut client = Client::connect();
        let session = client.request(json!({ "janus": "create", "token": api }))["data"]["id"].clone();
        let attach = json!({
            "janus": "attach", "token": api, "session_id": session, "plugin": "janus.plugin.echotest"
        });
        assert_ne!(error_code(&client.request(attach)), 0);

        // Expired: first the room token, then the API token. Janus counts whole seconds.
        let (short_api, short_room) = server.tokens(&["--kind", "kiosk", "--room", "1001", "--valid-for", "1s"]);
        std::thread::sleep(Duration::from_millis(2500));
        let answer = join(&mut Client::new(&api), 1001, &short_room);
        assert_eq!(error_code(&answer), ROOM_UNAUTHORIZED, "{answer}");
        let answer = Client::connect().request(json!({ "janus": "create", "token": short_api }));
        assert_eq!(error_code(&answer), UNAUTHORIZED_REQUEST, "{answer}");
    });
}

#[test]
fn a_lost_session_is_taken_back_by_its_token_only() {
    in_own_network("janus::a_lost_session_is_taken_back_by_its_token_only", || {
        let server = Server::start("");
        let (api, room) = server.tokens(&["--kind", "kiosk", "--room", "1001", "--valid-for", "1h"]);
        let mut first = Client::new(&api);
        assert!(joined(&join(&mut first, 1001, &room)));
        let session = first.session();
        drop(first);
        let claim =
            |token: &str| Client::connect().request(json!({ "janus": "claim", "session_id": session, "token": token }));
        assert_eq!(error_code(&claim("")), UNAUTHORIZED_REQUEST);
        let answer = claim(&api);
        assert_eq!(answer["janus"], "success", "{answer}");
    });
}

#[test]
fn a_token_does_not_manage_rooms() {
    in_own_network("janus::a_token_does_not_manage_rooms", || {
        let server = Server::start("");
        let (api, room) = server.tokens(&["--kind", "agent", "--room", "1001", "1003", "--valid-for", "1h"]);
        let mut client = Client::new(&api);
        assert!(joined(&join(&mut client, 1001, &room)));
        for request in [
            json!({ "request": "create", "room": 5 }),
            json!({ "request": "edit", "room": 1001, "new_publishers": 9 }),
            json!({ "request": "destroy", "room": 1001 }),
            json!({ "request": "kick", "room": 1001, "id": 1 }),
            json!({ "request": "enable_recording", "room": 1001, "record": true }),
            json!({ "request": "rtp_forward", "room": 1001, "publisher_id": 1, "host": "h", "audio_port": 9 }),
        ] {
            let answer = client.ask(request.clone());
            assert_ne!(error_code(&answer), 0, "{request}: {answer}");
        }
        // A room with a PIN wants it besides the token.
        let answer = join(&mut Client::new(&api), 1003, &room);
        assert_ne!(error_code(&answer), 0, "{answer}");
        let with_pin = json!({
            "request": "join", "ptype": "publisher", "room": 1003, "token": room, "pin": "481516", "display": "x"
        });
        let answer = Client::new(&api).ask(with_pin);
        assert!(joined(&answer), "{answer}");
    });
}

#[test]
fn a_bad_site_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let site = write_site(folder.path(), "");
    let out = folder.path().join("out");
    let render = |site: &std::path::Path| {
        let mut command = kioskctl();
        command.args(["server", "render", "--site"]).arg(site).arg("--out").arg(&out);
        command
    };
    assert!(refused(&mut render(&site)).contains("is not a folder"));
    std::fs::create_dir(&out).unwrap();
    done(&mut render(&site));
    let before = std::fs::read_to_string(out.join("janus.jcfg")).unwrap();
    assert_eq!(std::fs::metadata(out.join("janus.jcfg")).unwrap().permissions().mode() & 0o777, 0o640);

    let token_file = folder.path().join("token-secret");
    std::fs::write(&token_file, "janusrocks\n").unwrap();
    assert!(refused(&mut render(&site)).contains("secrets.token_file: is a sample that everyone knows"));
    std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&mut render(&site)).contains("can be read by every user of this machine"));
    std::fs::remove_file(&token_file).unwrap();
    assert!(refused(&mut render(&site)).contains(&format!("cannot read {}", token_file.display())));
    std::fs::write(folder.path().join("cert.pem"), "x").unwrap();
    assert_eq!(std::fs::read_to_string(out.join("janus.jcfg")).unwrap(), before);
    // Nothing is left behind.
    let mut names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["janus.jcfg", "janus.plugin.videoroom.jcfg", "janus.transport.websockets.jcfg"]);
}

#[test]
fn tokens_go_to_files_that_only_their_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    write_site(folder.path(), "");
    let mut command = kioskctl();
    command.args(["server", "token", "--kind", "kiosk", "--room", "1001", "--valid-for", "30d", "--secret-file"]);
    command.arg(folder.path().join("token-secret")).arg("--out").arg(folder.path());
    assert_eq!(done(&mut command), "");
    for (name, realm) in [("token", "janus"), ("room-token", "janus.plugin.videoroom")] {
        let path = folder.path().join(name);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap().split(',').nth(1), Some(realm));
    }
}

//! `kioskctl server check` on what `kioskctl server render` wrote, and on what the guide would have written.

use super::place::{Running, done, in_own_network, kioskctl, until};
use super::server::{Server, write_site};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// Its exit code, and the outcome of each check by its name.
fn check(folder: &Path, arguments: &[&str]) -> (i32, Vec<(String, String)>) {
    ask(kioskctl().args(["server", "check", "--json", "--config"]).arg(folder).args(arguments))
}

fn ask(command: &mut Command) -> (i32, Vec<(String, String)>) {
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap();
    let outcomes = checks.iter().map(|check| (text(check, "id"), text(check, "outcome"))).collect();
    (output.status.code().unwrap(), outcomes)
}

fn bad(outcomes: &[(String, String)]) -> Vec<&str> {
    outcomes.iter().filter(|(_, outcome)| outcome == "fail").map(|(id, _)| id.as_str()).collect()
}

#[test]
fn what_is_rendered_passes_and_what_the_guide_says_is_found_and_mended() {
    in_own_network("check::what_is_rendered_passes_and_what_the_guide_says_is_found_and_mended", || {
        let log = tempfile::tempdir().unwrap();
        let log = log.path().join("janus.log");
        let server = Server::start(&format!("[janus]\nlog_file = {:?}", log.display().to_string()));
        let folder = server.configuration();

        let (_, running) = check(&folder, &[]);
        assert_eq!(bad(&running), ["firewall"], "{running:?}");
        let load = || done(Command::new("nft").arg("-f").arg(super::place::repository("config/nftables/server.nft")));
        load();
        let (code, all) = check(&folder, &[]);
        assert_eq!((code, bad(&all)), (0, vec![]), "{all:?}");
        // Rules of somebody else's: a door for UDP is a fault, one more port is told.
        let nft = |rule: &str| done(Command::new("nft").args(rule.split(' ')));
        nft("insert rule inet kiosk_server input udp dport 40000-40099 accept");
        let (code, all) = check(&folder, &[]);
        assert_eq!((code, bad(&all)), (1, vec!["firewall"]), "{all:?}");
        load();
        nft("add rule inet kiosk_server input tcp dport 8088 accept");
        let (code, all) = check(&folder, &[]);
        assert!(code == 2 && all.contains(&("firewall".into(), "warn".into())), "{all:?}");
        load();

        let core = folder.join("janus.jcfg");
        let rendered = std::fs::read_to_string(&core).unwrap();
        let guide = rendered
            .replace("ice_tcp = true", "ice_enforce_list = \"tcp\"\n\tpublic_ip = \"203.0.113.5\"")
            .replace("rtp_port_range = \"40000-40099\"", "rtp_min_port = 40000\n\trtp_max_port = 40099");
        std::fs::write(&core, &guide).unwrap();
        let (code, outcomes) = check(&folder, &["--files-only"]);
        let unknown = "janus.unknown-setting";
        let wanted = [unknown, unknown, unknown, "janus.ice-tcp", "janus.enforce-list", "janus.media-ports"];
        assert_eq!((code, bad(&outcomes)), (1, wanted.to_vec()), "{outcomes:?}");

        let (_, mended) = check(&folder, &["--files-only", "--fix"]);
        assert_eq!(bad(&mended), Vec::<&str>::new());
        assert_eq!(std::fs::read_to_string(folder.join("janus.jcfg.before-check")).unwrap(), guide);
    });
}

#[test]
fn a_relay_that_was_mended_runs_and_listens() {
    in_own_network("check::a_relay_that_was_mended_runs_and_listens", || {
        let folder = tempfile::tempdir().unwrap();
        write_site(folder.path(), "");
        let (here, file) = (folder.path().display(), folder.path().join("turnserver.conf"));
        let site = folder.path().join("relay.toml");
        let text = format!(
            "peers = [\"203.0.113.5\"]\nrealm = \"bank.test\"\nsecret_file = \"{here}/token-secret\"\n\
             [tls]\ncertificate = \"{here}/cert.pem\"\nkey = \"{here}/key.pem\"\n"
        );
        std::fs::write(&site, text).unwrap();
        done(
            kioskctl()
                .args(["server", "render", "--server", "coturn", "--out"])
                .arg(folder.path())
                .arg("--site")
                .arg(site),
        );
        let relay = |arguments: &[&str]| {
            let (code, mut all) =
                ask(kioskctl().args(["server", "check", "--json", "--coturn"]).arg(&file).args(arguments));
            all.retain(|(id, _)| id.starts_with("relay.") && id != "relay.listening");
            (code, all)
        };
        let rendered = std::fs::read_to_string(&file).unwrap();
        assert_eq!(bad(&relay(&[]).1), Vec::<&str>::new());

        let wrong =
            rendered.replace("no-udp\n", "").replace("no-udp-relay\n", "no-tcp-relay\n").replace("denied", "#denied");
        std::fs::write(&file, &wrong).unwrap();
        assert_eq!((relay(&[]).0, bad(&relay(&[]).1)), (1, vec!["relay.clients", "relay.transport", "relay.peers"]));
        assert_eq!(bad(&relay(&["--fix"]).1), Vec::<&str>::new());
        assert_eq!(std::fs::read_to_string(folder.path().join("turnserver.conf.before-check")).unwrap(), wrong);

        let mut coturn = Command::new("turnserver");
        coturn.arg("-c").arg(&file).args(["--log-file", "stdout", "--pidfile"]).arg(folder.path().join("pid"));
        coturn.arg("--userdb").arg(folder.path().join("db")).stdin(Stdio::null()).stdout(Stdio::null());
        let _coturn = Running(coturn.stderr(Stdio::null()).spawn().unwrap());
        until("a relay that listens", || {
            let (_, all) = ask(kioskctl().args(["server", "check", "--json", "--coturn"]).arg(&file));
            all.contains(&("relay.listening".to_owned(), "pass".to_owned())).then_some(())
        });
        let udp = std::fs::read_to_string("/proc/net/udp").unwrap();
        assert_eq!(udp.lines().count(), 1, "{udp}");
    });
}

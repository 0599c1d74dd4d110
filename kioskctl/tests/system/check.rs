//! `kioskctl server check` on what `kioskctl server render` wrote, and on what the guide would have written.

use super::place::{done, in_own_network, kioskctl};
use super::server::Server;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Its exit code, and the outcome of each check by its name.
fn check(folder: &Path, arguments: &[&str]) -> (i32, Vec<(String, String)>) {
    let output =
        kioskctl().args(["server", "check", "--json", "--config"]).arg(folder).args(arguments).output().unwrap();
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
        done(Command::new("nft").arg("-f").arg(super::place::repository("config/nftables/server.nft")));
        let (code, all) = check(&folder, &[]);
        assert_eq!((code, bad(&all)), (0, vec![]), "{all:?}");

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

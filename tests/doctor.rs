//! `kioskd doctor` before the real Janus: a site that is right passes, and each fault is named by the check that it is about.

use kiosk_harness::{
    Error, Result,
    janus::{Janus, ROOM},
    kiosk::KioskConfig,
    scene,
    world::{Host, World, scenario},
};
use std::fs;

/// A finding's name, its outcome and what was seen.
type Found = (String, String, String);

/// Runs it on the kiosk's host. Its exit code, and the findings.
fn doctor(world: &World, config: &KioskConfig) -> Result<(i32, Vec<Found>)> {
    let place = world.at(Host::Kiosk)?;
    let file = place.dir().join("doctor.toml");
    fs::write(&file, config.text()).map_err(Error::io("doctor.toml"))?;
    let mut command = place.product_command(env!("CARGO_BIN_EXE_kioskd"));
    let output =
        command.args(["doctor", "--json", "--config"]).arg(&file).output().map_err(Error::io("kioskd doctor"))?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Other(format!("{error}: {}", String::from_utf8_lossy(&output.stderr))))?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let list = report["checks"].as_array().cloned().unwrap_or_default();
    let findings = list.iter().map(|found| (text(&found["id"]), text(&found["outcome"]), text(&found["seen"]["en"])));
    Ok((output.status.code().unwrap_or(-1), findings.collect()))
}

/// What failed, and nothing but that.
fn failed(world: &World, config: &KioskConfig) -> Result<Vec<(String, String)>> {
    let (code, findings) = doctor(world, config)?;
    let failed: Vec<_> = findings.into_iter().filter(|(_, outcome, _)| outcome == "fail").collect();
    assert_eq!(code == 1, !failed.is_empty(), "{failed:?}");
    Ok(failed.into_iter().map(|(id, _, seen)| (id, seen)).collect())
}

fn restart(janus: &mut Janus) -> Result<()> {
    janus.kill()?;
    janus.restart()
}

/// Exactly one check fails, and what it saw holds a word.
fn names(world: &World, config: &KioskConfig, id: &str, word: &str) -> Result<()> {
    let found = failed(world, config)?;
    let [(failed, seen)] = found.as_slice() else { return Err(Error::Other(format!("wanted {id} alone: {found:?}"))) };
    assert!(failed == id && seen.contains(word), "wanted {id} with {word:?}: {found:?}");
    Ok(())
}

#[test]
fn a_site_that_is_right_passes_and_leaves_nothing_behind() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        for _ in 0..2 {
            let (_, findings) = doctor(world, &config)?;
            let bad: Vec<_> = findings.iter().filter(|(_, outcome, _)| outcome == "fail").collect();
            assert!(bad.is_empty(), "{bad:?}");
            for id in [
                "network.signalling",
                "network.media-ports",
                "janus.ice-tcp",
                "janus.room",
                "ice.candidates",
                "ice.dial",
            ] {
                assert!(
                    findings.iter().any(|(found, outcome, _)| found == id && outcome == "pass"),
                    "{id}: {findings:?}"
                );
            }
        }
        Ok(())
    });
}

#[test]
fn each_fault_of_a_site_is_named() {
    scenario(|world| {
        let mut janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;

        names(world, &config.clone().with("janus", "room", 4711), "janus.room", "not among")?;
        names(world, &config.clone().without("janus", "ca_file"), "janus.websocket", "server-certificate")?;
        names(world, &config.clone().without("janus", "token_file"), "janus.token", "403")?;
        names(world, &config.clone().without("janus", "room_token_file"), "ice.negotiation", "433")?;
        names(world, &config.clone().with("janus", "media_ports", "50000-50099"), "ice.candidates", "50000-50099")?;
        let (expired, _) = janus.kiosk_token_files_for(ROOM, "1s")?;
        std::thread::sleep(std::time::Duration::from_secs(2));
        names(world, &config.clone().with("janus", "token_file", expired.display().to_string()), "janus.token", "403")?;
        janus.kiosk_token_files(ROOM)?;

        janus.edit("janus.jcfg", "ice_tcp = true", "ice_tcp = false")?;
        restart(&mut janus)?;
        let off: Vec<String> = failed(world, &config)?.into_iter().map(|(id, _)| id).collect();
        assert_eq!(off, ["janus.ice-tcp", "ice.candidates"]);
        janus.edit("janus.jcfg", "ice_tcp = false", "ice_tcp = true")?;
        restart(&mut janus)?;

        world.nft(
            Host::Router,
            "table inet branch {\n chain f {\n type filter hook forward priority 0\n tcp dport 40000-40099 drop\n }\n}\n",
        )?;
        let closed: Vec<String> = failed(world, &config)?.into_iter().map(|(id, _)| id).collect();
        assert_eq!(closed, ["network.media-ports", "ice.dial"]);
        world.run(Host::Router, "nft", &["delete", "table", "inet", "branch"])?;

        janus.kill()?;
        names(world, &config, "network.signalling", "refused")?;
        world.cut(Host::Server)?;
        names(world, &config, "network.signalling", "")
    });
}

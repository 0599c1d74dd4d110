//! Rules between keys: values that are each allowed but don't go together.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::check::{Finding, Findings};
use super::errors::Problem;
use super::schema::{CameraSource, Config};
use crate::fleet::GroupName;

/// Adds a finding for every broken rule whose keys are sound.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let Config { camera, video, janus, ice, .. } = config;
    let (least, most) = (video.min_bitrate_kbps, video.bitrate_kbps);

    require(
        findings,
        camera.source != CameraSource::File || camera.file.is_some(),
        &["camera.source", "camera.file"],
        || "source = \"file\" plays a recording, and there is none; write `file = \"/path/of/a/recording.mp4\"`".into(),
    );
    require(findings, most >= least, &["video.bitrate_kbps", "video.min_bitrate_kbps"], || {
        format!(
            "bitrate_kbps, {}, is less than min_bitrate_kbps, {}; raise the one or lower the other",
            most.0, least.0
        )
    });
    if let Some(proxy) = &config.proxy {
        let (name, file) = (&proxy.username, &proxy.password_file);
        require(findings, name.is_some() == file.is_some(), &["proxy.username", "proxy.password_file"], || {
            "username and password_file belong together; write both, or neither for a proxy that asks nobody".into()
        });
        let plain = |name: &String| !name.contains(':') && !name.chars().any(char::is_control);
        require(findings, name.as_ref().is_none_or(plain), &["proxy.username"], || {
            "a user name of Basic authentication has no colon and no control characters (RFC 7617)".into()
        });
    }
    if let Some(relay) = &config.relay {
        let given = (relay.username.is_some(), relay.password_file.is_some());
        let one = match given {
            (true, true) => relay.secret_file.is_none(),
            (false, false) => relay.secret_file.is_some(),
            _ => false,
        };
        require(findings, one, &["relay.secret_file", "relay.username", "relay.password_file"], || {
            "the relay asks who the kiosk is; write secret_file, or username and password_file".into()
        });
    }
    if let Some(fleet) = &config.fleet {
        let mut seen = BTreeSet::new();
        let again = fleet.groups.iter().find(|group| !seen.insert(*group));
        require(findings, again.is_none(), &["fleet.groups"], || {
            format!("{:?} stands there twice: a group has one place in the order", again.map_or("", GroupName::as_str))
        });
        let mut seen = BTreeSet::new();
        let again = fleet.keys.iter().find(|key| !seen.insert(key.id()));
        require(findings, again.is_none(), &["fleet.keys"], || {
            format!("the key {} stands there twice", again.map_or_else(String::new, |key| key.id().to_string()))
        });
        let holders = seen.len();
        require(findings, !fleet.two_signatures || holders >= 2, &["fleet.keys", "fleet.two_signatures"], || {
            "two_signatures needs at least 2 keys, and there is one: nothing that cuts the kiosk off could be set right"
                .into()
        });
    }
    if let Some(local) = ice.local_address {
        let elsewhere = janus.url.host().parse::<IpAddr>().is_ok_and(|remote| !remote.is_loopback());
        require(findings, !(local.is_loopback() && elsewhere), &["ice.local_address", "janus.url"], || {
            format!("{local} is this machine itself, from where there is no way to {}", janus.url.host())
        });
    }
}

/// Puts the finding at the first of the keys that the file has.
fn require(findings: &mut Findings, holds: bool, keys: &[&str], says: impl FnOnce() -> String) {
    if holds || keys.iter().any(|key| findings.unsound.contains(*key)) {
        return;
    }
    let here = keys.iter().find(|key| findings.places.contains_key(**key)).or(keys.first());
    let Some(key) = here else { return };
    let span = findings.places.get(*key).cloned();
    findings.list.push(Finding { key: (*key).into(), span, problem: Problem::Rule(says()) });
}

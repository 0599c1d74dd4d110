//! Renders the configuration files of Janus from a checked site and its secrets. Pure: no file is read or written.

use super::template::{TemplateError, fill};
use super::{Room, Site};
use crate::token::hmac_sha1;
use std::collections::BTreeMap;

/// The name of each file in Janus's configuration folder, and its template.
const TEMPLATES: [(&str, &str); 3] = [
    ("janus.jcfg", include_str!("../../../config/janus/janus.jcfg")),
    ("janus.transport.websockets.jcfg", include_str!("../../../config/janus/janus.transport.websockets.jcfg")),
    ("janus.plugin.videoroom.jcfg", include_str!("../../../config/janus/janus.plugin.videoroom.jcfg")),
];
const ROOM_TEMPLATE: &str = include_str!("../../../config/janus/room.jcfg");

/// Everything that Janus 1.1.2 and 1.4.1 ship, but `videoroom`.
const UNNEEDED_PLUGINS: [&str; 11] = [
    "audiobridge",
    "duktape",
    "echotest",
    "lua",
    "nosip",
    "recordplay",
    "sip",
    "streaming",
    "textroom",
    "videocall",
    "voicemail",
];
/// Everything that Janus 1.1.2 and 1.4.1 ship, but `websockets`.
const UNNEEDED_TRANSPORTS: [&str; 5] = ["http", "mqtt", "nanomsg", "pfunix", "rabbitmq"];
const UNNEEDED_LOGGERS: [&str; 1] = ["jsonlog"];

/// Secrets that stand in Janus's sample files, in its documentation, or in tutorials.
const SAMPLE_SECRETS: [&str; 8] =
    ["janusrocks", "janusoverlord", "supersecret", "adminpwd", "janus", "secretpassphrase", "changeme", "secret"];

/// The contents of the files that a site names.
pub struct Material {
    /// Signs tokens.
    pub token_secret: String,
    /// Guards the management of rooms.
    pub admin_secret: String,
    /// PIN of each room that has one.
    pub pins: BTreeMap<u64, String>,
}

/// Why nothing was rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A secret that protects nothing.
    #[error("{what}: {problem}")]
    Secret {
        /// Which one.
        what: String,
        /// What is wrong with it, and what is wanted.
        problem: &'static str,
    },
    /// A fault of the templates, which are part of this program.
    #[error("template {name}: {source}")]
    Template {
        /// The file that could not be made.
        name: &'static str,
        /// What is wrong with it.
        source: TemplateError,
    },
}

/// The files of Janus's configuration folder: name and content.
pub fn render(site: &Site, material: &Material) -> Result<Vec<(&'static str, String)>, RenderError> {
    check_secret("secrets.token_file", &material.token_secret)?;
    check_secret("secrets.admin_file", &material.admin_secret)?;
    if material.token_secret == material.admin_secret {
        return Err(weak("secrets.admin_file", "is the same as secrets.token_file; they must differ"));
    }
    for (room, pin) in &material.pins {
        check_pin(*room, pin)?;
    }
    let mut values = server_values(site, material);
    let rooms: Result<String, RenderError> = site
        .rooms
        .iter()
        .map(|room| {
            fill(ROOM_TEMPLATE, &room_values(site, room, material))
                .map_err(|source| RenderError::Template { name: "room.jcfg", source })
        })
        .collect();
    values.insert("ROOMS", rooms?);
    TEMPLATES
        .into_iter()
        .map(|(name, template)| {
            let text = fill(template, &values).map_err(|source| RenderError::Template { name, source })?;
            Ok((name, text))
        })
        .collect()
}

fn server_values(site: &Site, material: &Material) -> BTreeMap<&'static str, String> {
    let (media, signalling, janus) = (&site.media, &site.signalling, &site.janus);
    // Janus asks for full ICE behind a 1:1 NAT; elsewhere a server with ICE-TCP is better off with ICE lite.
    let ice_lite = media.ice_lite.unwrap_or(media.public_address.is_none());
    BTreeMap::from([
        ("PLUGINS_FOLDER", setting("plugins_folder", janus.plugins_folder.as_ref().map(|path| path.display()))),
        (
            "TRANSPORTS_FOLDER",
            setting("transports_folder", janus.transports_folder.as_ref().map(|path| path.display())),
        ),
        ("LOG_TO_FILE", setting("log_to_file", janus.log_file.as_ref().map(|path| path.display()))),
        ("TOKEN_SECRET", quoted(&material.token_secret)),
        ("ADMIN_SECRET", quoted(&material.admin_secret)),
        ("ADMIN_KEY", derived(&material.admin_secret, "videoroom admin_key")),
        ("IPV6", if media.ipv6 { "ipv6 = true".to_owned() } else { String::new() }),
        ("MEDIA_PORTS", format!("{}-{}", media.ports.first, media.ports.last)),
        ("ICE_LITE", ice_lite.to_string()),
        ("INTERFACE", setting("interface", media.address)),
        // Two settings for one question. The list of what to use takes addresses and names of interfaces; a site can
        // only give an address, so that `tcp`, which the list would take for an interface, cannot get in.
        (
            "ICE_ADDRESSES",
            match media.address {
                Some(address) => format!("ice_enforce_list = \"{address}\""),
                None => "ice_ignore_list = \"vmnet\"".to_owned(),
            },
        ),
        ("NAT_1_1_MAPPING", setting("nat_1_1_mapping", media.public_address)),
        ("DISABLED_PLUGINS", libraries(&UNNEEDED_PLUGINS)),
        ("DISABLED_TRANSPORTS", libraries(&UNNEEDED_TRANSPORTS)),
        ("DISABLED_LOGGERS", libraries(&UNNEEDED_LOGGERS)),
        (
            "WS",
            match signalling.loopback_port {
                Some(port) => format!("ws = true\n\tws_ip = \"127.0.0.1\"\n\tws_port = {port}"),
                None => "ws = false".to_owned(),
            },
        ),
        ("WSS_PORT", signalling.port.to_string()),
        ("WSS_IP", setting("wss_ip", signalling.address)),
        ("TLS_CERTIFICATE", quoted(&signalling.certificate.to_string_lossy())),
        ("TLS_KEY", quoted(&signalling.key.to_string_lossy())),
    ])
}

fn room_values(site: &Site, room: &Room, material: &Material) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("ROOM_ID", room.id.to_string()),
        ("ROOM_DESCRIPTION", quoted(&room.description)),
        ("ROOM_SECRET", derived(&material.admin_secret, &format!("videoroom room {}", room.id))),
        ("ROOM_PIN", setting("pin", material.pins.get(&room.id))),
        ("ROOM_BITRATE", (u64::from(site.media.video_kbps) * 1000).to_string()),
    ])
}

/// A line of a setting that is left out when there is no value.
fn setting(name: &str, value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| format!("{name} = \"{}\"", quoted(&value.to_string())))
}

/// The inside of a string of libconfig.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn libraries(names: &[&str]) -> String {
    names.iter().map(|name| format!("libjanus_{name}.so")).collect::<Vec<_>>().join(",")
}

/// A secret of its own for each purpose, so that a site has to keep only one.
fn derived(secret: &str, purpose: &str) -> String {
    hmac_sha1(secret.as_bytes(), purpose.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn weak(what: impl Into<String>, problem: &'static str) -> RenderError {
    RenderError::Secret { what: what.into(), problem }
}

/// A secret has at least 32 printable characters and is none that everyone knows.
pub fn check_secret(what: &str, secret: &str) -> Result<(), RenderError> {
    if SAMPLE_SECRETS.contains(&secret.to_lowercase().as_str()) {
        return Err(weak(what, "is a sample that everyone knows; make one with `openssl rand -hex 32`"));
    }
    if secret.contains("${") || secret.contains("{{") {
        return Err(weak(what, "holds a placeholder that nobody filled in"));
    }
    if !secret.chars().all(|c| c.is_ascii_graphic()) {
        return Err(weak(
            what,
            "must be one line of printable ASCII without blanks; make one with `openssl rand -hex 32`",
        ));
    }
    let mut distinct: Vec<u8> = secret.bytes().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if secret.len() < 32 || distinct.len() < 8 {
        return Err(weak(
            what,
            "is too short or too plain: 32 characters or more; make one with `openssl rand -hex 32`",
        ));
    }
    Ok(())
}

fn check_pin(room: u64, pin: &str) -> Result<(), RenderError> {
    let what = format!("pin_file of room {room}");
    if !pin.chars().all(|c| c.is_ascii_graphic()) || pin.contains("${") {
        return Err(weak(what, "must be one line of printable ASCII without blanks"));
    }
    if pin.len() < 6 {
        return Err(weak(what, "is too short: 6 characters or more"));
    }
    Ok(())
}

//! The JSON Schemas of everything that travels, made of the types themselves.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::machine::{DryRun, Explained};
use super::{CommandPayload, DesiredPayload, Envelope, Event, Metrics, Presence, Reported, Response};

fn of<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Every file below `docs/fleet/`, by its name.
fn files() -> Vec<(&'static str, Value)> {
    let mut desired = of::<DesiredPayload>();
    desired["properties"]["config"] = layer();
    let mut command = of::<CommandPayload>();
    // The identifiers of commands are checked by the type; whom they are for, by the kiosk.
    command["title"] = json!("CommandPayload");
    vec![
        ("envelope.schema.json", of::<Envelope>()),
        ("desired.schema.json", desired),
        ("command.schema.json", command),
        ("response.schema.json", of::<Response>()),
        ("presence.schema.json", of::<Presence>()),
        ("reported.schema.json", of::<Reported>()),
        ("metrics.schema.json", of::<Metrics>()),
        ("event.schema.json", of::<Event>()),
        ("explain-config.result.schema.json", of::<Vec<Explained>>()),
        ("dry-run.result.schema.json", of::<DryRun>()),
    ]
}

/// What a layer may set: the schema of `kiosk.toml` without what only the site file sets, and with nothing required.
fn layer() -> Value {
    let mut schema = crate::config::json_schema();
    for name in ["$schema", "title", "required"] {
        schema.as_object_mut().unwrap().remove(name);
    }
    schema["description"] =
        json!("Keys of kiosk.toml: all that this layer sets. An empty object takes the layer away.");
    let sections = schema["properties"].as_object_mut().unwrap();
    for section in sections.values_mut() {
        section.as_object_mut().unwrap().remove("required");
        let keys = section["properties"].as_object_mut().unwrap();
        keys.retain(|_, key| key["x-fleet"] != "site-only");
        keys.values_mut().for_each(|key| drop(key.as_object_mut().unwrap().remove("default")));
    }
    sections.retain(|_, section| section["properties"] != Value::Object(Map::new()));
    schema
}

/// The name begins as that of the test of the configuration's schema does: one command writes them all.
#[test]
fn the_schema_in_the_repository_of_each_payload_is_that_of_its_type() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fleet");
    for (name, schema) in files() {
        let path = folder.join(name);
        let made = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == made, "docs/fleet/{name} is not what the code sends; write it anew with ./dev schema");
    }
}

/// Every object of a document has only properties that its schema knows, and all that it requires.
fn fits(value: &Value, schema: &Value) -> bool {
    let all = |name: &str| schema.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let alternatives = all("anyOf").iter().chain(all("oneOf"));
    if alternatives.clone().next().is_some() {
        let merged = |alternative: &Value| {
            // Flattened types have properties beside their alternatives.
            let mut whole = schema.clone();
            for name in ["anyOf", "oneOf"] {
                whole.as_object_mut().unwrap().remove(name);
            }
            for (key, value) in alternative.as_object().into_iter().flatten() {
                match (key.as_str(), whole.get_mut(key)) {
                    ("properties", Some(Value::Object(known))) => known.extend(value.as_object().unwrap().clone()),
                    ("required", Some(Value::Array(known))) => known.extend(value.as_array().unwrap().clone()),
                    _ => whole[key] = value.clone(),
                }
            }
            whole
        };
        return alternatives.into_iter().any(|alternative| fits(value, &merged(alternative)));
    }
    if schema.get("const").is_some_and(|only| only != value)
        || (schema.get("enum").is_some() && !all("enum").contains(value))
    {
        return false;
    }
    let types = match schema.get("type") {
        Some(Value::Array(types)) => types.clone(),
        Some(one) => vec![one.clone()],
        None => return schema.get("properties").is_none() || value.is_object(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let whole_number = kind == "integer" && types.contains(&json!("number"));
    if !whole_number && !types.contains(&json!(kind)) {
        return false;
    }
    match value {
        Value::Object(object) => {
            let known = schema.get("properties").and_then(Value::as_object);
            let others = schema.get("additionalProperties").filter(|others| others.is_object());
            all("required").iter().all(|name| object.contains_key(name.as_str().unwrap()))
                && object.iter().all(|(name, value)| match known.and_then(|known| known.get(name)).or(others) {
                    Some(schema) => fits(value, schema),
                    None => known.is_none(),
                })
        }
        Value::Array(items) => schema.get("items").is_none_or(|schema| items.iter().all(|item| fits(item, schema))),
        _ => true,
    }
}

#[test]
fn what_is_sent_fits_its_schema() {
    use super::event::EventKind;
    use super::machine::{Delivery, DesiredState, Input};
    use super::{Class, Digest, LayerName, Outcome, Phase, Revision};

    let schema = |name: &str| files().into_iter().find(|(file, _)| *file == name).unwrap().1;
    let check = |name: &str, value: Value| assert!(fits(&value, &schema(name)), "{name}: {value:#}");
    let revision = Revision { epoch: 1, revision: 2, digest: Digest::of(b"x") };
    for kind in [
        EventKind::DaemonStarted { version: "1".into() },
        EventKind::CallStarted {},
        EventKind::CallEnded { reason: "asked to end".into(), seconds: 5 },
        EventKind::FaultRaised { code: "camera-unavailable".into() },
        EventKind::FaultCleared { code: "camera-unavailable".into() },
        EventKind::TcpOnlyViolation {},
        EventKind::ConfigPhase { layer: LayerName::Device, revision, phase: Phase::RolledBack },
        EventKind::StateDamaged { file: "state".into(), recovered: true },
        EventKind::CommandFinished { command: "ping".into(), outcome: Outcome::Done },
        EventKind::EventsDropped { class: Class::Call, count: 3 },
    ] {
        check("event.schema.json", serde_json::to_value(Event { sequence: 1, at: Some(2), kind }).unwrap());
    }
    let world = super::machine::world::World::new(false);
    let (mut state, _) = DesiredState::start("1", world.site, None, false, Default::default());
    for bytes in
        [super::machine::world::push(&LayerName::Device, 1, json!({"video": {"bitrate_kbps": 0}})), b"x".to_vec()]
    {
        let _ =
            state.handle(Default::default(), Input::Message { layer: LayerName::Device, bytes, delivery: Delivery(1) });
    }
    check("reported.schema.json", serde_json::to_value(state.reported()).unwrap());
    check("explain-config.result.schema.json", serde_json::to_value(state.explain(&[])).unwrap());
    let config = super::Object(json!({"video": {"bitrate_kbps": 700}, "janus": {}}).as_object().unwrap().clone());
    check("dry-run.result.schema.json", serde_json::to_value(state.dry_run(&LayerName::Device, config)).unwrap());

    let desired = json!({
        "target": {"group": "north"}, "epoch": 1, "revision": 2, "author": "Ada", "reason": "r", "created": 3,
        "config": {"video": {"bitrate_kbps": 700}, "fleet": {"keepalive_s": 20}},
    });
    check("desired.schema.json", desired.clone());
    for (pointer, wrong) in [
        ("/config/video", json!({"vidoe": 1})),
        ("/config/video", json!({"bitrate_kbps": "x"})),
        ("/config", json!({"kiosk": {"id": "a"}})),
        ("/config", json!({"fleet": {"groups": []}})),
        ("/target", json!("device")),
    ] {
        let mut other = desired.clone();
        *other.pointer_mut(pointer).unwrap() = wrong;
        assert!(!fits(&other, &schema("desired.schema.json")), "{other:#}");
    }
    for command in [
        json!({"kind": "ping"}),
        json!({"kind": "set-log-level", "level": "debug", "minutes": 5}),
        json!({"kind": "collect-diagnostics", "journal_minutes": 5, "upload": {"to": "mqtt", "max_bytes": 9}}),
        json!({"kind": "dry-run", "config": {"video": {}}, "layer": "device"}),
    ] {
        let id = super::CommandId::from_random([1; 16]);
        let payload = json!({
            "target": {"device": "a-1"}, "id": id, "created": 1, "expires": 2, "author": "A", "reason": "r",
            "command": command,
        });
        check("command.schema.json", payload.clone());
        let read: CommandPayload = serde_json::from_value(payload).unwrap();
        check("command.schema.json", serde_json::to_value(read).unwrap());
    }
}

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::json_schema;

const SITE: &str = "[kiosk]\nid = \"demo-1\"\n[janus]\nurl = \"wss://janus.bank.example:8989/\"\nroom = 1001\n\
                    [video]\nbitrate_kbps = 900\n";

fn site() -> Site {
    Site::parse(SITE).unwrap()
}

fn read(config: &Value) -> Result<Layer, Vec<LayerError>> {
    Layer::read(config.as_object().unwrap())
}

fn told(errors: Vec<LayerError>) -> String {
    errors.iter().map(|error| format!("{}: {}", error.key, error.problem)).collect::<Vec<_>>().join("\n")
}

fn errors(config: &Value) -> String {
    told(read(config).unwrap_err())
}

#[test]
fn a_key_has_the_value_of_the_highest_layer_that_sets_it() {
    let north =
        read(&json!({"video": {"bitrate_kbps": 800, "min_bitrate_kbps": 100}, "audio": {"gain_db": 3}})).unwrap();
    let device = read(&json!({"video": {"bitrate_kbps": 700}})).unwrap();
    let merged = merge(&site(), &[&north, &device]).unwrap();
    assert_eq!((merged.config.video.bitrate_kbps.0, merged.config.video.min_bitrate_kbps.0), (700, 100));
    let layer = |key: &str| (merged.origins[key].layer, merged.origins[key].in_site);
    assert_eq!(layer("video.bitrate_kbps"), (Some(1), true));
    assert_eq!(layer("video.min_bitrate_kbps"), (Some(0), false));
    assert_eq!(layer("audio.gain_db"), (Some(0), false));
    assert_eq!(layer("janus.room"), (None, true));
    assert_eq!(layer("camera.width"), (None, false));
    assert_eq!(merged.origins["audio.gain_db"].value, json!(3.0));

    let below = merge(&site(), &[&north]).unwrap();
    assert_eq!(merged.difference(&below), [("video".to_owned(), "bitrate_kbps".to_owned())].into());
    assert_ne!(merged.canonical(), below.canonical());
    assert_eq!(merge(&site(), &[]).unwrap().config, *site().config());
}

#[test]
fn what_is_wrong_with_a_layer_is_told_by_its_keys() {
    insta::assert_snapshot!(errors(&json!({
        "kiosk": {"id": "other"},
        "janus": {"url": "http://x", "room": null, "token_file": "/etc/shadow"},
        "camera": {"widht": 640, "height": "720", "frames_per_second": 1e3, "focus": 18_446_744_073_709_551_615_u64},
        "video": 5,
        "vidoe": {"bitrate_kbps": 1},
        "fleet": {"keys": ["rsa:x"], "groups": ["other"], "two_signatures": false},
        "audio": {"gain_db": {"a": {"b": {"c": 1}}}, "source": ["alsa"]},
    })));
}

#[test]
fn what_is_only_for_measuring_is_not_pushed() {
    let wrong = json!({"camera": {"time_code": true}, "audio": {"source": "tone-code"}});
    insta::assert_snapshot!(errors(&wrong), @r#"
    audio.source: only the kiosk's own kiosk.toml sets this to "tone-code"; push another value
    camera.time_code: only the kiosk's own kiosk.toml sets this; take it out of what is pushed
    "#);
    assert!(read(&json!({"audio": {"source": "none"}})).is_ok());
}

#[test]
fn layers_that_do_not_go_together_are_told_at_a_pushed_key() {
    let layer = read(&json!({"video": {"min_bitrate_kbps": 950}})).unwrap();
    insta::assert_snapshot!(told(merge(&site(), &[&layer]).unwrap_err()));
    let file = read(&json!({"camera": {"source": "file"}})).unwrap();
    let path = read(&json!({"camera": {"file": "/usr/share/kiosk/loop.mp4"}})).unwrap();
    assert!(merge(&site(), &[&file]).is_err());
    assert!(merge(&site(), &[&file, &path]).is_ok());
}

#[test]
fn a_push_can_not_begin_the_fleet_section() {
    let layer = read(&json!({"fleet": {"broker": "mqtts://elsewhere.example"}})).unwrap();
    insta::assert_snapshot!(told(merge(&site(), &[&layer]).unwrap_err()));
}

#[test]
fn a_layer_differs_where_a_key_came_went_or_changed() {
    let a = read(&json!({"video": {"bitrate_kbps": 700, "min_bitrate_kbps": 100}})).unwrap();
    let b = read(&json!({"video": {"bitrate_kbps": 800, "min_bitrate_kbps": 100}, "audio": {"sink": "none"}})).unwrap();
    let keys = [("audio", "sink"), ("video", "bitrate_kbps")].map(|(s, k)| (s.to_owned(), k.to_owned()));
    assert_eq!(a.difference(&b), keys.clone().into());
    assert_eq!(b.difference(&a), keys.into());
    assert!(a.difference(&a).is_empty());
    assert!(read(&json!({})).unwrap().is_empty() && read(&json!({"video": {}})).unwrap().is_empty());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "(auto|test|none|50hz|/dev/video0|127.0.0.1|mqtts://a|wss://a)".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(".{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A layer with keys of the schema and values of any kind.
fn any_layer() -> impl Strategy<Value = Map<String, Value>> {
    let schema = json_schema();
    let keys: Vec<(String, String)> = schema["properties"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(s, schema)| schema["properties"].as_object().unwrap().keys().map(move |k| (s.clone(), k.clone())))
        .collect();
    proptest::collection::vec((proptest::sample::select(keys), any_json()), 0..6).prop_map(|entries| {
        let mut map = Map::new();
        for ((section, key), value) in entries {
            let section = map.entry(section).or_insert_with(|| json!({}));
            section.as_object_mut().unwrap().insert(key, value);
        }
        map
    })
}

proptest! {
    #[test]
    fn any_json_is_a_layer_or_has_errors(object in any_json(), map in any_layer()) {
        for object in object.as_object().into_iter().chain([&map]) {
            match Layer::read(object) {
                Ok(layer) => {
                    // What is read is not changed on the way: every key is where it was.
                    for (section, key, _) in layer.keys() {
                        prop_assert!(object[section].get(key).is_some());
                    }
                    if let Ok(merged) = merge(&site(), &[&layer]) {
                        // A pushed configuration is one that the site file could be.
                        let text = toml::to_string(&merged.config).unwrap();
                        prop_assert_eq!(crate::config::parse(&text).map_err(|e| e.to_string()), Ok(merged.config));
                    }
                }
                Err(errors) => prop_assert!(!errors.is_empty()),
            }
        }
    }
}

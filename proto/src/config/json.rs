//! The schema of `kiosk.toml` as JSON Schema.

use std::sync::LazyLock;

use super::schema::Config;

static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(json_schema);

/// The same as [`json_schema`], made once.
pub(super) fn schema() -> &'static serde_json::Value {
    &SCHEMA
}

/// The JSON Schema of `kiosk.toml`: what [`super::parse`] enforces, and what editors and deployment tools check with.
pub fn json_schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "kiosk.toml".into());
    }
    plain(&mut schema);
    schema
}

/// Takes out what TOML and people have no use for: `null`, Rust's integer types, and the defaults of whole sections.
fn plain(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(map) => {
            if let Some(serde_json::Value::Array(types)) = map.get("type")
                && let [only, null] = types.as_slice()
                && null == "null"
            {
                let only = only.clone();
                map.insert("type".into(), only);
            }
            if matches!(map.get("format").and_then(|f| f.as_str()), Some("uint32" | "uint64" | "double")) {
                map.remove("format");
            }
            if map.get("default").is_some_and(serde_json::Value::is_object) {
                map.remove("default");
            }
            map.values_mut().for_each(plain);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

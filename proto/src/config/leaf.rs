//! One value against its schema: type, range, words, and the rules of texts that a schema can't state.

use std::net::IpAddr;

use serde_json::Value as Schema;
use toml::de::DeValue;

use super::proxy::ProxyAddress;
use super::relay::RelayUrl;
use super::values::{BrokerUrl, Bus, CameraDevice, EncoderChoice, InvalidValue, JanusUrl, KioskId, PortRange};
use crate::fleet::{GroupName, TrustedKey};

pub(super) fn format_of(schema: &Schema) -> Option<&str> {
    schema.get("format").and_then(Schema::as_str)
}

fn alternatives(schema: &Schema) -> Option<&Vec<Schema>> {
    schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Schema::as_array)
}

/// The value, or what would be allowed.
pub(super) fn leaf(value: &DeValue<'_>, schema: &Schema) -> Result<toml::Value, String> {
    if let Some(alternatives) = alternatives(schema) {
        return alternatives.iter().find_map(|schema| leaf(value, schema).ok()).ok_or_else(|| describe(schema));
    }
    let refused = || describe(schema);
    let wanted = schema.get("type").and_then(Schema::as_str).unwrap_or_default();
    match (wanted, value) {
        ("boolean", DeValue::Boolean(value)) => Ok(toml::Value::Boolean(*value)),
        ("string", DeValue::String(text)) => {
            let length = text.chars().count() as u64;
            let limit = |name: &str| schema.get(name).and_then(Schema::as_u64);
            let words = words(schema);
            if (!words.is_empty() && !words.contains(&text.as_ref()))
                || limit("minLength").is_some_and(|least| length < least)
                || limit("maxLength").is_some_and(|most| length > most)
            {
                return Err(refused());
            }
            check_format(format_of(schema), text).map_err(|invalid| invalid.0)?;
            Ok(toml::Value::String(text.clone().into_owned()))
        }
        ("integer", DeValue::Integer(digits)) => {
            let number = i64::from_str_radix(digits.as_str(), digits.radix()).map_err(|_| refused())?;
            let bound = |name: &str| schema.get(name).and_then(Schema::as_i64);
            let step = bound("multipleOf").unwrap_or(1);
            let inside = bound("minimum").is_none_or(|least| number >= least)
                && bound("maximum").is_none_or(|most| number <= most)
                && number.checked_rem(step).unwrap_or(0) == 0;
            if inside { Ok(toml::Value::Integer(number)) } else { Err(refused()) }
        }
        ("number", DeValue::Integer(_) | DeValue::Float(_)) => {
            let number: f64 = match value {
                DeValue::Float(digits) => digits.as_str().parse().map_err(|_| refused())?,
                DeValue::Integer(digits) => {
                    i64::from_str_radix(digits.as_str(), digits.radix()).map_err(|_| refused())? as f64
                }
                _ => return Err(refused()),
            };
            let bound = |name: &str| schema.get(name).and_then(Schema::as_f64);
            // Written so that "not a number" is outside.
            let inside = number.is_finite()
                && bound("minimum").is_none_or(|least| number >= least)
                && bound("maximum").is_none_or(|most| number <= most);
            if inside { Ok(toml::Value::Float(number)) } else { Err(refused()) }
        }
        ("array", DeValue::Array(items)) => {
            let count = items.len() as u64;
            let limit = |name: &str| schema.get(name).and_then(Schema::as_u64);
            let of = schema.get("items").ok_or_else(refused)?;
            if limit("minItems").is_some_and(|least| count < least)
                || limit("maxItems").is_some_and(|most| count > most)
            {
                return Err(refused());
            }
            let items = items.iter().map(|item| leaf(item.get_ref(), of).map_err(|_| refused()));
            items.collect::<Result<Vec<_>, _>>().map(toml::Value::Array)
        }
        _ => Err(refused()),
    }
}

/// The words that a string may be; empty when it is free.
fn words(schema: &Schema) -> Vec<&str> {
    let several = schema.get("enum").and_then(Schema::as_array).into_iter().flatten();
    several.chain(schema.get("const")).filter_map(Schema::as_str).collect()
}

/// The rules of a text that a schema can't state.
fn check_format(format: Option<&str>, text: &str) -> Result<(), InvalidValue> {
    match format {
        Some("kiosk-id") => KioskId::try_from(text.to_owned()).map(drop),
        Some("janus-url") => JanusUrl::try_from(text.to_owned()).map(drop),
        Some("port-range") => PortRange::try_from(text.to_owned()).map(drop),
        Some("camera-device") => CameraDevice::try_from(text.to_owned()).map(drop),
        Some("encoder") => EncoderChoice::try_from(text.to_owned()).map(drop),
        Some("broker-url") => BrokerUrl::try_from(text.to_owned()).map(drop),
        Some("group-name") => GroupName::try_from(text.to_owned()).map(drop),
        Some("trusted-key") => TrustedKey::try_from(text.to_owned()).map(drop),
        Some("proxy-address") => ProxyAddress::try_from(text.to_owned()).map(drop),
        Some("relay-url") => RelayUrl::try_from(text.to_owned()).map(drop),
        Some("bus") => Bus::try_from(text.to_owned()).map(drop),
        Some("ip-address") => match text.parse::<IpAddr>() {
            Ok(address) if !address.is_unspecified() && !address.is_multicast() => Ok(()),
            _ => Err(InvalidValue("the literal address of one interface, such as \"10.20.30.40\"".into())),
        },
        Some("absolute-path") if !is_absolute(text) => {
            Err(InvalidValue("an absolute path, such as \"/etc/kiosk/NAME\"".into()))
        }
        Some("secret-file") if !is_absolute(text) => Err(InvalidValue(
            "the absolute path of a file that holds the secret, never the secret itself, such as \
             \"/etc/kiosk/secrets/token\""
                .into(),
        )),
        _ => Ok(()),
    }
}

fn is_absolute(text: &str) -> bool {
    text.starts_with('/') && text.len() > 1 && !text.contains('\0')
}

/// What a schema allows, in words.
pub(super) fn describe(schema: &Schema) -> String {
    if let Some(alternatives) = alternatives(schema) {
        return list(&alternatives.iter().map(describe).collect::<Vec<_>>());
    }
    let words = words(schema);
    if !words.is_empty() {
        return list(&words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>());
    }
    let range = || match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        _ => String::new(),
    };
    match schema.get("type").and_then(Schema::as_str) {
        Some("boolean") => "true or false".into(),
        Some("integer") if schema.get("multipleOf").and_then(Schema::as_u64) == Some(2) => {
            format!("an even number{}", range())
        }
        Some("integer") => format!("a whole number{}", range()),
        Some("number") => format!("a number{}", range()),
        Some("array") => {
            let of = schema.get("items").map(describe).unwrap_or_default();
            match (schema.get("minItems").and_then(Schema::as_u64), schema.get("maxItems")) {
                (least, Some(most)) => format!("a list of {} to {most}: each {of}", least.unwrap_or(0)),
                _ => format!("a list: each {of}"),
            }
        }
        _ => match check_format(format_of(schema), "") {
            Err(invalid) => invalid.0,
            Ok(()) => match (schema.get("minLength"), schema.get("maxLength")) {
                (Some(least), Some(most)) => format!("a text of {least} to {most} characters"),
                _ => "a text".into(),
            },
        },
    }
}

fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

pub(super) fn describe_value(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", shortened(text)),
        DeValue::Integer(digits) => shortened(&digits.to_string()),
        DeValue::Float(digits) => shortened(digits.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a section".into(),
    }
}

pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST).chain(['…']).collect() }
}

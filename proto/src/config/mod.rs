//! What a site can set: `kiosk.toml`, strict, with defaults, ranges and rules between keys.
//!
//! The structs of [`Config`] are the only place where keys, defaults and ranges are written. The JSON Schema is made of
//! them, and [`parse`] checks a file against that very schema, so that what is published and what is enforced is one.
//!
//! A file goes through three steps: each value alone (`check`), the structs, the rules between keys (`rules`). The
//! first yields a plain table, so that several layers can be checked one by one and merged before the other two.

mod check;
mod errors;
mod excerpt;
mod fleet;
mod json;
mod key_rules;
#[cfg(test)]
mod key_table;
mod layer;
mod leaf;
mod proxy;
mod relay;
mod rules;
mod schema;
mod values;

#[cfg(test)]
mod tests;

pub use errors::{ConfigError, ConfigErrors, Problem};
pub use fleet::Fleet;
pub use json::json_schema;
pub use key_rules::{KeyRules, Pushed, TakesEffect, key_rules};
pub use layer::{Layer, LayerError, Merged, Origin, Site, merge};
pub use proxy::{Proxy, ProxyAddress};
pub use relay::{Relay, RelayPolicy, RelayUrl};
pub use schema::{
    Audio, AudioSink, AudioSource, Camera, CameraSource, Config, Control, Display, DisplaySink, Ice, Janus, Kiosk,
    NoiseSuppression, PowerLine, Video,
};
pub use values::{
    Adjustment, BrokerUrl, Bus, CameraDevice, EncoderChoice, InvalidValue, JanusUrl, Kbps, KioskId, PortRange,
    SecretFile,
};

use check::{Finding, Findings, Scope};
use toml::Spanned;
use toml::de::DeTable;

/// The largest file that is read, bytes. A complete one has about 2,000.
const MAX_BYTES: usize = 64 * 1024;

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with the text, in the order of the lines, not only the first thing.
pub fn parse(text: &str) -> Result<Config, ConfigErrors> {
    parse_table(text).map(|(_, config)| config)
}

/// The same, with the plain table that the file is: what it sets, without defaults.
fn parse_table(text: &str) -> Result<(toml::Table, Config), ConfigErrors> {
    let (document, syntax) = parse_document(text)?;
    let mut findings = Findings::default();
    let table = check::table(document.get_ref(), json::schema(), Scope::Whole, &mut findings);
    if !syntax.is_empty() {
        return Err(ConfigErrors::from_findings(text, with_syntax_errors(text, syntax, findings)));
    }
    match serde::Deserialize::deserialize(toml::Value::Table(table.clone())) {
        Ok(config) => {
            rules::check(&config, &mut findings);
            if findings.list.is_empty() {
                return Ok((table, config));
            }
        }
        // The schema allows what the structs refuse; the property tests look for such a gap.
        Err(error) => findings.list.push(Finding::without_place("", Problem::Rule(error.message().to_owned()))),
    }
    Err(ConfigErrors::from_findings(text, findings.list))
}

/// The text as TOML, as far as it is, and what of it is not.
fn parse_document(text: &str) -> Result<(Spanned<DeTable<'_>>, Vec<toml::de::Error>), ConfigErrors> {
    if text.len() > MAX_BYTES {
        let problem = Problem::TooLarge { bytes: text.len(), allowed: MAX_BYTES };
        return Err(ConfigErrors::from_findings("", vec![Finding::without_place("", problem)]));
    }
    Ok(DeTable::parse_recoverable(text))
}

/// What is not TOML comes first; of the rest only what the broken lines can't have caused.
fn with_syntax_errors(text: &str, syntax: Vec<toml::de::Error>, findings: Findings) -> Vec<Finding> {
    let line_of = |offset: usize| text.bytes().take(offset).filter(|b| *b == b'\n').count();
    let broken: Vec<Finding> = syntax
        .into_iter()
        .map(|error| Finding {
            key: String::new(),
            span: error.span(),
            problem: Problem::Syntax(error.message().replace('\n', "; ")),
        })
        .collect();
    let first_broken = broken.iter().filter_map(|f| f.span.as_ref()).map(|span| line_of(span.start)).min();
    let unaffected = findings.list.into_iter().filter(|finding| {
        let line = finding.span.as_ref().map(|span| line_of(span.start));
        !matches!(finding.problem, Problem::Missing { .. }) && line < first_broken
    });
    let mut all: Vec<Finding> = unaffected.collect();
    all.extend(broken);
    all
}

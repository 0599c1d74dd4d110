//! A `kiosk.toml`: either a configuration that survives being written and read, or errors that have a place.
#![no_main]

use kiosk_proto::config::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| match parse(text) {
    Ok(config) => {
        let written = toml::to_string(&config).expect("a configuration can be written");
        assert_eq!(parse(&written).as_ref(), Ok(&config), "{written}");
    }
    Err(errors) => {
        let lines = text.split('\n').count();
        assert!(errors.iter().next().is_some());
        assert!(errors.iter().all(|error| (1..=lines).contains(&error.line) && error.column >= 1), "{errors:?}");
        assert!(!errors.to_string().is_empty());
    }
});

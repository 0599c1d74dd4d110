//! What a technician reads at the command line: what is wrong with a configuration, and which encoder a call would use.
#![cfg_attr(test, allow(clippy::unwrap_used))]

use gstreamer as gst;
use gstreamer::prelude::*;
use std::{fs, os::unix::fs::symlink, path::Path, process::Command};
use tempfile::TempDir;

/// What the daemon's program printed, and its exit code; the temporary directory is called DIR.
fn kioskd(dir: &Path, arguments: &[&str], environment: &[(&str, &Path)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kioskd"));
    command.env("LC_ALL", "C");
    let output = command.args(arguments).current_dir(dir).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&dir.display().to_string(), "DIR");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// `check-config` refuses a text, and `run` does it in the same words.
fn refused(text: &str) -> String {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("kiosk.toml"), text).unwrap();
    let checked = kioskd(dir.path(), &["check-config", "kiosk.toml"], &[]);
    let run = kioskd(dir.path(), &["run", "--config", "kiosk.toml"], &[]);
    assert_eq!(checked, run);
    assert_eq!((checked.0, checked.1.as_str()), (1, ""), "{checked:?}");
    checked.2
}

#[test]
fn the_installed_example_and_the_shortest_configuration_are_good() {
    let dir = TempDir::new().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kiosk.toml");
    fs::copy(example, dir.path().join("example.toml")).unwrap();
    let shortest = "[kiosk]\nid = \"a\"\n[janus]\nurl = \"wss://janus.bank.example/\"\nroom = 1\n";
    fs::write(dir.path().join("shortest.toml"), shortest).unwrap();
    for file in ["example.toml", "shortest.toml"] {
        let expected = (0, format!("{file}: no errors\n"), String::new());
        assert_eq!(kioskd(dir.path(), &["check-config", file], &[]), expected);
    }
}

#[test]
fn every_error_is_told_with_its_place_what_is_allowed_and_the_nearest_key() {
    insta::assert_snapshot!(refused(
        r#"[kiosk]
id = "Branch 7"
[janus]
url = "ws://janus.bank.example/"
rom = 1001
media_ports = "40099-40000"
[camera]
source = "file"
[video]
bitrate_kbps = "fast"
[audoi]
gain_db = 3.0
"#
    ));
}

#[test]
fn a_text_that_is_not_toml_is_told_with_its_place() {
    insta::assert_snapshot!(refused("[kiosk]\nid = \"a\n"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let dir = TempDir::new().unwrap();
    let (code, out, error) = kioskd(dir.path(), &["check-config", "absent.toml"], &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    insta::assert_snapshot!(error);
}

/// `kioskd encoders` where GStreamer has only the plugins of these elements; how long a trial took is called N.
fn encoders(elements: &[&str]) -> (i32, String, String) {
    gst::init().unwrap();
    let dir = TempDir::new().unwrap();
    let plugins = dir.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    for element in elements {
        let factory = gst::ElementFactory::find(element).unwrap_or_else(|| panic!("{element} is not installed"));
        let file = factory.plugin().unwrap().filename().unwrap();
        let _ = symlink(&file, plugins.join(file.file_name().unwrap()));
    }
    let (registry, nothing) = (dir.path().join("registry.bin"), dir.path().join("nothing"));
    let environment = [
        ("GST_PLUGIN_SYSTEM_PATH_1_0", plugins.as_path()),
        ("GST_PLUGIN_PATH_1_0", &nothing),
        ("GST_REGISTRY_1_0", &registry),
    ];
    let (code, out, error) = kioskd(dir.path(), &["encoders"], &environment);
    let without_time = |line: &str| match line.split_once(" ms for the trial") {
        Some((start, end)) => {
            format!("{}N ms for the trial{end}\n", start.trim_end_matches(|c: char| c.is_ascii_digit()))
        }
        None => format!("{line}\n"),
    };
    (code, out.lines().map(without_time).collect(), error)
}

const TRIAL: [&str; 6] = ["videotestsrc", "videoconvert", "capsfilter", "appsink", "h264parse", "typefind"];

#[test]
fn encoders_are_listed_with_what_was_found_and_the_first_that_works_is_chosen() {
    let (code, out, _) = encoders(&[&TRIAL[..], &["x264enc", "openh264enc"]].concat());
    assert_eq!(code, 0);
    insta::assert_snapshot!(out);
    let (code, out, _) = encoders(&[&TRIAL[..], &["openh264enc"]].concat());
    assert_eq!(code, 0);
    assert!(out.contains("x264enc        software                                 not used: not installed\n"), "{out}");
    assert!(out.ends_with("\nchosen: openh264enc\n"), "{out}");
}

#[test]
fn an_encoder_that_is_installed_and_does_not_work_is_told_with_the_reason() {
    // Its trial needs a parser, which is missing.
    let elements: Vec<&str> = TRIAL.into_iter().filter(|element| *element != "h264parse").collect();
    let (code, out, error) = encoders(&[&elements[..], &["x264enc"]].concat());
    assert_eq!(code, 1);
    insta::assert_snapshot!(format!("{out}{error}"));
}

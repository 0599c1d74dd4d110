use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{FaultCode, Part};

const BEGIN: &str = "<!-- ./dev schema: begin -->\n";
const END: &str = "<!-- ./dev schema: end -->\n";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn tables() -> String {
    let parts: [(&str, &str, &[Part]); 4] = [
        ("On the way to the server", "", &[Part::Server]),
        ("Media", "", &[Part::Media, Part::Agent, Part::Violation]),
        ("Fleet", "The journal and the fleet are told; a call goes on with each of them.\n\n", &[Part::Fleet]),
        ("Devices", "The call goes on without the device, and has it back when it works again.\n\n", &[Part::Device]),
    ];
    let mut out = String::new();
    for (title, text, of) in parts {
        write!(out, "### {title}\n\n{text}| code | what it means | what to do |\n|---|---|---|\n").unwrap();
        for code in FaultCode::ALL.iter().filter(|code| of.contains(&code.part())) {
            writeln!(out, "| `{code}` | {} | {} |", code.meaning(), code.remedy()).unwrap();
        }
        out.push('\n');
    }
    out.trim_end().to_owned() + "\n"
}

/// The name begins as that of the test of the schema does: one command writes both.
#[test]
fn the_schema_in_the_repository_has_the_faults_beside_it() {
    let path = file("docs/kiosk.md");
    let kept = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = kept.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let wanted = format!("{before}{BEGIN}{}{END}{after}", tables());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(
        kept == wanted,
        "the faults in docs/kiosk.md are not those of proto/src/fault.rs: ./dev schema writes them"
    );
}

#[test]
fn every_code_has_a_name_of_its_own_and_stands_in_one_table() {
    let names: BTreeSet<&str> = FaultCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), FaultCode::ALL.len());
    let tables = tables();
    for name in names {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        assert_eq!(tables.matches(&format!("\n| `{name}` |")).count(), 1, "{name}");
    }
}

//! Mends a configuration file of Janus in place: comments and everything else stay as they are. Pure.

use super::jcfg::{self, SyntaxError};

/// One change to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Take the setting out, with the rest of its line when nothing else stands there.
    Remove(String),
    /// Write `value`, as it stands in the file (a string with its quotes), to the setting; add it when it is not there.
    Set(String, String),
}

/// The file after one change.
pub fn apply(text: &str, edit: &Edit) -> Result<String, SyntaxError> {
    let document = jcfg::parse(text)?;
    Ok(match edit {
        Edit::Remove(path) => match document.get(path) {
            Some(setting) => {
                let (start, end) = whole_line(text, setting.place.start, setting.place.end);
                splice(text, start, end, "")
            }
            None => text.to_owned(),
        },
        Edit::Set(path, value) => {
            let (group, name) = path.rsplit_once('.').unwrap_or(("", path));
            let line = format!("{name} = {value}");
            if let Some(setting) = document.get(path) {
                splice(text, setting.place.start, setting.place.end, &line)
            } else if let Some((_, inside)) = document.groups.iter().find(|(path, _)| path == group) {
                splice(text, *inside, *inside, &format!("\n\t{line}"))
            } else if group.is_empty() {
                format!("{text}\n{line}\n")
            } else {
                format!("{text}\n{group}: {{\n\t{line}\n}}\n")
            }
        }
    })
}

/// Widened to the line's begin and end, where only blanks and a comment are left of it.
fn whole_line(text: &str, start: usize, end: usize) -> (usize, usize) {
    let before = text.get(..start).unwrap_or_default();
    let after = text.get(end..).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line_end = after.find('\n').map_or(text.len(), |at| end + at + 1);
    let blank_before = before.get(line_start..).is_some_and(|left| left.trim().is_empty());
    let right = text.get(end..line_end).unwrap_or_default().trim();
    let nothing_after = right.is_empty() || right.starts_with('#') || right.starts_with("//");
    if blank_before && nothing_after { (line_start, line_end) } else { (start, end) }
}

fn splice(text: &str, start: usize, end: usize, with: &str) -> String {
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    format!("{}{with}{}", part(0..start), part(end..text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# kept\nnat: {\n\tstun = \"x\"  # why\n\tice_tcp = false;\n}\nmedia: { a = 1; b = 2 }\n";

    fn edited(edit: Edit) -> String {
        apply(FILE, &edit).unwrap()
    }

    #[test]
    fn a_removed_setting_takes_its_line_and_nothing_else() {
        let gone = edited(Edit::Remove("nat.stun".to_owned()));
        assert_eq!(gone, "# kept\nnat: {\n\tice_tcp = false;\n}\nmedia: { a = 1; b = 2 }\n");
        assert_eq!(edited(Edit::Remove("media.a".to_owned())), FILE.replace("a = 1;", ""));
        assert_eq!(edited(Edit::Remove("nat.none".to_owned())), FILE);
    }

    #[test]
    fn a_setting_is_changed_added_or_gets_a_group() {
        let set = |path: &str, value: &str| edited(Edit::Set(path.to_owned(), value.to_owned()));
        assert_eq!(set("nat.ice_tcp", "true"), FILE.replace("ice_tcp = false;", "ice_tcp = true"));
        for (path, value) in [("nat.new", "\"v\""), ("fresh.one", "1"), ("top", "true")] {
            let text = set(path, value);
            let found = jcfg::parse(&text).unwrap();
            assert_eq!(found.get(path).map(|setting| setting.text()), Some(value.trim_matches('"')), "{text}");
            assert_eq!(found.settings.len(), 5, "{text}");
        }
    }
}

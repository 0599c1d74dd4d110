//! The line of a file under which an error puts its caret, without anything that may be a secret.

use std::fmt;
use std::ops::Range;

/// The longest part of a line that is shown, characters.
const MAX_SHOWN: usize = 120;

/// A line with a mark under what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    line: usize,
    text: String,
    /// Characters of `text` to mark; what is wrong may be its end.
    mark: Range<usize>,
}

impl Excerpt {
    /// Line and column of a byte span, both from 1, and the line itself unless it can't be shown.
    pub(super) fn at(text: &str, span: Option<Range<usize>>) -> (usize, usize, Option<Self>) {
        let Some(span) = span else { return (1, 1, None) };
        let start = floor_char_boundary(text, span.start);
        let end = floor_char_boundary(text, span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[..start].matches('\n').count() + 1;
        let column = text[line_start..start].chars().count() + 1;

        // In a text with multi-line strings a line can't tell whether it is part of a secret.
        let multi_line = text.contains("\"\"\"") || text.contains("'''");
        let shown = if multi_line { None } else { showable(&text[line_start..line_end]) };
        let excerpt = shown.filter(|shown| !shown.trim().is_empty()).map(|shown| {
            let length = shown.chars().count();
            let marked = text[start..end.min(line_end)].chars().count().max(1);
            let from = (column - 1).min(length);
            Self { line, text: shown, mark: from..(from + marked).min(length.max(from + 1)) }
        });
        (line, column, excerpt)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>5} | {}", self.line, self.text)?;
        let (before, mark) = (" ".repeat(self.mark.start), "^".repeat(self.mark.len()));
        write!(f, "      | {before}{mark}")
    }
}

/// What may be shown of a line: all of it, only its key, or nothing.
fn showable(line: &str) -> Option<String> {
    let printable =
        |text: &str| -> String { text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect() };
    if !hints_at_secret(line) {
        return Some(printable(line));
    }
    let (key, _) = line.split_once('=')?;
    Some(format!("{}= (not shown)", printable(key)))
}

/// Whether a key, or a line, may carry something that must not reach a journal or a screen.
pub(super) fn hints_at_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let words = ["token", "secret", "passw", "passphrase", "credential", "apikey", "private"];
    // In an address, what stands before an @ or behind a ? may be one.
    let address_with_more = text.contains("://") && text.contains(['@', '?']);
    address_with_more
        || words.iter().any(|word| text.contains(word))
        || text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| matches!(word, "pin" | "key" | "pwd"))
}

fn floor_char_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

//! What is printed, and tables for people. Much of it comes from kiosks and through the broker: whatever could steer a
//! terminal is shown as JSON writes it (`\u001b`), so that JSON stays what it is. A reader that has read enough
//! (`kioskctl ... | head -1`) ends nothing but the printing: `println!` would panic.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

/// Why nothing is printed to standard output any more.
static TROUBLE: OnceLock<ErrorKind> = OnceLock::new();

/// Prints to standard output, as `print!` does.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::print(format_args!($($text)*)) };
}

/// Prints a line to standard output, as `println!` does.
macro_rules! outln {
    ($($text:tt)*) => { $crate::output::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints to standard error, as `eprint!` does.
macro_rules! err {
    ($($text:tt)*) => { $crate::output::complain(format_args!($($text)*)) };
}

/// Prints a line to standard error, as `eprintln!` does.
macro_rules! errln {
    ($($text:tt)*) => { $crate::output::complain(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints to standard output at once, as long as that takes anything; [`exit_code`] tells when it did not.
pub fn print(text: fmt::Arguments<'_>) {
    if is_closed() {
        return;
    }
    write(&escaped(&text.to_string(), &['\n', '\t']));
}

/// Empties the terminal's screen.
pub fn clear_screen() {
    write("\x1b[H\x1b[2J");
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        let _ = TROUBLE.set(error.kind());
    }
}

/// Prints to standard error. Where that is closed too, there is nobody to tell.
pub fn complain(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let _ = io::stderr().lock().write_all(escaped(&text, &['\n', '\t']).as_bytes());
}

/// A text of somebody else as a part of a line: it can't begin another one.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, &[])
}

/// Control characters, line separators, and what turns the direction of writing, except those that are allowed, as
/// JSON escapes them. All of them have four digits.
fn escaped<'a>(text: &'a str, allowed: &[char]) -> Cow<'a, str> {
    let steers = |c: char| {
        let turns =
            matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (c.is_control() || turns) && !allowed.contains(&c)
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match steers(c) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Whether nothing that is printed arrives any more. What has no other purpose ends then.
pub fn is_closed() -> bool {
    TROUBLE.get().is_some()
}

/// What a shell is told at the end. A reader that went away is no failure; a disk that is full is one.
pub fn exit_code(code: ExitCode) -> ExitCode {
    match TROUBLE.get() {
        None | Some(ErrorKind::BrokenPipe) => code,
        Some(trouble) => {
            errln!("cannot write to standard output: {trouble}");
            ExitCode::FAILURE
        }
    }
}

/// Columns as wide as their widest cell, without lines between them.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    pub fn new<const N: usize>(heads: [&str; N]) -> Self {
        Self { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    /// Adds a row. A cell stays in its line.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| one_line(cell).into_owned()).collect());
    }

    /// Whether nothing stands under the heads.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let pad = width.saturating_sub(cell.chars().count()) + 2;
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', pad));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ESC, BEL, DEL, CSI of one byte, a carriage return, and an override of the direction of writing.
    const HOSTILE: &str = "1\x1b]0;owned\x07\x7f\u{9b}2J\r\u{202e}\u{2066}2";

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        let shown = escaped(HOSTILE, &['\n', '\t']);
        assert_eq!(shown, r"1\u001b]0;owned\u0007\u007f\u009b2J\u000d\u202e\u20662");
        assert_eq!(escaped("a\tb\n", &['\n', '\t']), "a\tb\n");
        assert_eq!(one_line("a\nb\u{2028}c"), r"a\u000ab\u2028c");
        for fine in ["\u{ac15}\u{b0a8} 1\u{d638}\u{c810}", "100 % \u{2192} \u{fc}"] {
            assert!(matches!(one_line(fine), Cow::Borrowed(_)), "{fine}");
        }
        // JSON says the same with it: DEL and what follows are not escaped by serde_json.
        let json = serde_json::json!({ "version": HOSTILE }).to_string();
        let read: serde_json::Value = serde_json::from_str(&escaped(&json, &['\n', '\t'])).unwrap();
        assert_eq!(read["version"], HOSTILE);
    }

    #[test]
    fn a_cell_stays_in_its_row_and_column() {
        let mut table = Table::new(["KIOSK", "VERSION"]);
        table.row(["k-1".into(), "0.1\x1b[1A\nk-2  0.2".into()]);
        assert_eq!(table.to_string(), "KIOSK  VERSION\nk-1    0.1\\u001b[1A\\u000ak-2  0.2\n");
    }
}

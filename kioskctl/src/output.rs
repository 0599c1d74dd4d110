//! What is printed, and tables for people. A reader that has read enough (`kioskctl ... | head -1`) ends nothing but the
//! printing: `println!` would panic.

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
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) {
        let _ = TROUBLE.set(error.kind());
    }
}

/// Prints to standard error. Where that is closed too, there is nobody to tell.
pub fn complain(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
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

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
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

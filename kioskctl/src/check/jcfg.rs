//! Reads what Janus reads: a configuration file in the format of libconfig (hyperrealm.github.io/libconfig, "Configuration
//! Files"). Each setting keeps its line and its place, so that a check can point at it and mend it. Pure.

use std::ops::Range;

/// Groups within groups that are followed; Janus has three.
const MAX_DEPTH: usize = 16;

/// A value that is not a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Adjacent strings are one.
    Text(String),
    /// Integers of any base, as written.
    Number(String),
    /// `true` or `false`, in any case.
    Bool(bool),
    /// An array or list; what it holds is not looked at.
    Many,
}

/// One setting, with the names of the groups around it: `nat.ice_tcp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Names from the outermost group on, joined by dots.
    pub path: String,
    /// Its value.
    pub value: Value,
    /// Counted from 1.
    pub line: usize,
    /// From the first byte of the name to the last of the value and its `;`.
    pub place: Range<usize>,
}

impl Setting {
    /// The value as Janus takes it: it reads most settings as strings.
    pub fn text(&self) -> &str {
        match &self.value {
            Value::Text(text) | Value::Number(text) => text,
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            Value::Many => "",
        }
    }

    /// As Janus decides it (`janus_is_true`): yes, true and 1.
    pub fn is_true(&self) -> bool {
        matches!(self.text().to_ascii_lowercase().as_str(), "true" | "yes" | "1")
    }
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// In the order of the file.
    pub settings: Vec<Setting>,
    /// Each group's path, and where its inside begins.
    pub groups: Vec<(String, usize)>,
}

impl Document {
    /// The setting of this path; Janus takes the first.
    pub fn get(&self, path: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.path == path)
    }
}

/// The file is not in this format, so Janus does not start with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// Counted from 1.
    pub line: usize,
    /// What was expected.
    pub problem: &'static str,
}

/// Reads a whole file.
pub fn parse(text: &str) -> Result<Document, SyntaxError> {
    let mut reader = Reader { text, at: 0, found: Document::default() };
    reader.settings("", 0)?;
    match reader.peek() {
        None => Ok(reader.found),
        Some(_) => Err(reader.error("a name was expected")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    found: Document,
}

impl Reader<'_> {
    fn error(&self, problem: &'static str) -> SyntaxError {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        SyntaxError { line: before.iter().filter(|byte| **byte == b'\n').count() + 1, problem }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes over blanks and comments to the next character.
    fn peek(&mut self) -> Option<char> {
        loop {
            let rest = self.rest();
            let skip = if rest.starts_with('#') || rest.starts_with("//") || rest.starts_with('@') {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            } else {
                rest.len() - rest.trim_start().len()
            };
            if skip == 0 {
                return rest.chars().next();
            }
            self.at += skip;
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn settings(&mut self, group: &str, depth: usize) -> Result<(), SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.error("too many groups within groups"));
        }
        while let Some(first) = self.peek() {
            if !(first.is_ascii_alphabetic() || first == '*') {
                return Ok(());
            }
            let start = self.at;
            let name_end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '.'));
            let length = self.rest().find(name_end).unwrap_or(self.rest().len());
            let name = self.rest().get(..length).unwrap_or_default();
            let path = if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") };
            self.at += length;
            if !self.take(':') && !self.take('=') {
                return Err(self.error("`=` or `:` was expected after a name"));
            }
            let line = self.error("").line;
            if self.take('{') {
                self.found.groups.push((path.clone(), self.at));
                self.settings(&path, depth + 1)?;
                if !self.take('}') {
                    return Err(self.error("`}` or a name was expected"));
                }
                let _ = self.take(';') || self.take(',');
            } else {
                let value = self.value(depth)?;
                let mut end = self.at;
                if self.take(';') || self.take(',') {
                    end = self.at;
                }
                self.found.settings.push(Setting { path, value, line, place: start..end });
            }
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.error("too many lists within lists"));
        }
        match self.peek() {
            Some('"') => self.strings(),
            Some(open @ ('[' | '(')) => {
                self.at += 1;
                let close = if open == '[' { ']' } else { ')' };
                while !self.take(close) {
                    if self.take('{') {
                        // The groups of a list have no name; nothing that is checked stands in one.
                        let kept = (self.found.settings.len(), self.found.groups.len());
                        self.settings("", depth + 1)?;
                        self.found.settings.truncate(kept.0);
                        self.found.groups.truncate(kept.1);
                        if !self.take('}') {
                            return Err(self.error("`}` was expected"));
                        }
                    } else {
                        self.value(depth + 1)?;
                    }
                    let _ = self.take(',');
                }
                Ok(Value::Many)
            }
            Some(_) => self.scalar(),
            None => Err(self.error("a value was expected")),
        }
    }

    fn strings(&mut self) -> Result<Value, SyntaxError> {
        let mut text = String::new();
        let mut end = self.at;
        while self.peek() == Some('"') {
            self.at += 1;
            loop {
                let Some(next) = self.next() else { return Err(self.error("a string does not end")) };
                match next {
                    '"' => break,
                    '\\' => {
                        let Some(escaped) = self.next() else { return Err(self.error("a string does not end")) };
                        text.push(match escaped {
                            'n' => '\n',
                            't' => '\t',
                            'r' => '\r',
                            other => other,
                        });
                    }
                    other => text.push(other),
                }
            }
            end = self.at;
        }
        self.at = end;
        Ok(Value::Text(text))
    }

    fn scalar(&mut self) -> Result<Value, SyntaxError> {
        let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'));
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        let word = self.rest().get(..length).unwrap_or_default().to_owned();
        let first = word.chars().next();
        let value = match word.to_ascii_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ if first.is_some_and(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => Value::Number(word),
            _ => return Err(self.error("a value was expected: a string in quotes, a number, true or false")),
        };
        self.at += length;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().settings.iter().map(|setting| (setting.path.clone(), setting.text().to_owned())).collect()
    }

    fn pair(path: &str, text: &str) -> (String, String) {
        (path.to_owned(), text.to_owned())
    }

    #[test]
    fn the_formats_own_freedoms_are_followed() {
        let text = "# one\nnat: {\n\tice_tcp = true; // two\n\t/* three\n */ list = [ \"/\", \"a}\" ]\n\tname : \"a\\\"b\" \"c\"\n\
                    bits = 0x1F, }\nrooms = ( { x = 1; }, { y = 2 } )\nlast = -5";
        let wanted = [
            pair("nat.ice_tcp", "true"),
            pair("nat.list", ""),
            pair("nat.name", "a\"bc"),
            pair("nat.bits", "0x1F"),
            pair("rooms", ""),
            pair("last", "-5"),
        ];
        assert_eq!(paths(text), wanted);
    }

    #[test]
    fn a_setting_knows_its_line_and_its_place() {
        let text = "a: {\n  b = \"x\" ;\n}\n";
        let settings = parse(text).unwrap().settings;
        assert_eq!(settings[0].line, 2);
        assert_eq!(&text[settings[0].place.clone()], "b = \"x\" ;");
    }

    #[test]
    fn what_is_not_in_the_format_is_refused_with_its_line() {
        for (text, line) in
            [("a = {\n b = 1", 2), ("a 1", 1), ("a = \"x", 1), ("\n\n}", 3), ("a = yes", 1), ("a = [1", 1)]
        {
            assert_eq!(parse(text).unwrap_err().line, line, "{text:?}");
        }
        let deep = "a = {".repeat(100_000);
        assert!(parse(&deep).is_err());
        assert!(parse(&format!("a = {}", "[".repeat(100_000))).is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[ab{}()\\[\\]=:;,\"\\\\#/*\n 01é]{0,60}") {
            let _ = parse(&text);
        }
    }
}

//! Templates with `${NAME}` placeholders.

use std::collections::BTreeMap;

/// Why a template and its values do not fit together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template asks for a value that there is none of.
    #[error("nothing to put in the place of ${{{0}}}")]
    Unknown(String),
    /// `${` without its end.
    #[error("a placeholder is not closed: {0:?}")]
    Unclosed(String),
}

/// Fills in every placeholder, once: a value is never searched for placeholders itself. A line that holds nothing but
/// a placeholder whose value is empty is left out.
pub fn fill(template: &str, values: &BTreeMap<&str, String>) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(template.len() * 2);
    for line in template.split_inclusive('\n') {
        let text = fill_line(line, values)?;
        if text.trim().is_empty() && !line.trim().is_empty() {
            continue;
        }
        filled.push_str(&text);
    }
    Ok(filled)
}

fn fill_line(line: &str, values: &BTreeMap<&str, String>) -> Result<String, TemplateError> {
    let mut filled = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or_else(|| TemplateError::Unclosed(line.trim().to_owned()))?;
        filled.push_str(before);
        filled.push_str(values.get(name).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?);
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&'static str, &str)]) -> BTreeMap<&'static str, String> {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    #[test]
    fn values_take_the_place_of_their_names() {
        assert_eq!(fill("a = ${A}-${B}\n", &values(&[("A", "1"), ("B", "2")])).unwrap(), "a = 1-2\n");
    }

    #[test]
    fn a_value_is_not_a_template() {
        assert_eq!(fill("${A}", &values(&[("A", "${B}"), ("B", "x")])).unwrap(), "${B}");
    }

    #[test]
    fn an_optional_line_goes_when_its_value_is_empty_and_blank_lines_stay() {
        assert_eq!(fill("x\n\t${A}\n\ny\n", &values(&[("A", "")])).unwrap(), "x\n\ny\n");
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        assert_eq!(fill("${A}", &values(&[])), Err(TemplateError::Unknown("A".into())));
        assert_eq!(fill("x ${A\n}", &values(&[])), Err(TemplateError::Unclosed("x ${A".into())));
    }
}

//! Java properties files, as Kafka's configuration is written.
//!
//! Owns the notation: `key=value`, `key: value`, comments with `#` or `!`, lines that go on after a backslash, and the
//! escapes `\t \n \r \f \uXXXX`. Must never guess: a line that is none of these is an error with its number.

use ottla_core::metadata::ExplicitConfig;

/// A line that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {problem}")]
pub struct PropertiesError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads a whole file. A key that stands twice has its last value, as in Java.
///
/// # Errors
/// [`PropertiesError`] with the number of the first line that cannot be read.
pub fn parse(text: &str) -> Result<ExplicitConfig, PropertiesError> {
    let mut values = ExplicitConfig::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut logical = line.trim_start().to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while goes_on(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let error = |problem: String| PropertiesError { line: index + 1, problem };
        let (key, value) = split(&logical);
        let key = unescape(key).map_err(error)?;
        if key.is_empty() {
            return Err(error(format!("no key before the value in {:?}", line.trim())));
        }
        values.insert(key, unescape(value.trim_end()).map_err(error)?);
    }
    Ok(values)
}

fn goes_on(line: &str) -> bool {
    line.chars().rev().take_while(|symbol| *symbol == '\\').count() % 2 == 1
}

/// The key ends at the first `=`, `:` or blank that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, symbol) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if symbol == '\\' {
            escaped = true;
        } else if matches!(symbol, '=' | ':' | ' ' | '\t') {
            let rest = line[at..].trim_start();
            let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], value.trim_start());
        }
    }
    (line, "")
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut symbols = text.chars();
    while let Some(symbol) = symbols.next() {
        if symbol != '\\' {
            plain.push(symbol);
            continue;
        }
        match symbols.next() {
            None => {}
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = symbols.by_ref().take(4).collect();
                let whole = digits.len() == 4;
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| whole).and_then(char::from_u32);
                plain.push(code.ok_or_else(|| format!("\\u{digits} is no character"))?);
            }
            Some(other) => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_as_java_reads_it() {
        let text = "# comment\n! too\n\nnode.id=1\nlisteners : PLAINTEXT://:9092,\\\n   SSL://:9093\nempty=\n  a\\=b = c\\u0041\\\\ \nnode.id=2\nflag";
        let expected = [
            ("a=b", "cA\\"),
            ("empty", ""),
            ("flag", ""),
            ("listeners", "PLAINTEXT://:9092,SSL://:9093"),
            ("node.id", "2"),
        ];
        let expected = expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_by_its_number() {
        assert_eq!(parse("a=1\n=2").unwrap_err().line, 2);
        assert_eq!(parse("a=\\u12").unwrap_err().to_string(), "line 1: \\u12 is no character");
    }
}

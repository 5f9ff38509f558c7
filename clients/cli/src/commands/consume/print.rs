//! One record on stdout: the value, a format like kcat's, JSON or YAML.
//!
//! Owns the `%` letters; they mean what they mean in kcat.

use std::io::{self, Write};

use ottla_client::{NamedPartition, Record};

use crate::commands::json::Line;
use crate::failure::{Exit, Failure, Result};
use crate::output::Format;
use crate::text;

/// How records are printed.
#[derive(Debug)]
pub(super) enum Printer {
    Pieces(Vec<Piece>),
    Json,
    Yaml,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    KeyLength,
    Value,
    ValueLength,
    ValueLengthBytes,
    Millis,
    Time,
    Headers,
}

impl Printer {
    pub(super) fn new(output: Format, format: Option<&str>, key_separator: Option<&str>) -> Result<Self> {
        let usage = |error: String| Failure::usage(error);
        match (output, format, key_separator) {
            (Format::Table, Some(format), _) => {
                parse(format).map(Self::Pieces).map_err(|error| usage(format!("--format: {error}")))
            }
            (Format::Table, None, Some(separator)) => {
                let separator =
                    text::unescape(separator).map_err(|error| usage(format!("--key-separator: {error}")))?;
                let line = Piece::Text(b"\n".to_vec());
                Ok(Self::Pieces(vec![Piece::Key, Piece::Text(separator), Piece::Value, line]))
            }
            (Format::Table, None, None) => Ok(Self::Pieces(vec![Piece::Value, Piece::Text(b"\n".to_vec())])),
            (Format::Json | Format::Yaml, Some(_), _) | (Format::Json | Format::Yaml, _, Some(_)) => Err(usage(
                "--output json or yaml prints whole records: leave --format and --key-separator out".to_owned(),
            )),
            (Format::Json, None, None) => Ok(Self::Json),
            (Format::Yaml, None, None) => Ok(Self::Yaml),
        }
    }

    pub(super) fn print(&self, out: &mut impl Write, partition: &NamedPartition, record: &Record) -> Result<()> {
        match self {
            Self::Pieces(pieces) => {
                for piece in pieces {
                    piece.print(out, partition, record)?;
                }
            }
            Self::Json => {
                let line = serde_json::to_vec(&Line::new(partition, record)).map_err(|error| unprintable(&error))?;
                out.write_all(&line)?;
                out.write_all(b"\n")?;
            }
            Self::Yaml => {
                let text = serde_yaml::to_string(&Line::new(partition, record)).map_err(|error| unprintable(&error))?;
                writeln!(out, "---\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

fn unprintable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("a record cannot be printed: {error}"))
}

fn parse(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        push(&mut pieces, &rest[..at])?;
        let mut symbols = rest[at + 1..].chars();
        let piece = match symbols.next() {
            Some('t') => Piece::Topic,
            Some('p') => Piece::Partition,
            Some('o') => Piece::Offset,
            Some('k') => Piece::Key,
            Some('K') => Piece::KeyLength,
            Some('s') => Piece::Value,
            Some('S') => Piece::ValueLength,
            Some('R') => Piece::ValueLengthBytes,
            Some('T') => Piece::Millis,
            Some('D') => Piece::Time,
            Some('h') => Piece::Headers,
            Some('%') => Piece::Text(b"%".to_vec()),
            Some(other) => return Err(format!("%{other} means nothing; %% is a percent sign")),
            None => return Err("it ends in a single percent sign; %% is one to print".to_owned()),
        };
        pieces.push(piece);
        rest = symbols.as_str();
    }
    push(&mut pieces, rest)?;
    Ok(pieces)
}

fn push(pieces: &mut Vec<Piece>, literal: &str) -> Result<(), String> {
    if !literal.is_empty() {
        pieces.push(Piece::Text(text::unescape(literal)?));
    }
    Ok(())
}

impl Piece {
    fn print(&self, out: &mut impl Write, partition: &NamedPartition, record: &Record) -> io::Result<()> {
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        match self {
            Self::Text(text) => out.write_all(text),
            Self::Topic => out.write_all(partition.topic.as_bytes()),
            Self::Partition => write!(out, "{}", partition.partition),
            Self::Offset => write!(out, "{}", record.offset),
            Self::Key => out.write_all(record.key.as_deref().unwrap_or_default()),
            Self::KeyLength => write!(out, "{}", length(record.key.as_deref())),
            Self::Value => out.write_all(record.value.as_deref().unwrap_or_default()),
            Self::ValueLength => write!(out, "{}", length(record.value.as_deref())),
            Self::ValueLengthBytes => {
                let length = i32::try_from(length(record.value.as_deref())).unwrap_or(i32::MAX);
                out.write_all(&length.to_be_bytes())
            }
            Self::Millis => write!(out, "{}", record.timestamp),
            Self::Time => out.write_all(text::rfc3339(record.timestamp.get()).as_bytes()),
            Self::Headers => {
                for (at, header) in record.headers.iter().enumerate() {
                    out.write_all(if at == 0 { b"" } else { b"," })?;
                    out.write_all(header.key.as_bytes())?;
                    out.write_all(b"=")?;
                    out.write_all(header.value.as_deref().unwrap_or(b"NULL"))?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_client::Header;

    use super::*;

    fn printed(printer: &Printer) -> String {
        let record = Record {
            offset: 42.into(),
            timestamp: 1_700_000_000_123.into(),
            key: None,
            value: Some("hällo".into()),
            headers: vec![
                Header { key: "a".to_owned(), value: Some("1".into()) },
                Header { key: "b".to_owned(), value: None },
            ],
        };
        let mut out = Vec::new();
        printer.print(&mut out, &NamedPartition::new("t", 3.into()), &record).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn formats_mean_what_they_mean_in_kcat() {
        let cases = [
            ("%t-%p@%o", "t-3@42"),
            ("[%k] %K %s %S", "[] -1 hällo 6"),
            ("%T %D", "1700000000123 2023-11-14T22:13:20.123Z"),
            ("%h\\n", "a=1,b=NULL\n"),
            ("100%%\\t\\x41", "100%\tA"),
            ("%R", "\0\0\0\u{6}"),
            ("", ""),
        ];
        for (format, expected) in cases {
            assert_eq!(printed(&Printer::new(Format::Table, Some(format), None).unwrap()), expected, "{format}");
        }
        for format in ["%", "%q", "\\q"] {
            assert!(Printer::new(Format::Table, Some(format), None).is_err(), "{format}");
        }
    }

    #[test]
    fn records_for_people_and_scripts() {
        assert_eq!(printed(&Printer::new(Format::Table, None, None).unwrap()), "hällo\n");
        assert_eq!(printed(&Printer::new(Format::Table, None, Some("\\t")).unwrap()), "\thällo\n");
        for format in [Format::Json, Format::Yaml] {
            let text = printed(&Printer::new(format, None, None).unwrap());
            insta::assert_snapshot!(format!("consume_{format:?}"), text);
        }
        assert!(Printer::new(Format::Json, Some("%s"), None).is_err());
    }
}

//! Cutting input into records: lines, JSON lines, whole files.
//!
//! Owns reading, on a thread that may block. An input that makes no sense is told with its file and line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jiff::Zoned;
use ottla_client::NewRecord;
use tokio::sync::mpsc;

use super::Args;
use crate::commands::json;
use crate::context::cannot_read;
use crate::failure::{Failure, Result};
use crate::text;

/// What the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Cut {
    /// One record per line
    Lines,
    /// One JSON object per line
    Json,
    /// One record per file
    Whole,
}

/// A record and how far it brings the progress, or what is wrong.
pub(super) type Read = Result<(NewRecord, u64), String>;

pub(super) struct Input {
    sources: Vec<Source>,
    cutter: Cutter,
}

struct Source {
    name: String,
    bytes: Option<u64>,
    reader: Box<dyn BufRead + Send>,
}

struct Cutter {
    cut: Cut,
    delimiter: Vec<u8>,
    key_separator: Option<Vec<u8>>,
    null: Option<Vec<u8>>,
    now: Zoned,
}

impl Input {
    pub(super) fn new(args: &Args) -> Result<Self> {
        let unescape = |option: &str, text: &str| {
            text::unescape(text).map_err(|error| Failure::usage(format!("--{option}: {error}")))
        };
        let delimiter = unescape("delimiter", &args.delimiter)?;
        if delimiter.is_empty() {
            return Err(Failure::usage("--delimiter is empty: --format whole reads each file as one record"));
        }
        let key_separator = args.key_separator.as_deref().map(|text| unescape("key-separator", text)).transpose()?;
        if key_separator.as_ref().is_some_and(Vec::is_empty) {
            return Err(Failure::usage("--key-separator is empty: nothing would stand between key and value"));
        }
        let stdin = [PathBuf::from("-")];
        let files = if args.files.is_empty() { &stdin[..] } else { &args.files[..] };
        let sources = files.iter().map(|path| Source::open(path)).collect::<Result<_>>()?;
        let null = args.null.clone().map(String::into_bytes);
        let cutter = Cutter { cut: args.format, delimiter, key_separator, null, now: Zoned::now() };
        Ok(Self { sources, cutter })
    }

    /// How many bytes there are to read, if that is known.
    pub(super) fn bytes_total(&self) -> Option<u64> {
        self.sources.iter().map(|source| source.bytes).sum()
    }

    /// Reads everything; ends early when nobody listens any more.
    pub(super) fn read(self, records: &mpsc::Sender<Read>) {
        let known = self.bytes_total().is_some();
        for source in self.sources {
            let name = source.name.clone();
            let outcome = self.cutter.cut(source, &mut |read| {
                let read = read.map(|(record, bytes)| (record, if known { bytes } else { 1 }));
                records.blocking_send(read).is_ok()
            });
            if let Err(error) = outcome {
                // Whoever listened may have gone meanwhile.
                let _ = records.blocking_send(Err(format!("cannot read {name}: {error}")));
                return;
            }
        }
    }
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            let reader = Box::new(BufReader::with_capacity(1 << 16, io::stdin()));
            return Ok(Self { name: "stdin".to_owned(), bytes: None, reader });
        }
        let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
        let metadata = file.metadata().map_err(|error| cannot_read(path, &error))?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("{} is a directory", path.display())));
        }
        let bytes = metadata.is_file().then_some(metadata.len());
        let reader = Box::new(BufReader::with_capacity(1 << 16, file));
        Ok(Self { name: path.display().to_string(), bytes, reader })
    }
}

impl Cutter {
    /// Hands each record to `take` until it says no.
    fn cut(&self, mut source: Source, take: &mut dyn FnMut(Read) -> bool) -> io::Result<()> {
        if self.cut == Cut::Whole {
            let mut bytes = Vec::new();
            source.reader.read_to_end(&mut bytes)?;
            let size = bytes.len() as u64;
            take(Ok((self.record(bytes), size)));
            return Ok(());
        }
        let mut line = Vec::new();
        let mut number = 0_u64;
        loop {
            line.clear();
            let size = self.next(&mut source.reader, &mut line)? as u64;
            if size == 0 {
                return Ok(());
            }
            number += 1;
            let read = match self.cut {
                Cut::Json if line.iter().all(u8::is_ascii_whitespace) => continue,
                Cut::Json => json::read(&line, &self.now).map_err(|error| at(&source.name, number, &error)),
                Cut::Lines | Cut::Whole => self.line(&line).map_err(|error| at(&source.name, number, &error)),
            };
            let wrong = read.is_err();
            if !take(read.map(|record| (record, size))) || wrong {
                return Ok(());
            }
        }
    }

    /// Reads up to the next delimiter, which is left out; returns how many bytes were read.
    fn next(&self, reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
        let delimiter = if self.cut == Cut::Json { &b"\n"[..] } else { &self.delimiter };
        let last = *delimiter.last().expect("an empty delimiter was refused");
        let mut size = 0;
        loop {
            let read = reader.read_until(last, line)?;
            size += read;
            if read == 0 {
                return Ok(size);
            }
            if line.ends_with(delimiter) {
                line.truncate(line.len() - delimiter.len());
                return Ok(size);
            }
        }
    }

    fn line(&self, line: &[u8]) -> Result<NewRecord, String> {
        let Some(separator) = &self.key_separator else { return Ok(self.record(line.to_vec())) };
        let at = line.windows(separator.len()).position(|window| window == separator);
        let at = at.ok_or_else(|| "there is no key separator in this record".to_owned())?;
        let mut record = self.record(line[at + separator.len()..].to_vec());
        record.key = Some(line[..at].to_vec().into());
        Ok(record)
    }

    fn record(&self, value: Vec<u8>) -> NewRecord {
        let value = if self.null.as_ref() == Some(&value) { None } else { Some(value.into()) };
        NewRecord { value, ..NewRecord::default() }
    }
}

fn at(name: &str, number: u64, error: &str) -> String {
    format!("{name}, record {number}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(cutter: &Cutter, input: &str) -> Vec<String> {
        let reader = Box::new(io::Cursor::new(input.to_owned().into_bytes()));
        let mut out = Vec::new();
        let text = |bytes: Option<bytes::Bytes>| {
            bytes.map_or_else(|| "null".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let source = Source { name: "f".to_owned(), bytes: None, reader };
        cutter
            .cut(source, &mut |read| {
                out.push(match read {
                    Ok((record, size)) => format!("{}|{}|{size}", text(record.key), text(record.value)),
                    Err(error) => error,
                });
                true
            })
            .unwrap();
        out
    }

    fn cutter(cut: Cut) -> Cutter {
        let now = "2026-11-22T12:00:00+02:00[+02:00]".parse().unwrap();
        Cutter { cut, delimiter: b"\n".to_vec(), key_separator: None, null: None, now }
    }

    #[test]
    fn lines_are_records() {
        assert_eq!(cut(&cutter(Cut::Lines), "a\n\nb"), ["null|a|2", "null||1", "null|b|1"]);
        assert_eq!(cut(&cutter(Cut::Lines), ""), [""; 0]);
        let mut keyed = cutter(Cut::Lines);
        keyed.key_separator = Some(b"::".to_vec());
        keyed.delimiter = b"ab".to_vec();
        keyed.null = Some(b"NULL".to_vec());
        assert_eq!(cut(&keyed, "k::v::babk::NULLab"), ["k|v::b|9", "k|null|9"]);
        assert_eq!(cut(&keyed, "x"), ["f, record 1: there is no key separator in this record"]);
    }

    #[test]
    fn json_lines_are_records_and_mistakes_are_located() {
        let input = "{\"key\":\"k\",\"value\":1}\n\n{\"value\":null}\n{\"valu\":1}\n{\"value\":2}\n";
        let out = cut(&cutter(Cut::Json), input);
        assert_eq!(out[..2], ["k|1|22", "null|null|15"]);
        assert!(out[2].starts_with("f, record 4: unknown field `valu`"), "{}", out[2]);
        assert_eq!(out.len(), 3);
    }

    #[test]
    fn a_file_is_a_record() {
        assert_eq!(cut(&cutter(Cut::Whole), "a\nb\n"), ["null|a\nb\n|4"]);
    }
}

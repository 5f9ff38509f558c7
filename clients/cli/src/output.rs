//! What commands print: a table for people, JSON or YAML for scripts.
//!
//! Owns the formats. What a command prints is one serialisable value; its fields are documented in
//! `docs/reference/cli-output.md` and held by snapshots.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::{Exit, Failure, Result};

pub(crate) use ottla_columns::{Columns, or_dash};

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns, for people; may change in any release.
    #[default]
    Table,
    /// JSON, for scripts.
    Json,
    /// YAML, for scripts that people read.
    Yaml,
}

/// Something that a command prints.
pub(crate) trait Show: Serialize {
    /// The form for people, without a line break at the end.
    fn table(&self) -> String;
}

/// Prints `value` to stdout.
pub(crate) fn print(format: Format, value: &impl Show) -> Result<()> {
    let text = render(format, value)?;
    let mut out = io::stdout().lock();
    if !text.is_empty() {
        writeln!(out, "{text}")?;
    }
    out.flush()?;
    Ok(())
}

/// `value` as text, without a line break at the end.
pub(crate) fn render(format: Format, value: &impl Show) -> Result<String> {
    match format {
        Format::Table => Ok(value.table()),
        Format::Json => serde_json::to_string_pretty(value).map_err(|error| unprintable(&error)),
        Format::Yaml => {
            let text = serde_yaml::to_string(value).map_err(|error| unprintable(&error))?;
            Ok(text.trim_end().to_owned())
        }
    }
}

fn unprintable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("the result cannot be printed: {error}"))
}

/// Numbers, separated by commas.
pub(crate) fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "-".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

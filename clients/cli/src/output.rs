//! What commands print: a table for people, JSON or YAML for scripts.
//!
//! Owns the formats. What a command prints is one serialisable value; its fields are documented in
//! `docs/reference/cli-output.md` and held by snapshots.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

use crate::failure::{Exit, Failure, Result};

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

/// A table without lines. Columns whose header ends in `#` hold numbers and stand to the right.
pub(crate) struct Columns(Table);

impl Columns {
    pub(crate) fn new(header: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(header.iter().map(|name| Cell::new(name.trim_end_matches('#'))));
        for (at, name) in header.iter().enumerate() {
            if let Some(column) = table.column_mut(at) {
                column.set_padding((0, 2));
                if name.ends_with('#') {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        Self(table)
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(Cell::new));
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.0.lines().map(|line| line.trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A value, or a dash.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Numbers, separated by commas.
pub(crate) fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "-".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

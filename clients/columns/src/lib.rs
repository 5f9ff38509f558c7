//! Tables as our commands print them for people.
//!
//! Owns how columns look; what is in them is each command's. Must never print by itself.

use comfy_table::{Cell, CellAlignment, Table};

/// A table without lines. Columns whose header ends in `#` hold numbers and stand to the right.
pub struct Columns(Table);

impl Columns {
    /// A table of these columns, without rows.
    pub fn new(header: &[&str]) -> Self {
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

    /// Adds a row below the others.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(Cell::new));
    }

    /// All of it, without a line break at the end.
    pub fn text(&self) -> String {
        let lines = self.0.lines().map(|line| line.trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A value, or a dash.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

//! Tables without lines, and small forms of text.
//!
//! Owns how columns look; what is in them is each verb's.

use comfy_table::{Cell, CellAlignment, Table};
use jiff::Timestamp;

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

/// How long ago, in its two largest units at most: `3d`, `5h12m`, `40s`.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (days @ 1..=2, hours, _) => format!("{days}d{hours}h"),
        (days, ..) => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let then = Timestamp::UNIX_EPOCH;
        for (seconds, words) in
            [(0, "0s"), (59, "59s"), (61, "1m"), (3661, "1h1m"), (90_000, "1d1h"), (864_000, "10d"), (-5, "0s")]
        {
            assert_eq!(ago(then, Timestamp::from_second(seconds).unwrap()), words);
        }
    }
}

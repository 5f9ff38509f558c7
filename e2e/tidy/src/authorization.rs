//! Every API that the broker serves says which operation on which resource it will need.
//!
//! Reads the broker's handler table as text. The compiler already wants the field; this rule wants it filled in, and
//! lets only the APIs that come before authentication say that they need nothing.

use crate::tree::{Finding, Tree};

const TABLE: &str = "broker/src/server/table.rs";

/// What a client asks before it has said who it is.
const OPEN: &[&str] = &["ApiVersions", "SaslHandshake", "SaslAuthenticate"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(TABLE) else {
        return vec![Finding::whole(TABLE, "the handler table is expected here")];
    };
    let Some((before, table)) = text.split_once("pub static TABLE") else {
        return vec![Finding::whole(TABLE, "`pub static TABLE` is expected here")];
    };
    let table = table.split_once("\n];").map_or(table, |(rows, _)| rows);
    let first = before.lines().count();
    let mut found = Vec::new();
    let rows = rows(table);
    if rows.is_empty() {
        found.push(Finding::whole(TABLE, "no row that this rule understands; teach it the new form"));
    }
    for row in rows {
        let needs = row.needs.trim().trim_end_matches(',');
        if needs.is_empty() {
            found.push(Finding::at(TABLE, first + row.line, format!("{} names no operation and resource", row.api)));
        } else if needs.contains("Open") && !OPEN.contains(&row.api) {
            found.push(Finding::at(TABLE, first + row.line, format!("{} must need something", row.api)));
        }
    }
    found
}

struct Row<'a> {
    api: &'a str,
    needs: &'a str,
    /// Counted from 0, from the start of the table.
    line: usize,
}

/// `row!(Api, …, [Operation Resource, …])`, or `Row { key: ApiKey::Api, … needs: &[…] … }`.
fn rows(table: &str) -> Vec<Row<'_>> {
    let mut starts: Vec<usize> =
        ["row!(", "Row {"].iter().flat_map(|form| table.match_indices(form)).map(|(at, _)| at).collect();
    starts.sort_unstable();
    let ends = starts.iter().skip(1).copied().chain([table.len()]);
    starts.iter().zip(ends).filter_map(|(start, end)| row(table, *start, end)).collect()
}

fn row(table: &str, start: usize, end: usize) -> Option<Row<'_>> {
    let text = &table[start..end];
    let line = table[..start].matches('\n').count();
    let word = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    let (api, needs) = if let Some(rest) = text.strip_prefix("row!(") {
        let rest = rest.trim_start();
        let list = rest.rfind('[').map_or("", |open| &rest[open + 1..]);
        (&rest[..word(rest)], list)
    } else {
        let rest = text.split_once("ApiKey::")?.1;
        let list = rest.split_once("needs: &[").map_or("", |(_, list)| list);
        (&rest[..word(rest)], list)
    };
    Some(Row { api, needs: needs.split(']').next().unwrap_or_default(), line })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rows: &str) -> Vec<String> {
        let text =
            format!("//! The table.\nfn x() {{}}\npub static TABLE: &[Row] = &[\n{rows}\n];\nfn y() {{ Row {{}} }}\n");
        check(&Tree::of(&[(TABLE, &text)])).into_iter().map(|finding| finding.to_string()).collect()
    }

    const WHOLE: &str =
        "    Row {\n        key: ApiKey::Produce,\n        needs: &[need(Operation::Write, Resource::Topic)],\n    },
    row!(Metadata, 0..=13, messages::MetadataRequest, handlers::metadata::handle, [Describe Topic]),
    row!(\n        ApiVersions,\n        0..=5,\n        [Open Cluster]\n    ),";

    #[test]
    fn a_table_that_says_everything_passes() {
        assert_eq!(found(WHOLE), [""; 0]);
    }

    #[test]
    fn an_api_without_a_requirement_is_found() {
        assert_eq!(
            found(&WHOLE.replace("[Describe Topic]", "[]")),
            ["broker/src/server/table.rs:8: Metadata names no operation and resource"]
        );
        assert_eq!(
            found(&WHOLE.replace("need(Operation::Write, Resource::Topic)", "")),
            ["broker/src/server/table.rs:4: Produce names no operation and resource"]
        );
    }

    #[test]
    fn an_api_that_claims_to_need_nothing_is_found() {
        assert_eq!(found(&WHOLE.replace("Describe Topic", "Open Topic")).len(), 1);
    }

    #[test]
    fn a_table_in_another_form_is_found() {
        assert_eq!(found("").len(), 1);
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}

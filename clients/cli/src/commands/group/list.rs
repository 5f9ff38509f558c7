//! `ottla group list`: one line per group.

use ottla_client::GroupListing;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Result;
use crate::output::{Columns, Show};

/// Lists groups
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ottla group list
  ottla group list --state Empty -o json | jq -r '.[].name'")]
pub(crate) struct Args {
    /// Only groups in this state: Empty, PreparingRebalance, CompletingRebalance, Stable
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<()> {
    let groups = cx.client.list_groups().await?;
    let wanted =
        |group: &GroupListing| args.state.as_ref().is_none_or(|state| state.eq_ignore_ascii_case(&group.state));
    cx.print(&Groups(groups.into_iter().filter(wanted).map(Group::from).collect()))
}

#[derive(Debug, Serialize)]
struct Groups(Vec<Group>);

#[derive(Debug, Serialize)]
struct Group {
    name: String,
    state: String,
    #[serde(rename = "type")]
    kind: String,
    protocol: String,
    coordinator: i32,
}

impl From<GroupListing> for Group {
    fn from(group: GroupListing) -> Self {
        Self {
            name: group.name,
            state: group.state,
            kind: group.kind,
            protocol: group.protocol_type,
            coordinator: group.coordinator.get(),
        }
    }
}

impl Show for Groups {
    fn table(&self) -> String {
        let mut columns = Columns::new(&["GROUP", "STATE", "TYPE", "PROTOCOL", "COORDINATOR#"]);
        let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        for group in &self.0 {
            let coordinator = group.coordinator.to_string();
            columns.row([
                group.name.clone(),
                dash(&group.state),
                dash(&group.kind),
                dash(&group.protocol),
                coordinator,
            ]);
        }
        columns.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, render};

    #[test]
    fn groups_are_listed() {
        let group = |name: &str, state: &str, protocol: &str| Group {
            name: name.to_owned(),
            state: state.to_owned(),
            kind: "classic".to_owned(),
            protocol: protocol.to_owned(),
            coordinator: 2,
        };
        let groups = Groups(vec![group("billing", "Stable", "consumer"), group("old", "Empty", "")]);
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("group_list_{format:?}"), render(format, &groups).unwrap());
        }
    }
}

//! `ottla group describe`: members, offsets, lag.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{CommittedOffset, GroupDescription, GroupMember, NamedPartition, types::Offset};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Failure, Result, done};
use crate::output::{Columns, Show, or_dash};

/// Shows groups
#[derive(Debug, clap::Args)]
#[command(after_help = "\
LAG is the number of offsets between what the group has committed and the end of the partition. A partition that is
read but was never committed has no lag yet.

Examples:
  ottla group describe billing
  ottla group describe billing -o json | jq '.[0].lag'")]
pub(crate) struct Args {
    /// The groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Show members instead of partitions
    #[arg(short, long)]
    members: bool,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<()> {
    let mut groups = Vec::new();
    let mut failures = Vec::new();
    for settled in cx.client.describe_groups(&args.groups).await? {
        match settled {
            Ok(description) => groups.push(group(cx, description).await?),
            Err(refused) => failures.push(Failure::from(refused)),
        }
    }
    cx.print(&Groups { groups, members: args.members })?;
    done(Failure::several(failures))
}

async fn group(cx: &Context, description: GroupDescription) -> Result<Group> {
    let committed = cx.client.committed(&description.name, None).await?;
    let read = description.members.iter().flat_map(|member| member.partitions.iter().cloned());
    let partitions: BTreeSet<NamedPartition> = committed.keys().cloned().chain(read).collect();
    let asked: Vec<_> = partitions.iter().cloned().collect();
    let found = cx.client.ends(&asked, false).await?;
    // A partition whose topic is gone has no end; its old commit is still shown.
    let ends: BTreeMap<_, _> =
        asked.into_iter().zip(found).filter_map(|(partition, ends)| Some((partition, ends.ok()?.1))).collect();
    Ok(Group::new(description, &partitions, &committed, &ends))
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Groups {
    groups: Vec<Group>,
    #[serde(skip)]
    members: bool,
}

#[derive(Debug, Serialize)]
struct Group {
    name: String,
    state: String,
    protocol: String,
    coordinator: i32,
    lag: i64,
    partitions: Vec<Partition>,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
    metadata: Option<String>,
    member: Option<String>,
}

#[derive(Debug, Serialize)]
struct Member {
    id: String,
    instance: Option<String>,
    client_id: String,
    host: String,
    partitions: Vec<String>,
}

impl Group {
    fn new(
        description: GroupDescription,
        partitions: &BTreeSet<NamedPartition>,
        committed: &BTreeMap<NamedPartition, CommittedOffset>,
        ends: &BTreeMap<NamedPartition, Offset>,
    ) -> Self {
        let partition = |named: &NamedPartition| {
            let committed = committed.get(named);
            let end = ends.get(named).map(|end| end.get());
            let at = committed.map(|committed| committed.offset.get());
            let reads = |member: &&GroupMember| member.partitions.contains(named);
            Partition {
                topic: named.topic.clone(),
                partition: named.partition.get(),
                committed: at,
                end,
                lag: at.zip(end).map(|(at, end)| end.saturating_sub(at).max(0)),
                metadata: committed.map(|one| one.metadata.clone()).filter(|text| !text.is_empty()),
                member: description.members.iter().find(reads).map(|member| member.id.clone()),
            }
        };
        let partitions: Vec<_> = partitions.iter().map(partition).collect();
        let member = |member: &GroupMember| Member {
            id: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            host: member.host.clone(),
            partitions: member.partitions.iter().map(ToString::to_string).collect(),
        };
        Self {
            lag: partitions.iter().filter_map(|one| one.lag).sum(),
            members: description.members.iter().map(member).collect(),
            name: description.name,
            state: description.state,
            protocol: description.protocol,
            coordinator: description.coordinator.get(),
            partitions,
        }
    }

    fn head(&self) -> String {
        let protocol = if self.protocol.is_empty() { "-" } else { &self.protocol };
        format!(
            "Group        {}\nState        {}\nMembers      {}\nAssignor     {protocol}\nCoordinator  {}\nLag          {}",
            self.name,
            self.state,
            self.members.len(),
            self.coordinator,
            self.lag
        )
    }

    fn partition_table(&self) -> String {
        let header = ["TOPIC", "PARTITION#", "COMMITTED#", "END#", "LAG#", "MEMBER", "HOST"];
        let mut columns = Columns::new(&header);
        for one in &self.partitions {
            let member = self.members.iter().find(|member| Some(&member.id) == one.member.as_ref());
            columns.row([
                one.topic.clone(),
                one.partition.to_string(),
                or_dash(one.committed),
                or_dash(one.end),
                or_dash(one.lag),
                or_dash(member.map(Member::short)),
                or_dash(member.map(|member| &member.host)),
            ]);
        }
        columns.text()
    }

    fn member_table(&self) -> String {
        let mut columns = Columns::new(&["MEMBER", "CLIENT", "HOST", "STATIC ID", "PARTITIONS"]);
        for member in &self.members {
            columns.row([
                member.id.clone(),
                member.client_id.clone(),
                member.host.clone(),
                or_dash(member.instance.as_ref()),
                crate::output::list(&member.partitions),
            ]);
        }
        columns.text()
    }
}

impl Member {
    /// What a person calls it.
    fn short(&self) -> &str {
        self.instance.as_deref().unwrap_or(&self.id)
    }
}

impl Show for Groups {
    fn table(&self) -> String {
        let text = |group: &Group| {
            let table = if self.members { group.member_table() } else { group.partition_table() };
            format!("{}\n\n{table}", group.head())
        };
        self.groups.iter().map(text).collect::<Vec<_>>().join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use ottla_client::types::{BrokerId, LeaderEpoch};

    use super::*;
    use crate::output::{Format, render};

    #[test]
    fn a_group_is_shown() {
        let named = |partition: i32| NamedPartition::new("orders", partition.into());
        let member = GroupMember {
            id: "ottla-1234".to_owned(),
            instance: None,
            client_id: "ottla".to_owned(),
            host: "10.0.0.7".to_owned(),
            partitions: [named(0), named(1)].into(),
        };
        let description = GroupDescription {
            name: "billing".to_owned(),
            coordinator: BrokerId::new(1),
            protocol_type: "consumer".to_owned(),
            protocol: "range".to_owned(),
            state: "Stable".to_owned(),
            members: vec![member],
        };
        let commit =
            |offset: i64| CommittedOffset { offset: offset.into(), epoch: LeaderEpoch::NONE, metadata: String::new() };
        let committed = [(named(0), commit(90)), (named(2), commit(7))].into();
        let ends = [(named(0), Offset::new(100)), (named(1), Offset::new(5)), (named(2), Offset::new(7))].into();
        let partitions = [named(0), named(1), named(2)].into();
        let group = Group::new(description, &partitions, &committed, &ends);
        assert_eq!(group.lag, 10);
        let mut groups = Groups { groups: vec![group], members: false };
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("group_describe_{format:?}"), render(format, &groups).unwrap());
        }
        groups.members = true;
        insta::assert_snapshot!("group_describe_members", render(Format::Table, &groups).unwrap());
    }
}

//! `ottla group reset`: where a group reads on.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Zoned;
use ottla_client::types::{Offset, Timestamp};
use ottla_client::{CommittedOffset, NamedPartition, OffsetSpec};
use serde::Serialize;

use super::{Selection, resolve, selection};
use crate::context::Context;
use crate::failure::{Exit, Failure, Result, done};
use crate::output::{Columns, Show, or_dash};
use crate::text;

/// Sets where a group reads on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only while the consumers of the group are stopped. Offsets outside of a partition are moved to its nearest end.

WHERE is one of
  beginning   the oldest record
  end         after the newest record
  current     where the group stands: commits it again, so that it does not expire
  N           this offset
  +N, -N      N records on, or back, from where the group stands
  @TIME       the first record of that time or later: @2026-11-22T08:00:00Z, @2026-11-22, @-90m, @1700000000000

Examples:
  ottla group reset billing --to beginning --all-topics
  ottla group reset billing --to @-2h --topic orders --dry-run
  ottla group reset billing --to 1500 --topic orders:3
  ottla group reset billing --to -100 --topic orders")]
pub(crate) struct Args {
    /// The group; it need not exist yet
    group: String,
    /// Where it shall read on
    #[arg(long, value_name = "WHERE", value_parser = target, allow_hyphen_values = true)]
    to: Target,
    /// On this topic, or some of its partitions; repeat for more
    #[arg(long, value_name = "TOPIC[:P,P]", value_parser = selection, required_unless_present = "all_topics")]
    topic: Vec<Selection>,
    /// On every topic that it has committed
    #[arg(long, conflicts_with = "topic")]
    all_topics: bool,
    /// Only show what would be set
    #[arg(long)]
    dry_run: bool,
}

/// Where a group shall read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Beginning,
    End,
    Current,
    At(i64),
    Shift(i64),
    Time(i64),
}

fn target(text: &str) -> Result<Target, String> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| format!("{text:?} is no number of records"));
    match text {
        "beginning" | "start" | "earliest" => Ok(Target::Beginning),
        "end" | "latest" => Ok(Target::End),
        "current" => Ok(Target::Current),
        _ => match text.as_bytes().first() {
            Some(b'+' | b'-') => number(text).map(Target::Shift),
            Some(b'@') => text::time(&text[1..], &Zoned::now()).map(Target::Time),
            Some(b'0'..=b'9') => number(text).map(Target::At),
            Some(_) | None => Err("write beginning, end, current, an offset, +N, -N or @TIME".to_owned()),
        },
    }
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<()> {
    let committed = cx.client.committed(&args.group, None).await?;
    let partitions =
        if args.all_topics { committed.keys().cloned().collect() } else { resolve(cx, &args.topic).await? };
    if partitions.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("group {} has committed nothing", args.group))
            .way_out("Name topics with --topic."));
    }
    let plan = plan(cx, args.to, &partitions, &committed).await?;
    let mut failures = Vec::new();
    if !args.dry_run {
        let offsets: BTreeMap<_, _> =
            plan.iter().map(|(partition, &offset)| (partition.clone(), CommittedOffset::at(offset))).collect();
        for (_, settled) in cx.client.reset_offsets(&args.group, &offsets).await? {
            failures.extend(settled.err().map(Failure::from));
        }
        failures.dedup_by_key(|failure| failure.exit());
    }
    if failures.is_empty() {
        let moved = |(partition, offset): (&NamedPartition, &Offset)| Moved {
            topic: partition.topic.clone(),
            partition: partition.partition.get(),
            before: committed.get(partition).map(|before| before.offset.get()),
            offset: offset.get(),
        };
        cx.print(&Moves {
            dry_run: args.dry_run,
            group: args.group.clone(),
            partitions: plan.iter().map(moved).collect(),
        })?;
    }
    done(Failure::several(failures))
}

async fn plan(
    cx: &Context,
    to: Target,
    partitions: &BTreeSet<NamedPartition>,
    committed: &BTreeMap<NamedPartition, CommittedOffset>,
) -> Result<BTreeMap<NamedPartition, Offset>> {
    let asked: Vec<_> = partitions.iter().cloned().collect();
    let ends = cx.client.ends(&asked, false).await?;
    let mut times = BTreeMap::new();
    if let Target::Time(time) = to {
        let spec = OffsetSpec::At(Timestamp::new(time));
        let questions: Vec<_> = asked.iter().map(|partition| (partition.clone(), spec)).collect();
        for (partition, found) in asked.iter().zip(cx.client.list_offsets(&questions, false).await?) {
            times.insert(partition.clone(), found?.offset);
        }
    }
    let mut plan = BTreeMap::new();
    for (partition, ends) in asked.into_iter().zip(ends) {
        let (start, end) = ends?;
        let current = committed.get(&partition).map(|committed| committed.offset);
        let found = times.get(&partition).copied().flatten();
        plan.insert(partition, aim(to, start, end, current, found));
    }
    Ok(plan)
}

/// The offset that `to` means on a partition from `start` to `end`; `found` is the answer to a question about time.
fn aim(to: Target, start: Offset, end: Offset, current: Option<Offset>, found: Option<Offset>) -> Offset {
    let wanted = match to {
        Target::Beginning => start,
        Target::End => end,
        Target::Current => current.unwrap_or(end),
        Target::At(offset) => Offset::new(offset),
        Target::Shift(by) => current.unwrap_or(end).plus(by),
        Target::Time(_) => found.unwrap_or(end),
    };
    wanted.clamp(start, end.max(start))
}

#[derive(Debug, Serialize)]
struct Moves {
    group: String,
    dry_run: bool,
    partitions: Vec<Moved>,
}

#[derive(Debug, Serialize)]
struct Moved {
    topic: String,
    partition: i32,
    before: Option<i64>,
    offset: i64,
}

impl Show for Moves {
    fn table(&self) -> String {
        let mut columns = Columns::new(&["TOPIC", "PARTITION#", "BEFORE#", "OFFSET#"]);
        for one in &self.partitions {
            let partition = one.partition.to_string();
            columns.row([one.topic.clone(), partition, or_dash(one.before), one.offset.to_string()]);
        }
        let note = if self.dry_run { "\n\nNothing was changed (--dry-run)." } else { "" };
        format!("{}{note}", columns.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, render};

    #[test]
    fn targets_are_read() {
        let cases = [
            ("beginning", Target::Beginning),
            ("latest", Target::End),
            ("current", Target::Current),
            ("17", Target::At(17)),
            ("+5", Target::Shift(5)),
            ("-5", Target::Shift(-5)),
            ("@1700000000000", Target::Time(1_700_000_000_000)),
        ];
        for (text, expected) in cases {
            assert_eq!(target(text), Ok(expected), "{text}");
        }
        for text in ["", "middle", "-", "+x", "@", "99999999999999999999"] {
            assert!(target(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn offsets_stay_inside_the_partition() {
        let cases = [
            (Target::Beginning, None, None, 10),
            (Target::End, None, None, 20),
            (Target::Current, Some(15), None, 15),
            (Target::Current, None, None, 20),
            (Target::At(3), None, None, 10),
            (Target::At(99), None, None, 20),
            (Target::Shift(-3), Some(15), None, 12),
            (Target::Shift(i64::MAX), Some(15), None, 20),
            (Target::Time(0), None, Some(14), 14),
            (Target::Time(0), None, None, 20),
        ];
        for (to, current, found, expected) in cases {
            let aimed = aim(to, 10.into(), 20.into(), current.map(Offset::new), found.map(Offset::new));
            assert_eq!(aimed.get(), expected, "{to:?}");
        }
    }

    #[test]
    fn moves_are_shown() {
        let moved = |partition, before| Moved { topic: "orders".to_owned(), partition, before, offset: 17 };
        let partitions = vec![moved(0, Some(400)), moved(1, None)];
        let moves = Moves { group: "billing".to_owned(), dry_run: true, partitions };
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("group_reset_{format:?}"), render(format, &moves).unwrap());
        }
    }
}

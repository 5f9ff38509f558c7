//! `ottla consume`: records of topics.
//!
//! Owns when to begin, when to stop and what is committed. Records that were printed are committed, never others: a
//! closed pipe or an error loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};

use jiff::Zoned;
use ottla_client::types::{Offset, PartitionIndex, Timestamp};
use ottla_client::{
    Consumer, ConsumerConfig, Event, Fetched, GroupConfig, GroupConsumer, NamedPartition, OffsetSpec, Reset, Start,
};
use tokio::time::{Duration, Instant};

use crate::context::Context;
use crate::failure::{Exit, Failure, Result};
use crate::signals;
use crate::text;

mod print;
mod reader;

use print::Printer;
use reader::Reader;

/// How long one wait for records takes, before we look around.
const POLL: Duration = Duration::from_millis(500);
/// How often a group's offsets are committed while records flow.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// Reads records of topics
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Reads what is there and ends, unless --follow is given. With --group the partitions are shared with the other members of
the group, and what was printed is committed every 5 seconds, before partitions move and at the end.

WHERE is one of
  beginning   the oldest record
  end         after the newest record
  N           this offset
  -N          N records before the end of each partition
  @TIME       the first record of that time or later: @2026-11-22T08:00:00Z, @2026-11-22, @-90m, @1700000000000

FORMAT may contain
  %t %p %o    topic, partition, offset
  %k %s       key, value                    %K %S  their lengths in bytes, -1 for null
  %T %D       time in milliseconds, as text %h     headers as name=value,…
  %R          length of the value as 4 bytes, most significant first
  %%          a percent sign                \\n \\t \\0 \\xHH  as usual

With -o json each record is one line, with -o yaml one document; both are described in docs/reference/cli-output.md.

Ctrl-C or SIGTERM ends reading and is no error.

Examples:
  ottla consume orders
  ottla consume orders --from @-1h --follow
  ottla consume orders --from -5 --format '%p %o %k=%s\\n'
  ottla consume orders payments --group billing --follow -o json
  ottla consume orders --partition 0,3 --from 1000 --count 50")]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Read only these partitions
    #[arg(short, long, value_name = "N,N", value_delimiter = ',', conflicts_with = "group",
          value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// Where to begin [default: beginning]; with --group beginning or end, and only where nothing was committed
    #[arg(long, value_name = "WHERE", value_parser = place, allow_hyphen_values = true)]
    from: Option<Place>,
    /// Where to stop: an offset, -N, end or @TIME; the record there is not read [default: where the end is now]
    #[arg(long, value_name = "WHERE", value_parser = place, allow_hyphen_values = true)]
    until: Option<Place>,
    /// Go on when the end is reached
    #[arg(short, long)]
    follow: bool,
    /// Stop after this many records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// Read as a member of this group
    #[arg(short, long)]
    group: Option<String>,
    /// Do not commit what was read
    #[arg(long, requires = "group")]
    no_commit: bool,
    /// Leave out records of transactions that were aborted or are still open
    #[arg(long)]
    read_committed: bool,
    /// How each record is printed [default: the value and a line break]
    #[arg(short = 'F', long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print the key, and this between key and value
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "format")]
    key_separator: Option<String>,
}

/// A place in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Beginning,
    End,
    At(i64),
    BeforeEnd(i64),
    Time(i64),
}

fn place(text: &str) -> Result<Place, String> {
    let number = |text: &str| {
        let offset = text.parse::<i64>().ok().filter(|offset| *offset >= 0);
        offset.ok_or_else(|| format!("{text:?} is no offset"))
    };
    match text {
        "beginning" | "start" | "earliest" => Ok(Place::Beginning),
        "end" | "latest" => Ok(Place::End),
        _ => match text.as_bytes().first() {
            Some(b'-') => number(&text[1..]).map(Place::BeforeEnd),
            Some(b'@') => text::time(&text[1..], &Zoned::now()).map(Place::Time),
            Some(b'0'..=b'9') => number(text).map(Place::At),
            Some(_) | None => Err("write beginning, end, an offset, -N or @TIME".to_owned()),
        },
    }
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<()> {
    let printer = Printer::new(cx.format, args.format.as_deref(), args.key_separator.as_deref())?;
    let partitions = partitions(cx, &args).await?;
    let mut config = ConsumerConfig { reset: Reset::Earliest, ..ConsumerConfig::default() };
    cx.properties.consumer(&mut config)?;
    config.read_committed |= args.read_committed;
    let mut reading = match &args.group {
        Some(group) => member(cx, &args, group, config)?,
        None => alone(cx, &args, &partitions, config).await?,
    };
    let progress = cx.progress(None, "read");
    let mut out = BufWriter::new(io::stdout());
    let outcome = reading.run(cx, &args, &printer, &mut out, &progress).await;
    // What is committed now was printed before, whatever ended the reading.
    let closed = reading.close().await;
    drop(progress);
    outcome.and(closed)
}

/// The partitions of the topics that were named, or of them those that were chosen.
async fn partitions(cx: &Context, args: &Args) -> Result<BTreeSet<NamedPartition>> {
    let mut all = BTreeSet::new();
    for topic in &args.topics {
        let existing = cx.client.named_partitions(topic).await??;
        for &index in &args.partition {
            let named = NamedPartition::new(topic.clone(), PartitionIndex::new(index));
            if !existing.contains(&named) {
                let sentence = format!("topic {topic} has no partition {index}; it has {}", existing.len());
                return Err(Failure::new(Exit::NotFound, sentence));
            }
            all.insert(named);
        }
        if args.partition.is_empty() {
            all.extend(existing);
        }
    }
    Ok(all)
}

async fn alone(
    cx: &Context,
    args: &Args,
    partitions: &BTreeSet<NamedPartition>,
    config: ConsumerConfig,
) -> Result<Reading> {
    let mut consumer = Consumer::new(cx.client.clone(), config.clone());
    let from = args.from.unwrap_or(Place::Beginning);
    let starts = places(cx, from, partitions, config.read_committed).await?;
    for (partition, start) in starts {
        consumer.add(partition, start);
    }
    let stops = stops(cx, args, partitions, config.read_committed).await?;
    Ok(Reading::new(Reader::Alone(consumer), stops, config.read_committed))
}

fn member(cx: &Context, args: &Args, group: &str, mut config: ConsumerConfig) -> Result<Reading> {
    match args.from {
        None => {}
        Some(Place::Beginning) => config.reset = Reset::Earliest,
        Some(Place::End) => config.reset = Reset::Latest,
        Some(_) => {
            let sentence = "--from takes beginning or end with --group: a group reads on where it stands";
            let way_out = format!("`ottla group reset {group} --to WHERE` moves it.");
            return Err(Failure::usage(sentence).way_out(way_out));
        }
    }
    let mut membership = GroupConfig::new(group);
    cx.properties.group(&mut membership)?;
    let topics = args.topics.iter().cloned().collect();
    let read_committed = config.read_committed;
    let consumer = GroupConsumer::new(cx.client.clone(), config, membership, topics);
    let reader = Reader::Member { consumer: Box::new(consumer), commits: !args.no_commit, printed: BTreeMap::new() };
    Ok(Reading::new(reader, BTreeMap::new(), read_committed))
}

/// Where `place` is on each of `partitions`.
async fn places(
    cx: &Context,
    place: Place,
    partitions: &BTreeSet<NamedPartition>,
    read_committed: bool,
) -> Result<BTreeMap<NamedPartition, Start>> {
    let simple = |start: Start| Ok(partitions.iter().map(|partition| (partition.clone(), start)).collect());
    match place {
        Place::Beginning => simple(Start::Earliest),
        Place::End => simple(Start::Latest),
        Place::Time(time) => simple(Start::Time(Timestamp::new(time))),
        Place::At(offset) => {
            let found = offsets(cx, place, partitions, read_committed).await?;
            for (partition, (start, end)) in found {
                if !(start.get()..=end.get()).contains(&offset) {
                    let sentence = format!("partition {partition} has no offset {offset}; it has {start} to {end}");
                    return Err(Failure::new(Exit::NotFound, sentence));
                }
            }
            simple(Start::At(Offset::new(offset)))
        }
        Place::BeforeEnd(count) => {
            let found = offsets(cx, place, partitions, read_committed).await?;
            let before = |(start, end): (Offset, Offset)| Start::At(end.plus(-count).max(start));
            Ok(found.into_iter().map(|(partition, ends)| (partition, before(ends))).collect())
        }
    }
}

/// First offset of each partition, and the offset that `place` means as an end.
async fn offsets(
    cx: &Context,
    place: Place,
    partitions: &BTreeSet<NamedPartition>,
    read_committed: bool,
) -> Result<BTreeMap<NamedPartition, (Offset, Offset)>> {
    let asked: Vec<_> = partitions.iter().cloned().collect();
    let mut found = BTreeMap::new();
    for (partition, ends) in asked.iter().zip(cx.client.ends(&asked, read_committed).await?) {
        found.insert(partition.clone(), ends?);
    }
    if let Place::Time(time) = place {
        let spec = OffsetSpec::At(Timestamp::new(time));
        let questions: Vec<_> = asked.iter().map(|partition| (partition.clone(), spec)).collect();
        for (partition, at) in asked.iter().zip(cx.client.list_offsets(&questions, read_committed).await?) {
            if let (Some(offset), Some(ends)) = (at?.offset, found.get_mut(partition)) {
                ends.1 = offset;
            }
        }
    }
    Ok(found)
}

/// Where reading stops on each partition; nothing for a partition that is followed.
async fn stops(
    cx: &Context,
    args: &Args,
    partitions: &BTreeSet<NamedPartition>,
    read_committed: bool,
) -> Result<BTreeMap<NamedPartition, Offset>> {
    let until = match args.until {
        None if args.follow => return Ok(BTreeMap::new()),
        until => until.unwrap_or(Place::End),
    };
    let stop = |(start, end): (Offset, Offset)| match until {
        Place::Beginning => start,
        Place::End | Place::Time(_) => end,
        // Without --follow nothing is waited for that is not there yet.
        Place::At(offset) if args.follow => Offset::new(offset),
        Place::At(offset) => Offset::new(offset).min(end),
        Place::BeforeEnd(count) => end.plus(-count),
    };
    let found = offsets(cx, until, partitions, read_committed).await?;
    Ok(found.into_iter().map(|(partition, ends)| (partition, stop(ends))).collect())
}

/// A reading under way.
struct Reading {
    reader: Reader,
    stops: BTreeMap<NamedPartition, Offset>,
    read_committed: bool,
    printed: u64,
    committed: Instant,
}

impl Reading {
    fn new(reader: Reader, stops: BTreeMap<NamedPartition, Offset>, read_committed: bool) -> Self {
        Self { reader, stops, read_committed, printed: 0, committed: Instant::now() }
    }

    async fn run(
        &mut self,
        cx: &Context,
        args: &Args,
        printer: &Printer,
        out: &mut impl Write,
        progress: &crate::progress::Progress,
    ) -> Result<()> {
        let interrupted = signals::stop();
        tokio::pin!(interrupted);
        let count = args.count.unwrap_or(u64::MAX);
        loop {
            if self.printed >= count || self.has_ended(args) {
                return Ok(());
            }
            let event = tokio::select! {
                biased;
                () = &mut interrupted => return Ok(()),
                event = self.reader.poll(POLL) => event?,
            };
            match event {
                Event::Records(fetched) => {
                    self.print(&fetched, count, printer, out)?;
                    progress.set(self.printed);
                }
                Event::Assigned(added) => {
                    for partition in &added {
                        self.stops.remove(partition);
                    }
                    let stops = stops(cx, args, &added, self.read_committed).await?;
                    self.stops.extend(stops);
                }
                Event::Revoking(_) => self.reader.commit().await?,
                Event::Lost(lost) => self.reader.forget(&lost),
                Event::Idle => {}
            }
            if self.committed.elapsed() >= COMMIT_INTERVAL {
                self.committed = Instant::now();
                self.reader.commit().await?;
            }
        }
    }

    /// Prints records up to the stop of their partition and the count of all.
    fn print(&mut self, fetched: &Fetched, count: u64, printer: &Printer, out: &mut impl Write) -> Result<()> {
        let stop = self.stops.get(&fetched.partition).copied();
        let mut next = fetched.next;
        for record in &fetched.records {
            if self.printed >= count || stop.is_some_and(|stop| record.offset >= stop) {
                next = record.offset;
                break;
            }
            printer.print(out, &fetched.partition, record)?;
            self.printed += 1;
        }
        out.flush()?;
        self.reader.done(&fetched.partition, next);
        Ok(())
    }

    /// Whether every partition has reached its stop.
    fn has_ended(&self, args: &Args) -> bool {
        if args.follow && args.until.is_none() {
            return false;
        }
        let reached = |partition: &NamedPartition| match (self.reader.position(partition), self.stops.get(partition)) {
            (Some(position), Some(stop)) => position >= *stop,
            (None, _) | (_, None) => false,
        };
        self.reader.is_settled() && self.reader.partitions().iter().all(reached)
    }

    async fn close(self) -> Result<()> {
        self.reader.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let cases = [
            ("beginning", Place::Beginning),
            ("earliest", Place::Beginning),
            ("end", Place::End),
            ("0", Place::At(0)),
            ("-5", Place::BeforeEnd(5)),
            ("@1700000000000", Place::Time(1_700_000_000_000)),
        ];
        for (text, expected) in cases {
            assert_eq!(place(text), Ok(expected), "{text}");
        }
        for text in ["", "-", "--5", "@tomorrow", "1x", "committed"] {
            assert!(place(text).is_err(), "{text:?}");
        }
    }
}

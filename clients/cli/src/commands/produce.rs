//! `ottla produce`: records from stdin or files.
//!
//! Owns the flow: a thread reads and cuts the input, this task sends, paces and counts. The first record that cannot be
//! written ends it; what was read before is still flushed and counted.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use jiff::Zoned;
use ottla_client::{
    Acks, Compression, Delivery, Header, NamedPartition, NewRecord, Producer, ProducerConfig, Receipt,
    types::{PartitionIndex, Timestamp},
};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::output::{Columns, Format, Show, or_dash};
use crate::progress::Progress;
use crate::signals;
use crate::text;

mod input;

use input::{Cut, Input};

/// Records read ahead of sending.
const READ_AHEAD: usize = 4096;
/// Records whose fate is open before reading waits.
const OPEN_MAX: usize = 100_000;

/// Writes records to a topic
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Input formats:
  lines  one record per line (or per --delimiter); with --key-separator the key stands before the separator
  json   one JSON object per line, every field optional:
           {\"key\": \"k\", \"value\": \"v\", \"headers\": {\"h\": \"1\"}, \"timestamp\": 1700000000000, \"partition\": 0}
         key, value and headers: text is sent as it is, null as null, anything else as compact JSON.
         timestamp: milliseconds since 1970, or text like 2026-11-22T08:00:00Z.
         headers may also be a list, where names repeat: [{\"key\": \"h\", \"value\": \"1\"}].
         keyEncoding and valueEncoding may say base64. What `ottla consume -o json` prints can be read as it is.
  whole  each file is one record

Ctrl-C or SIGTERM ends the input; what was read is still written.

Examples:
  echo hello | ottla produce greetings
  ottla produce orders --key-separator , orders.csv
  ottla produce events --format json --compression zstd --rate 5k < events.jsonl
  ottla produce images --format whole --key logo logo.png
  ottla consume old -o json | ottla produce new --format json")]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// Files to read; without any, or for -, stdin
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the input is
    #[arg(short = 'F', long, value_enum, default_value_t = Cut::Lines)]
    format: Cut,
    /// What ends a record of lines; \n, \t, \0 and \xHH are understood
    #[arg(short, long, value_name = "TEXT", default_value = "\\n")]
    delimiter: String,
    /// The key of every record that has none of its own
    #[arg(short, long)]
    key: Option<String>,
    /// What stands between key and value in each line
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// A header for every record; repeat for more
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = text::pair)]
    headers: Vec<(String, String)>,
    /// Values that are exactly this are sent as null: the tombstones of compacted topics
    #[arg(short = 'Z', long, value_name = "TEXT")]
    null: Option<String>,
    /// Write to this partition [default: by key, or any]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// The time of every record that has none of its own [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    timestamp: Option<String>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, value_name = "CODEC", value_parser = compression)]
    compression: Option<Compression>,
    /// Who must have a record before it counts: all in-sync replicas, 1 for the leader, 0 for nobody
    #[arg(long, value_name = "WHO", value_parser = acks)]
    acks: Option<Acks>,
    /// At most this many records per second: 500, 10k
    #[arg(long, value_name = "N", value_parser = text::rate)]
    rate: Option<f64>,
    /// Stop after this many records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// How long a record waits for company in a batch
    #[arg(long, value_name = "DURATION", value_parser = text::duration)]
    linger: Option<Duration>,
}

fn compression(text: &str) -> Result<Compression, String> {
    Compression::from_name(text).ok_or_else(|| "takes none, gzip, snappy, lz4 or zstd".to_owned())
}

fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "all" | "-1" => Ok(Acks::All),
        "1" => Ok(Acks::Leader),
        "0" => Ok(Acks::None),
        _ => Err("takes all, 1 or 0".to_owned()),
    }
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<()> {
    let producer = Producer::new(cx.client.clone(), config(cx, &args)?);
    let defaults = Defaults::new(&args)?;
    let input = Input::new(&args)?;
    let progress = cx.progress(input.bytes_total(), "writing");
    let (records, incoming) = mpsc::channel(READ_AHEAD);
    // Not joined: it may wait for a terminal for ever, and ends with the process.
    std::thread::spawn(move || input.read(&records));
    let mut sending = Sending {
        producer,
        summary: Summary { topic: args.topic.clone(), ..Summary::default() },
        open: VecDeque::new(),
        started: Instant::now(),
        rate: args.rate,
        sent: 0,
    };
    let outcome = sending.run(incoming, &defaults, args.count.unwrap_or(u64::MAX), &progress).await;
    let flushed = sending.finish().await;
    drop(progress);
    if outcome.is_ok() || sending.summary.records > 0 {
        if cx.format == Format::Table && !cx.quiet {
            cx.say(&sending.summary.table());
        } else if cx.format != Format::Table {
            cx.print(&sending.summary)?;
        }
    }
    outcome.and(flushed)
}

fn config(cx: &Context, args: &Args) -> Result<ProducerConfig> {
    let mut config = ProducerConfig { delivery_timeout: cx.client.config().call_timeout, ..ProducerConfig::default() };
    cx.properties.producer(&mut config)?;
    if let Some(compression) = args.compression {
        config.compression = compression;
    }
    if let Some(acks) = args.acks {
        config.acks = acks;
        config.idempotent &= acks == Acks::All;
    }
    if let Some(linger) = args.linger {
        config.linger = linger;
    }
    Ok(config)
}

/// What a record gets that does not say otherwise.
struct Defaults {
    topic: String,
    partition: Option<PartitionIndex>,
    key: Option<String>,
    headers: Vec<Header>,
    timestamp: Option<Timestamp>,
}

impl Defaults {
    fn new(args: &Args) -> Result<Self> {
        let timestamp = args.timestamp.as_deref().map(|text| text::time(text, &Zoned::now())).transpose();
        let header = |(key, value): &(String, String)| Header {
            key: key.clone(),
            value: Some(value.clone().into_bytes().into()),
        };
        Ok(Self {
            topic: args.topic.clone(),
            partition: args.partition.map(PartitionIndex::new),
            key: args.key.clone(),
            headers: args.headers.iter().map(header).collect(),
            timestamp: timestamp.map_err(|error| Failure::usage(format!("--timestamp: {error}")))?.map(Timestamp::new),
        })
    }

    fn complete(&self, mut record: NewRecord) -> NewRecord {
        record.topic.clone_from(&self.topic);
        record.partition = record.partition.or(self.partition);
        record.key = record.key.or_else(|| self.key.clone().map(|key| key.into_bytes().into()));
        record.timestamp = record.timestamp.or(self.timestamp);
        record.headers.extend(self.headers.iter().cloned());
        record
    }
}

/// Records on their way, in the order in which they were read.
struct Sending {
    producer: Producer,
    summary: Summary,
    open: VecDeque<(usize, Delivery)>,
    started: Instant,
    rate: Option<f64>,
    sent: u64,
}

impl Sending {
    async fn run(
        &mut self,
        mut incoming: mpsc::Receiver<input::Read>,
        defaults: &Defaults,
        count: u64,
        progress: &Progress,
    ) -> Result<()> {
        let interrupted = signals::stop();
        tokio::pin!(interrupted);
        while self.sent < count {
            let due = self.due();
            let full = self.open.len() >= OPEN_MAX;
            let front = async {
                match self.open.front_mut() {
                    Some((_, delivery)) => delivery.await,
                    None => std::future::pending().await,
                }
            };
            let read = tokio::select! {
                biased;
                () = &mut interrupted => return Ok(()),
                receipt = front => {
                    self.settle(receipt)?;
                    continue;
                }
                read = next(&mut incoming, due), if !full => read,
            };
            let Some(read) = read else { return Ok(()) };
            let (record, consumed) = read.map_err(Failure::usage)?;
            let record = defaults.complete(record);
            let bytes = record.key.as_ref().map_or(0, |key| key.len()) + record.value.as_ref().map_or(0, |v| v.len());
            let delivery = self.producer.send(record).await?;
            self.open.push_back((bytes, delivery));
            self.sent += 1;
            progress.advance(consumed);
        }
        Ok(())
    }

    /// When the next record may leave.
    fn due(&self) -> Option<Instant> {
        self.rate.map(|rate| self.started + Duration::from_secs_f64(self.sent as f64 / rate))
    }

    fn settle(&mut self, receipt: ottla_client::Result<Receipt>) -> Result<()> {
        let Some((bytes, _)) = self.open.pop_front() else { return Ok(()) };
        self.summary.add(&receipt?, bytes);
        Ok(())
    }

    /// Waits for everything that was sent.
    async fn finish(&mut self) -> Result<()> {
        self.producer.flush().await?;
        let mut failure = None;
        while let Some((_, delivery)) = self.open.front_mut() {
            let receipt = delivery.await;
            if let Err(error) = self.settle(receipt) {
                self.summary.failed += 1;
                failure.get_or_insert(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The next record, not before it is due.
async fn next(incoming: &mut mpsc::Receiver<input::Read>, due: Option<Instant>) -> Option<input::Read> {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
    incoming.recv().await
}

/// What was written.
#[derive(Debug, Default, Serialize)]
struct Summary {
    topic: String,
    records: u64,
    bytes: u64,
    failed: u64,
    partitions: BTreeMap<i32, Written>,
}

#[derive(Debug, Default, Serialize)]
struct Written {
    records: u64,
    first_offset: Option<i64>,
    last_offset: Option<i64>,
}

impl Summary {
    fn add(&mut self, receipt: &Receipt, bytes: usize) {
        let Receipt { partition: NamedPartition { partition, .. }, offset, .. } = receipt;
        let written = self.partitions.entry(partition.get()).or_default();
        let offset = offset.map(|offset| offset.get());
        self.records += 1;
        self.bytes += bytes as u64;
        written.records += 1;
        written.first_offset = written.first_offset.or(offset);
        written.last_offset = offset.or(written.last_offset);
    }
}

impl Show for Summary {
    fn table(&self) -> String {
        let noun = if self.records == 1 { "record" } else { "records" };
        let size = text::bytes(i64::try_from(self.bytes).unwrap_or(i64::MAX));
        let head = format!("{} {noun} ({size}) written to {}", self.records, self.topic);
        if self.partitions.is_empty() {
            return head;
        }
        let mut columns = Columns::new(&["PARTITION#", "RECORDS#", "FIRST OFFSET#", "LAST OFFSET#"]);
        for (partition, written) in &self.partitions {
            let (first, last) = (or_dash(written.first_offset), or_dash(written.last_offset));
            columns.row([partition.to_string(), written.records.to_string(), first, last]);
        }
        format!("{head}\n\n{}", columns.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::render;

    #[test]
    fn what_was_written_is_shown() {
        let mut summary = Summary { topic: "orders".to_owned(), ..Summary::default() };
        for (partition, offset) in [(0, Some(10)), (0, Some(11)), (2, None)] {
            let partition = NamedPartition::new("orders", partition.into());
            let offset = offset.map(|offset: i64| offset.into());
            summary.add(&Receipt { partition, offset, append_time: None }, 1000);
        }
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("produce_{format:?}"), render(format, &summary).unwrap());
        }
    }
}

//! `ottla log verify`: every byte of a data directory.
//!
//! Owns the words for what was found. Changes nothing, decides nothing: `ottla_log::verify` does the reading.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::damage::DamagedRange;
use ottla_log::disk::{Disk, LockError, real::RealDisk};
use ottla_log::identity;
use ottla_log::verify::{BadBytes, CatalogueReport, JournalReport, PartitionReport, Report, verify};
use serde::Serialize;

use crate::args::Global;
use crate::failure::{Exit, Failure, Result};
use crate::output::{self, Columns, Show};
use crate::progress::Progress;
use crate::text::bytes;

/// Checks a data directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the catalogue, every segment with its checksums and the journal. Changes nothing. What a crash left
unfinished is no damage. The folder that `ottla dev` was given as --data-dir will do as well where one broker ran in it.

Exit code 0 means sound, 7 damaged, 3 that there is no such data directory, 6 that a broker is using it.

Examples:
  ottla log verify /var/lib/ottla
  ottla log verify .ottla/demo/data -o json | jq '.partitions[] | select(.damaged != [])'")]
pub(crate) struct Args {
    /// The data directory
    directory: PathBuf,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<()> {
    let directory = data_directory(&args.directory)?;
    let report = check(&directory, global.quiet)?;
    let sound = report.is_sound();
    output::print(global.output, &Verdict::new(&directory, &report))?;
    if sound {
        return Ok(());
    }
    Err(Failure::new(Exit::Damaged, format!("{} is damaged", directory.display()))
        .way_out("Everything that is not named above is readable; a broker serves it and refuses the rest."))
}

/// The data directory that is meant: `directory`, or the only one of a broker that `ottla dev` put into it. A folder that
/// is none must never be called sound.
fn data_directory(directory: &Path) -> Result<PathBuf> {
    let not_found = |what: &str| Failure::new(Exit::NotFound, format!("{} is no {what}", directory.display()));
    let is_one = |folder: &Path| folder.join(identity::FILE).is_file() || folder.join(identity::COPY).is_file();
    if is_one(directory) {
        return Ok(directory.to_owned());
    }
    let entries = std::fs::read_dir(directory).map_err(|_| not_found("directory"))?;
    let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_one(path)).collect();
    inside.sort();
    match inside.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(not_found("data directory of a broker")
            .way_out(format!("A data directory holds a file {}; name the folder that does.", identity::FILE))),
        several => {
            let names: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
            Err(not_found("data directory, but holds several").way_out(format!("Name one of {}.", names.join(", "))))
        }
    }
}

fn check(directory: &Path, quiet: bool) -> Result<Report> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("{} cannot be checked: {error}", directory.display()))
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(directory).map_err(|error| failed(&error))?);
    // What a broker is writing looks like damage. Where no lock can be taken at all, as on a read-only copy, none runs.
    let lock = identity::lock(disk.as_ref());
    if let Err(held @ LockError::Held { .. }) = &lock {
        return Err(Failure::new(Exit::Refused, held.to_string()).way_out("Stop the broker, or verify a copy."));
    }
    let mut progress: Option<Progress> = None;
    verify(&disk, |at| {
        let bar = progress.get_or_insert_with(|| Progress::new(quiet, Some(at.total as u64), "checking"));
        bar.set(at.done as u64);
    })
    .map_err(|error| failed(&error))
}

#[derive(Debug, Serialize)]
struct Verdict {
    directory: String,
    sound: bool,
    catalogue: Catalogue,
    journal: Journal,
    partitions: Vec<Partition>,
    unreadable_folders: Vec<String>,
    bad_files: Vec<Bad>,
}

#[derive(Debug, Serialize)]
struct Catalogue {
    usable: bool,
    clean: bool,
}

#[derive(Debug, Serialize)]
struct Journal {
    first_lsn: u64,
    last_lsn: u64,
    frames: u64,
    torn_bytes: u64,
    holes: usize,
}

#[derive(Debug, Serialize)]
struct Partition {
    topic: String,
    topic_id: String,
    partition: i32,
    start: i64,
    end: i64,
    segments: usize,
    records: u64,
    bytes: u64,
    damaged: Vec<Range>,
    bad_bytes: Vec<Bad>,
    stale_hints: Vec<Bad>,
}

/// Offsets from `from` up to but without `upto`.
#[derive(Debug, Serialize)]
struct Range {
    from: i64,
    upto: i64,
}

#[derive(Debug, Serialize)]
struct Bad {
    file: String,
    from: u64,
    upto: u64,
    what: &'static str,
}

impl Verdict {
    fn new(directory: &Path, report: &Report) -> Self {
        let catalogue = match report.catalogue {
            CatalogueReport::Sound { clean, .. } => Catalogue { usable: true, clean },
            CatalogueReport::Unusable => Catalogue { usable: false, clean: false },
        };
        Self {
            directory: directory.display().to_string(),
            sound: report.is_sound(),
            catalogue,
            journal: Journal::from(&report.journal),
            partitions: report.partitions.iter().map(Partition::from).collect(),
            unreadable_folders: report.unreadable_folders.clone(),
            bad_files: report.bad_files.iter().map(Bad::from).collect(),
        }
    }
}

impl From<&BadBytes> for Bad {
    fn from(bad: &BadBytes) -> Self {
        Self { file: bad.file.clone(), from: bad.from, upto: bad.upto, what: bad.what }
    }
}

impl From<&JournalReport> for Journal {
    fn from(journal: &JournalReport) -> Self {
        Self {
            first_lsn: journal.released.get(),
            last_lsn: journal.last.get(),
            frames: journal.frames,
            torn_bytes: journal.torn_bytes,
            holes: journal.holes.len(),
        }
    }
}

impl From<&PartitionReport> for Partition {
    fn from(report: &PartitionReport) -> Self {
        let range = |range: &DamagedRange| Range { from: range.from.get(), upto: range.upto.get() };
        Self {
            topic: report.name.clone(),
            topic_id: report.id.topic.to_string(),
            partition: report.id.partition.get(),
            start: report.log_start.get(),
            end: report.log_end.get(),
            segments: report.segments,
            records: report.records,
            bytes: report.bytes,
            damaged: report.damaged_offsets.iter().map(range).collect(),
            bad_bytes: report.bad_bytes.iter().map(Bad::from).collect(),
            stale_hints: report.stale_hints.iter().map(Bad::from).collect(),
        }
    }
}

impl Show for Verdict {
    fn table(&self) -> String {
        let journal = &self.journal;
        let catalogue = match (self.catalogue.usable, self.catalogue.clean) {
            (true, true) => "sound, closed in order",
            (true, false) => "sound, not closed in order: a start replays the journal",
            (false, _) => "none: a start scans the segments",
        };
        let mut text = format!(
            "Directory  {}\nVerdict    {}\nCatalogue  {catalogue}\nJournal    {} frames, {} to {}",
            self.directory,
            if self.sound { "sound" } else { "damaged" },
            journal.frames,
            journal.first_lsn,
            journal.last_lsn
        );
        if journal.torn_bytes > 0 {
            text.push_str(&format!(", {} of an unfinished write", bytes(signed(journal.torn_bytes))));
        }
        if journal.holes > 0 {
            text.push_str(&format!(", {} holes", journal.holes));
        }
        for folder in &self.unreadable_folders {
            text.push_str(&format!("\nUnreadable {folder}"));
        }
        let header = ["TOPIC", "PARTITION#", "START#", "END#", "RECORDS#", "SIZE#", "DAMAGED OFFSETS"];
        let mut columns = Columns::new(&header);
        for one in &self.partitions {
            let damaged: Vec<_> = one.damaged.iter().map(|range| format!("{}..{}", range.from, range.upto)).collect();
            columns.row([
                one.topic.clone(),
                one.partition.to_string(),
                one.start.to_string(),
                one.end.to_string(),
                one.records.to_string(),
                bytes(signed(one.bytes)),
                output::list(&damaged),
            ]);
        }
        text.push_str("\n\n");
        text.push_str(&columns.text());
        for bad in self.bad_files.iter().chain(self.partitions.iter().flat_map(|one| &one.bad_bytes)) {
            text.push_str(&format!("\n{}, bytes {} to {}: {}", bad.file, bad.from, bad.upto, bad.what));
        }
        for hint in self.partitions.iter().flat_map(|one| &one.stale_hints) {
            text.push_str(&format!("\n{}: {} (no damage: it is rebuilt)", hint.file, hint.what));
        }
        text
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, render};

    #[test]
    fn a_verdict_is_shown() {
        let partition = |index, damaged: Vec<Range>| Partition {
            topic: "orders".to_owned(),
            topic_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            partition: index,
            start: 0,
            end: 100,
            segments: 2,
            records: 100,
            bytes: 4096,
            bad_bytes: damaged.iter().map(|_| bad()).collect(),
            stale_hints: Vec::new(),
            damaged,
        };
        let verdict = Verdict {
            directory: "/data".to_owned(),
            sound: false,
            catalogue: Catalogue { usable: true, clean: false },
            journal: Journal { first_lsn: 5, last_lsn: 40, frames: 36, torn_bytes: 512, holes: 0 },
            partitions: vec![partition(0, Vec::new()), partition(1, vec![Range { from: 10, upto: 20 }])],
            unreadable_folders: vec!["junk-0".to_owned()],
            bad_files: vec![Bad {
                file: "ottla.identity.copy".to_owned(),
                from: 0,
                upto: 64,
                what: "the copies differ",
            }],
        };
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("log_verify_{format:?}"), render(format, &verdict).unwrap());
        }
    }

    fn bad() -> Bad {
        let file = "orders-1/00000000000000000000.log".to_owned();
        Bad { file, from: 65_536, upto: 131_072, what: "the checksum does not match" }
    }
}

//! What starts have found that may be lost, until the cluster has been told.
//!
//! Owns the file `doubts`. A start notices an unclean stop or a hole in the journal once: the next one finds a new
//! catalogue and a journal without the hole. Were the process to die in between, before its broker is registered, nobody
//! would ever know, and a log that lost records would count as in sync (R12). So what was found is written down, durably,
//! before anything else is written, and every start reports it again until [`super::LogDir::doubts_told`]. Not a hint.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_core::types::TopicPartition;

use super::{Recovered, Suspicion};
use crate::codec::{Body, Format, Unusable};
use crate::disk::{Disk, DiskError};
use crate::shared::Shared;

/// The file.
pub(super) const FILE: &str = "doubts";
const FORMAT: Format = Format { magic: *b"OTTLDOUB", version: 1 };
/// Far more than a suspicion of each of a million partitions.
const BYTES_MAX: usize = 64 * 1024 * 1024;
const ENTRY_BYTES: usize = 21;

/// What the file says, or what makes it unusable.
enum Told {
    Nothing,
    Doubts { unclean_stop: bool, suspect: Vec<(TopicPartition, Suspicion)> },
    Unusable,
}

/// Adds what earlier starts found to `recovered`, and writes down what this one did.
///
/// # Errors
/// What the disk said; nothing may be served then.
pub(super) fn settle(shared: &Arc<Shared>, recovered: &mut Recovered) -> Result<(), DiskError> {
    let earlier = read(&*shared.disk)?;
    let found = recovered.suspect.clone();
    match &earlier {
        Told::Nothing => {}
        Told::Doubts { unclean_stop, suspect } => {
            recovered.unclean_stop |= unclean_stop;
            let known: BTreeSet<TopicPartition> = shared.partitions.read().keys().copied().collect();
            let new = suspect.iter().filter(|(id, why)| known.contains(id) && !found.contains(&(*id, *why)));
            recovered.suspect.extend(new.copied());
        }
        // What it said is lost: it may have been anything.
        Told::Unusable => {
            tracing::error!("{FILE} cannot be read: every log counts as suspect");
            recovered.unclean_stop = true;
            let all = shared.partitions.read();
            recovered.suspect = all.keys().map(|id| (*id, Suspicion::JournalHole)).collect();
            recovered.suspect.sort_unstable_by_key(|(id, _)| *id);
        }
    }
    let nothing = recovered.suspect.is_empty() && !(recovered.unclean_stop && recovered.partitions > 0);
    let is_told = |unclean_stop: bool, suspect: &[(TopicPartition, Suspicion)]| {
        unclean_stop == recovered.unclean_stop && found.iter().all(|doubt| suspect.contains(doubt))
    };
    let same = matches!(&earlier, Told::Doubts { unclean_stop, suspect } if is_told(*unclean_stop, suspect));
    if nothing || same {
        return Ok(());
    }
    let mut body = Body::default();
    body.u8(u8::from(recovered.unclean_stop)).count(recovered.suspect.len());
    for (id, why) in &recovered.suspect {
        body.partition(*id).u8(number(*why));
    }
    shared.disk.replace_file(FILE, &FORMAT.seal(&body.0))
}

/// Nobody needs to be told any more.
pub(super) fn forget(disk: &dyn Disk) -> Result<(), DiskError> {
    if disk.size(FILE)?.is_some() {
        disk.remove(FILE)?;
        disk.sync_dir("")?;
    }
    Ok(())
}

fn read(disk: &dyn Disk) -> Result<Told, DiskError> {
    let Some(bytes) = disk.read_file(FILE, BYTES_MAX)? else { return Ok(Told::Nothing) };
    Ok(decode(&bytes).unwrap_or(Told::Unusable))
}

fn decode(bytes: &[u8]) -> Result<Told, Unusable> {
    let (_version, mut fields) = FORMAT.open(bytes)?;
    let unclean_stop = fields.u8()? == 1;
    let count = fields.count(ENTRY_BYTES)?;
    let doubt = |_| {
        let id = fields.partition()?;
        let why = if fields.u8()? == number(Suspicion::UncleanStop) {
            Suspicion::UncleanStop
        } else {
            Suspicion::JournalHole
        };
        Ok((id, why))
    };
    let suspect = (0..count).map(doubt).collect::<Result<_, Unusable>>()?;
    Ok(Told::Doubts { unclean_stop, suspect })
}

fn number(why: Suspicion) -> u8 {
    match why {
        Suspicion::JournalHole => 0,
        Suspicion::UncleanStop => 1,
    }
}

#[cfg(test)]
mod tests {
    use ottla_core::types::{LeaderEpoch, PartitionIndex, TopicId};

    use super::*;
    use crate::disk::sim::{Random, SimDisk};
    use crate::store::{Deaf, LogDir, Options};

    fn partition(index: i32) -> TopicPartition {
        TopicPartition::new(TopicId::from_bytes([7; 16]), PartitionIndex::new(index))
    }

    /// A start under that boot of the machine.
    fn open(disk: &SimDisk, boot: u8) -> (LogDir, Recovered) {
        let mut numbers = Random::new(11);
        let mut options = Options::new(Arc::new(Deaf), [boot; 16], Box::new(move || numbers.next()));
        options.journal.file_bytes = 64 * 1024;
        options.journal.first_file_bytes = 64 * 1024;
        options.reserve_bytes = 0;
        options.threads = false;
        LogDir::open(Arc::new(disk.clone()), options).expect("opens")
    }

    /// Two partitions, a catalogue of the first boot, and no end in good order.
    fn interrupted() -> SimDisk {
        let disk = SimDisk::new(5);
        let (dir, recovered) = open(&disk, 1);
        assert!(recovered.suspect.is_empty());
        for index in 0..2 {
            dir.create(partition(index), "orders", LeaderEpoch::new(0)).expect("created");
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can only be had from the clock; its value is nothing"
        )]
        dir.pump(std::time::Instant::now()).expect("written");
        dir.flush().expect("flushed");
        drop(dir);
        disk.crash()
    }

    #[test]
    fn an_unclean_stop_is_said_until_the_cluster_has_been_told() {
        let disk = interrupted();
        let (dir, recovered) = open(&disk, 2);
        assert!(recovered.unclean_stop);
        // The catalogue of this boot hides it from the next start, which has to say it all the same.
        dir.flush().expect("flushed");
        drop(dir);
        let disk = disk.kill();
        let (dir, recovered) = open(&disk, 2);
        assert!(recovered.unclean_stop && recovered.suspect.is_empty());
        dir.doubts_told().expect("forgotten");
        dir.doubts_told().expect("nothing to forget");
        dir.flush().expect("flushed");
        drop(dir);
        assert!(!open(&disk.kill(), 2).1.unclean_stop);
    }

    #[test]
    fn a_process_that_was_only_killed_leaves_no_doubts() {
        let disk = interrupted();
        let (_, recovered) = open(&disk, 1);
        assert!(!recovered.unclean_stop && recovered.partitions == 2);
        assert!(matches!(disk.size(FILE), Ok(None)));
    }

    #[test]
    fn what_was_written_down_and_cannot_be_read_may_have_been_anything() {
        let disk = interrupted();
        drop(open(&disk, 2));
        let disk = disk.kill();
        assert!(disk.flip_bit(FILE, 8 * 12));
        let (_, recovered) = open(&disk, 2);
        let all = [0, 1].map(|index| (partition(index), Suspicion::JournalHole));
        assert_eq!((recovered.unclean_stop, recovered.suspect), (true, all.to_vec()));
        let (_, again) = open(&disk.kill(), 2);
        assert_eq!(again.suspect, all, "it was written down anew");
    }

    #[test]
    fn a_suspicion_comes_back_as_it_was_written_down() {
        let doubts = [(partition(0), Suspicion::JournalHole), (partition(1), Suspicion::UncleanStop)];
        let mut body = Body::default();
        body.u8(1).count(doubts.len());
        for (id, why) in &doubts {
            body.partition(*id).u8(number(*why));
        }
        let sealed = FORMAT.seal(&body.0);
        let Ok(Told::Doubts { unclean_stop, suspect }) = decode(&sealed) else { panic!("unusable") };
        assert!(unclean_stop && suspect == doubts);
        assert!(decode(&sealed[..sealed.len() - 1]).is_err());
    }
}

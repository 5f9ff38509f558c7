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
    let found_unclean = recovered.unclean_stop;
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
    let same = matches!(&earlier, Told::Doubts { unclean_stop, .. }
        if *unclean_stop == recovered.unclean_stop && (*unclean_stop || !found_unclean))
        && found.iter().all(|doubt| matches!(&earlier, Told::Doubts { suspect, .. } if suspect.contains(doubt)));
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

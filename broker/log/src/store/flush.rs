//! One flush pass: what is written becomes durable, the catalogue says so, the journal may forget it.
//!
//! Owns that order, which is the whole of S1 for segments: bytes, then sums, then names, then the catalogue, then the
//! release. Any failure takes the directory offline (S2), except a full disk, which is tried again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_core::types::Lsn;
use parking_lot::MutexGuard;

use crate::catalogue::{Entry, Summary, Writer};
use crate::disk::{DiskError, count};
use crate::journal::{Journal, Offline};
use crate::partition::Partition;
use crate::partition::flush::FlushPlan;
use crate::segment::Kind;
use crate::shared::Shared;

/// More files than this are flushed together: one by one each costs 100 µs, together about 5.
const FILES_ONE_BY_ONE: usize = 1000;

/// How often a pass waits for what the catalogue would state before it leaves that to the next one.
const SETTLE_ROUNDS: usize = 16;

/// How a pass is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) boot: [u8; 16],
    /// The last pass of an orderly end.
    pub(super) clean: bool,
    /// Whether another thread pumps the journal, so that waiting for it makes sense.
    pub(super) wait: bool,
}

/// Makes everything that is written durable and releases the journal's frames that this makes unnecessary.
pub(super) fn pass(shared: &Arc<Shared>, how: Pass) -> Result<(), Offline> {
    match try_pass(shared, how) {
        Ok(()) => Ok(()),
        Err(Stop::Offline(offline)) => Err(offline),
        Err(Stop::Disk(error)) => {
            shared.fail(&error.to_string());
            Err(Offline { reason: Arc::from(error.to_string()) })
        }
    }
}

enum Stop {
    Offline(Offline),
    Disk(DiskError),
}

impl From<DiskError> for Stop {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<Offline> for Stop {
    fn from(offline: Offline) -> Self {
        Self::Offline(offline)
    }
}

fn try_pass(shared: &Arc<Shared>, how: Pass) -> Result<(), Stop> {
    // One pass at a time: what one has taken over and not flushed yet, another must not release.
    let _alone = shared.pass.lock();
    let journal = shared.journal()?.clone();
    let written = shared.written();
    count(&shared.stats.flushes, 1);
    let plans = plans(shared)?;
    let complete = match flush(shared, &plans) {
        Err(error) if error.is_no_space() => {
            // Nothing is released; the next pass tries again.
            shared.space.exhausted();
            for plan in &plans {
                plan.partition.unplan(plan);
                shared.mark_dirty(&plan.partition);
            }
            return Ok(());
        }
        other => other?,
    };
    let released = complete
        && match write_catalogue(shared, &journal, how) {
            Err(Stop::Disk(error)) if error.is_no_space() => {
                shared.space.exhausted();
                shared.request_catalogue();
                false
            }
            other => other?,
        };
    if released {
        let named = shared.unsettled.lock().values().min().copied();
        journal.release(named.map_or(written.next(), |lsn| lsn.min(written.next())));
        shared.rooms.open();
    }
    empty_trash(shared)
}

fn plans(shared: &Shared) -> Result<Vec<FlushPlan>, DiskError> {
    let dirty = std::mem::take(&mut *shared.dirty.lock());
    let mut plans = Vec::with_capacity(dirty.len());
    for partition in dirty {
        partition.dirty.store(false, Ordering::Release);
        plans.push(partition.flush_plan()?);
    }
    Ok(plans)
}

/// Bytes, then sums, then names. Whether all of it counts: not where a log was cut meanwhile.
fn flush(shared: &Shared, plans: &[FlushPlan]) -> Result<bool, DiskError> {
    let mut complete = true;
    let files: usize = plans.iter().map(|plan| plan.items.len()).sum();
    let together = files > FILES_ONE_BY_ONE;
    if together {
        shared.disk.sync_all()?;
        count(&shared.stats.full_flushes, 1);
    }
    for plan in plans {
        for item in &plan.items {
            if !together {
                plan.partition.sync_file(item.base, Kind::Log)?;
                count(&shared.stats.flushed_files, 1);
            }
            plan.partition.write_sums(plan, item)?;
        }
    }
    if together {
        shared.disk.sync_all()?;
    }
    for plan in plans {
        for item in &plan.items {
            if !together {
                plan.partition.sync_file(item.base, Kind::Sum)?;
            }
        }
        if let Some(cut) = &plan.cut {
            plan.partition.sync_cut(cut)?;
        }
        if plan.names_changed {
            plan.partition.sync_names()?;
        }
        if let Some(cut) = &plan.cut {
            plan.partition.on_cut_flushed(cut);
        }
        if !plan.partition.on_flushed(plan) {
            complete = false;
            shared.mark_dirty(&plan.partition);
        }
    }
    Ok(complete)
}

/// Whether it was written. Not when a creation or deletion that it would state is not durable itself: its LSN could be
/// given to another frame after a crash, which a start would then take for done.
fn write_catalogue(shared: &Shared, journal: &Journal, how: Pass) -> Result<bool, Stop> {
    let Some(structure) = settled_structure(shared, journal, how)? else { return Ok(false) };
    let summary = Summary { structure: *structure, synced: journal.synced(), boot: how.boot, clean: how.clean };
    let mut partitions: Vec<Arc<Partition>> = shared.partitions.read().values().cloned().collect();
    partitions.sort_unstable_by_key(|partition| partition.id());
    let mut writer = Writer::begin(&*shared.disk, summary)?;
    let mut opted_out = Vec::new();
    for partition in &partitions {
        let entry = partition.catalogue_entry();
        if entry.opted_out {
            opted_out.push(partition);
        }
        writer.add(&entry)?;
    }
    let bytes = writer.finish()?;
    for partition in opted_out {
        partition.on_catalogued_opt_out();
    }
    count(&shared.stats.catalogues, 1);
    shared.stats.catalogue_bytes_now.store(bytes, Ordering::Relaxed);
    Ok(true)
}

/// The lock on what the catalogue states, once that is durable. It is not held while waiting: the journal's thread may be
/// held up by the observer, and that by someone who wants the lock. `None` if it changes all the time.
fn settled_structure<'a>(
    shared: &'a Shared,
    journal: &Journal,
    how: Pass,
) -> Result<Option<MutexGuard<'a, Lsn>>, Offline> {
    for _ in 0..SETTLE_ROUNDS {
        let last = {
            let structure = shared.structure.lock();
            if *structure <= journal.synced() {
                return Ok(Some(structure));
            }
            *structure
        };
        if !how.wait {
            return Ok(None);
        }
        journal.durable(last).wait()?;
    }
    shared.request_catalogue();
    Ok(None)
}

/// Folders of deleted partitions, out of the way of every lock.
fn empty_trash(shared: &Shared) -> Result<(), Stop> {
    for path in std::mem::take(&mut *shared.trash.lock()) {
        match shared.disk.remove_dir(&path) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

impl Partition {
    /// What the catalogue says about it: what is flushed.
    pub(crate) fn catalogue_entry(&self) -> Entry {
        let state = self.state.lock();
        let durable = self.flushed_end();
        let flushed = state.segments.iter().filter(|segment| segment.flushed.bytes > 0).copied();
        Entry {
            id: self.id(),
            name: self.name().to_owned(),
            floor: state.floor,
            epoch: state.epoch,
            log_start: state.log_start,
            opted_out: state.config.opted_out() || state.unjournaled,
            epochs: state.epochs.clone(),
            segments: flushed.collect(),
            damage: state.damage.clone(),
            producers: state.producers.snapshot(durable),
            producers_end: durable,
        }
    }

    fn on_catalogued_opt_out(&self) {
        let mut state = self.state.lock();
        // A start that replays a cut would cut what is not in the journal, too.
        if state.floor >= state.cut_lsn {
            state.unjournaled = state.config.opted_out();
        }
    }
}

//! Opening a data directory: catalogue or scan, then the journal.
//!
//! Owns what replayed frames do to the set of partitions, in LSN order, and what is reported about it. With a sound
//! catalogue nothing is opened for a partition that the journal does not mention.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_core::limits;
use ottla_core::producer::Producers;
use ottla_core::types::{LeaderEpoch, Lsn, Offset, TopicPartition};

use crate::catalogue::{self, Entry, Summary};
use crate::damage::DamagedRange;
use crate::disk::DiskError;
use crate::journal::{Entropy, Frame, GroupObserver, Hole, Kind, Options, Recovery, Replayed, Report};
use crate::partition::{Beginning, Partition, ReplayError};
use crate::phase;
use crate::segment::parse_log_name;
use crate::shared::Shared;
use crate::store::{OpenError, scan};

/// Replayed batches are written to their segments when so many bytes wait. Nobody else holds memory while a directory
/// opens; every step opens the files of every partition that it names, so the fewer the better.
const STEP_BYTES: usize = limits::TAIL_CACHE_BYTES + limits::PRODUCE_BYTES + limits::FETCH_BYTES;

/// Why a partition's log may end below what was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// The journal has lost frames, and nothing proves that none was this partition's (R12).
    JournalHole,
    /// It skips the journal, and the machine stopped without flushing it.
    UncleanStop,
}

/// What opening a data directory came by.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// There was no sound catalogue: everything was scanned.
    pub scanned: bool,
    /// Partitions.
    pub partitions: usize,
    /// The journal's own account.
    pub journal: Report,
    /// Batches that were replayed into segments.
    pub batches: u64,
    /// Ranges that cannot be read, as far as they are known.
    pub damaged: Vec<(TopicPartition, DamagedRange)>,
    /// The machine stopped without a clean end of the directory, or nobody can tell: what skipped the journal and was
    /// not flushed may be gone, of whatever partition was opted out then.
    pub unclean_stop: bool,
    /// Partitions that may have lost their end; those of earlier starts too, until the cluster has been told.
    pub suspect: Vec<(TopicPartition, Suspicion)>,
    /// Frames that name no partition, or contradict it; each is logged.
    pub orphaned_frames: u64,
    /// Folders that nobody can read: their own record is damaged or missing.
    pub unreadable_folders: Vec<String>,
}

/// Brings `shared` to what the disk says and starts its journal.
pub(super) fn recover(
    shared: &Arc<Shared>,
    journal: Options,
    boot: [u8; 16],
    entropy: Entropy,
) -> Result<Recovered, OpenError> {
    let _recovering = phase::enter(phase::RECOVERY);
    let mut recovered = Recovered::default();
    let summary = load(shared, boot, &mut recovered)?;
    let options = Options { known_synced: summary.synced, ..journal };
    let mut recovery = Recovery::open(Arc::clone(&shared.disk), options)?;
    let mut replay = Replay {
        shared,
        recovered: &mut recovered,
        structure: summary.structure,
        last: summary.synced,
        waiting: 0,
        touched: BTreeMap::new(),
        orphans: BTreeMap::new(),
        contradictions: BTreeMap::new(),
        in_doubt: None,
    };
    while let Some(step) = recovery.step()? {
        match step {
            Replayed::Frame { lsn, frame } => replay.frame(lsn, &frame)?,
            Replayed::Hole(hole) => replay.hole(hole)?,
        }
    }
    replay.finish()?;
    recovered.journal = recovery.report().clone();
    let observer: Arc<dyn GroupObserver> = Arc::clone(shared) as Arc<dyn GroupObserver>;
    let journal = recovery.start(entropy, observer)?;
    let last = recovered.journal.last.max(summary.synced);
    shared.queue.lock().synced = last;
    shared.written.store(last.get(), Ordering::Release);
    if shared.journal.set(journal).is_err() {
        unreachable!("a directory is recovered once");
    }
    shared.space.refresh(&*shared.disk, 0);
    report(shared, &mut recovered);
    Ok(recovered)
}

/// The partitions without the journal.
fn load(shared: &Arc<Shared>, boot: [u8; 16], recovered: &mut Recovered) -> Result<Summary, OpenError> {
    let Some((summary, entries)) = catalogue::read(&*shared.disk)? else {
        catalogue::forget(&*shared.disk)?;
        (recovered.scanned, recovered.unclean_stop) = (true, true);
        recovered.unreadable_folders = scan::scan(shared)?;
        shared.request_catalogue();
        return Ok(Summary::default());
    };
    recovered.unclean_stop = summary.boot != boot && !summary.clean;
    let mut opted_out = Vec::new();
    {
        let mut partitions = shared.partitions.write();
        for entry in entries {
            let name = shared.names.share(&entry.name);
            let partition = Partition::new(shared, entry.id, name, beginning(&entry));
            if entry.opted_out {
                opted_out.push(Arc::clone(&partition));
            }
            partitions.insert(entry.id, partition);
        }
    }
    for partition in opted_out {
        partition.scan_beyond()?;
        if recovered.unclean_stop {
            recovered.suspect.push((partition.id(), Suspicion::UncleanStop));
        }
    }
    if summary.clean {
        // It says that nothing was appended after it; that ends here.
        shared.request_catalogue();
    }
    Ok(summary)
}

fn beginning(entry: &Entry) -> Beginning {
    let written = entry.segments.last().map_or(entry.log_start, |segment| segment.flushed.end);
    let damaged = entry.damage.ranges().last().map_or(written, |range| range.upto);
    Beginning {
        epoch: entry.epoch,
        log_start: entry.log_start,
        // A range at the end that was lost is still part of the log.
        log_end: written.max(entry.log_start).max(damaged),
        floor: entry.floor,
        unjournaled: entry.opted_out,
        segments: entry.segments.clone(),
        epochs: entry.epochs.clone(),
        producers: Producers::restore(entry.producers.iter().cloned()),
        damage: entry.damage.clone(),
    }
}

struct Replay<'a> {
    shared: &'a Arc<Shared>,
    recovered: &'a mut Recovered,
    /// Creations, deletions and moves up to this frame are known already.
    structure: Lsn,
    last: Lsn,
    waiting: usize,
    /// Partitions with replayed batches, and where their segments began before the crash.
    touched: BTreeMap<TopicPartition, (Arc<Partition>, BTreeSet<Offset>)>,
    /// Frames that name no partition: right if a tombstone follows.
    orphans: BTreeMap<TopicPartition, u64>,
    /// Frames that do not fit to their partition: right if a cut follows.
    contradictions: BTreeMap<TopicPartition, u64>,
    /// After a hole: who has not shown yet that it lost nothing.
    in_doubt: Option<BTreeMap<TopicPartition, Arc<Partition>>>,
}

impl Replay<'_> {
    fn frame(&mut self, lsn: Lsn, frame: &Frame) -> Result<(), OpenError> {
        let known = lsn <= self.structure;
        self.last = self.last.max(lsn);
        match frame.kind {
            Kind::Append => self.append(lsn, frame)?,
            Kind::Create if !known => self.create(lsn, frame),
            Kind::Delete if !known => self.delete(frame.partition)?,
            Kind::Truncate => self.cut(lsn, frame)?,
            Kind::LogStart => self.move_start(lsn, frame, known)?,
            Kind::Create | Kind::Delete | Kind::FlushedEnd | Kind::Close => {}
        }
        if !known && matches!(frame.kind, Kind::Create | Kind::Delete | Kind::Truncate | Kind::LogStart) {
            let mut structure = self.shared.structure.lock();
            *structure = structure.max(lsn);
        }
        Ok(())
    }

    /// A cut. The catalogue that knows of it may be older than the cut files: only its floor says that they are durable.
    fn cut(&mut self, lsn: Lsn, frame: &Frame) -> Result<(), OpenError> {
        if frame.end == Offset::new(0) {
            // Nothing of what came before is left: it need not be known whose that was.
            self.orphans.remove(&frame.partition);
            if !self.shared.partitions.read().contains_key(&frame.partition) {
                return Ok(());
            }
        }
        let Some(partition) = self.partition(lsn, frame) else { return Ok(()) };
        if partition.state.lock().floor >= lsn {
            return Ok(());
        }
        self.touch(lsn, &partition)?;
        partition.replay_cut(lsn, frame)?;
        // Frames that did not fit were of the history that ends here.
        self.contradictions.remove(&frame.partition);
        Ok(())
    }

    /// A moved log start; one that is known already is moved again if a replayed cut has taken it back.
    fn move_start(&mut self, lsn: Lsn, frame: &Frame, known: bool) -> Result<(), OpenError> {
        let Some(partition) = self.partition(lsn, frame) else { return Ok(()) };
        let taken_back = partition.state.lock().cuts > 0;
        if !known || taken_back {
            partition.replay_start(lsn, frame.base)?;
            self.touch(lsn, &partition)?;
        }
        Ok(())
    }

    fn append(&mut self, lsn: Lsn, frame: &Frame) -> Result<(), OpenError> {
        let Some(partition) = self.partition(lsn, frame) else { return Ok(()) };
        if let Some(doubt) = &mut self.in_doubt
            && partition.has_place_for(frame)
        {
            doubt.remove(&frame.partition);
        }
        if frame.end <= partition.log_end() {
            return Ok(());
        }
        match partition.replay_append(lsn, frame, self.touch(lsn, &partition)?) {
            Ok(0) => {}
            Ok(cost) => {
                self.recovered.batches += 1;
                self.waiting += cost;
            }
            Err(ReplayError::Disk(error)) => return Err(error.into()),
            Err(error @ ReplayError::Contradiction { .. }) => {
                tracing::warn!(partition = %frame.partition, %error, "a journal frame contradicts its partition");
                *self.contradictions.entry(frame.partition).or_default() += 1;
            }
        }
        if self.waiting >= STEP_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    /// The partition that a frame names; one that is gone by a tombstone that the catalogue knows is silently none.
    fn partition(&mut self, lsn: Lsn, frame: &Frame) -> Option<Arc<Partition>> {
        let found = self.shared.partitions.read().get(&frame.partition).cloned();
        if found.is_none() && lsn > self.structure {
            *self.orphans.entry(frame.partition).or_default() += 1;
        }
        found
    }

    /// Where the segments of a partition began before the crash: looked up when it is mentioned first.
    fn touch(&mut self, lsn: Lsn, partition: &Arc<Partition>) -> Result<&BTreeSet<Offset>, DiskError> {
        let (_, bases) = match self.touched.entry(partition.id()) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(new) => {
                let entries = match self.shared.disk.list(&partition.place.folder) {
                    Err(error) if error.is_not_found() => Vec::new(),
                    other => other?,
                };
                let bases = entries.iter().filter_map(|entry| parse_log_name(&entry.name)).collect();
                partition.notice_removals(lsn, &bases)?;
                new.insert((Arc::clone(partition), bases))
            }
        };
        Ok(bases)
    }

    fn create(&mut self, lsn: Lsn, frame: &Frame) {
        let name = String::from_utf8_lossy(&frame.payload.to_bytes()).into_owned();
        let mut partitions = self.shared.partitions.write();
        if let Some(known) = partitions.get(&frame.partition) {
            // A scan has found it by its folder, or the catalogue was written after this frame.
            let mut state = known.state.lock();
            state.epoch = state.epoch.max(frame.epoch);
            return;
        }
        let beginning = Beginning::empty(frame.epoch.max(LeaderEpoch::NONE), frame.base, lsn);
        let partition = Partition::new(self.shared, frame.partition, self.shared.names.share(&name), beginning);
        partitions.insert(frame.partition, partition);
    }

    fn delete(&mut self, id: TopicPartition) -> Result<(), OpenError> {
        let gone = self.shared.partitions.write().remove(&id);
        self.touched.remove(&id);
        self.orphans.remove(&id);
        self.contradictions.remove(&id);
        if let Some(doubt) = &mut self.in_doubt {
            doubt.remove(&id);
        }
        if let Some(partition) = gone {
            partition.state.lock().deleted = true;
            let left = partition.leave()?;
            self.shared.trash.lock().extend(left);
            self.shared.request_catalogue();
        }
        Ok(())
    }

    /// Frames are lost. The segments were written from the same memory: they may have what the journal has not.
    fn hole(&mut self, hole: Hole) -> Result<(), OpenError> {
        tracing::error!(first = %hole.first, last = %hole.last, "the journal is damaged: frames are lost");
        self.write_out()?;
        let partitions: Vec<_> = self.shared.partitions.read().values().cloned().collect();
        for partition in &partitions {
            partition.scan_beyond()?;
        }
        self.in_doubt = Some(partitions.into_iter().map(|partition| (partition.id(), partition)).collect());
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), DiskError> {
        for (partition, _) in self.touched.values() {
            partition.write_out(Lsn::default())?;
            // Who asks for replayed batches can have them from the page cache.
            let freed = partition.evict(u32::MAX);
            self.shared.budget.on_dropped(freed, 0);
        }
        self.shared.budget.clear();
        self.waiting = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<(), OpenError> {
        self.write_out()?;
        for (partition, bases) in self.touched.values() {
            partition.write_out(self.last)?;
            partition.cut_excess()?;
            partition.settle_start()?;
            // After a hole a file that nothing refers to may be all that is left of what was lost.
            if self.in_doubt.is_none() {
                partition.remove_orphans(bases)?;
            }
        }
        // An opted-out partition whose start was moved by a frame may have files that only now follow on.
        let partitions: Vec<_> = self.shared.partitions.read().values().cloned().collect();
        for partition in partitions {
            if partition.state.lock().unjournaled {
                partition.scan_beyond()?;
            }
        }
        for (partition, frames) in self.orphans {
            tracing::error!(%partition, frames, "journal frames name a partition that does not exist");
            self.recovered.orphaned_frames += frames;
        }
        for (partition, frames) in self.contradictions {
            tracing::error!(%partition, frames, "journal frames contradict their partition");
            self.recovered.orphaned_frames += frames;
        }
        if let Some(doubt) = self.in_doubt.take() {
            self.recovered.suspect.extend(doubt.into_keys().map(|id| (id, Suspicion::JournalHole)));
        }
        let mut structure = self.shared.structure.lock();
        *structure = structure.max(self.structure);
        Ok(())
    }
}

fn report(shared: &Shared, recovered: &mut Recovered) {
    let partitions = shared.partitions.read();
    recovered.partitions = partitions.len();
    for partition in partitions.values() {
        recovered.damaged.extend(partition.damage().into_iter().map(|range| (partition.id(), range)));
        if !partition.state.lock().reindex.is_empty() {
            shared.enqueue(partition);
        }
    }
    recovered.damaged.sort_unstable_by_key(|(id, range)| (*id, range.from));
}

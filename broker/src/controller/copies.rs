//! Copies of the metadata documents in the data directory: the highest epoch and version of each that was acted on.
//!
//! Owns the file `metadata.copies` and its format. A document is here, durably, before anything is done for it, so that
//! a store that went back to an older state is noticed (A7), and so that the documents can be made again from the data
//! directories (A8). Must never be written for a document that is older than the copy, nor after a flush failed (S2).
//!
//! ```text
//! "OTTLCOPY" | version u16 | 6 spare bytes | frames: length u32, the document as the store has it (checksum inside)
//! ```
//! Documents are appended; once most of the file is outdated it is written anew. Space for many more is set aside behind
//! its end: a disk that records have filled must not keep a broker from learning what became of its partitions.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_core::controller::{Document, DocumentId, Seen, ShardId, Vector};
use ottla_core::types::ClusterId;
use ottla_log::disk::{Disk, DiskError, DiskFile, Op, Open};
use ottla_rpc::DecodeError;

/// The file.
const FILE: &str = "metadata.copies";
const MAGIC: [u8; 8] = *b"OTTLCOPY";
/// The version that is written. Version N reads N and N−1.
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 16;
const LENGTH_BYTES: usize = 4;
/// A file of this length or more is written anew when less than half of it counts.
const COMPACT_FROM_BYTES: u64 = 1024 * 1024;
/// How much space is set aside behind the end of the file: more than every document of a large cluster.
const RESERVE_BYTES: u64 = 4 * 1024 * 1024;
/// The longest file that is read: far more than every document of the largest cluster twice.
const FILE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The copies cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CopiesError {
    /// The disk said no.
    #[error("the copies of the metadata: {0}")]
    Disk(#[from] DiskError),
    /// A newer Ottla wrote them.
    #[error(
        "the copies of the metadata in {FILE} have format {found}, this build reads up to {VERSION}; run the version of \
         Ottla that wrote them, or a newer one"
    )]
    Newer {
        /// Their version.
        found: u16,
    },
    /// A newer Ottla wrote one of the documents.
    #[error("a copy of the metadata in {FILE} cannot be used: {0}")]
    Document(DecodeError),
    /// It is some other file.
    #[error("{FILE} in the data directory is not what Ottla keeps there")]
    Foreign,
    /// There is no space left, not even in what was set aside. Everything that was kept before is there, and there will be
    /// another try.
    #[error("the copies of the metadata: {0}; make room on the disk of the data directory")]
    Full(DiskError),
    /// An earlier write failed: what is on disk is not known any more.
    #[error("the copies of the metadata are not written any more after an error: {0}")]
    Stopped(String),
}

/// Where the newest copy of a document stands in the file.
#[derive(Clone, Copy, Debug)]
struct Held {
    at: Seen,
    offset: u64,
    bytes: usize,
}

/// The copies of one data directory.
#[derive(Debug)]
pub struct Copies {
    disk: Arc<dyn Disk>,
    cluster: ClusterId,
    /// Opened by the first write.
    file: Option<Arc<dyn DiskFile>>,
    /// Everything before it is sound.
    end: u64,
    /// Up to where space is set aside, if it was tried for the file that there is.
    reserved: Option<u64>,
    /// What is behind `end`, or in between, is not: the file is written anew before it is appended to.
    unsound: bool,
    /// What cannot be read is no torn end: sound frames lie behind it.
    damaged: bool,
    held: BTreeMap<DocumentId, Held>,
    /// How many shards the root that is held counts, if there is one.
    counted: Option<u32>,
    stopped: Option<String>,
}

impl Copies {
    /// What the data directory of `cluster` has copies of. Nothing is written.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub fn open(disk: Arc<dyn Disk>, cluster: ClusterId) -> Result<Self, CopiesError> {
        let content = disk.read_file(FILE, FILE_BYTES_MAX)?;
        let mut copies = Self {
            disk,
            cluster,
            file: None,
            end: 0,
            reserved: None,
            unsound: true,
            damaged: false,
            held: BTreeMap::new(),
            counted: None,
            stopped: None,
        };
        if let Some(content) = content {
            copies.read(&content)?;
        }
        Ok(copies)
    }

    /// Per document the newest state that was ever acted on here. A shard that was made and that the root does not count
    /// means nothing yet: whoever made it may have died, and somebody else may make it anew.
    pub fn floor(&self) -> Vector {
        let counted = |id: &DocumentId| match (id, self.counted) {
            (DocumentId::Root, _) | (DocumentId::Shard(_), None) => true,
            (DocumentId::Shard(ShardId(shard)), Some(count)) => *shard < count,
        };
        self.held.iter().filter(|(id, _)| counted(id)).map(|(id, held)| (*id, held.at)).collect()
    }

    /// Whether a copy that was durable cannot be read: it may have been newer than the one that is held. A crash in the
    /// middle of a write leaves a torn end, which is no damage.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The newest copy of every document, also of shards that the root does not count.
    ///
    /// # Errors
    /// [`CopiesError`] when one cannot be read any more.
    pub fn documents(&self) -> Result<Vec<Document>, CopiesError> {
        if self.held.is_empty() {
            return Ok(Vec::new());
        }
        let file = self.disk.open(FILE, Open::Read)?;
        let read = |held: &Held| {
            let frame = file.read_bytes(held.offset, held.bytes)?;
            ottla_rpc::decode(&frame).map_err(CopiesError::Document)
        };
        self.held.values().map(read).collect()
    }

    /// Makes copies of those of `documents` that are newer than the copies there are; one flush for all of them.
    ///
    /// # Errors
    /// [`CopiesError`]; nothing may be done for the documents then.
    pub fn keep<'a>(&mut self, documents: impl Iterator<Item = (&'a Document, Bytes)>) -> Result<(), CopiesError> {
        let newer = |(document, _): &(&Document, Bytes)| {
            document.header().cluster == self.cluster
                && self.held.get(&document.id()).is_none_or(|held| held.at < at(document))
        };
        let newer: Vec<_> = documents.filter(newer).collect();
        if newer.is_empty() {
            return Ok(());
        }
        if let Some(reason) = &self.stopped {
            return Err(CopiesError::Stopped(reason.clone()));
        }
        self.append(&newer).map_err(|error| {
            // Before a flush nothing has been promised. Whatever is behind the end is written over by the next try.
            if is_full(&error) {
                return CopiesError::Full(error);
            }
            self.stopped = Some(error.to_string());
            CopiesError::Disk(error)
        })
    }

    fn read(&mut self, content: &Bytes) -> Result<(), CopiesError> {
        // A crash may have left a file that is not even begun.
        let Some(head) = content.get(..HEAD_BYTES) else { return Ok(()) };
        if head[..8] != MAGIC {
            return Err(CopiesError::Foreign);
        }
        let found = u16::from_le_bytes([head[8], head[9]]);
        if found > VERSION {
            return Err(CopiesError::Newer { found });
        }
        self.unsound = false;
        let mut offset = HEAD_BYTES;
        while let Some(length) = content.get(offset..offset + LENGTH_BYTES) {
            let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
            let begin = offset + LENGTH_BYTES;
            let end = begin.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
            let Some(frame) = content.get(begin..end) else { break };
            match ottla_rpc::decode(frame) {
                Ok(document) => {
                    self.damaged |= self.unsound;
                    self.note(&document, begin as u64, frame.len());
                }
                Err(error @ DecodeError::Newer { .. }) => return Err(CopiesError::Document(error)),
                // What was never flushed was never acted on; what is behind damage counts all the same.
                Err(error) => {
                    tracing::warn!(%error, offset, "a copy of a metadata document in {FILE} cannot be read");
                    self.unsound = true;
                }
            }
            offset = end;
        }
        self.unsound |= offset < content.len();
        self.end = offset as u64;
        Ok(())
    }

    fn note(&mut self, document: &Document, offset: u64, bytes: usize) {
        let held = Held { at: at(document), offset, bytes };
        if self.held.get(&document.id()).is_none_or(|known| known.at < held.at) {
            self.hold(document, held);
        }
    }

    fn hold(&mut self, document: &Document, held: Held) {
        if let Document::Root(root) = document {
            self.counted = Some(root.shard_count);
        }
        self.held.insert(document.id(), held);
    }

    fn append(&mut self, documents: &[(&Document, Bytes)]) -> Result<(), DiskError> {
        if self.unsound {
            self.write_anew(documents)?;
            return self.reserve();
        }
        let live: u64 = self.held.values().map(|held| (held.bytes + LENGTH_BYTES) as u64).sum();
        if self.end >= COMPACT_FROM_BYTES && self.end / 2 > live {
            match self.write_anew(documents) {
                // The longer file has space set aside.
                Err(error) if is_full(&error) => {}
                written => return written.and_then(|()| self.reserve()),
            }
        }
        self.reserve()?;
        let file = self.writable()?;
        let mut content = BytesMut::new();
        let places = lay_out(&mut content, self.end, documents);
        if let Err(error) = file.write_at(self.end, &[IoSlice::new(&content)]) {
            // What it left behind the end looks like a torn end, or like documents that were never flushed.
            self.unsound = is_full(&error) && file.truncate(self.end).is_err();
            self.reserved = None;
            return Err(error);
        }
        file.sync_data()?;
        self.end += content.len() as u64;
        self.settle(documents, &places);
        Ok(())
    }

    fn writable(&mut self) -> Result<Arc<dyn DiskFile>, DiskError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(FILE, Open::Write)?;
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Sets space aside, once for every so many bytes. A disk that has none at the moment is no failure.
    fn reserve(&mut self) -> Result<(), DiskError> {
        if self.reserved.is_some_and(|end| self.end + RESERVE_BYTES / 2 <= end) {
            return Ok(());
        }
        match self.writable()?.allocate(self.end, RESERVE_BYTES) {
            Ok(()) => self.reserved = Some(self.end + RESERVE_BYTES),
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes the newest copy of every document, `documents` included, in place of the file.
    fn write_anew(&mut self, documents: &[(&Document, Bytes)]) -> Result<(), DiskError> {
        let mut content = BytesMut::new();
        content.extend_from_slice(&MAGIC);
        content.extend_from_slice(&VERSION.to_le_bytes());
        content.resize(HEAD_BYTES, 0);
        let mut kept = self.held.clone();
        for (document, _) in documents {
            kept.remove(&document.id());
        }
        if !kept.is_empty() {
            let file = self.disk.open(FILE, Open::Read)?;
            for held in kept.values_mut() {
                let frame = file.read_bytes(held.offset, held.bytes)?;
                held.offset = put(&mut content, 0, &frame);
            }
        }
        let places = lay_out(&mut content, 0, documents);
        self.disk.replace_file(FILE, &content)?;
        (self.file, self.reserved) = (None, None);
        (self.end, self.unsound) = (content.len() as u64, false);
        self.held = kept;
        self.settle(documents, &places);
        Ok(())
    }

    fn settle(&mut self, documents: &[(&Document, Bytes)], places: &[u64]) {
        for ((document, frame), offset) in documents.iter().zip(places) {
            self.hold(document, Held { at: at(document), offset: *offset, bytes: frame.len() });
        }
    }
}

/// Whether there was no space, and nothing was being flushed.
fn is_full(error: &DiskError) -> bool {
    let flushes = |op: &Op| matches!(op, Op::Sync | Op::SyncDir | Op::SyncAll);
    matches!(error, DiskError::NoSpace { op, .. } if !flushes(op))
}

fn at(document: &Document) -> Seen {
    document.header().seen()
}

/// Puts frames behind each other into `content`, which will stand at `base`; returns where each will be.
fn lay_out(content: &mut BytesMut, base: u64, documents: &[(&Document, Bytes)]) -> Vec<u64> {
    documents.iter().map(|(_, frame)| put(content, base, frame)).collect()
}

fn put(content: &mut BytesMut, base: u64, frame: &[u8]) -> u64 {
    let length = u32::try_from(frame.len()).expect("a document is far smaller than 4 GiB");
    content.extend_from_slice(&length.to_le_bytes());
    let offset = base + content.len() as u64;
    content.extend_from_slice(frame);
    offset
}

#[cfg(test)]
mod tests {
    use ottla_core::controller::{Root, Shard};
    use ottla_core::types::ControllerEpoch;
    use ottla_log::disk::real::RealDisk;
    use ottla_log::disk::sim::SimDisk;

    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes([5; 16]);

    struct Folder {
        folder: tempfile::TempDir,
    }

    impl Folder {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap() }
        }

        fn open(&self) -> Copies {
            self.try_open().unwrap()
        }

        fn try_open(&self) -> Result<Copies, CopiesError> {
            Copies::open(Arc::new(RealDisk::open(self.folder.path()).unwrap()), CLUSTER)
        }

        fn bytes(&self) -> Vec<u8> {
            std::fs::read(self.folder.path().join(FILE)).unwrap()
        }

        fn write(&self, bytes: &[u8]) {
            std::fs::write(self.folder.path().join(FILE), bytes).unwrap();
        }
    }

    fn root(epoch: i32, version: u64) -> Document {
        let mut root = Root { shard_count: 16, ..Root::default() };
        (root.header.cluster, root.header.epoch, root.header.version) =
            (CLUSTER, ControllerEpoch::new(epoch.into()), version);
        Document::Root(Arc::new(root))
    }

    fn shard(index: u32, version: u64) -> Document {
        let mut shard = Shard { index, ..Shard::default() };
        (shard.header.cluster, shard.header.version) = (CLUSTER, version);
        Document::Shard(Arc::new(shard))
    }

    fn keep(copies: &mut Copies, documents: &[Document]) {
        copies.keep(documents.iter().map(|document| (document, ottla_rpc::encode(document)))).unwrap();
    }

    fn versions(copies: &Copies) -> Vec<(String, u64)> {
        copies.floor().into_iter().map(|(id, seen)| (id.to_string(), seen.version)).collect()
    }

    fn named(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
        expected.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
    }

    #[test]
    fn the_highest_of_each_document_is_there_after_a_restart() {
        let folder = Folder::new();
        assert!(folder.open().floor().is_empty());
        let mut copies = folder.open();
        keep(&mut copies, &[root(1, 4), shard(0, 2), shard(1, 7)]);
        keep(&mut copies, &[root(2, 5)]);
        keep(&mut copies, &[root(1, 9), shard(1, 6)]); // older: an earlier term, an earlier version
        let expected = named(&[("root", 5), ("topics-0000", 2), ("topics-0001", 7)]);
        assert_eq!(versions(&copies), expected);
        let mut copies = folder.open();
        assert_eq!(versions(&copies), expected);
        keep(&mut copies, &[shard(0, 3)]);
        assert_eq!(versions(&folder.open()), named(&[("root", 5), ("topics-0000", 3), ("topics-0001", 7)]));
    }

    #[test]
    fn a_shard_that_is_being_made_is_kept_and_was_not_seen() {
        let folder = Folder::new();
        let mut copies = folder.open();
        keep(&mut copies, &[root(1, 1), shard(15, 1), shard(16, 1)]);
        assert_eq!(versions(&copies), named(&[("root", 1), ("topics-0015", 1)]));
        assert_eq!(versions(&folder.open()), versions(&copies));
        let Document::Root(before) = root(1, 2) else { unreachable!("a root") };
        keep(&mut copies, &[Document::Root(Arc::new(Root { shard_count: 32, ..Root::clone(&before) }))]);
        assert_eq!(versions(&folder.open()), named(&[("root", 2), ("topics-0015", 1), ("topics-0016", 1)]));
    }

    #[test]
    fn another_clusters_documents_are_not_kept() {
        let folder = Folder::new();
        let mut foreign = Root::default();
        foreign.header.version = 99;
        keep(&mut folder.open(), &[Document::Root(Arc::new(foreign))]);
        assert!(folder.open().floor().is_empty());
    }

    #[test]
    fn a_torn_end_loses_what_was_never_acted_on_and_nothing_else() {
        let folder = Folder::new();
        keep(&mut folder.open(), &[root(1, 1), shard(0, 1)]);
        let sound = folder.bytes();
        keep(&mut folder.open(), &[shard(1, 1)]);
        let whole = folder.bytes();
        assert!(whole.len() > sound.len());
        for length in sound.len()..whole.len() {
            folder.write(&whole[..length]);
            let mut copies = folder.open();
            assert!(!copies.is_damaged(), "cut at {length}");
            assert_eq!(versions(&copies), named(&[("root", 1), ("topics-0000", 1)]), "cut at {length}");
            assert_eq!(folder.bytes(), whole[..length], "opening changes nothing");
            keep(&mut copies, &[shard(2, 1)]);
            let expected = named(&[("root", 1), ("topics-0000", 1), ("topics-0002", 1)]);
            assert_eq!(versions(&folder.open()), expected, "cut at {length}");
        }
        for length in 0..HEAD_BYTES {
            folder.write(&whole[..length]);
            keep(&mut folder.open(), &[shard(2, 1)]);
            assert_eq!(versions(&folder.open()), named(&[("topics-0002", 1)]));
        }
    }

    #[test]
    fn damage_costs_the_document_that_it_hit() {
        let folder = Folder::new();
        keep(&mut folder.open(), &[root(1, 1), shard(0, 1), shard(1, 1)]);
        let mut bytes = folder.bytes();
        bytes[HEAD_BYTES + LENGTH_BYTES + 12] ^= 0x40;
        folder.write(&bytes);
        let copies = folder.open();
        assert_eq!(versions(&copies), named(&[("topics-0000", 1), ("topics-0001", 1)]));
        assert!(copies.is_damaged());
        let read: Vec<_> = copies.documents().unwrap().iter().map(|document| document.id().to_string()).collect();
        assert_eq!(read, ["topics-0000", "topics-0001"]);
    }

    #[test]
    fn the_file_stays_small_and_what_counts_stays() {
        let folder = Folder::new();
        let mut copies = folder.open();
        keep(&mut copies, &[shard(3, 1)]);
        let (mut largest, mut rewritten) = (0, 0);
        for version in 1..400 {
            let end = copies.end;
            keep(&mut copies, &[large(version, 16_000)]);
            rewritten += usize::from(copies.end < end);
            largest = largest.max(copies.end);
        }
        assert!(rewritten > 1 && largest < COMPACT_FROM_BYTES + 64 * 1024, "{largest} bytes, {rewritten} times anew");
        let floor = copies.floor();
        assert_eq!(folder.open().floor(), floor);
        assert_eq!(versions(&copies)[1], ("topics-0003".to_owned(), 1));
    }

    fn on(disk: &Arc<SimDisk>) -> Copies {
        Copies::open(Arc::clone(disk) as Arc<dyn Disk>, CLUSTER).unwrap()
    }

    /// A document of about `bytes`, of text that does not compress.
    fn large(version: u64, bytes: usize) -> Document {
        let Document::Root(before) = root(1, version) else { unreachable!("a root") };
        let mut seed = version;
        let mut word = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{seed:016x}")
        };
        let mut large = Root::clone(&before);
        large.broker_defaults.insert("k".to_owned(), (0..bytes / 16).map(|_| word()).collect());
        Document::Root(Arc::new(large))
    }

    #[test]
    fn a_disk_that_records_fill_still_takes_copies() {
        let disk = Arc::new(SimDisk::new(3));
        let mut copies = on(&disk);
        keep(&mut copies, &[root(1, 1), shard(0, 1)]);
        disk.set_capacity(Some(0));
        for version in 2..20 {
            keep(&mut copies, &[large(version, 64 * 1024)]);
        }
        assert_eq!(versions(&copies), named(&[("root", 19), ("topics-0000", 1)]));
        assert_eq!(versions(&on(&disk)), versions(&copies));
    }

    #[test]
    fn when_there_is_no_room_at_all_nothing_is_lost_and_the_next_try_counts() {
        let disk = Arc::new(SimDisk::new(3));
        let mut copies = on(&disk);
        keep(&mut copies, &[root(1, 1), shard(0, 1)]);
        disk.set_capacity(Some(0));
        let more = large(2, 12 * 1024 * 1024);
        for _ in 0..2 {
            let refused = copies.keep([(&more, ottla_rpc::encode(&more))].into_iter()).unwrap_err();
            assert!(matches!(refused, CopiesError::Full(_)) && refused.to_string().contains("make room"), "{refused}");
            assert_eq!(versions(&copies), named(&[("root", 1), ("topics-0000", 1)]));
            assert_eq!(versions(&on(&disk)), versions(&copies));
        }
        disk.set_capacity(None);
        keep(&mut copies, &[more, shard(0, 2)]);
        assert_eq!(versions(&on(&disk)), named(&[("root", 2), ("topics-0000", 2)]));
        assert_eq!(versions(&copies), versions(&on(&disk)));
    }

    #[test]
    fn what_another_build_or_nobody_wrote_is_refused_with_a_sentence() {
        let folder = Folder::new();
        folder.write(b"a photo of a lake, and more");
        assert!(folder.try_open().unwrap_err().to_string().contains("not what Ottla keeps"));
        let mut newer = MAGIC.to_vec();
        newer.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0]);
        folder.write(&newer);
        assert!(folder.try_open().unwrap_err().to_string().contains("format 9"));
    }
}

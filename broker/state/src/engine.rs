//! What all databases of a process share: one block cache that also bounds write buffers, and two background threads.
//!
//! Owns every tuning option. Together the databases stay within `limits::ROCKSDB_BYTES`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ottla_core::limits::ROCKSDB_BYTES;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Env, LogLevel, Options, WriteBufferManager,
};

use crate::{OpenError, RocksTable};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Blocks, index and filter blocks of all databases, and what write buffers hold.
const CACHE_BYTES: usize = 4 * MIB;
/// Write buffers of all databases together.
const WRITE_BUFFERS_BYTES: usize = 2 * MIB;
/// One write buffer; a full one is written to a file of about this size.
const WRITE_BUFFER_BYTES: usize = 512 * KIB;
/// Open files per database; more tables than that are opened and closed as needed.
const OPEN_FILES_MAX: i32 = 32;

const _: () = assert!(CACHE_BYTES + WRITE_BUFFERS_BYTES <= ROCKSDB_BYTES, "RocksDB does not fit its budget");

/// The format of what Ottla keeps in its databases' folders; see `FORMAT_FILE`.
const FORMAT: u32 = 1;
/// A file beside RocksDB's own, which RocksDB leaves alone.
const FORMAT_FILE: &str = "OTTLA_FORMAT";

/// Opens databases that share one cache. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    cache: Cache,
    buffers: WriteBufferManager,
    env: Env,
}

impl Engine {
    /// The shared parts; a process makes one.
    ///
    /// # Errors
    /// When RocksDB cannot reach the system's files at all.
    pub fn new() -> Result<Self, OpenError> {
        let mut env = Env::new()
            .map_err(|error| OpenError::Io { path: Path::new("(none)").to_owned(), reason: error.into_string() })?;
        env.set_background_threads(1);
        env.set_high_priority_background_threads(1);
        let cache = Cache::new_lru_cache(CACHE_BYTES);
        let buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(WRITE_BUFFERS_BYTES, false, cache.clone());
        Ok(Self { cache, buffers, env })
    }

    /// Opens the database in the folder `path`, or makes it.
    ///
    /// # Errors
    /// [`OpenError`] when another process has it, it is newer or damaged, or the folder cannot be used.
    pub fn open(&self, path: &Path) -> Result<RocksTable, OpenError> {
        check_format(path)?;
        let db = DB::open(&self.options(), path).map_err(|error| explain(path, &error))?;
        write_format(path)?;
        Ok(RocksTable::new(db))
    }

    fn options(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_block_size(4 * KIB);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_bloom_filter(10.0, false);

        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_env(&self.env);
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_manager(&self.buffers);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_write_buffer_number(2);
        options.set_arena_block_size(32 * KIB);
        options.set_target_file_size_base(4 * MIB as u64);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_max_background_jobs(2);
        options.set_max_subcompactions(1);
        options.set_skip_stats_update_on_db_open(true);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(1);
        options.set_max_log_file_size(MIB);
        options.set_max_manifest_file_size(MIB);
        options.set_max_total_wal_size(4 * MIB as u64);
        // A torn last record is a crash; anything else that is wrong in the middle of the log is damage, and is said.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options
    }
}

fn check_format(path: &Path) -> Result<(), OpenError> {
    let io = |reason: String| OpenError::Io { path: path.to_owned(), reason };
    fs::create_dir_all(path).map_err(|error| io(error.to_string()))?;
    match fs::read_to_string(path.join(FORMAT_FILE)) {
        Ok(text) => {
            let damaged =
                || OpenError::Damaged { path: path.to_owned(), reason: format!("{FORMAT_FILE} holds {text:?}") };
            let found: u32 = text.trim().parse().map_err(|_| damaged())?;
            if found > FORMAT {
                return Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT });
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(error.to_string())),
    }
}

/// Written after the database exists: a folder without it is as old as format 1, or was never finished.
fn write_format(path: &Path) -> Result<(), OpenError> {
    let file = path.join(FORMAT_FILE);
    if file.exists() {
        return Ok(());
    }
    let io = |error: std::io::Error| OpenError::Io { path: path.to_owned(), reason: error.to_string() };
    let unfinished = path.join(format!("{FORMAT_FILE}.new"));
    fs::write(&unfinished, format!("{FORMAT}\n")).map_err(io)?;
    fs::File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&unfinished, &file).map_err(io)?;
    fs::File::open(path).and_then(|folder| folder.sync_all()).map_err(io)
}

fn explain(path: &Path, error: &rocksdb::Error) -> OpenError {
    let path = path.to_owned();
    let reason = error.to_string();
    if reason.contains("LOCK: ") || reason.contains("lock hold") {
        return OpenError::InUse { path };
    }
    if error.kind() == rocksdb::ErrorKind::Corruption || reason.contains("CURRENT file does not end with newline") {
        return OpenError::Damaged { path, reason };
    }
    OpenError::Io { path, reason }
}

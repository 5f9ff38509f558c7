//! Marks, in the log of the process, the few moments in which a crash is most interesting.
//!
//! Owns their names. The crash suite waits for a beginning and kills the process before the end; a person who reads a log
//! sees what was under way. Must never be entered per record or per request.

/// A segment is sealed and the next one begun.
pub(crate) const SEGMENT_ROLL: &str = "segment roll";
/// A journal file that was used before is written again.
pub(crate) const JOURNAL_RECYCLE: &str = "journal recycle";
/// Segments are removed because their records may go.
pub(crate) const RETENTION: &str = "retention";
/// The data directory is brought back to what its journal says.
pub(crate) const RECOVERY: &str = "recovery";

/// Lasts until it is dropped.
#[derive(Debug)]
pub(crate) struct Phase(&'static str);

/// Logs that `name` begins, and that it has ended once the answer is dropped.
pub(crate) fn enter(name: &'static str) -> Phase {
    tracing::debug!(phase = name, at = "begin");
    Phase(name)
}

impl Drop for Phase {
    fn drop(&mut self) {
        tracing::debug!(phase = self.0, at = "end");
    }
}

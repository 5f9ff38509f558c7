//! One data directory: journal, segments, catalogue, recovery. IO only through trait `Disk`.

pub mod disk;
pub mod journal;

//! One data directory: journal, segments, catalogue, recovery. IO only through trait `Disk`.

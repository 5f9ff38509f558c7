//! A tar.gz that is made in memory.
//!
//! Owns the form: one folder, files that only their owner reads, all of one time.

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

/// Files in the making.
pub(super) struct Bundle {
    folder: String,
    seconds: u64,
    archive: tar::Builder<GzEncoder<Vec<u8>>>,
}

impl Bundle {
    /// An empty one; everything will lie in `folder`.
    pub(super) fn new(folder: &str, now: Timestamp) -> Self {
        let archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        Self { folder: folder.to_owned(), seconds: u64::try_from(now.as_second()).unwrap_or(0), archive }
    }

    pub(super) fn add(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.seconds);
        self.archive.append_data(&mut header, format!("{}/{path}", self.folder), content)
    }

    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        self.archive.into_inner()?.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn a_bundle_is_read_as_written() {
        let mut bundle = Bundle::new("ottla-events", Timestamp::from_second(1_770_000_000).unwrap());
        let long = format!("logs/brokers/{}.log", "x".repeat(150));
        bundle.add("report.txt", b"words").unwrap();
        bundle.add(&long, b"line\n").unwrap();
        let content = bundle.finish().unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(content.as_slice()));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), text));
        }
        let wanted = [
            ("ottla-events/report.txt".to_owned(), 0o600, "words".to_owned()),
            (format!("ottla-events/{long}"), 0o600, "line\n".to_owned()),
        ];
        assert_eq!(found, wanted);
    }
}

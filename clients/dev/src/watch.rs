//! When a file has changed: a fingerprint of everything that -f names.
//!
//! Looks instead of listening, so that it works on every file system and survives editors that replace files. A change
//! counts once it has stood still for one look: a file that is being written is not read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often files are looked at.
pub const INTERVAL: Duration = Duration::from_millis(200);

/// What can be seen of the files without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, Option<Seen>)>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Fingerprint {
    /// Looks at files, and at folders and the files in them.
    pub fn of(paths: &[PathBuf]) -> Self {
        let mut found = Vec::new();
        for path in paths {
            found.push((path.clone(), look(path)));
            let mut files: Vec<_> =
                fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            files.sort();
            found.extend(files.into_iter().map(|file| {
                let seen = look(&file);
                (file, seen)
            }));
        }
        Self(found)
    }
}

fn look(path: &Path) -> Option<Seen> {
    let metadata = fs::metadata(path).ok()?;
    Some(Seen { inode: metadata.ino(), length: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) })
}

/// Decides when a change is to be read.
#[derive(Clone, Debug)]
pub struct Watch {
    read: Fingerprint,
    last: Fingerprint,
}

impl Watch {
    /// Starts from what was read.
    pub fn new(read: Fingerprint) -> Self {
        Self { last: read.clone(), read }
    }

    /// Takes a look; says whether the files are to be read again now.
    pub fn look(&mut self, now: Fingerprint) -> bool {
        let still = now == self.last;
        let due = still && now != self.read;
        if due {
            self.read = now.clone();
        }
        self.last = now;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_once_and_only_when_it_stands_still() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let paths = [folder.path().to_owned()];
        let look = |watch: &mut Watch| watch.look(Fingerprint::of(&paths));

        fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(Fingerprint::of(&paths));
        assert!(!look(&mut watch), "nothing has changed");
        fs::write(&file, "ab").unwrap();
        assert!(!look(&mut watch), "it has just changed");
        fs::write(&file, "abc").unwrap();
        assert!(!look(&mut watch), "it still changes");
        assert!(look(&mut watch), "it stands still");
        assert!(!look(&mut watch), "it was read");

        // An editor puts another file in its place.
        fs::write(folder.path().join("new"), "xyz").unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        assert!(!look(&mut watch));
        assert!(look(&mut watch));

        fs::remove_file(&file).unwrap();
        assert!(!look(&mut watch));
        assert!(look(&mut watch), "a file that goes is a change too");
    }
}

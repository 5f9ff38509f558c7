//! Who a data directory belongs to: `ottla.identity`, and the lock that one process holds on it.
//!
//! Owns the directory's cluster id, its own id, the format of everything beside it, and the last incarnation of a broker
//! that ran on it. Not a hint (S5): checksummed, versioned, kept twice and fsynced before anything acts on it. Must never
//! be made up for a directory that holds records.

use std::fmt;

use ottla_core::types::{ClusterId, DirectoryId, Incarnation};

use crate::codec::{Body, Format, Unusable};
use crate::disk::{Disk, DiskError, DiskLock, LockError};

/// The file of the identity.
pub const FILE: &str = "ottla.identity";
/// Its second copy, written after the first is durable: a disk that damages one of them loses nothing.
pub const COPY: &str = "ottla.identity.copy";
/// The file that is locked while a process runs on the directory.
pub const LOCK: &str = "ottla.lock";
const BYTES_MAX: usize = 4096;
/// The format of a data directory as a whole: what this build writes. It reads this one and the one before.
const FORMAT: Format = Format { magic: *b"OTTLDATA", version: 1 };
/// What a file system may have put there, and what a crash during formatting may have left.
const HARMLESS: [&str; 3] = ["lost+found", LOCK, "ottla.identity.tmp"];

/// Who a data directory belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The directory itself, drawn when it was formatted.
    pub directory: DirectoryId,
    /// The last run of a broker that was registered with it; 0 before the first.
    pub incarnation: Incarnation,
}

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another process runs on it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It was written by a newer build.
    #[error(
        "data directory {directory} has format {found}, this build reads up to {supported}; run the version of Ottla that \
         wrote it, or a newer one"
    )]
    Newer {
        /// The directory.
        directory: String,
        /// Its format.
        found: u16,
        /// What this build reads.
        supported: u16,
    },
    /// Neither copy of the identity can be read.
    #[error(
        "the identity of data directory {directory} ({FILE} and its copy) is damaged; nothing was changed; restore either \
         file from a backup"
    )]
    Damaged {
        /// The directory.
        directory: String,
    },
    /// It holds files, but none says that it is a data directory of Ottla.
    #[error(
        "{directory} is not empty and no data directory of Ottla ({FILE} is missing, {found:?} is there); name an empty \
         directory"
    )]
    Foreign {
        /// The directory.
        directory: String,
        /// One of the files.
        found: String,
    },
}

/// Takes the directory for this process. It is free again once the lock is dropped or the process is gone.
///
/// # Errors
/// [`LockError::Held`] names the process that has it.
pub fn lock(disk: &dyn Disk) -> Result<Box<dyn DiskLock>, LockError> {
    disk.lock(LOCK)
}

/// The identity of a directory that was formatted; `None` for an empty one. Mends a copy that is damaged or missing.
///
/// # Errors
/// [`IdentityError`]; nothing is changed then.
pub fn read(disk: &dyn Disk) -> Result<Option<Identity>, IdentityError> {
    let found = look(disk)?;
    if let Some(identity) = found
        && !unsound_copies(disk)?.is_empty()
    {
        write(disk, identity)?;
    }
    Ok(found)
}

/// As [`read`], and changes nothing.
///
/// # Errors
/// As [`read`].
pub fn look(disk: &dyn Disk) -> Result<Option<Identity>, IdentityError> {
    let copies = [disk.read_file(FILE, BYTES_MAX)?, disk.read_file(COPY, BYTES_MAX)?];
    let directory = || disk.root().display().to_string();
    let mut sound = [None, None];
    for (copy, sound) in copies.iter().zip(&mut sound) {
        let Some(bytes) = copy else { continue };
        match decode(bytes) {
            Ok(identity) => *sound = Some(identity),
            Err(Unusable::Damaged) => {}
            Err(Unusable::Newer { found, supported }) => {
                return Err(IdentityError::Newer { directory: directory(), found, supported });
            }
        }
    }
    match sound {
        // The first copy is written first: the second is the same, or older, or what is left.
        [Some(identity), _] | [None, Some(identity)] => Ok(Some(identity)),
        [None, None] if copies.iter().any(Option::is_some) => Err(IdentityError::Damaged { directory: directory() }),
        [None, None] => match disk.list("")?.into_iter().find(|entry| !HARMLESS.contains(&entry.name.as_str())) {
            Some(entry) => Err(IdentityError::Foreign { directory: directory(), found: entry.name }),
            None => Ok(None),
        },
    }
}

/// The copies that are not what they should be, with their lengths; none for a directory that was never formatted.
pub(crate) fn unsound_copies(disk: &dyn Disk) -> Result<Vec<(&'static str, u64)>, DiskError> {
    let (first, second) = (disk.read_file(FILE, BYTES_MAX)?, disk.read_file(COPY, BYTES_MAX)?);
    if first.is_none() && second.is_none() {
        return Ok(Vec::new());
    }
    let sound = [&first, &second].map(|copy| copy.as_ref().and_then(|bytes| decode(bytes).ok()));
    // The first copy is written first, so of two that differ it is the newer one.
    let newest = sound[0].or(sound[1]);
    let copies = [(FILE, first, sound[0]), (COPY, second, sound[1])];
    let wrong = copies.into_iter().filter(|(_, _, identity)| identity.is_none() || *identity != newest);
    Ok(wrong.map(|(file, bytes, _)| (file, bytes.map_or(0, |bytes| bytes.len() as u64))).collect())
}

/// Makes `identity` durable, one copy after the other.
///
/// # Errors
/// When the disk says no; the identity that was there before is there still.
pub fn write(disk: &dyn Disk, identity: Identity) -> Result<(), DiskError> {
    let mut body = Body::default();
    body.raw(&identity.cluster.to_bytes()).raw(&identity.directory.to_bytes()).i64(identity.incarnation.get());
    let sealed = FORMAT.seal(&body.0);
    disk.replace_file(FILE, &sealed)?;
    disk.replace_file(COPY, &sealed)
}

fn decode(bytes: &[u8]) -> Result<Identity, Unusable> {
    let (_version, mut fields) = FORMAT.open(bytes)?;
    Ok(Identity {
        cluster: ClusterId::from_bytes(fields.array()?),
        directory: DirectoryId::from_bytes(fields.array()?),
        incarnation: Incarnation::new(fields.i64()?),
    })
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory {} of cluster {}", self.directory, self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Open;
    use crate::disk::real::RealDisk;

    const IDENTITY: Identity = Identity {
        cluster: ClusterId::from_bytes([1; 16]),
        directory: DirectoryId::from_bytes([2; 16]),
        incarnation: Incarnation::new(7),
    };

    fn directory() -> (tempfile::TempDir, RealDisk) {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        (directory, disk)
    }

    fn spoil(disk: &RealDisk, file: &str, at: u64) {
        let file = disk.open(file, Open::Write).unwrap();
        file.write_at(at, &[std::io::IoSlice::new(b"!!")]).unwrap();
    }

    #[test]
    fn an_empty_directory_has_no_identity_and_a_formatted_one_keeps_its_own() {
        let (_directory, disk) = directory();
        assert_eq!(read(&disk).unwrap(), None);
        write(&disk, IDENTITY).unwrap();
        assert_eq!(read(&disk).unwrap(), Some(IDENTITY));
    }

    #[test]
    fn a_crash_while_formatting_leaves_a_directory_that_can_be_formatted() {
        let (_directory, disk) = directory();
        disk.open("ottla.identity.tmp", Open::Create).unwrap();
        assert_eq!(read(&disk).unwrap(), None);
        write(&disk, IDENTITY).unwrap();
        assert_eq!(read(&disk).unwrap(), Some(IDENTITY));
    }

    #[test]
    fn one_damaged_copy_is_mended_from_the_other() {
        for file in [FILE, COPY] {
            let (_directory, disk) = directory();
            write(&disk, IDENTITY).unwrap();
            spoil(&disk, file, 24);
            assert_eq!(read(&disk).unwrap(), Some(IDENTITY));
            let other = if file == FILE { COPY } else { FILE };
            spoil(&disk, other, 24);
            assert_eq!(read(&disk).unwrap(), Some(IDENTITY), "the first copy was mended");
        }
    }

    #[test]
    fn what_is_no_data_directory_of_this_build_is_refused_with_a_sentence() {
        let (_directory, disk) = directory();
        write(&disk, IDENTITY).unwrap();
        spoil(&disk, FILE, 24);
        spoil(&disk, COPY, 24);
        assert!(read(&disk).unwrap_err().to_string().contains("is damaged"));
        let (_directory, disk) = self::directory();
        disk.replace_file("photo.jpg", b"x").unwrap();
        assert!(read(&disk).unwrap_err().to_string().contains("photo.jpg"));
        let (_directory, disk) = self::directory();
        let newer = Format { version: 9, ..FORMAT }.seal(&[]);
        disk.replace_file(FILE, &newer).unwrap();
        assert!(read(&disk).unwrap_err().to_string().contains("has format 9"));
    }

    #[test]
    fn a_second_process_learns_who_has_the_directory() {
        let (_directory, disk) = directory();
        let _held = lock(&disk).unwrap();
        let refused = lock(&disk).unwrap_err();
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    }
}

//! Directories that must not be opened: the refusal is a sentence, and nothing is changed.

use std::io::IoSlice;

use ottla_log::disk::{Disk, Open};
use ottla_log::identity;

use super::kit::{Kit, open};

#[test]
fn a_read_only_directory_is_refused_with_a_sentence() {
    let (disk, content) = Kit::closed();
    let before = disk.files();
    disk.set_read_only(true);
    let refused = open(&disk).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("read-only file system"), "{refused}");
    assert_eq!(disk.files(), before);
    disk.set_read_only(false);
    let (dir, _) = open(&disk.crash()).unwrap();
    assert_eq!(super::kit::compare(&dir, &content).batches, 0);
}

/// Gives a sealed file a later version, with the checksum that belongs to it.
fn make_newer(disk: &dyn Disk, file: &str, head: usize, length_of_sum: usize) {
    let mut bytes = disk.read_file(file, 1 << 20).unwrap().unwrap().to_vec();
    bytes[8..10].copy_from_slice(&9_u16.to_le_bytes());
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&bytes[..head]);
    digest.update(&bytes[head + 4..head + 4 + length_of_sum]);
    let sum = u32::try_from(digest.finalize()).unwrap();
    bytes[head..head + 4].copy_from_slice(&sum.to_le_bytes());
    disk.open(file, Open::Write).unwrap().write_at(0, &[IoSlice::new(&bytes)]).unwrap();
}

#[test]
fn a_directory_of_a_newer_version_is_refused_with_a_sentence() {
    let (disk, _) = Kit::closed();
    let length = usize::try_from(disk.size(identity::FILE).unwrap().unwrap()).unwrap();
    make_newer(&disk, identity::FILE, 16, length - 20);
    let refused = identity::read(&disk).unwrap_err().to_string();
    assert!(refused.contains("has format 9") && refused.contains("reads up to 1"), "{refused}");
}

#[test]
fn one_copy_of_the_identity_is_enough_and_none_is_refused() {
    for kind in super::kit::HARMS {
        let (disk, _) = Kit::closed();
        let known = identity::read(&disk).unwrap();
        for file in ["ottla.identity", "ottla.identity.copy"] {
            assert!(super::kit::harm(&disk, file, kind));
            assert_eq!(identity::read(&disk).unwrap(), known, "{file} {kind:?}");
        }
        assert!(super::kit::harm(&disk, "ottla.identity", kind));
        assert!(super::kit::harm(&disk, "ottla.identity.copy", kind));
        let refused = identity::read(&disk).unwrap_err().to_string();
        assert!(refused.contains("is damaged") || refused.contains("is missing"), "{kind:?}: {refused}");
    }
}

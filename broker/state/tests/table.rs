//! RocksDB is a table, keeps what it was given across restarts, and says what is wrong when it does not open.

use std::path::Path;

use ottla_core::table::{Change, Durability, Table, conformance};
use ottla_state::{Engine, OpenError};

fn engine() -> Engine {
    Engine::new().expect("engine")
}

#[test]
fn rocksdb_is_a_table() {
    let engine = engine();
    let folder = tempfile::tempdir().expect("folder");
    let mut count = 0;
    conformance::all(|| {
        count += 1;
        engine.open(&folder.path().join(count.to_string())).expect("open")
    });
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    for round in 0_u8..3 {
        let table = engine().open(folder.path()).expect("open");
        for earlier in 0..round {
            assert_eq!(table.get(&[earlier]).expect("get").as_deref(), Some(&[earlier][..]));
        }
        table.write(vec![Change::Put(vec![round], vec![round])], Durability::Synced).expect("write");
    }
}

#[test]
fn a_second_opener_is_told_that_it_is_in_use() {
    let folder = tempfile::tempdir().expect("folder");
    let _first = engine().open(folder.path()).expect("open");
    let second = engine().open(folder.path());
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
}

#[test]
fn a_newer_format_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().expect("folder");
    drop(engine().open(folder.path()).expect("open"));
    std::fs::write(folder.path().join("OTTLA_FORMAT"), "2\n").expect("write");
    let refused = engine().open(folder.path()).expect_err("refused").to_string();
    assert!(refused.contains("has format 2, which is newer than 1"), "{refused}");
    std::fs::write(folder.path().join("OTTLA_FORMAT"), "?").expect("write");
    assert!(matches!(engine().open(folder.path()), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_damaged_database_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    drop(engine().open(folder.path()).expect("open"));
    std::fs::write(folder.path().join("CURRENT"), "MANIFEST-nonsense").expect("write");
    let refused = engine().open(folder.path());
    assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{refused:?}");
}

#[test]
fn a_path_that_cannot_be_a_folder_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("write");
    let refused = engine().open(&file);
    assert!(matches!(&refused, Err(OpenError::Io { path, .. }) if Path::new(path) == file), "{refused:?}");
}

#[test]
fn fifty_thousand_writes_stay_within_few_files() {
    let folder = tempfile::tempdir().expect("folder");
    let table = engine().open(folder.path()).expect("open");
    for round in 0..50_u32 {
        let entry = |n: u32| Change::Put((round * 1000 + n).to_be_bytes().to_vec(), vec![b'x'; 200]);
        table.write((0..1000).map(entry).collect(), Durability::Lazy).expect("write");
    }
    let all = table.scan(&[0; 4], &[0xff; 4], usize::MAX).expect("scan");
    assert_eq!(all.len(), 50_000);
    let open = std::fs::read_dir("/proc/self/fd").expect("descriptors");
    let of_table =
        open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).filter(|to| to.starts_with(folder.path()));
    assert!(of_table.count() <= 40);
}

//! What every `Table` has to do, as functions that panic when one does not. Each takes a fresh, empty table.
//!
//! Run on `MemoryTable` here and on RocksDB by `ottla-state`.

use super::{Change, Durability, Table};

/// Every check; `fresh` makes an empty table for each.
///
/// # Panics
/// When the table does not do what the trait says.
pub fn all<T: Table>(mut fresh: impl FnMut() -> T) {
    absent_keys_have_no_value(&fresh());
    a_write_is_seen_by_the_next_read(&fresh());
    later_changes_of_a_batch_win(&fresh());
    scans_are_ordered_bounded_and_limited(&fresh());
    ranges_are_deleted_without_their_end(&fresh());
    odd_keys_and_values_are_kept(&fresh());
    concurrent_batches_are_seen_whole(&fresh());
}

fn put(key: &[u8], value: &[u8]) -> Change {
    Change::Put(key.to_vec(), value.to_vec())
}

fn keys(table: &dyn Table, start: &[u8], end: &[u8], limit: usize) -> Vec<Vec<u8>> {
    table.scan(start, end, limit).expect("scan").into_iter().map(|(key, _)| key).collect()
}

fn absent_keys_have_no_value(table: &dyn Table) {
    assert_eq!(table.get(b"a").expect("get"), None);
    assert_eq!(keys(table, b"", &[0xff; 8], 10), Vec::<Vec<u8>>::new());
    table.write(vec![Change::Delete(b"a".to_vec())], Durability::Lazy).expect("deleting an absent key is no error");
    table.write(Vec::new(), Durability::Synced).expect("an empty batch is no error");
}

fn a_write_is_seen_by_the_next_read(table: &dyn Table) {
    for (durability, value) in [(Durability::Synced, b"1"), (Durability::Lazy, b"2")] {
        table.write(vec![put(b"k", value)], durability).expect("write");
        assert_eq!(table.get(b"k").expect("get").as_deref(), Some(&value[..]));
        assert_eq!(keys(table, b"a", b"z", 10), [b"k".to_vec()]);
    }
    table.write(vec![Change::Delete(b"k".to_vec())], Durability::Synced).expect("write");
    assert_eq!(table.get(b"k").expect("get"), None);
}

fn later_changes_of_a_batch_win(table: &dyn Table) {
    let batch = vec![put(b"a", b"1"), Change::Delete(b"a".to_vec()), put(b"a", b"2"), put(b"b", b"1"), put(b"b", b"3")];
    table.write(batch, Durability::Lazy).expect("write");
    assert_eq!(table.get(b"a").expect("get").as_deref(), Some(&b"2"[..]));
    assert_eq!(table.get(b"b").expect("get").as_deref(), Some(&b"3"[..]));
    let batch = vec![put(b"c", b"1"), Change::DeleteRange(b"a".to_vec(), b"z".to_vec()), put(b"d", b"1")];
    table.write(batch, Durability::Lazy).expect("write");
    assert_eq!(keys(table, b"", b"z", 10), [b"d".to_vec()]);
}

fn scans_are_ordered_bounded_and_limited(table: &dyn Table) {
    let all: [&[u8]; 5] = [b"", b"a", b"a\0", b"b", &[0xff]];
    let batch = all.iter().rev().map(|key| put(key, b"v")).collect();
    table.write(batch, Durability::Lazy).expect("write");
    assert_eq!(keys(table, b"", &[0xff, 0xff], 10), all);
    assert_eq!(keys(table, b"a", b"b", 10), all[1..3], "the end is excluded");
    assert_eq!(keys(table, b"a", b"b", 1), all[1..2]);
    assert_eq!(keys(table, b"a", b"b", 0), Vec::<Vec<u8>>::new());
    assert_eq!(keys(table, b"b", b"a", 10), Vec::<Vec<u8>>::new(), "an upside-down range is empty");
    assert_eq!(keys(table, b"a", b"a", 10), Vec::<Vec<u8>>::new());
}

fn ranges_are_deleted_without_their_end(table: &dyn Table) {
    let batch = [b"a", b"b", b"c", b"d"].iter().map(|key| put(*key, b"v")).collect();
    table.write(batch, Durability::Synced).expect("write");
    let upside_down = Change::DeleteRange(b"z".to_vec(), b"a".to_vec());
    let batch = vec![upside_down, Change::DeleteRange(b"b".to_vec(), b"d".to_vec())];
    table.write(batch, Durability::Synced).expect("an upside-down range deletes nothing");
    assert_eq!(keys(table, b"", b"z", 10), [b"a".to_vec(), b"d".to_vec()]);
    assert_eq!(table.get(b"b").expect("get"), None);
    table.write(vec![put(b"b", b"again")], Durability::Lazy).expect("write");
    assert_eq!(table.get(b"b").expect("get").as_deref(), Some(&b"again"[..]));
}

fn odd_keys_and_values_are_kept(table: &dyn Table) {
    let long = vec![7_u8; 300_000];
    let batch =
        vec![put(b"", b"empty key"), put(b"empty value", b""), put(&[0; 9], &[0; 9]), put(&long[..5000], &long)];
    table.write(batch, Durability::Synced).expect("write");
    assert_eq!(table.get(b"").expect("get").as_deref(), Some(&b"empty key"[..]));
    assert_eq!(table.get(b"empty value").expect("get").as_deref(), Some(&b""[..]));
    assert_eq!(table.get(&[0; 9]).expect("get").as_deref(), Some(&[0; 9][..]));
    assert_eq!(table.get(&long[..5000]).expect("get"), Some(long));
}

fn concurrent_batches_are_seen_whole(table: &dyn Table) {
    let rounds = 200_u32;
    table.write(vec![put(b"x", &[0; 4]), put(b"y", &[0; 4])], Durability::Lazy).expect("write");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for round in 1..=rounds {
                let value = round.to_be_bytes();
                table.write(vec![put(b"x", &value), put(b"y", &value)], Durability::Lazy).expect("write");
            }
        });
        let mut last = 0;
        while last < rounds {
            let seen: Vec<Vec<u8>> = table.scan(b"x", b"z", 2).expect("scan").into_iter().map(|(_, v)| v).collect();
            assert_eq!(seen[0], seen[1], "half of a batch was seen");
            last = u32::from_be_bytes(seen[0].as_slice().try_into().expect("four bytes"));
        }
    });
}

//! Walks through sound and damaged segments.

use std::io::IoSlice;

use super::*;
use crate::batch::testing::{batch, placed};
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, Open};

fn offsets(bytes: &[u8]) -> Vec<Result<i64, (u32, u32, bool)>> {
    let disk = SimDisk::new(1);
    let file = disk.open("log", Open::Create).unwrap();
    file.write_at(0, &[IoSlice::new(bytes)]).unwrap();
    let mut scanner = Scanner::new(&*file, bytes.len() as u32, 0, Offset::new(0));
    let mut found = Vec::new();
    while let Some(step) = scanner.step().unwrap() {
        found.push(match step {
            Found::Batch { header, .. } => Ok(header.base.get()),
            Found::Damage { position, until, followed } => Err((position, until, followed)),
        });
    }
    found
}

fn log() -> Vec<u8> {
    (0..4).flat_map(|n| placed(batch(5, 200, n), n * 5, 1)).collect()
}

#[test]
fn sound_batches_come_one_by_one() {
    assert_eq!(offsets(&log()), [Ok(0), Ok(5), Ok(10), Ok(15)]);
    assert_eq!(offsets(&[]), []);
}

#[test]
fn damage_ends_where_the_next_sound_batch_begins() {
    let one = log().len() as u32 / 4;
    for at in [0, 8, 16, 17, 30, 61, 200] {
        let mut bytes = log();
        bytes[one as usize + at] ^= 0xff;
        assert_eq!(
            offsets(&bytes),
            [Ok(0), Err((one, 2 * one, true)), Ok(10), Ok(15)],
            "byte {at} of the second batch"
        );
    }
}

#[test]
fn a_torn_end_is_followed_by_nothing() {
    let whole = log();
    let last = whole.len() as u32 / 4 * 3;
    for cut in [1, 61, 100] {
        let bytes = &whole[..last as usize + cut];
        assert_eq!(offsets(bytes), [Ok(0), Ok(5), Ok(10), Err((last, last + cut as u32, false))]);
    }
}

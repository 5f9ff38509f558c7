//! The replica machine, one decision at a time. How it fares among others is the simulation's to find out.

use super::*;

#[test]
fn a_replica_is_small() {
    assert!(size_of::<Replica>() <= 320, "{}", size_of::<Replica>());
}

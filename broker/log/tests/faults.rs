//! Whole data directories that are damaged behind the store's back, on the simulated disk: nothing acked is lost except in
//! ranges that are named, nothing damaged is served, everything else stays readable, hints are rebuilt (S2 to S5).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

mod faults {
    pub(crate) mod damage;
    pub(crate) mod journal;
    pub(crate) mod kit;
    pub(crate) mod offline;
    pub(crate) mod refusals;
    pub(crate) mod verify;
}

//! Coordination as hostile as a network allows, from one seed.
//!
//! Owns the faults: answers are lost after or before a write took effect, a lost write may land much later, conflicts
//! are reported to a writer whose first copy won, reads fail, lists lag behind, and a lease is granted to whoever asks.
//! What it keeps is what the trait promises: linearizable documents and compare-and-swap.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_core::table::MemoryTable;

use crate::{
    Coordination, Document, Embedded, Expected, Holder, Lease, LeaseError, Put, PutError, Revision, Unavailable, Watch,
};

/// How often, in a hundred, each thing goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A write takes effect and its answer is lost.
    pub lost_answers: u64,
    /// A write does not take effect before its answer is lost; it lands at some later call.
    pub late_writes: u64,
    /// A write is refused without an effect.
    pub refused_writes: u64,
    /// A read fails.
    pub failed_reads: u64,
    /// A list shows an older state.
    pub stale_lists: u64,
    /// A lease is granted although somebody else has it.
    pub granted_leases: u64,
}

impl Faults {
    /// Everything goes wrong now and then.
    pub const STORM: Self = Self {
        lost_answers: 10,
        late_writes: 10,
        refused_writes: 10,
        failed_reads: 10,
        stale_lists: 30,
        granted_leases: 30,
    };
}

/// How often each thing went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// See [`Faults::lost_answers`].
    pub lost_answers: u64,
    /// Late writes that found their expected revision and took effect.
    pub late_writes: u64,
    /// See [`Faults::failed_reads`].
    pub failed_reads: u64,
    /// See [`Faults::granted_leases`].
    pub granted_leases: u64,
}

/// A store with faults.
pub struct Simulated {
    store: Embedded<MemoryTable>,
    state: Mutex<State>,
}

struct State {
    faults: Faults,
    seed: u64,
    late: Vec<Put>,
    earlier: Vec<Document>,
    /// Who was told to hold a lease that somebody else has, and under which revision.
    believed: BTreeMap<String, Vec<Lease>>,
    counts: Counts,
}

impl State {
    /// True `chance` times in a hundred.
    fn happens(&mut self, chance: u64) -> bool {
        self.roll(100) < chance
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }
}

impl Simulated {
    /// An empty store; the same seed and calls give the same faults.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let store = Embedded::new(MemoryTable::default()).expect("a table in memory can be read");
        let state = State {
            faults,
            seed,
            late: Vec::new(),
            earlier: Vec::new(),
            believed: BTreeMap::new(),
            counts: Counts::default(),
        };
        Self { store, state: Mutex::new(state) }
    }

    /// From here on things go wrong that often; what was late stays late until a later call.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// How often things went wrong so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Perhaps one of the late writes lands now.
    fn land(&self, state: &mut State) {
        if !state.late.is_empty() && state.happens(30) {
            let at = state.roll(state.late.len() as u64);
            let put = state.late.swap_remove(usize::try_from(at).expect("an index"));
            if self.store.put(vec![put]).iter().all(Result::is_ok) {
                state.counts.late_writes += 1;
            }
        }
    }

    fn put_one(&self, state: &mut State, put: Put) -> Result<Revision, PutError> {
        let faults = state.faults;
        if state.happens(faults.refused_writes) {
            return Err(PutError::NotDone("simulated refusal".to_owned()));
        }
        if state.happens(faults.late_writes) {
            state.late.push(put);
            return Err(PutError::Unknown("simulated delay".to_owned()));
        }
        if let Expected::At(_) = put.expected
            && state.happens(30)
        {
            state.earlier = self.store.list("").unwrap_or_default();
        }
        let result = self.store.put(vec![put]).pop().expect("one answer for one put");
        if state.happens(faults.lost_answers) {
            state.counts.lost_answers += 1;
            return Err(PutError::Unknown("simulated loss of the answer".to_owned()));
        }
        result
    }

    fn readable(&self, state: &mut State) -> Result<(), Unavailable> {
        let chance = state.faults.failed_reads;
        if state.happens(chance) {
            state.counts.failed_reads += 1;
            return Err(Unavailable("simulated failure".to_owned()));
        }
        Ok(())
    }
}

impl Coordination for Simulated {
    fn observe(&self, name: &str) -> Result<Option<Lease>, Unavailable> {
        let mut state = self.state();
        self.readable(&mut state)?;
        self.store.observe(name)
    }

    fn acquire(
        &self,
        name: &str,
        holder: &Holder,
        duration: Duration,
        seen: Option<&Revision>,
    ) -> Result<Lease, LeaseError> {
        let mut state = self.state();
        self.readable(&mut state)?;
        let result = self.store.acquire(name, holder, duration, seen);
        let chance = state.faults.granted_leases;
        if result == Err(LeaseError::Taken) && state.happens(chance) {
            state.counts.granted_leases += 1;
            let number = state.counts.granted_leases;
            let lease = Lease { holder: holder.clone(), duration, revision: Revision(format!("believed-{number}")) };
            state.believed.entry(name.to_owned()).or_default().push(lease.clone());
            return Ok(lease);
        }
        result
    }

    fn renew(&self, name: &str, holder: &Holder, duration: Duration, held: &Revision) -> Result<Lease, LeaseError> {
        let mut state = self.state();
        self.readable(&mut state)?;
        let believers = state.believed.get(name).map(Vec::as_slice).unwrap_or_default();
        if let Some(lease) = believers.iter().find(|lease| lease.holder == *holder && lease.revision == *held) {
            return Ok(lease.clone());
        }
        self.store.renew(name, holder, duration, held)
    }

    fn release(&self, name: &str, holder: &Holder, held: &Revision) -> Result<(), LeaseError> {
        self.store.release(name, holder, held)
    }

    fn get(&self, name: &str) -> Result<Option<Document>, Unavailable> {
        let mut state = self.state();
        self.land(&mut state);
        self.readable(&mut state)?;
        self.store.get(name)
    }

    fn put(&self, puts: Vec<Put>) -> Vec<Result<Revision, PutError>> {
        let mut state = self.state();
        self.land(&mut state);
        puts.into_iter().map(|put| self.put_one(&mut state, put)).collect()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Document>, Unavailable> {
        let mut state = self.state();
        self.readable(&mut state)?;
        let chance = state.faults.stale_lists;
        if state.happens(chance) {
            return Ok(state.earlier.iter().filter(|document| document.name.starts_with(prefix)).cloned().collect());
        }
        self.store.list(prefix)
    }

    fn watch(&self, prefix: &str) -> Result<Box<dyn Watch>, Unavailable> {
        self.store.watch(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn simulated_without_faults_is_coordination() {
        crate::conformance::all(|| Simulated::new(1, Faults::default()));
    }

    /// A counter that survives the storm: whoever does not know reads, and finds its own mark or not.
    fn count_in_a_storm(seed: u64) -> (String, Counts) {
        let store = Simulated::new(seed, Faults::STORM);
        let (mut counted, mut trace) = (0_u32, String::new());
        let write = |content: String, expected| Put { name: "count".into(), content: Bytes::from(content), expected };
        while counted < 200 {
            let Ok(found) = store.get("count") else { continue };
            let (value, expected) = match found {
                None => (0, Expected::Absent),
                Some(document) => {
                    let text = std::str::from_utf8(&document.content).expect("text");
                    (text.parse::<u32>().expect("number"), Expected::At(document.revision))
                }
            };
            assert!(value <= counted + 1, "a write was applied twice");
            assert!(value >= counted, "a write that was seen is gone");
            counted = value;
            let result = store.put(vec![write((value + 1).to_string(), expected)]).remove(0);
            trace.push_str(&format!("{result:?};"));
        }
        (trace, store.counts())
    }

    #[test]
    fn compare_and_swap_counts_right_in_a_storm_and_one_seed_is_one_story() {
        let (trace, counts) = count_in_a_storm(5);
        assert!(counts.lost_answers > 0 && counts.failed_reads > 0, "{counts:?}");
        assert_eq!(count_in_a_storm(5).0, trace);
        assert!((0..20).any(|seed| count_in_a_storm(seed).1.late_writes > 0), "some late write lands");
    }

    #[test]
    fn several_believe_to_hold_a_lease() {
        let store = Simulated::new(3, Faults { granted_leases: 100, ..Faults::default() });
        let holders = [Holder("one".into()), Holder("two".into())];
        let term = Duration::from_secs(1);
        for holder in &holders {
            let lease = store.acquire("l", holder, term, None).expect("granted");
            assert_eq!(lease.holder, *holder);
            store.renew("l", holder, term, &lease.revision).expect("renewed");
        }
        assert_eq!(store.counts().granted_leases, 1);
    }
}

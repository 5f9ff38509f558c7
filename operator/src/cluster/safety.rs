//! Who says whether a broker may be stopped.
//!
//! Owns the question. Must never be answered on behalf of a broker that was not asked: who is not in the answer must not
//! be stopped.

use std::collections::BTreeMap;

use super::child::Owner;
use super::desired::Desired;
use super::observed::{CanStop, Observed};

/// Asks brokers, or whoever knows.
#[async_trait::async_trait]
pub trait Safety: Send + Sync {
    /// Per broker, whether it may be stopped now; who is not in it is unknown. Never waits longer than a few seconds.
    async fn can_stop(&self, owner: &Owner, desired: &Desired, observed: &Observed) -> BTreeMap<i32, CanStop>;
}

/// Brokers do not answer the question yet: nobody is asked, so that no broker that runs is stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unknown;

#[async_trait::async_trait]
impl Safety for Unknown {
    async fn can_stop(&self, _: &Owner, _: &Desired, _: &Observed) -> BTreeMap<i32, CanStop> {
        BTreeMap::new()
    }
}

//! Which version of each request both sides speak.
//!
//! Owns the client's own ranges: Kafka's, narrowed to what this client's code has been written for. Never guesses: an
//! API that the broker did not list is not there.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ottla_wire::ApiKey;
use ottla_wire::messages::ApiVersionsResponse;

use crate::error::{Result, Terminal};

/// What one broker said it speaks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions {
    theirs: Option<BTreeMap<i16, RangeInclusive<i16>>>,
}

impl Versions {
    /// Reads a broker's answer.
    pub(crate) fn new(response: &ApiVersionsResponse) -> Self {
        let theirs = response.api_keys.iter().map(|api| (api.api_key, api.min_version..=api.max_version)).collect();
        Self { theirs: Some(theirs) }
    }

    /// The highest version of `api` that both sides know.
    pub(crate) fn choose(&self, api: ApiKey, address: &str) -> Result<i16> {
        let ours = ours(api);
        let theirs = self.theirs.as_ref().and_then(|theirs| theirs.get(&api.code()));
        if let Some(theirs) = theirs {
            let highest = *ours.end().min(theirs.end());
            if highest >= *ours.start().max(theirs.start()) {
                return Ok(highest);
            }
        }
        Err(Terminal::Unsupported {
            address: address.to_owned(),
            api: api.name(),
            theirs: theirs.map_or_else(|| "not at all".to_owned(), words),
            ours: words(&ours),
        }
        .into())
    }
}

/// Where this client is written for fewer versions than Kafka speaks. Older ones lack what the code relies on: batched
/// groups, member ids, leader epochs. Newer ones of the offset requests name topics by id only, which an administrator's
/// tool has no use for.
const NARROWED: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 8, i16::MAX),
    (ApiKey::Fetch, 11, i16::MAX),
    (ApiKey::Metadata, 9, i16::MAX),
    (ApiKey::ListOffsets, 5, i16::MAX),
    (ApiKey::OffsetCommit, 7, 9),
    (ApiKey::OffsetFetch, 8, 9),
    (ApiKey::FindCoordinator, 4, 5),
    (ApiKey::JoinGroup, 5, i16::MAX),
    (ApiKey::SyncGroup, 3, i16::MAX),
    (ApiKey::LeaveGroup, 3, i16::MAX),
    (ApiKey::ListGroups, 4, i16::MAX),
    (ApiKey::DeleteTopics, 6, i16::MAX),
];

/// The versions this client is written for.
fn ours(api: ApiKey) -> RangeInclusive<i16> {
    let all = api.versions();
    match NARROWED.iter().find(|(narrowed, ..)| *narrowed == api) {
        Some(&(_, lowest, highest)) => lowest.max(*all.start())..=highest.min(*all.end()),
        None => all,
    }
}

fn words(range: &RangeInclusive<i16>) -> String {
    format!("versions {} to {}", range.start(), range.end())
}

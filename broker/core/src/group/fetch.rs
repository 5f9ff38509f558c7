//! OffsetFetch of one group: what the view says, so what is committed below the high watermark (G2).
//!
//! With `require_stable` (version 7, KIP-447) the fetch waits for every commit that is on its way. An unknown group
//! has committed nothing; that is no error.

use super::error::Error;
use super::message::{Fetch, FetchedTopic, Reply};
use super::view::{View, ViewError};
use super::words::{CommittedPartition, Token};
use super::{Effects, Shard};

impl Shard {
    pub(super) fn on_fetch(&mut self, token: Token, fetch: Fetch, view: &View<'_>, out: &mut Effects) {
        match self.appends.last() {
            Some(last) if fetch.require_stable => self.stable_fetches.push_back((last, token, fetch)),
            _ => self.answer_fetch(token, &fetch, view, out),
        }
    }

    /// Answers the fetches that have nothing left to wait for.
    pub(super) fn answer_stable_fetches(&mut self, view: &View<'_>, out: &mut Effects) {
        let settled = |after, first: Option<_>| first.is_none_or(|first| after < first);
        while let Some((after, ..)) = self.stable_fetches.front()
            && settled(*after, self.appends.first())
            && let Some((_, token, fetch)) = self.stable_fetches.pop_front()
        {
            self.answer_fetch(token, &fetch, view, out);
        }
    }

    fn answer_fetch(&mut self, token: Token, fetch: &Fetch, view: &View<'_>, out: &mut Effects) {
        let reply = self.read_view(out, || read(fetch, view));
        out.reply(token, Reply::Fetch(reply));
    }

    /// Reads the view; if it cannot be read it is given up, and the client comes back after it was rebuilt.
    pub(super) fn read_view<T>(
        &self,
        out: &mut Effects,
        read: impl FnOnce() -> Result<T, ViewError>,
    ) -> Result<T, Error> {
        if !self.view_ready || out.view_lost.is_some() {
            return Err(Error::LoadInProgress);
        }
        read().map_err(|error| {
            out.view_lost = Some(error);
            Error::LoadInProgress
        })
    }
}

fn read(fetch: &Fetch, view: &View<'_>) -> Result<Vec<FetchedTopic>, ViewError> {
    let mut fetched: Vec<FetchedTopic> = Vec::new();
    if let Some(topics) = &fetch.topics {
        for (topic, partitions) in topics {
            let mut answers = Vec::with_capacity(partitions.len());
            for &partition in partitions {
                let key = CommittedPartition { topic: topic.clone(), partition };
                answers.push((partition, view.offset(&fetch.group, &key)?));
            }
            fetched.push(FetchedTopic { topic: topic.clone(), partitions: answers });
        }
    } else {
        for (key, value) in view.offsets(&fetch.group)? {
            let answer = (key.partition, Some(value));
            match fetched.last_mut() {
                Some(last) if last.topic == key.topic => last.partitions.push(answer),
                _ => fetched.push(FetchedTopic { topic: key.topic, partitions: vec![answer] }),
            }
        }
    }
    // Read last: had the view vanished before, its marker would be gone too.
    view.verify()?;
    Ok(fetched)
}

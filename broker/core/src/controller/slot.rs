//! One document as the controller holds it: what is committed, what is being written, what waits to be written.
//!
//! Owns the rule that one write of a document is under way at a time, and how a write whose answer was lost is settled:
//! by reading its write id, never by guessing. Changes that arrive meanwhile are gathered into the next write.

use std::sync::Arc;
use std::time::Instant;

use super::budget::Urgency;
use super::document::{Document, DocumentId, Header, Revision, Root, SessionId, Shard, ShardId, WriteId};
use super::request::RequestId;
use crate::types::{BrokerId, ClusterId, ControllerEpoch};

/// What roots and shards have in common.
pub(super) trait Content: Clone {
    fn id(&self) -> DocumentId;
    fn header(&self) -> &Header;
    fn header_mut(&mut self) -> &mut Header;
    fn document(content: Arc<Self>) -> Document;
}

impl Content for Root {
    fn id(&self) -> DocumentId {
        DocumentId::Root
    }
    fn header(&self) -> &Header {
        &self.header
    }
    fn header_mut(&mut self) -> &mut Header {
        &mut self.header
    }
    fn document(content: Arc<Self>) -> Document {
        Document::Root(content)
    }
}

impl Content for Shard {
    fn id(&self) -> DocumentId {
        DocumentId::Shard(ShardId(self.index))
    }
    fn header(&self) -> &Header {
        &self.header
    }
    fn header_mut(&mut self) -> &mut Header {
        &mut self.header
    }
    fn document(content: Arc<Self>) -> Document {
        Document::Shard(content)
    }
}

/// In whose name documents are written.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) cluster: ClusterId,
    pub(super) broker: BrokerId,
    pub(super) session: SessionId,
    pub(super) epoch: ControllerEpoch,
    /// Write ids given out so far; never reused, so that one id names one write for ever.
    pub(super) writes: u64,
}

impl Owner {
    fn header_after(&mut self, before: &Header) -> Header {
        self.writes += 1;
        let version = before.version + 1;
        Header {
            cluster: self.cluster,
            version,
            epoch: self.epoch,
            writer: self.broker,
            write: WriteId { session: self.session, number: self.writes },
            claims: before.claims_with(self.epoch, version, self.session),
        }
    }
}

/// A compare-and-swap that the shell has to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The new content, header included.
    pub content: Document,
    /// What the store must still hold.
    pub expected: Revision,
}

impl Write {
    /// The id by which the write is recognised.
    pub fn id(&self) -> WriteId {
        self.content.header().write
    }
}

#[derive(Debug)]
struct Flight<C> {
    content: Arc<C>,
    expected: Revision,
    waiters: Vec<RequestId>,
}

/// What a read under way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    No,
    Token(u64),
}

#[derive(Debug)]
pub(super) struct Slot<C> {
    committed: Option<(Arc<C>, Revision)>,
    flight: Option<Flight<C>>,
    staged: Option<Arc<C>>,
    staged_for: Vec<RequestId>,
    /// The most urgent reason for what is staged.
    urgency: Urgency,
    reading: Reading,
    /// When a read or write that did not get through is tried again.
    pub(super) retry_at: Option<Instant>,
}

/// What a document read while its write was unsettled says about that write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It took effect; these requests waited for it.
    Done(Vec<RequestId>),
    /// It did not, so far: the very same write may be sent again.
    NotYet,
    /// Somebody else's write is there instead.
    Other,
}

impl<C: Content> Slot<C> {
    pub(super) fn new() -> Self {
        Self {
            committed: None,
            flight: None,
            staged: None,
            staged_for: Vec::new(),
            urgency: Urgency::Growth,
            reading: Reading::No,
            retry_at: None,
        }
    }

    pub(super) fn committed(&self) -> Option<&Arc<C>> {
        self.committed.as_ref().map(|(content, _)| content)
    }

    /// What the document will be when everything under way is written.
    pub(super) fn latest(&self) -> Option<&Arc<C>> {
        let flying = self.flight.as_ref().map(|flight| &flight.content);
        self.staged.as_ref().or(flying).or(self.committed())
    }

    pub(super) fn in_flight(&self) -> Option<WriteId> {
        self.flight.as_ref().map(|flight| flight.content.header().write)
    }

    pub(super) fn awaits_read(&self, token: u64) -> bool {
        self.reading == Reading::Token(token)
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading != Reading::No
    }

    pub(super) fn begin_read(&mut self, token: u64) {
        self.retry_at = None;
        self.reading = Reading::Token(token);
    }

    pub(super) fn end_read(&mut self) {
        self.reading = Reading::No;
    }

    /// The content to change; `request` is answered after the change is durable. `None` before the first read.
    pub(super) fn edit(&mut self, request: Option<RequestId>, urgency: Urgency) -> Option<&mut C> {
        if self.staged.is_none() {
            self.staged = Some(self.latest()?.clone());
            self.urgency = urgency;
        }
        self.urgency = self.urgency.min(urgency);
        if let Some(request) = request
            && !self.staged_for.contains(&request)
        {
            self.staged_for.push(request);
        }
        self.staged.as_mut().map(Arc::make_mut)
    }

    /// Lets `request` wait until everything under way is durable; false if nothing is.
    pub(super) fn wait(&mut self, request: RequestId) -> bool {
        let waiters = match (&self.staged, &mut self.flight) {
            (Some(_), _) => &mut self.staged_for,
            (None, Some(flight)) => &mut flight.waiters,
            (None, None) => return false,
        };
        if !waiters.contains(&request) {
            waiters.push(request);
        }
        true
    }

    /// The first write of a claim: `content` as it was read, under a new header.
    pub(super) fn claim(&mut self, content: C, read_at: Revision, owner: &mut Owner) -> Write {
        self.staged = Some(Arc::new(content));
        self.flight = None;
        self.write_staged(read_at, owner).expect("just staged")
    }

    /// How urgent the next write is, if there is one to be made.
    pub(super) fn wants_to_write(&self) -> Option<Urgency> {
        (self.staged.is_some() && self.flight.is_none() && self.committed.is_some()).then_some(self.urgency)
    }

    /// The next write, if something is staged and none is under way.
    pub(super) fn launch(&mut self, owner: &mut Owner) -> Option<Write> {
        if self.flight.is_some() {
            return None;
        }
        let expected = self.committed.as_ref()?.1.clone();
        self.write_staged(expected, owner)
    }

    fn write_staged(&mut self, expected: Revision, owner: &mut Owner) -> Option<Write> {
        let mut content = self.staged.take()?;
        let header = owner.header_after(content.header());
        *Arc::make_mut(&mut content).header_mut() = header;
        let waiters = std::mem::take(&mut self.staged_for);
        let flight = Flight { content, expected, waiters };
        let write = Write { content: C::document(flight.content.clone()), expected: flight.expected.clone() };
        self.flight = Some(flight);
        Some(write)
    }

    /// The write under way once more, exactly as it was: whichever copy arrives first wins, the other conflicts.
    pub(super) fn resend(&mut self) -> Option<Write> {
        self.retry_at = None;
        let flight = self.flight.as_ref()?;
        Some(Write { content: C::document(flight.content.clone()), expected: flight.expected.clone() })
    }

    /// The write under way took effect; the requests that waited for it.
    pub(super) fn commit(&mut self, revision: Revision) -> Vec<RequestId> {
        let Some(flight) = self.flight.take() else { return Vec::new() };
        self.committed = Some((flight.content, revision));
        flight.waiters
    }

    /// Judges the write under way by what was read.
    pub(super) fn settle(&mut self, read: &C, revision: Revision) -> Settled {
        match &self.flight {
            Some(flight) if flight.content.header().write == read.header().write => {
                Settled::Done(self.commit(revision))
            }
            Some(flight) if flight.expected == revision => Settled::NotYet,
            Some(_) | None => Settled::Other,
        }
    }
}

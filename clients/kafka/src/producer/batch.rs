//! Records of one partition that travel together.
//!
//! Owns the records' fates from `send` on. A batch is built once, when it first leaves; a repeated attempt sends the same
//! bytes, so that the broker recognises them.

use bytes::Bytes;
use ottla_core::types::{Offset, Sequence, Timestamp};
use ottla_wire::record::{BatchBuilder, BatchView, Compression, RecordIter};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::Receipt;
use super::identity::Identity;
use super::sender::Pending;
use crate::config::NamedPartition;
use crate::error::{Error, Result, Retriable, Terminal};

/// What an attempt that is opened again may unpack to; it was packed here.
const UNPACKED_BYTES_MAX: usize = 256 * 1024 * 1024;

pub(super) struct Batch {
    content: Content,
    compression: Compression,
    waiting: Vec<Waiting>,
    /// When its first record came.
    pub(super) created: Instant,
    /// How often it has left.
    pub(super) attempts: u32,
    /// Why it is still here.
    pub(super) trouble: Option<Retriable>,
}

enum Content {
    Open(Box<BatchBuilder>),
    Built(Bytes),
}

/// Who waits for a record, and the memory that it holds meanwhile.
struct Waiting {
    done: oneshot::Sender<Result<Receipt>>,
    _room: OwnedSemaphorePermit,
}

impl Batch {
    pub(super) fn new(compression: Compression, now: Instant) -> Self {
        let content = Content::Open(Box::new(BatchBuilder::new(compression)));
        Self { content, compression, waiting: Vec::new(), created: now, attempts: 0, trouble: None }
    }

    /// Adds a record; only before the first attempt.
    pub(super) fn push(&mut self, record: Pending) {
        let Content::Open(builder) = &mut self.content else { return };
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.append(record.timestamp.get(), key, value, &record.headers);
        self.waiting.push(Waiting { done: record.done, _room: record.room });
    }

    /// Its size before compression, or as it was sent.
    pub(super) fn bytes(&self) -> usize {
        match &self.content {
            Content::Open(builder) => builder.size_bytes(),
            Content::Built(bytes) => bytes.len(),
        }
    }

    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.waiting.len()).unwrap_or(i32::MAX)
    }

    /// Its bytes; the first call decides them.
    pub(super) fn build(&mut self, identity: Option<(Identity, Sequence)>) -> Result<Bytes> {
        if let Content::Built(bytes) = &self.content {
            return Ok(bytes.clone());
        }
        let empty = Content::Built(Bytes::new());
        let Content::Open(mut builder) = std::mem::replace(&mut self.content, empty) else { return Ok(Bytes::new()) };
        if let Some((identity, sequence)) = identity {
            *builder = builder.producer(identity.id.get(), identity.epoch.get(), sequence.get());
        }
        let bytes = builder.build().map_err(|error| unpackable(&error))?;
        self.content = Content::Built(bytes.clone());
        Ok(bytes)
    }

    /// Opens what was built, so that it can get another identity. Only for a batch that the broker refused for good.
    pub(super) fn reopen(&mut self) -> Result<()> {
        if let Content::Built(bytes) = &self.content {
            let mut builder = BatchBuilder::new(self.compression);
            for record in records(bytes)? {
                builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
            }
            self.content = Content::Open(Box::new(builder));
        }
        self.attempts = 0;
        Ok(())
    }

    /// Two halves of a batch that the broker found too large; `None` if it is a single record.
    pub(super) fn split(&mut self) -> Result<Option<(Self, Self)>> {
        let Content::Built(bytes) = &self.content else { return Ok(None) };
        if self.waiting.len() < 2 {
            return Ok(None);
        }
        let middle = self.waiting.len() / 2;
        let mut halves = (Self::new(self.compression, self.created), Self::new(self.compression, self.created));
        for (at, record) in records(bytes)?.into_iter().enumerate() {
            let half = if at < middle { &mut halves.0 } else { &mut halves.1 };
            if let Content::Open(builder) = &mut half.content {
                builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
            }
        }
        halves.1.waiting = self.waiting.split_off(middle);
        halves.0.waiting = std::mem::take(&mut self.waiting);
        Ok(Some(halves))
    }

    /// Tells everyone where their record is.
    pub(super) fn acknowledge(self, partition: &NamedPartition, base: Option<Offset>, append_time: Option<Timestamp>) {
        for (at, waiting) in self.waiting.into_iter().enumerate() {
            let offset = base.map(|base| base.plus(i64::try_from(at).unwrap_or(i64::MAX)));
            // Whoever does not want to know has dropped the receiver.
            let _ = waiting.done.send(Ok(Receipt { partition: partition.clone(), offset, append_time }));
        }
    }

    /// Tells everyone why not.
    pub(super) fn fail(self, error: &Error) {
        for waiting in self.waiting {
            let _ = waiting.done.send(Err(error.clone()));
        }
    }
}

fn records(bytes: &Bytes) -> Result<Vec<ottla_wire::record::Record>> {
    let view = BatchView::split_from(&mut bytes.clone()).map_err(|error| unpackable(&error))?;
    let iter = RecordIter::new(&view, UNPACKED_BYTES_MAX).map_err(|error| unpackable(&error))?;
    iter.map(|record| record.map_err(|error| unpackable(&error))).collect()
}

fn unpackable(error: &dyn std::fmt::Display) -> Error {
    Terminal::Config(format!("a batch cannot be packed: {error}")).into()
}

//! What the controller asks of the coordination store, on threads of its own.
//!
//! Owns the order of reads and writes, and that a slow or absent store keeps nobody waiting but them: heartbeats and
//! questions go on. Every write that took effect is copied into the data directory before the machine hears of it. It
//! decides nothing and retries nothing.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use ottla_coordination::{Coordination, Expected, Holder, LeaseError, Put, PutError};
use ottla_core::controller::{DocumentId, Event, LeaseCall, LeaseSeen, ReadOutcome, SessionId, Write, WriteOutcome};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::ledger::Ledger;

/// Something to do with documents.
enum Work {
    Read(DocumentId, u64),
    Write(Vec<Write>),
}

/// The store, as the controller's thread reaches it.
pub(super) struct Io {
    leases: Sender<LeaseCall>,
    documents: Sender<Work>,
}

/// What its threads work with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) coordination: Arc<dyn Coordination>,
    pub(super) lease: String,
    pub(super) holder: Holder,
    pub(super) session: SessionId,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) events: UnboundedSender<Event>,
    /// Who else was last seen to hold the Lease.
    pub(super) other: watch::Sender<Option<String>>,
}

impl Io {
    /// Starts both threads; they end when this is dropped.
    pub(super) fn start(tools: Tools, tasks: &TaskTracker) -> Self {
        let ((leases, calls), (documents, work)) = (channel(), channel());
        let other = tools.clone();
        tasks.spawn_blocking(move || tools.call(&calls));
        tasks.spawn_blocking(move || other.work(&work));
        Self { leases, documents }
    }

    pub(super) fn lease(&self, call: LeaseCall) {
        // The threads end after this one.
        let _ended = self.leases.send(call);
    }

    pub(super) fn read(&self, document: DocumentId, token: u64) {
        let _ended = self.documents.send(Work::Read(document, token));
    }

    pub(super) fn write(&self, writes: Vec<Write>) {
        if !writes.is_empty() {
            let _ended = self.documents.send(Work::Write(writes));
        }
    }
}

impl Tools {
    fn call(&self, calls: &Receiver<LeaseCall>) {
        while let Ok(call) = calls.recv() {
            let seen = self.lease(&call);
            if let LeaseSeen::Theirs { holder, .. } = &seen {
                self.other.send_if_modified(|other| other.replace(holder.clone()).as_ref() != Some(holder));
            }
            let _stopped = self.events.send(Event::Lease(seen));
        }
        self.release();
    }

    fn work(&self, work: &Receiver<Work>) {
        while let Ok(work) = work.recv() {
            match work {
                Work::Read(document, token) => {
                    let outcome = self.read(document);
                    let _stopped = self.events.send(Event::Read { document, token, outcome });
                }
                Work::Write(writes) => self.write(&writes),
            }
        }
    }

    fn read(&self, document: DocumentId) -> ReadOutcome {
        match self.coordination.get(&document.to_string()) {
            Ok(Some(found)) => match ottla_rpc::decode(&found.content) {
                // A write of ours whose answer was lost: it is about to be acted on. What others wrote is claimed first.
                Ok(document) if document.header().write.session == self.session => {
                    match self.ledger.lock().keep(vec![(&document, found.content)]) {
                        Ok(()) => ReadOutcome::Found(document, found.revision),
                        Err(_) => ReadOutcome::Failed,
                    }
                }
                Ok(document) => ReadOutcome::Found(document, found.revision),
                Err(error) => ReadOutcome::Unreadable(error.to_string()),
            },
            Ok(None) => ReadOutcome::Missing,
            Err(error) => {
                tracing::warn!(%document, %error, "read metadata");
                ReadOutcome::Failed
            }
        }
    }

    fn write(&self, writes: &[Write]) {
        let expected = |write: &Write| match write.expected.is_absent() {
            true => Expected::Absent,
            false => Expected::At(write.expected.clone()),
        };
        let put = |write: &Write| Put {
            name: write.content.id().to_string(),
            content: ottla_rpc::encode(&write.content),
            expected: expected(write),
        };
        let puts: Vec<Put> = writes.iter().map(put).collect();
        let contents: Vec<_> = puts.iter().map(|put| put.content.clone()).collect();
        let results = self.coordination.put(puts);
        let done = writes.iter().zip(contents).zip(&results).filter(|(_, result)| result.is_ok());
        let done = done.map(|((write, content), _)| (&write.content, content)).collect();
        let kept = self.ledger.lock().keep(done);
        for (write, result) in writes.iter().zip(results) {
            let document = write.content.id();
            let outcome = match result {
                // It took effect, but must not be acted on.
                Ok(_) if kept.is_err() => WriteOutcome::Unknown,
                Ok(revision) => WriteOutcome::Done(revision),
                Err(PutError::Conflict) => WriteOutcome::Conflict,
                Err(PutError::NotDone(reason)) => {
                    tracing::warn!(%document, reason, "write metadata");
                    WriteOutcome::NotDone
                }
                Err(PutError::Unknown(reason)) => {
                    tracing::warn!(%document, reason, "write metadata, outcome unknown");
                    WriteOutcome::Unknown
                }
            };
            let _stopped = self.events.send(Event::Wrote { document, write: write.id(), outcome });
        }
    }

    fn lease(&self, call: &LeaseCall) -> LeaseSeen {
        let (name, holder) = (self.lease.as_str(), &self.holder);
        let had = match call {
            LeaseCall::Observe => Err(LeaseError::Taken),
            LeaseCall::Acquire { seen, duration } => self.coordination.acquire(name, holder, *duration, seen.as_ref()),
            LeaseCall::Renew { held, duration } => self.coordination.renew(name, holder, *duration, held),
        };
        if let Ok(lease) = had {
            return LeaseSeen::Ours(lease.revision);
        }
        match self.coordination.observe(name) {
            Ok(None) => LeaseSeen::Free,
            Ok(Some(lease)) if lease.holder == *holder => LeaseSeen::Ours(lease.revision),
            Ok(Some(lease)) => {
                LeaseSeen::Theirs { holder: lease.holder.0, revision: lease.revision, duration: lease.duration }
            }
            Err(error) => {
                tracing::warn!(%error, "observe the controller's lease");
                LeaseSeen::Failed
            }
        }
    }

    /// The next controller need not wait for the lease to run out.
    fn release(&self) {
        if let Ok(Some(lease)) = self.coordination.observe(&self.lease)
            && lease.holder == self.holder
            && let Err(error) = self.coordination.release(&self.lease, &self.holder, &lease.revision)
        {
            tracing::debug!(%error, "release the controller's lease");
        }
    }
}

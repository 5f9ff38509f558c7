//! What replicas ask the controller, gathered into requests.
//!
//! Owns the batching and the translation of answers. A question whose answer is lost is asked again by its replica; what
//! the controller decides arrives as metadata, never through here.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::controller::error::{AlterPartitionError, StaleLeader};
use ottla_core::controller::{Answer, IsrChange, Leadership, Request};
use ottla_core::replica::{Alter, Altered, Ask, Complaint, Event};
use ottla_core::types::{BrokerId, Incarnation, TopicPartition};
use tokio_util::sync::CancellationToken;

use super::Handle;
use crate::partitions::{Partitions, Question};

/// Questions of one request.
const QUESTIONS_MAX: usize = 1000;
/// How long a question waits for others: a broker that dies changes all the sets that it was in.
const GATHER: Duration = Duration::from_millis(2);

/// Asks until the broker stops.
pub(super) async fn run(handle: Handle, partitions: Arc<Partitions>, shutdown: CancellationToken) {
    let Some(mut questions) = partitions.hub().take_questions() else { return };
    let mut gathered = Vec::with_capacity(QUESTIONS_MAX);
    loop {
        tokio::select! {
            count = questions.recv_many(&mut gathered, QUESTIONS_MAX) => if count == 0 { return },
            () = shutdown.cancelled() => return,
        }
        tokio::time::sleep(GATHER).await;
        while gathered.len() < QUESTIONS_MAX
            && let Ok(question) = questions.try_recv()
        {
            gathered.push(question);
        }
        let asking = Asking::new(&partitions);
        for asked in asking.requests(std::mem::take(&mut gathered)) {
            let (handle, partitions) = (handle.clone(), Arc::clone(&partitions));
            tokio::spawn(async move { asked.ask(&handle, &partitions).await });
        }
    }
}

/// As whom they are asked.
struct Asking<'a> {
    partitions: &'a Partitions,
    broker: BrokerId,
    incarnation: Incarnation,
}

/// A request, and the changes that its answers are about.
struct Asked {
    request: Request,
    changes: Vec<(TopicPartition, Alter)>,
}

impl<'a> Asking<'a> {
    fn new(partitions: &'a Partitions) -> Self {
        let host = partitions.hub().host.read();
        Self { partitions, broker: host.me, incarnation: host.incarnation }
    }

    fn requests(&self, questions: Vec<Question>) -> Vec<Asked> {
        let (mut alters, mut renew, mut lost, mut give) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (partition, ask) in questions {
            match ask {
                Ask::Alter(alter) => alters.push((partition, alter)),
                Ask::NewEpoch { leader_epoch, complaint } => {
                    let leadership = Leadership { partition, leader_epoch };
                    match complaint {
                        Complaint::WriteFailed => renew.push(leadership),
                        Complaint::LogSuspect => lost.push(partition),
                        Complaint::SlowDisk => give.push(leadership),
                    }
                }
            }
        }
        let (broker, incarnation) = (self.broker, self.incarnation);
        let mut requests = Vec::new();
        let plain = |request| Asked { request, changes: Vec::new() };
        if !lost.is_empty() {
            requests.push(plain(Request::ReplicasLost { broker, incarnation, partitions: lost }));
        }
        if !renew.is_empty() {
            requests.push(plain(Request::RenewTerms { broker, incarnation, leaderships: renew }));
        }
        if !give.is_empty() {
            requests.push(plain(Request::HandOver { broker, incarnation, leaderships: give }));
        }
        if !alters.is_empty() {
            let changes = alters.iter().map(|(partition, alter)| self.change(*partition, alter)).collect();
            let request = Request::AlterPartitions { broker, incarnation, changes };
            requests.push(Asked { request, changes: alters });
        }
        requests
    }

    fn change(&self, partition: TopicPartition, alter: &Alter) -> IsrChange {
        let host = self.partitions.hub().host.read();
        let run = |id: BrokerId| {
            let joining = alter.joining.iter().find(|(joining, _)| *joining == id).map(|(_, run)| *run);
            let own = (id == host.me).then_some(host.incarnation);
            joining.or(own).or(host.run_of(id)).unwrap_or_default()
        };
        let isr = alter.isr.iter().map(|id| (*id, run(*id))).collect();
        IsrChange { partition, leader_epoch: alter.leader_epoch, partition_epoch: alter.partition_epoch, isr }
    }
}

impl Asked {
    async fn ask(self, handle: &Handle, partitions: &Partitions) {
        // Whatever else comes of it comes as metadata, or is asked again.
        let Some(Answer::AlterPartitions(Ok(answers))) = handle.ask(self.request).await else { return };
        for ((partition, alter), answer) in self.changes.into_iter().zip(answers) {
            let outcome = match answer {
                // It is committed, and in force here already: an image brought it.
                Ok(_) => continue,
                Err(AlterPartitionError::Stale(
                    StaleLeader::PartitionEpoch { .. } | StaleLeader::LeaderEpoch { .. },
                )) => Altered::Outdated,
                Err(AlterPartitionError::Stale(StaleLeader::Unknown | StaleLeader::NotLeader { .. })) => {
                    Altered::Outdated
                }
                Err(AlterPartitionError::Ineligible { .. } | AlterPartitionError::Isr(_)) => Altered::Ineligible,
            };
            if let Some(replica) = partitions.get(partition) {
                let (leader_epoch, partition_epoch) = (alter.leader_epoch, alter.partition_epoch);
                replica.handle(Event::Altered { leader_epoch, partition_epoch, outcome });
            }
        }
    }
}

//! One request at a time: what is asked is decided here, by whoever owns the decision, and answered when it is durable.

use std::time::Instant;

use super::{Answer, Effect, Effects, Machine, Phase, Request, RequestId, Work};

impl Machine {
    pub(super) fn on_ask(&mut self, now: Instant, id: RequestId, request: Request, out: &mut Effects) {
        if self.phase != Phase::Acting {
            out.push(Effect::Answer(id, request.refused()));
            return;
        }
        if self.growth.is_under_way() {
            if let Some(request) = self.growth.hold(id, request) {
                out.push(Effect::Answer(id, request.refused()));
            }
            return;
        }
        let refused = request.refused();
        let mut work = Work::of(id, request.urgency());
        let answer = self.answer(now, &mut work, request);
        self.answer_when_durable(work, answer, refused, out);
        out.extend(self.liveness.next_look(now, self.config.me).map(Effect::WakeAt));
    }

    pub(super) fn on_asker_gone(&mut self, id: RequestId, out: &mut Effects) {
        if let Some(request) = self.growth.drop_registration(id) {
            out.push(Effect::Answer(id, request.refused()));
        }
    }

    fn answer(&mut self, now: Instant, work: &mut Work, request: Request) -> Answer {
        match request {
            Request::CreateTopics { topics, validate_only } => {
                Answer::CreateTopics(self.create_topics(work, topics, validate_only))
            }
            Request::DeleteTopics { topics } => Answer::DeleteTopics(self.delete_topics(work, &topics)),
            Request::CreatePartitions { topics, validate_only } => {
                Answer::CreatePartitions(self.create_partitions(work, &topics, validate_only))
            }
            Request::AlterConfigs { resources, validate_only } => {
                Answer::AlterConfigs(self.alter_configs(work, &resources, validate_only))
            }
            Request::AllocateProducerIds => Answer::AllocateProducerIds(Ok(self.allocate_producer_ids(work))),
            Request::Register(registration) => Answer::Register(self.register(now, work, registration)),
            Request::Admit { broker, incarnation, endpoints } => {
                Answer::Admit(self.admit(now, work, (broker, incarnation), endpoints))
            }
            Request::ReplicasDeleted { broker, topics, partitions } => {
                self.replicas_deleted(work, broker, &topics);
                self.moved_replicas_deleted(work, broker, &partitions);
                Answer::ReplicasDeleted(Ok(()))
            }
            Request::AlterPartitions { broker, incarnation, changes } => {
                Answer::AlterPartitions(self.alter_partitions(now, work, broker, incarnation, &changes))
            }
            Request::HandOver { broker, incarnation, leaderships } => {
                Answer::HandOver(self.hand_over(work, broker, incarnation, &leaderships))
            }
            Request::RenewTerms { broker, incarnation, leaderships } => {
                Answer::RenewTerms(self.renew_terms(work, broker, incarnation, &leaderships))
            }
            Request::ReplicasLost { broker, incarnation, partitions } => {
                Answer::ReplicasLost(self.replicas_lost(work, broker, incarnation, &partitions))
            }
            Request::PrepareStop { broker, incarnation } => {
                Answer::PrepareStop(self.prepare_stop(work, broker, incarnation))
            }
            Request::ElectLeaders { kind, partitions } => {
                Answer::ElectLeaders(Ok(self.elect_leaders(work, kind, partitions.as_deref())))
            }
            Request::Reassign { moves, may_change_factor } => {
                Answer::Reassign(self.reassign(work, &moves, may_change_factor))
            }
            Request::ListReassignments { partitions } => {
                Answer::ListReassignments(Ok(self.list_reassignments(partitions.as_deref())))
            }
            Request::Unregister { broker } => Answer::Unregister(self.unregister(work, broker)),
        }
    }
}

//! Asking the controller.
//!
//! Every method returns when what it says is durable and in force here. While nobody decides, everything is answered with
//! `NotController`, at once; what people ask for waits (`people.rs`). Dropping a call half-way does not take back what was
//! asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_core::config::{BrokerConfig, broker};
use ottla_core::controller::error::{CreateTopicError, NotController, RegisterError};
use ottla_core::controller::{Answer, NewTopic, ProducerIdBlock, Registered, Registration, Request};
use ottla_core::metadata::{ExplicitConfig, Topic};
use ottla_core::types::{BrokerId, Incarnation, ProducerId, TopicId};
use ottla_wire::ErrorCode;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use uuid::Uuid;

use super::codes::create_topic_code;
use super::ledger::Gone;
use super::producer_ids::ProducerIds;
use super::shell::{Ask, Input, Stage};
use crate::advertised::Endpoints;

const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A way to ask the controller, be it here or on another broker. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shell: mpsc::Sender<Input>,
    /// To another broker's controller, while this process does not decide.
    link: Option<mpsc::Sender<Ask>>,
    stage: watch::Receiver<Stage>,
    config: Arc<BrokerConfig>,
    producer_ids: Arc<Mutex<ProducerIds>>,
}

/// Asks and unwraps the one kind of answer that the request has.
macro_rules! ask {
    ($handle:expr, $kind:ident, $request:expr, $refused:expr) => {
        match $handle.ask($request).await {
            Some(Answer::$kind(answer)) => answer,
            Some(_) | None => $refused,
        }
    };
}

/// One refusal for each item.
fn each<T, E: From<NotController>>(count: usize) -> Vec<Result<T, E>> {
    (0..count).map(|_| Err(E::from(NotController))).collect()
}

impl Handle {
    pub(super) fn new(
        shell: mpsc::Sender<Input>,
        link: Option<mpsc::Sender<Ask>>,
        stage: watch::Receiver<Stage>,
        config: BrokerConfig,
    ) -> Self {
        Self { shell, link, stage, config: Arc::new(config), producer_ids: Arc::default() }
    }

    /// Asks whoever decides; `None` if that is nobody, or the answer was lost.
    pub(super) async fn ask(&self, request: Request) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask { request, reply };
        let here = self.stage.borrow().is_leading();
        match &self.link {
            Some(link) if !here => link.send(ask).await.ok()?,
            Some(_) | None => self.shell.send(Input::Ask(Box::new(ask))).await.ok()?,
        }
        answer.await.ok()
    }

    /// Another file of this broker counts from now on. Returns before it does.
    pub async fn configure(&self, file: BrokerConfig) {
        let _stopped = self.shell.send(Input::Configure(Box::new(file))).await;
    }

    /// Whether another broker may decide.
    pub(super) fn is_linked(&self) -> bool {
        self.link.is_some()
    }

    /// Whether this process decides.
    pub fn is_controller(&self) -> bool {
        self.stage.borrow().is_leading()
    }

    /// A block of producer ids that nobody else is given.
    ///
    /// # Errors
    /// [`NotController`]; asking again may help.
    pub async fn allocate_producer_ids(&self) -> Result<ProducerIdBlock, NotController> {
        ask!(self, AllocateProducerIds, Request::AllocateProducerIds, Err(NotController))
    }

    /// A producer id that nobody else is given, out of a block that this broker was.
    ///
    /// # Errors
    /// As [`Self::allocate_producer_ids`].
    pub async fn next_producer_id(&self) -> Result<ProducerId, NotController> {
        let mut ids = self.producer_ids.lock().await;
        if let Some(id) = ids.take() {
            return Ok(id);
        }
        // Held across the await so that one block is asked for, not one for each who waits.
        let block = self.allocate_producer_ids().await?;
        Ok(ids.refill(block))
    }

    /// Creates topics that a client asked for by name, with the broker's defaults; internal ones as they must be.
    /// Returns those that do not exist now, with the error for the client.
    pub async fn create_on_demand(&self, names: Vec<String>) -> Vec<(String, ErrorCode)> {
        // Who names a topic twice means it once.
        let names: BTreeSet<String> = names.into_iter().collect();
        let topics = names.iter().map(|name| self.on_demand(name)).collect();
        let request = Request::CreateTopics { topics, validate_only: false };
        let results = ask!(self, CreateTopics, request, each(names.len()));
        let failed = |(name, result): (String, Result<Arc<Topic>, CreateTopicError>)| match result {
            Ok(_) | Err(CreateTopicError::Exists(_)) => None,
            // Whoever asks again in a moment may find it.
            Err(CreateTopicError::NotController(_)) => Some((name, ErrorCode::LEADER_NOT_AVAILABLE)),
            Err(error) => Some((name, create_topic_code(&error))),
        };
        names.into_iter().zip(results).filter_map(failed).collect()
    }

    fn on_demand(&self, name: &str) -> NewTopic {
        let mut topic = NewTopic::named(name, fresh_topic_id());
        if name == OFFSETS_TOPIC {
            topic.partitions = Some(self.config.int(&broker::OFFSETS_TOPIC_NUM_PARTITIONS));
            topic.config = [
                ("segment.bytes".to_owned(), self.config.int(&broker::OFFSETS_TOPIC_SEGMENT_BYTES).to_string()),
                ("cleanup.policy".to_owned(), "compact".to_owned()),
                ("compression.type".to_owned(), "producer".to_owned()),
            ]
            .into();
        }
        topic
    }

    pub(super) async fn register(&self, registration: Registration) -> Result<Registered, RegisterError> {
        ask!(self, Register, Request::Register(registration), Err(NotController.into()))
    }

    /// This broker has deleted what it held of these; false if nobody heard it.
    pub(super) async fn replicas_deleted(&self, broker: BrokerId, gone: &Gone) -> bool {
        let topics = gone.topics.iter().copied().collect();
        let partitions = gone.partitions.iter().copied().collect();
        let request = Request::ReplicasDeleted { broker, topics, partitions };
        let answer = ask!(self, ReplicasDeleted, request, Err(NotController));
        answer.is_ok()
    }

    /// Whether this broker may stop without anybody noticing; its leaderships move meanwhile. `None` if nobody says.
    pub async fn may_stop(&self, broker: BrokerId, incarnation: Incarnation) -> Option<bool> {
        let request = Request::PrepareStop { broker, incarnation };
        let state = ask!(self, PrepareStop, request, Err(NotController.into())).ok()?;
        // What would fall short without it falls short in any case once it is told to stop; others can lead by now.
        Some(state.leads == 0)
    }

    /// With `endpoints`, this broker says as well where it is reached now.
    pub(super) async fn admit(
        &self,
        broker: BrokerId,
        incarnation: Incarnation,
        endpoints: Option<Endpoints>,
    ) -> Result<(), RegisterError> {
        ask!(self, Admit, Request::Admit { broker, incarnation, endpoints }, Err(NotController.into()))
    }
}

/// Topics' explicit configs, as a request lists them.
pub fn explicit(pairs: impl IntoIterator<Item = (String, String)>) -> ExplicitConfig {
    pairs.into_iter().collect()
}

/// An id that no topic ever had. Not one whose text begins with a dash: tools would take it for an option.
pub fn fresh_topic_id() -> TopicId {
    loop {
        let id = TopicId::from_bytes(Uuid::new_v4().into_bytes());
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

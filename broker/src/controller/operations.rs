//! What whoever runs the cluster asks of this broker over gRPC: how whole it is, and who may stop.
//!
//! Owns who answers: only the controller says that a broker may stop, from what is committed. It changes nothing; a
//! broker that stops asks again by itself, and leaves the in-sync sets before it goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_core::config::ReplicaConfig;
use ottla_core::metadata::Topic;
use ottla_core::metadata::health::{Health, Without};
use ottla_core::types::BrokerId;
use ottla_rpc::operations::{self, DescribeRequest, Description, MayStopAnswer, MayStopRequest};
use ottla_rpc::trust::Credentials;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::shell::Stage;
use crate::metadata::MetadataCell;

/// The most brokers that one question names.
const BROKERS_MAX: usize = 1000;

/// Who answers.
pub struct Operations {
    me: BrokerId,
    metadata: Arc<MetadataCell>,
    stage: watch::Receiver<Stage>,
    credentials: Credentials,
}

impl Operations {
    pub(super) fn new(
        me: BrokerId,
        metadata: Arc<MetadataCell>,
        stage: watch::Receiver<Stage>,
        credentials: Credentials,
    ) -> Self {
        Self { me, metadata, stage, credentials }
    }

    fn decides(&self) -> bool {
        self.stage.borrow().is_leading()
    }

    /// What `min.insync.replicas` comes to for a topic.
    fn minimum(&self) -> impl Fn(&Topic) -> i32 + use<> {
        let config = self.metadata.config();
        move |topic| ReplicaConfig::resolve(&topic.config, &config).min_insync_replicas
    }
}

#[tonic::async_trait]
impl operations::Operations for Operations {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<Description>, Status> {
        let image = self.metadata.image();
        let health = Health::of(&image, self.minimum());
        let version = env!("CARGO_PKG_VERSION");
        let mut description = operations::describe(&image, &health, self.me, version, self.decides());
        description.certificates = self.credentials.newest().map(|material| operations::certificates(&material));
        Ok(Response::new(description))
    }

    async fn may_stop(&self, request: Request<MayStopRequest>) -> Result<Response<MayStopAnswer>, Status> {
        let brokers = request.into_inner().brokers;
        if brokers.len() > BROKERS_MAX {
            return Err(Status::invalid_argument(format!("{} brokers; ask for {BROKERS_MAX} at most", brokers.len())));
        }
        let image = self.metadata.image();
        if !self.decides() {
            let holder = image.controller().filter(|id| *id != self.me);
            let holder = holder.map_or("nobody decides, as far as it knows".to_owned(), |id| format!("broker {id} is"));
            return Err(Status::failed_precondition(format!("broker {} is not the controller; {holder}", self.me)));
        }
        let stopping: BTreeSet<BrokerId> = brokers.into_iter().map(BrokerId::new).collect();
        Ok(Response::new(operations::answer(&Without::of(&image, &stopping, self.minimum()))))
    }
}

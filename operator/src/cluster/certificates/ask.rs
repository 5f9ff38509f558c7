//! Asking brokers what they have loaded.
//!
//! Owns the operator's own side of these connections. Must never speak plaintext to a cluster that has certificates.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use ottla_core::types::{BrokerId, ClusterId};
use ottla_rpc::operations::{Client, DescribeRequest};
use ottla_rpc::trust::{Credentials, Material, Name, connect};
use tokio::sync::watch;

use super::super::names;
use super::plan::Process;
use super::state::{Holder, Reported, State};

/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(2);
/// How long all of one turn may.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many are asked at the same time.
const TOGETHER: usize = 16;

/// What the operator shows to that cluster's brokers. Nothing while none of them was made with certificates; `None` where it
/// has none to show to those that were.
pub fn credentials(
    state: &State,
    id: ClusterId,
    processes: &BTreeMap<i32, Process>,
    now: Timestamp,
) -> Option<Credentials> {
    match state.held.get(&Holder::Operator) {
        Some(held) => {
            let material = Material::read(&held.files, Name::Operator, id, now.as_second()).ok()?;
            Some(Credentials::new(watch::channel(Some(Arc::new(material))).1))
        }
        None => processes.values().all(|process| *process == Process::Older).then(Credentials::plaintext),
    }
}

/// What those brokers say; who does not answer is not in it.
pub async fn ask(credentials: &Credentials, brokers: &[(i32, IpAddr)]) -> BTreeMap<i32, Reported> {
    let question = async |(id, address): (i32, IpAddr)| {
        let to = (address.to_string(), names::GRPC_PORT);
        let asked = async {
            let name = Name::Broker(BrokerId::new(id));
            let channel = connect(credentials, name, (&to.0, to.1), |endpoint| endpoint).await;
            let channel = channel.map_err(|error| error.to_string())?;
            let said = Client::new(channel).describe(DescribeRequest {}).await;
            said.map(|said| Reported::of(said.into_inner().certificates)).map_err(|status| status.message().to_owned())
        };
        match tokio::time::timeout(QUESTION, asked).await {
            Ok(Ok(said)) => Some((id, said)),
            Ok(Err(error)) => {
                tracing::debug!(broker = id, error, "ask what certificates it has");
                None
            }
            Err(_) => None,
        }
    };
    let mut reported = BTreeMap::new();
    let mut answers = std::pin::pin!(stream::iter(brokers.iter().copied()).map(question).buffer_unordered(TOGETHER));
    let gather = async {
        while let Some(answer) = answers.next().await {
            reported.extend(answer);
        }
    };
    // What was answered until then counts.
    let _late = tokio::time::timeout(DEADLINE, gather).await;
    reported
}

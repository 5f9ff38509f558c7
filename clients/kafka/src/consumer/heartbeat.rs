//! Telling the coordinator that a member is alive, and hearing from it that the group is changing.
//!
//! Owns a task for as long as one generation lasts; it ends when this is dropped.

use ottla_wire::messages::HeartbeatRequest;
use ottla_wire::{ApiKey, ErrorCode};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::client::{Client, Purpose};
use crate::config::GroupConfig;
use crate::error::{Result, check};

/// What the coordinator last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// All is well.
    Steady,
    /// Somebody joins or leaves: join again.
    Rebalance,
    /// This member is not in the group any more.
    Lost(ErrorCode),
}

#[derive(Debug)]
pub(super) struct Heartbeat {
    pub(super) signal: watch::Receiver<Signal>,
    task: AbortHandle,
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Heartbeat {
    pub(super) fn start(client: Client, config: GroupConfig, generation: i32, member: String) -> Self {
        let (sender, signal) = watch::channel(Signal::Steady);
        let beat = async move {
            loop {
                sleep(config.heartbeat_interval).await;
                let said = match beat(&client, &config, generation, &member).await {
                    Ok(()) => Signal::Steady,
                    Err(error) => match error.code() {
                        Some(ErrorCode::REBALANCE_IN_PROGRESS) => Signal::Rebalance,
                        Some(
                            code @ (ErrorCode::UNKNOWN_MEMBER_ID
                            | ErrorCode::ILLEGAL_GENERATION
                            | ErrorCode::FENCED_INSTANCE_ID),
                        ) => Signal::Lost(code),
                        _ => {
                            // A coordinator that cannot be reached or has moved says nothing about the group.
                            tracing::debug!(group = config.group, %error, "heartbeat failed");
                            client.forget_coordinator(&config.group);
                            continue;
                        }
                    },
                };
                if said != Signal::Steady {
                    tracing::debug!(group = config.group, ?said, "the coordinator answered a heartbeat");
                }
                sender.send_if_modified(|last| std::mem::replace(last, said) != said);
                if matches!(said, Signal::Lost(_)) {
                    return;
                }
            }
        };
        Self { signal, task: tokio::spawn(beat).abort_handle() }
    }
}

async fn beat(client: &Client, config: &GroupConfig, generation: i32, member: &str) -> Result<()> {
    let request = HeartbeatRequest {
        group_id: config.group.clone(),
        generation_id: generation,
        member_id: member.to_owned(),
        group_instance_id: config.instance.clone(),
    };
    let deadline = Instant::now() + config.session_timeout;
    let response = client.ask_coordinator(&config.group, Purpose::Heartbeat, &request, deadline).await?;
    check(ApiKey::Heartbeat, || format!("group {}", config.group), response.error_code, None)
}

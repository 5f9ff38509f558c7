//! Where metadata is changed. The shell around `ottla_core::controller` lands next.

use std::sync::Arc;

use ottla_core::metadata::Endpoint;
use ottla_wire::ErrorCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::data::Data;
use crate::metadata::MetadataCell;
use crate::partitions::Partitions;

/// Asks the controller.
#[derive(Clone, Debug)]
pub struct Handle;

impl Handle {
    /// Creates topics by name with the broker's defaults; returns those that could not be.
    pub async fn create_on_demand(&self, names: Vec<String>) -> Vec<(String, ErrorCode)> {
        names.into_iter().map(|name| (name, ErrorCode::NOT_CONTROLLER)).collect()
    }
}

/// The controller could not begin.
#[derive(Debug, thiserror::Error)]
#[error("the controller could not begin")]
pub struct StartError;

/// Starts the controller of this process.
///
/// # Errors
/// [`StartError`]
pub async fn start(
    _config: &Config,
    _endpoints: Vec<(String, Endpoint)>,
    _data: &Arc<Data>,
    _partitions: &Arc<Partitions>,
    _metadata: &Arc<MetadataCell>,
    _shutdown: &CancellationToken,
    _tasks: &TaskTracker,
) -> Result<Handle, StartError> {
    Ok(Handle)
}

//! The group coordinator. The shell around `ottla_core::group` lands next.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::controller;
use crate::data::Data;
use crate::metadata::MetadataCell;
use crate::partitions::Partitions;

/// Asks the coordinator.
#[derive(Clone, Debug)]
pub struct Handle;

/// The coordinator could not begin.
#[derive(Debug, thiserror::Error)]
#[error("the group coordinator could not begin")]
pub struct StartError;

/// Starts the coordinator of this process.
///
/// # Errors
/// [`StartError`]
pub async fn start(
    _config: &Config,
    _data: &Arc<Data>,
    _partitions: &Arc<Partitions>,
    _metadata: &Arc<MetadataCell>,
    _controller: &controller::Handle,
    _shutdown: &CancellationToken,
    _tasks: &TaskTracker,
) -> Result<Handle, StartError> {
    Ok(Handle)
}

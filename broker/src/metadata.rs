//! The broker's view of the cluster: the newest image and what it means for this broker's configuration.
//!
//! Owns the cell that every handler reads. An image enters it only after everything that it promises is served here.
//! Must never hold a lock while somebody reads.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_core::config::BrokerConfig;
use ottla_core::metadata::Image;
use ottla_core::types::{BrokerId, ClusterId};
use tokio::sync::watch;

/// The newest image.
#[derive(Debug)]
pub struct MetadataCell {
    image: ArcSwap<Image>,
    config: ArcSwap<BrokerConfig>,
    file: ArcSwap<BrokerConfig>,
    me: BrokerId,
    versions: watch::Sender<u64>,
}

impl MetadataCell {
    /// An empty image of `cluster`, under the configuration of the broker's file.
    pub fn new(cluster: ClusterId, me: BrokerId, file: BrokerConfig) -> Self {
        Self {
            image: ArcSwap::from_pointee(Image::empty(cluster)),
            config: ArcSwap::from_pointee(file.clone()),
            file: ArcSwap::from_pointee(file),
            me,
            versions: watch::Sender::new(0),
        }
    }

    /// The image in force.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// The broker's configuration with what was changed at run time.
    pub fn config(&self) -> Arc<BrokerConfig> {
        self.config.load_full()
    }

    /// Another file of this broker counts for whatever comes into force next.
    pub fn replace_file(&self, file: BrokerConfig) {
        self.file.store(Arc::new(file));
    }

    /// What the broker's configuration comes to under `image`.
    pub fn config_under(&self, image: &Image) -> BrokerConfig {
        self.file.load().at_run_time(image, self.me)
    }

    /// Puts `image` in force.
    pub fn publish(&self, image: Arc<Image>) {
        self.config.store(Arc::new(self.config_under(&image)));
        self.image.store(image);
        self.versions.send_modify(|version| *version += 1);
    }

    /// Tells of every image, and of every file, that comes into force from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.versions.subscribe()
    }
}

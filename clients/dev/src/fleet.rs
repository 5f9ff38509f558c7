//! The brokers of one process.
//!
//! Owns how many there are, what each is configured with, and starting and stopping them together. One broker keeps the
//! cluster's metadata in its own folder; several share a folder beside theirs, and speak gRPC over loopback as they would
//! between machines.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use futures::future::{join_all, try_join_all};
use ottla_broker::config::Config;
use ottla_broker::data::open_shared;
use ottla_broker::node::{Node, Running, StartError};
use ottla_coordination::Coordination;
use ottla_coordination::birth::cluster_of;
use ottla_core::metadata::ExplicitConfig;
use ottla_core::types::ClusterId;

use crate::args::DevArgs;
use crate::compose::Composition;

/// Where several brokers keep the metadata of their cluster.
const SHARED: &str = "metadata";

/// What the brokers are to be started with.
pub(crate) struct Plan {
    pub(crate) data_dir: PathBuf,
    pub(crate) configs: Vec<Config>,
    shared: Option<Arc<dyn Coordination>>,
}

/// Brokers that run.
pub(crate) struct Fleet(pub(crate) Vec<Running>);

impl Plan {
    pub(crate) fn new(args: &DevArgs, composition: &Composition) -> anyhow::Result<Self> {
        let data_dir = &args.data_dir;
        std::fs::create_dir_all(data_dir).with_context(|| format!("make the data directory {}", data_dir.display()))?;
        let data_dir = data_dir.canonicalize().with_context(|| format!("find {}", data_dir.display()))?;
        let (brokers, there) = (composition.brokers, folders(&data_dir));
        if there > brokers {
            bail!(
                "{} holds {there} brokers and {brokers} are declared: declare as many, or use another --data-dir",
                data_dir.display()
            );
        }
        let mut configs = Vec::new();
        if brokers == 1 {
            configs.push(configure(args, &data_dir, composition.config.clone(), 0)?);
            return Ok(Self { data_dir, configs, shared: None });
        }
        // A broker that was alone has the metadata in its folder, and goes on there.
        let alone = data_dir.join("broker-0").join(SHARED);
        let folder = if alone.is_dir() { alone } else { data_dir.join(SHARED) };
        let shared = open_shared(&folder).with_context(|| format!("open the metadata in {}", folder.display()))?;
        let known = cluster_of(&*shared)?;
        let cluster = known.unwrap_or_else(|| ClusterId::from_bytes(uuid::Uuid::new_v4().into_bytes()));
        for index in 0..brokers {
            let mut values = composition.config.clone();
            values.insert("cluster.id".to_owned(), cluster.to_string());
            values.insert("ottla.grpc.listener".to_owned(), "127.0.0.1:0".to_owned());
            configs.push(configure(args, &data_dir, values, index)?);
        }
        Ok(Self { data_dir, configs, shared: Some(shared) })
    }

    /// Starts all of them: none serves before enough of them are there.
    pub(crate) async fn start(self) -> Result<Fleet, StartError> {
        let shared = self.shared;
        let starts = self.configs.into_iter().map(|config| Running::start_beside(config, shared.clone()));
        Ok(Fleet(try_join_all(starts).await?))
    }
}

impl Fleet {
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.0.iter().map(|running| Arc::clone(&running.node)).collect()
    }

    /// Stops all at once: nobody is left to hand anything over to.
    pub(crate) async fn stop(self) {
        join_all(self.0.into_iter().map(Running::stop_alone)).await;
    }
}

/// How many brokers have a folder in the data directory.
fn folders(data_dir: &Path) -> usize {
    (0..).take_while(|index| data_dir.join(format!("broker-{index}")).is_dir()).count()
}

fn configure(args: &DevArgs, data_dir: &Path, mut values: ExplicitConfig, index: usize) -> anyhow::Result<Config> {
    let log_dir = data_dir.join(format!("broker-{index}"));
    let Some(log_dir) = log_dir.to_str().filter(|path| !path.contains(',')) else {
        bail!("--data-dir {}: a path with a comma, or one that is not UTF-8, cannot be used", data_dir.display());
    };
    let host = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let (bind, advertised) = (host(&args.bind.to_string()), host(&args.advertised_host()));
    let own = [
        ("node.id", index.to_string()),
        ("log.dirs", log_dir.to_owned()),
        ("listeners", format!("PLAINTEXT://{bind}:{}", port(args.kafka_port, index, "--kafka-port")?)),
        ("advertised.listeners", format!("PLAINTEXT://{advertised}:0")),
        ("ottla.http.listener", format!("{bind}:{}", port(args.http_port, index, "--http-port")?)),
    ];
    values.extend(own.map(|(key, value)| (key.to_owned(), value)));
    Ok(Config::new(values)?.0)
}

/// Brokers have consecutive ports, unless any will do.
fn port(first: u16, index: usize, flag: &str) -> anyhow::Result<u16> {
    if first == 0 {
        return Ok(0);
    }
    let port = u16::try_from(index).ok().and_then(|index| first.checked_add(index));
    port.with_context(|| format!("{flag} {first} leaves no port for broker {index}"))
}

//! `ottla cluster describe`: id, brokers, controller, data directories.

use std::collections::BTreeMap;

use ottla_client::{ClusterDescription, DirectoryDescription};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Result, done, split};
use crate::output::{Columns, Show, or_dash};
use crate::text::bytes;

/// Shows the cluster
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ottla cluster describe
  ottla cluster describe -o json | jq -r .id")]
pub(crate) struct Args {}

pub(crate) async fn run(cx: &Context, _args: &Args) -> Result<()> {
    let cluster = cx.client.describe_cluster().await?;
    let (directories, failure) = split(cx.client.describe_log_dirs(None).await?);
    cx.print(&Cluster::new(cluster, &directories))?;
    done(failure)
}

#[derive(Debug, Serialize)]
struct Cluster {
    id: String,
    controller: Option<i32>,
    brokers: Vec<Broker>,
}

#[derive(Debug, Serialize)]
struct Broker {
    id: i32,
    address: String,
    rack: Option<String>,
    controller: bool,
    fenced: bool,
    partitions: usize,
    bytes: i64,
    directories: Vec<Directory>,
}

#[derive(Debug, Serialize)]
struct Directory {
    path: String,
    partitions: usize,
    bytes: i64,
    total_bytes: Option<i64>,
    usable_bytes: Option<i64>,
}

impl Cluster {
    fn new(cluster: ClusterDescription, directories: &[DirectoryDescription]) -> Self {
        let mut of_broker: BTreeMap<_, Vec<Directory>> = BTreeMap::new();
        for directory in directories {
            of_broker.entry(directory.broker).or_default().push(Directory {
                path: directory.path.clone(),
                partitions: directory.replicas.len(),
                bytes: directory.replicas.iter().map(|replica| replica.bytes).sum(),
                total_bytes: directory.total_bytes,
                usable_bytes: directory.usable_bytes,
            });
        }
        let brokers = cluster.brokers.into_iter().map(|broker| {
            let directories = of_broker.remove(&broker.id).unwrap_or_default();
            Broker {
                id: broker.id.get(),
                address: broker.address,
                rack: broker.rack,
                controller: cluster.controller == Some(broker.id),
                fenced: broker.fenced,
                partitions: directories.iter().map(|directory| directory.partitions).sum(),
                bytes: directories.iter().map(|directory| directory.bytes).sum(),
                directories,
            }
        });
        Self { id: cluster.id, controller: cluster.controller.map(|id| id.get()), brokers: brokers.collect() }
    }
}

impl Show for Cluster {
    fn table(&self) -> String {
        let mut columns = Columns::new(&["BROKER#", "ADDRESS", "RACK", "ROLE", "PARTITIONS#", "SIZE#", "FREE#"]);
        for broker in &self.brokers {
            let role = match (broker.controller, broker.fenced) {
                (_, true) => "fenced",
                (true, false) => "controller",
                (false, false) => "-",
            };
            let free: Option<i64> = broker.directories.iter().map(|directory| directory.usable_bytes).sum();
            columns.row([
                broker.id.to_string(),
                broker.address.clone(),
                or_dash(broker.rack.as_ref()),
                role.to_owned(),
                broker.partitions.to_string(),
                bytes(broker.bytes),
                or_dash(free.filter(|_| !broker.directories.is_empty()).map(bytes)),
            ]);
        }
        format!("Cluster {}\n\n{}", self.id, columns.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, render};

    #[test]
    fn a_cluster_is_shown() {
        let directory = |path: &str, bytes| Directory {
            path: path.to_owned(),
            partitions: 3,
            bytes,
            total_bytes: Some(1 << 40),
            usable_bytes: Some(1 << 39),
        };
        let broker = |id, fenced| Broker {
            id,
            address: format!("kafka-{id}:9092"),
            rack: (id == 0).then(|| "a".to_owned()),
            controller: id == 0,
            fenced,
            partitions: 3,
            bytes: 5 << 20,
            directories: if fenced { Vec::new() } else { vec![directory("/data", 5 << 20)] },
        };
        let cluster = Cluster {
            id: "MkU3OEVBNTcwNTJENDM2Qg".to_owned(),
            controller: Some(0),
            brokers: vec![broker(0, false), broker(1, true)],
        };
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("cluster_describe_{format:?}"), render(format, &cluster).unwrap());
        }
    }
}

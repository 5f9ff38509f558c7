//! `ottla cluster init`: creating the metadata of a cluster that will run on Kubernetes.
//!
//! Owns the arguments, and what a person is told. What is created, and what is never created again, the broker knows.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use ottla_broker::controller::{Initialized, initialize};
use ottla_coordination::Access;
use ottla_core::types::ClusterId;

/// Create the metadata of a new cluster in Kubernetes, once
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A cluster that exists already stays as it is: the command may be repeated. The definitions in crds/yaml must be
installed. Brokers find the metadata by ottla.kubernetes.cluster, and never create it themselves.

Examples:
  ottla cluster init production
  ottla cluster init test -n streaming --kubeconfig ~/.kube/other")]
pub struct InitArgs {
    /// Name of the cluster.
    pub name: String,

    /// Namespace of the cluster. Absent: the one of the kubeconfig's context.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// How to reach the API server. Absent: as KUBECONFIG or ~/.kube/config say.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Id of the cluster, 22 characters of URL-safe base64. Absent: a random one.
    #[arg(long, value_name = "ID")]
    pub cluster_id: Option<String>,
}

/// What [`init`] has done.
#[derive(Clone, Debug)]
pub struct Init {
    /// The cluster's id.
    pub id: String,
    /// Whether it is new.
    pub created: bool,
}

/// Creates the cluster unless it is there.
///
/// # Errors
/// When the API server cannot be asked or refuses, or the cluster that is there is another one: sentences for a person.
pub async fn init(args: &InitArgs) -> anyhow::Result<Init> {
    let wanted = match &args.cluster_id {
        None => None,
        Some(text) => Some(ClusterId::parse_kafka(text).ok_or_else(|| {
            anyhow!(
                "--cluster-id {text}: an id is 22 characters of URL-safe base64, for example MkU3OEVBNTcwNTJENDM2Qg"
            )
        })?),
    };
    let access =
        Access { cluster: args.name.clone(), namespace: args.namespace.clone(), kubeconfig: args.kubeconfig.clone() };
    let done = initialize(&access, wanted).await.with_context(|| format!("create cluster {}", args.name))?;
    Ok(match done {
        Initialized::Created(id) => Init { id: id.to_string(), created: true },
        Initialized::Existed(id) => Init { id: id.to_string(), created: false },
    })
}

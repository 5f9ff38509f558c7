//! `ottla cluster recover-metadata`: a cluster's metadata made again from its brokers' data directories.
//!
//! Owns the arguments, which consent each doubt needs, and the plan as scripts read it. What is found, planned and written
//! the broker's code knows.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use ottla_broker::controller::recover::{Home, RecoverError, look};
use ottla_broker::data::METADATA;
use ottla_coordination::Access;
use ottla_core::controller::Seen;
use ottla_core::controller::recover::{AtRisk, Holder, InStore, Origin, Plan};
use ottla_core::types::BrokerId;
use serde::Serialize;

/// Rebuild a cluster's metadata from its brokers' data directories
///
/// For a cluster whose MetadataShard objects were deleted or restored to an older state: its brokers stop with
/// MetadataRolledBack. Every broker keeps a copy of each document that it has acted on; the newest ones are written back,
/// above every epoch, run and producer id that was ever seen. Nothing is changed without --yes, and nothing is ever
/// written into a data directory.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Stop every broker of the cluster first, and keep them from starting. Give the data directory of each of them: with all of
them, no acknowledged record is lost. The plan says which document comes from where, and what is in doubt if a directory
is missing.

Exit code 0 means planned, or done with --yes; 6 that it is refused, and why.

Examples:
  ottla cluster recover-metadata production -n streaming --data-dir /mnt/broker-0 --data-dir /mnt/broker-1
  ottla cluster recover-metadata production -n streaming --data-dir /mnt/broker-0 --data-dir /mnt/broker-1 --yes
  ottla cluster recover-metadata --data-dir .ottla/data/broker-0")]
pub struct RecoverArgs {
    /// Name of the cluster in Kubernetes. Absent: the metadata lies in a folder, as without Kubernetes.
    pub name: Option<String>,

    /// The data directory of a broker that does not run; once for each broker.
    #[arg(long = "data-dir", value_name = "DIR", required = true)]
    pub data_dirs: Vec<PathBuf>,

    /// Namespace of the cluster. Absent: the one of the kubeconfig's context.
    #[arg(short = 'n', long, value_name = "NAMESPACE", requires = "name")]
    pub namespace: Option<String>,

    /// How to reach the API server. Absent: as KUBECONFIG or ~/.kube/config say.
    #[arg(long, value_name = "FILE", requires = "name")]
    pub kubeconfig: Option<PathBuf>,

    /// The folder that holds the metadata of a cluster without Kubernetes. Absent: `metadata` in the only data directory.
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    pub metadata_dir: Option<PathBuf>,

    /// Carry the plan out.
    #[arg(long)]
    pub yes: bool,

    /// Go on although a directory is missing, restored or damaged: what only it knows is lost.
    #[arg(long)]
    pub incomplete: bool,

    /// Give up documents in the store that are newer than every copy, of another lineage, or unreadable.
    #[arg(long)]
    pub discard_newer: bool,

    /// A broker whose disk is gone for good, and is waited for by nobody; may be repeated.
    #[arg(long, value_name = "BROKER")]
    pub lost: Vec<i32>,
}

/// What [`recover`] has found, and whether it has done anything.
#[derive(Clone, Debug, Serialize)]
pub struct Recovered {
    /// The cluster's id.
    pub cluster: String,
    /// Where its metadata lies.
    pub home: String,
    /// The highest controller epoch that was seen.
    pub epoch_seen: i64,
    /// The epoch that every document gets.
    pub epoch: i64,
    /// The first producer id that will be given out.
    pub next_producer_id: i64,
    /// How many topics were found.
    pub topics: usize,
    /// How many partitions they have.
    pub partitions: usize,
    /// The registered brokers.
    pub brokers: Vec<i32>,
    /// Those of them that were said to be lost.
    pub lost: Vec<i32>,
    /// Whether enough brokers are left that one of them may become the controller.
    pub can_start: bool,
    /// The directories, as they were given.
    pub directories: Vec<RecoveredDirectory>,
    /// The documents, the root first.
    pub documents: Vec<RecoveredDocument>,
    /// Why the newest copies may not be the newest that there are.
    pub doubts: Vec<String>,
    /// Partitions whose leader may then lack acknowledged records.
    pub at_risk: Vec<RecoveredPartition>,
    /// Options without which the plan is not carried out.
    pub needs: Vec<&'static str>,
    /// Whether the documents are written.
    pub applied: bool,
}

/// A data directory.
#[derive(Clone, Debug, Serialize)]
pub struct RecoveredDirectory {
    /// As it was given.
    pub path: String,
    /// Whose it is; null if no broker is registered on it.
    pub broker: Option<i32>,
    /// The last run that it records.
    pub run: i64,
}

/// A document.
#[derive(Clone, Debug, Serialize)]
pub struct RecoveredDocument {
    /// `root`, or `topics-` and a number.
    pub document: String,
    /// The directory that holds its newest copy.
    pub from: String,
    /// The state of that copy.
    #[serde(flatten)]
    pub state: RecoveredState,
    /// The version that it gets.
    pub next_version: u64,
    /// `missing`, `same`, `older`, `recovered`, `newer`, `elsewhere` or `unreadable`.
    pub in_store: &'static str,
    /// The state of what the store holds, if it is another one.
    pub store_state: Option<RecoveredState>,
    /// Each directory's copy, in the order of the directories; null where there is none.
    pub copies: Vec<Option<RecoveredState>>,
}

/// One state of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecoveredState {
    /// The controller's term.
    pub epoch: i64,
    /// How often it had been written.
    pub version: u64,
    /// Which process wrote it.
    pub session: String,
}

/// A partition that may have lost something.
#[derive(Clone, Debug, Serialize)]
pub struct RecoveredPartition {
    /// Its topic.
    pub topic: String,
    /// Its index.
    pub partition: i32,
    /// Replicas that may have led last.
    pub unknown: Vec<i32>,
    /// Those that may be elected, and may lack what was acknowledged last.
    pub may_lead: Vec<i32>,
}

/// Plans, and carries the plan out if it is wanted and nothing speaks against it.
///
/// # Errors
/// What keeps a plan from being made or carried out: sentences for a person.
pub async fn recover(args: &RecoverArgs) -> anyhow::Result<Recovered> {
    let home = home(args)?;
    let lost = args.lost.iter().copied().map(BrokerId::new).collect();
    let recovery = look(&home, args.data_dirs.clone(), lost).await?;
    let mut told = tell(recovery.plan(), &home);
    told.needs = needs(recovery.plan(), args);
    if args.yes && told.needs.is_empty() {
        recovery.apply().await?;
        told.applied = true;
    }
    Ok(told)
}

/// Whether an error of [`recover`] says no, so that trying again is of no use.
pub fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<RecoverError>().is_some_and(RecoverError::is_refusal)
}

fn home(args: &RecoverArgs) -> anyhow::Result<Home> {
    if let Some(cluster) = &args.name {
        let (namespace, kubeconfig) = (args.namespace.clone(), args.kubeconfig.clone());
        return Ok(Home::Kubernetes(Access { cluster: cluster.clone(), namespace, kubeconfig }));
    }
    match (&args.metadata_dir, args.data_dirs.as_slice()) {
        (Some(folder), _) => Ok(Home::Folder(folder.clone())),
        (None, [only]) => Ok(Home::Folder(only.join(METADATA))),
        (None, _) => bail!(
            "give the name of the cluster in Kubernetes, or --metadata-dir: the folder in which the brokers of `ottla dev` \
             keep their metadata stands beside their own"
        ),
    }
}

/// What has to be said yes to, and was not.
fn needs(plan: &Plan, args: &RecoverArgs) -> Vec<&'static str> {
    let incomplete = (!plan.is_complete() && !args.incomplete).then_some("--incomplete");
    let newer = (plan.given_up().next().is_some() && !args.discard_newer).then_some("--discard-newer");
    incomplete.into_iter().chain(newer).collect()
}

fn tell(plan: &Plan, home: &Home) -> Recovered {
    Recovered {
        cluster: plan.cluster.to_string(),
        home: match home {
            Home::Kubernetes(access) => format!("cluster {} in Kubernetes", access.cluster),
            Home::Folder(folder) => folder.display().to_string(),
        },
        epoch_seen: plan.epoch_seen.get(),
        epoch: plan.epoch.get(),
        next_producer_id: plan.next_producer_id().get(),
        topics: plan.topics,
        partitions: plan.partitions,
        brokers: ids(&plan.members),
        lost: ids(&plan.lost),
        can_start: plan.can_start(),
        directories: plan.holders.iter().map(directory).collect(),
        documents: plan.origins.iter().map(document).collect(),
        doubts: plan.doubts.iter().map(ToString::to_string).collect(),
        at_risk: plan.at_risk.iter().map(partition).collect(),
        needs: Vec::new(),
        applied: false,
    }
}

fn ids<'a>(brokers: impl IntoIterator<Item = &'a BrokerId>) -> Vec<i32> {
    brokers.into_iter().map(|id| id.get()).collect()
}

fn directory(holder: &Holder) -> RecoveredDirectory {
    let (broker, run) = (holder.broker.map(BrokerId::get), holder.standing.incarnation.get());
    RecoveredDirectory { path: holder.name.clone(), broker, run }
}

fn document(origin: &Origin) -> RecoveredDocument {
    let (in_store, store_state) = match &origin.in_store {
        InStore::Missing => ("missing", None),
        InStore::Same => ("same", None),
        InStore::Older(seen) => ("older", Some(*seen)),
        InStore::Recovered(seen) => ("recovered", Some(*seen)),
        InStore::Newer(seen) => ("newer", Some(*seen)),
        InStore::Elsewhere(seen) => ("elsewhere", Some(*seen)),
        InStore::Unreadable(_) => ("unreadable", None),
    };
    RecoveredDocument {
        document: origin.document.to_string(),
        from: origin.from.clone(),
        state: state(origin.at),
        next_version: origin.version,
        in_store,
        store_state: store_state.map(state),
        copies: origin.copies.iter().map(|(_, seen)| seen.map(state)).collect(),
    }
}

fn state(seen: Seen) -> RecoveredState {
    let Seen { epoch, version, session } = seen;
    RecoveredState { epoch: epoch.get(), version, session: format!("{session:?}") }
}

fn partition(at_risk: &AtRisk) -> RecoveredPartition {
    RecoveredPartition {
        topic: at_risk.name.topic.clone(),
        partition: at_risk.name.partition.get(),
        unknown: ids(&at_risk.unknown),
        may_lead: ids(&at_risk.may_lead),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: RecoverArgs,
    }

    fn parsed(arguments: &str) -> RecoverArgs {
        let words = ["recover-metadata"].into_iter().chain(arguments.split_whitespace());
        Command::try_parse_from(words).unwrap().args
    }

    #[test]
    fn metadata_lies_in_kubernetes_or_beside_the_records() {
        let kubernetes = home(&parsed("shop -n streaming --data-dir a --data-dir b")).unwrap();
        let Home::Kubernetes(access) = kubernetes else { panic!("{kubernetes:?}") };
        assert_eq!((access.cluster.as_str(), access.namespace.as_deref()), ("shop", Some("streaming")));
        let folder = |arguments| match home(&parsed(arguments)).unwrap() {
            Home::Folder(folder) => folder,
            Home::Kubernetes(access) => panic!("{access:?}"),
        };
        assert_eq!(folder("--data-dir a"), PathBuf::from("a/metadata"));
        assert_eq!(folder("--data-dir a --data-dir b --metadata-dir m"), PathBuf::from("m"));
        assert!(home(&parsed("--data-dir a --data-dir b")).unwrap_err().to_string().contains("--metadata-dir"));
    }
}

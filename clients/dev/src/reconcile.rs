//! Making the topics what the files declare.
//!
//! Owns the way from a plan to the controller and back to the record; decides nothing that `plan` does not. What cannot
//! be applied is said once, until it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_broker::controller::{WAIT_MAX, fresh_topic_id};
use ottla_broker::node::Node;
use ottla_core::config::Alteration;
use ottla_core::controller::{ConfigChange, ConfigTarget, Growth, NewTopic, TopicRef};
use ottla_core::metadata::{ExplicitConfig, Image};
use ottla_core::types::TopicId;

use crate::plan::{Action, AppliedTopic, DeclaredTopic, ObservedTopic, Step, plan};
use crate::record::{Record, RecordError};

/// Keeps the topics of all brokers as the files declare them.
pub(crate) struct Reconciler {
    nodes: Vec<Arc<Node>>,
    data_dir: PathBuf,
    /// The files and folders that -f names, without detours.
    files: Vec<PathBuf>,
    record: Record,
    said: BTreeSet<String>,
}

/// What of a declaration could not be applied, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(crate) struct NotApplied(pub(crate) Vec<String>);

impl Reconciler {
    pub(crate) fn new(nodes: Vec<Arc<Node>>, data_dir: PathBuf, files: &[PathBuf]) -> Result<Self, RecordError> {
        let record = Record::load(&data_dir)?;
        let files = files.iter().map(|file| without_detours(file)).collect();
        Ok(Self { nodes, data_dir, files, record, said: BTreeSet::new() })
    }

    /// The broker that decides; any of them while nobody does.
    fn node(&self) -> &Node {
        self.nodes.iter().find(|node| node.controller.is_controller()).unwrap_or(&self.nodes[0])
    }

    /// Applies what the files declare now.
    ///
    /// # Errors
    /// Everything that could not be applied; the rest is.
    pub(crate) async fn apply(&mut self, declared: &[DeclaredTopic]) -> anyhow::Result<()> {
        let observed = observe(&self.node().metadata.image());
        let applied = in_question(&self.record.topics, declared, &self.files);
        let actions = plan(declared, &applied, &observed);
        let mut failed: BTreeMap<String, String> = BTreeMap::new();
        let (creations, others): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| matches!(action.step, Step::Create { .. }));
        self.create(creations, &mut failed).await;
        for action in others {
            if failed.contains_key(&action.topic) {
                continue;
            }
            if let Err(reason) = self.perform(&action).await {
                failed.insert(action.topic.clone(), format!("topic {}: {reason}", action.topic));
            }
        }
        self.remember(declared, &failed)?;
        if failed.is_empty() { Ok(()) } else { Err(NotApplied(failed.into_values().collect()).into()) }
    }

    /// Creates topics together: one write of metadata however many there are.
    async fn create(&self, actions: Vec<Action>, failed: &mut BTreeMap<String, String>) {
        let new = |action: &Action| {
            let mut topic = NewTopic::named(&action.topic, fresh_topic_id());
            if let Step::Create { partitions, replicas, config } = &action.step {
                topic.partitions = Some(*partitions);
                topic.replication_factor = *replicas;
                topic.config = config.clone();
            }
            topic
        };
        if actions.is_empty() {
            return;
        }
        let results = self.node().controller.create_topics(actions.iter().map(new).collect(), false, WAIT_MAX).await;
        for (action, result) in actions.iter().zip(results) {
            match result {
                Ok(_) => tracing::info!("{action}"),
                Err(error) => drop(failed.insert(action.topic.clone(), format!("topic {}: {error}", action.topic))),
            }
        }
    }

    async fn perform(&mut self, action: &Action) -> Result<(), String> {
        let controller = self.node().controller.clone();
        let topic = action.topic.clone();
        match &action.step {
            Step::Create { .. } | Step::Adopt | Step::Release => {}
            Step::AddPartitions { to, .. } => {
                let growth = Growth { topic, count: *to, assignments: None };
                one(controller.create_partitions(vec![growth], false, WAIT_MAX).await)?;
            }
            Step::Configure { changes } => {
                let alteration = |(key, value): (&String, &Option<String>)| {
                    (key.clone(), value.clone().map_or(Alteration::Delete, Alteration::Set))
                };
                let change = ConfigChange::Alter(changes.iter().map(alteration).collect());
                one(controller.alter_configs(vec![(ConfigTarget::Topic(topic), change)], false, WAIT_MAX).await)?;
            }
            Step::Delete => {
                one(controller.delete_topics(vec![TopicRef::Name(topic)], WAIT_MAX).await)?;
            }
            Step::Report { .. } => {
                if self.said.insert(action.to_string()) {
                    tracing::warn!("{action}");
                }
                return Ok(());
            }
            Step::Refuse { reason } => return Err(reason.to_string()),
        }
        tracing::info!("{action}");
        Ok(())
    }

    /// Records what was applied, if that is news.
    fn remember(&mut self, declared: &[DeclaredTopic], failed: &BTreeMap<String, String>) -> Result<(), RecordError> {
        let image = self.node().metadata.image();
        let id = |name: &str| image.topic(name).map(|topic| topic.id);
        let record = Record { topics: remembered(&self.record.topics, declared, failed, &self.files, id) };
        if record != self.record {
            record.store(&self.data_dir)?;
            self.record = record;
        }
        Ok(())
    }

    /// Says what could not be applied, unless it was said already.
    pub(crate) fn say(&mut self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        for line in text.lines() {
            if self.said.insert(line.to_owned()) {
                tracing::error!("{line}");
            }
        }
    }

    /// From now on everything is news again: the files have changed.
    pub(crate) fn begin_again(&mut self) {
        self.said.clear();
    }
}

/// The only answer to a question about one thing.
fn one<T, E: ToString>(answers: Vec<Result<T, E>>) -> Result<T, String> {
    let answer = answers.into_iter().next().ok_or_else(|| "the controller gave no answer".to_owned())?;
    answer.map_err(|error| error.to_string())
}

/// The topics of people, as they are.
fn observe(image: &Image) -> BTreeMap<String, ObservedTopic> {
    let seen = image.topics().values().filter(|topic| !topic.internal).map(|topic| {
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        (topic.name.clone(), ObservedTopic { id: topic.id, partitions, config: topic.config.clone() })
    });
    seen.collect()
}

/// What was applied for topics that are declared now, or whose file is read now and declares them no longer.
fn in_question(
    applied: &BTreeMap<String, AppliedTopic>,
    declared: &[DeclaredTopic],
    files: &[PathBuf],
) -> BTreeMap<String, AppliedTopic> {
    let kept = applied
        .iter()
        .filter(|(name, topic)| declared.iter().any(|declared| declared.name == **name) || is_read(&topic.file, files));
    kept.map(|(name, topic)| (name.clone(), topic.clone())).collect()
}

/// Whether a file is among those that are read, or in one of the folders.
fn is_read(file: &Path, files: &[PathBuf]) -> bool {
    files.iter().any(|read| read == file || file.parent() == Some(read))
}

/// The record after a plan was carried out.
fn remembered(
    before: &BTreeMap<String, AppliedTopic>,
    declared: &[DeclaredTopic],
    failed: &BTreeMap<String, String>,
    files: &[PathBuf],
    id: impl Fn(&str) -> Option<TopicId>,
) -> BTreeMap<String, AppliedTopic> {
    let mut after: BTreeMap<String, AppliedTopic> = before
        .iter()
        .filter(|(name, topic)| failed.contains_key(*name) || !is_read(&topic.file, files))
        .map(|(name, topic)| (name.clone(), topic.clone()))
        .collect();
    for topic in declared.iter().filter(|topic| !failed.contains_key(&topic.name)) {
        let Some(id) = id(&topic.name) else { continue };
        let (partitions, config): (i32, ExplicitConfig) = (topic.partitions, topic.config.clone());
        let file = without_detours(&topic.file);
        after.insert(topic.name.clone(), AppliedTopic { id, partitions, config, deletion: topic.deletion, file });
    }
    after
}

fn without_detours(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_owned())
}

#[cfg(test)]
mod tests {
    use ottla_crds::topic::{AdoptionPolicy, DeletionPolicy, DriftPolicy};

    use super::*;

    fn applied(file: &str) -> AppliedTopic {
        AppliedTopic {
            id: TopicId::from_bytes([1; 16]),
            partitions: 1,
            config: ExplicitConfig::new(),
            deletion: DeletionPolicy::Delete,
            file: file.into(),
        }
    }

    fn declared(name: &str) -> DeclaredTopic {
        DeclaredTopic {
            name: name.to_owned(),
            partitions: 3,
            replicas: None,
            config: ExplicitConfig::new(),
            adoption: AdoptionPolicy::Never,
            drift: DriftPolicy::Correct,
            deletion: DeletionPolicy::Retain,
            file: "/x/a.yaml".into(),
        }
    }

    fn before() -> BTreeMap<String, AppliedTopic> {
        [("here", "/x/a.yaml"), ("gone", "/x/a.yaml"), ("inside", "/dir/b.yaml"), ("elsewhere", "/y/c.yaml")]
            .into_iter()
            .map(|(name, file)| (name.to_owned(), applied(file)))
            .collect()
    }

    #[test]
    fn a_declaration_is_gone_only_if_its_file_is_read() {
        let question = in_question(&before(), &[declared("here")], &["/x/a.yaml".into(), "/dir".into()]);
        assert_eq!(question.keys().collect::<Vec<_>>(), ["gone", "here", "inside"]);
        // It moved to a file that is read now.
        let question = in_question(&before(), &[declared("elsewhere")], &["/z.yaml".into()]);
        assert_eq!(question.keys().collect::<Vec<_>>(), ["elsewhere"]);
    }

    #[test]
    fn what_was_applied_is_remembered_and_what_failed_stays_as_it_was() {
        let failed = [("here".to_owned(), String::new())].into();
        let id = |_: &str| Some(TopicId::from_bytes([2; 16]));
        let files = ["/x/a.yaml".into()];
        let after = remembered(&before(), &[declared("here"), declared("new")], &failed, &files, id);
        assert_eq!(after.keys().collect::<Vec<_>>(), ["elsewhere", "here", "inside", "new"]);
        assert_eq!(after["here"], before()["here"]);
        assert_eq!((after["new"].partitions, after["new"].deletion), (3, DeletionPolicy::Retain));
        assert_eq!(after["new"].id, TopicId::from_bytes([2; 16]));
    }
}

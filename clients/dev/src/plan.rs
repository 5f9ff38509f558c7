//! What has to be done so that the topics are what the files declare.
//!
//! Pure: `plan` compares what is declared, what was declared and applied before, and what is there, and returns actions
//! that each say why. A topic that no file declares, and none declared before, is never touched. Partitions never
//! shrink, and records are only deleted for a declaration that is gone and said so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use ottla_core::metadata::ExplicitConfig;
use ottla_core::types::TopicId;
use ottla_crds::topic::{AdoptionPolicy, DeletionPolicy, DriftPolicy};

/// A topic as the files declare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredTopic {
    /// The topic's name in Kafka.
    pub name: String,
    /// How many partitions it should have.
    pub partitions: i32,
    /// How many replicas of each when it is created; `None` as the cluster's config says.
    pub replicas: Option<i16>,
    /// What should be set on it, and nothing else.
    pub config: ExplicitConfig,
    /// Whether a topic that is there already may be taken over.
    pub adoption: AdoptionPolicy,
    /// What is done about changes by others.
    pub drift: DriftPolicy,
    /// What happens when the declaration goes.
    pub deletion: DeletionPolicy,
    /// The file that declares it.
    pub file: PathBuf,
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedTopic {
    /// Its identity.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// What is set on it.
    pub config: ExplicitConfig,
}

/// What was applied to a topic for its declaration, the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedTopic {
    /// The topic that it was applied to; another id under the same name is another topic.
    pub id: TopicId,
    /// How many partitions were declared.
    pub partitions: i32,
    /// What was declared to be set.
    pub config: ExplicitConfig,
    /// What the declaration said about its own end.
    pub deletion: DeletionPolicy,
    /// The file that declared it.
    pub file: PathBuf,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the topic.
    Create {
        /// With this many partitions.
        partitions: i32,
        /// With this many replicas of each; `None` as the cluster's config says.
        replicas: Option<i16>,
        /// With this set.
        config: ExplicitConfig,
    },
    /// Take over a topic that is there; what differs follows as steps of their own.
    Adopt,
    /// Add partitions.
    AddPartitions {
        /// How many there are.
        from: i32,
        /// How many there should be.
        to: i32,
    },
    /// Change what is set: a value, or `None` for the default.
    Configure {
        /// The changes by key.
        changes: BTreeMap<String, Option<String>>,
    },
    /// Say how the topic differs from its declaration, and leave it.
    Report {
        /// The differences.
        differences: Vec<Difference>,
    },
    /// Say why the declaration cannot be applied.
    Refuse {
        /// Why.
        reason: Refusal,
    },
    /// Delete the topic: its declaration is gone and said so.
    Delete,
    /// Leave the topic alone from now on: its declaration is gone.
    Release,
}

/// One thing to do for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The topic.
    pub topic: String,
    /// What to do.
    pub step: Step,
}

/// One difference between a topic and its declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `partitions`, or a config key.
    pub field: String,
    /// What is declared; `None` is the default.
    pub declared: Option<String>,
    /// What is there; `None` is the default.
    pub actual: Option<String>,
}

/// Why a declaration cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Fewer partitions than there are.
    #[error("it has {from} partitions and {to} are declared: partitions may not shrink")]
    Shrinks {
        /// How many there are.
        from: i32,
        /// How many are declared.
        to: i32,
    },
    /// The topic was not made by a declaration, and may not be taken over.
    #[error("the topic is there already, and adoptionPolicy is Never")]
    NotAdopted,
    /// The topic was not made by a declaration, and is not what is declared.
    #[error("the topic is there already and differs ({}), and adoptionPolicy is IfIdentical", list(.0))]
    NotIdentical(Vec<Difference>),
}

/// Compares and decides. Actions come in the order of topic names, those of gone declarations last.
pub fn plan(
    declared: &[DeclaredTopic],
    applied: &BTreeMap<String, AppliedTopic>,
    observed: &BTreeMap<String, ObservedTopic>,
) -> Vec<Action> {
    let mut sorted: Vec<&DeclaredTopic> = declared.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut actions = Vec::new();
    for topic in &sorted {
        let steps = match observed.get(&topic.name) {
            None => {
                let (partitions, replicas, config) = (topic.partitions, topic.replicas, topic.config.clone());
                vec![Step::Create { partitions, replicas, config }]
            }
            Some(there) => {
                let ours = applied.get(&topic.name).filter(|applied| applied.id == there.id);
                ours.map_or_else(|| adopt(topic, there), |ours| correct(topic, Some(ours), there))
            }
        };
        actions.extend(steps.into_iter().map(|step| Action { topic: topic.name.clone(), step }));
    }
    for (name, gone) in applied.iter().filter(|(name, _)| !declared.iter().any(|topic| topic.name == **name)) {
        let there = observed.get(name).is_some_and(|there| there.id == gone.id);
        let step = if there && gone.deletion == DeletionPolicy::Delete { Step::Delete } else { Step::Release };
        actions.push(Action { topic: name.clone(), step });
    }
    actions
}

/// Whether a topic that no declaration made may become this one's, and what then.
fn adopt(topic: &DeclaredTopic, there: &ObservedTopic) -> Vec<Step> {
    let differences = differences(topic, there);
    match topic.adoption {
        AdoptionPolicy::Never => vec![Step::Refuse { reason: Refusal::NotAdopted }],
        AdoptionPolicy::IfIdentical if !differences.is_empty() => {
            vec![Step::Refuse { reason: Refusal::NotIdentical(differences) }]
        }
        AdoptionPolicy::IfIdentical | AdoptionPolicy::Always => {
            let mut steps = vec![Step::Adopt];
            steps.append(&mut correct(topic, None, there));
            steps
        }
    }
}

/// What makes a topic what its declaration says. What the declaration itself changed since it was last applied is
/// applied in any case; what others changed is corrected or reported.
fn correct(topic: &DeclaredTopic, applied: Option<&AppliedTopic>, there: &ObservedTopic) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut reported = Vec::new();
    let mut changes = BTreeMap::new();
    for difference in differences(topic, there) {
        let asked_for = applied.is_some_and(|applied| applied.says(&difference.field) != difference.declared);
        let correct = asked_for || topic.drift == DriftPolicy::Correct;
        if difference.field != PARTITIONS {
            if correct {
                changes.insert(difference.field, difference.declared);
            } else {
                reported.push(difference);
            }
        } else if correct && topic.partitions > there.partitions {
            steps.push(Step::AddPartitions { from: there.partitions, to: topic.partitions });
        } else if asked_for {
            let reason = Refusal::Shrinks { from: there.partitions, to: topic.partitions };
            steps.push(Step::Refuse { reason });
        } else {
            // Others added partitions: nothing can take them away again.
            reported.push(difference);
        }
    }
    if !changes.is_empty() {
        steps.push(Step::Configure { changes });
    }
    if !reported.is_empty() {
        steps.push(Step::Report { differences: reported });
    }
    steps
}

const PARTITIONS: &str = "partitions";

impl AppliedTopic {
    fn says(&self, field: &str) -> Option<String> {
        if field == PARTITIONS { Some(self.partitions.to_string()) } else { self.config.get(field).cloned() }
    }
}

fn differences(topic: &DeclaredTopic, there: &ObservedTopic) -> Vec<Difference> {
    let mut found = Vec::new();
    if topic.partitions != there.partitions {
        found.push(Difference {
            field: PARTITIONS.to_owned(),
            declared: Some(topic.partitions.to_string()),
            actual: Some(there.partitions.to_string()),
        });
    }
    let keys: BTreeSet<&String> = topic.config.keys().chain(there.config.keys()).collect();
    for key in keys {
        let (declared, actual) = (topic.config.get(key), there.config.get(key));
        if declared != actual {
            found.push(Difference { field: key.clone(), declared: declared.cloned(), actual: actual.cloned() });
        }
    }
    found
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = || "the default".to_owned();
        let declared = self.declared.clone().unwrap_or_else(default);
        let actual = self.actual.clone().unwrap_or_else(default);
        write!(f, "{} is {actual}, declared is {declared}", self.field)
    }
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}: ", self.topic)?;
        match &self.step {
            Step::Create { partitions: 1, .. } => write!(f, "create with 1 partition"),
            Step::Create { partitions, .. } => write!(f, "create with {partitions} partitions"),
            Step::Adopt => f.write_str("take over the topic that is there"),
            Step::AddPartitions { from, to } => write!(f, "add partitions, {from} become {to}"),
            Step::Configure { changes } => {
                let one = |(key, value): (&String, &Option<String>)| match value {
                    Some(value) => format!("{key}={value}"),
                    None => format!("{key} back to its default"),
                };
                write!(f, "set {}", changes.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            Step::Report { differences } => write!(f, "differs and is left so: {}", list(differences)),
            Step::Refuse { reason } => write!(f, "{reason}"),
            Step::Delete => f.write_str("delete, its declaration is gone (deletionPolicy Delete)"),
            Step::Release => f.write_str("leave alone from now on, its declaration is gone"),
        }
    }
}

#[cfg(test)]
mod tests;

//! What was applied, remembered across restarts: which topics are ours, and what their declarations said.
//!
//! Owns one file in the data directory, replaced as a whole, with a version. Losing it loses no record: topics are then
//! adopted again as their policies say.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ottla_core::metadata::ExplicitConfig;
use ottla_core::types::TopicId;
use ottla_crds::topic::DeletionPolicy;
use serde::{Deserialize, Serialize};

use crate::plan::AppliedTopic;

/// The version that this build writes, and the newest that it reads.
const VERSION: u32 = 1;
const NAME: &str = "declared.json";

/// What was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The topics that declarations made or took over, by name.
    pub topics: BTreeMap<String, AppliedTopic>,
}

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not what this program writes.
    #[error("{path} is damaged ({error}); remove it, and topics are taken over again as their adoptionPolicy says")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// It was written by a newer program.
    #[error("{path} has version {version}, and this build reads up to {VERSION}: use the newer Ottla that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    topics: BTreeMap<String, StoredTopic>,
}

#[derive(Serialize, Deserialize)]
struct StoredTopic {
    id: String,
    partitions: i32,
    config: ExplicitConfig,
    deletion: DeletionPolicy,
    file: PathBuf,
}

impl Record {
    /// Reads the record of a data directory; an empty one if there is none.
    ///
    /// # Errors
    /// [`RecordError`]
    pub fn load(data_dir: &Path) -> Result<Self, RecordError> {
        let path = data_dir.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(RecordError::Io { path, error }),
        };
        let damaged = |error: String| RecordError::Damaged { path: path.clone(), error };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let version = value["version"].as_u64().and_then(|version| u32::try_from(version).ok());
        match version {
            Some(version) if version > VERSION => return Err(RecordError::Newer { path, version }),
            Some(_) => {}
            None => return Err(damaged("it has no version".to_owned())),
        }
        let stored: Stored = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        let mut record = Self::default();
        for (name, topic) in stored.topics {
            let id =
                TopicId::parse_kafka(&topic.id).ok_or_else(|| damaged(format!("{:?} is no topic id", topic.id)))?;
            let StoredTopic { partitions, config, deletion, file, .. } = topic;
            record.topics.insert(name, AppliedTopic { id, partitions, config, deletion, file });
        }
        Ok(record)
    }

    /// Replaces the record of a data directory.
    ///
    /// # Errors
    /// [`RecordError::Io`]
    pub fn store(&self, data_dir: &Path) -> Result<(), RecordError> {
        let path = data_dir.join(NAME);
        let topics = self.topics.iter().map(|(name, topic)| {
            let AppliedTopic { id, partitions, config, deletion, file } = topic.clone();
            (name.clone(), StoredTopic { id: id.to_kafka_string(), partitions, config, deletion, file })
        });
        let stored = Stored { version: VERSION, topics: topics.collect() };
        let text = serde_json::to_string_pretty(&stored).expect("a record is plain data");
        replace(&path, &format!("{text}\n")).map_err(|error| RecordError::Io { path, error })
    }
}

/// Replaces a file as a whole: a reader sees the old text or the new one, after a crash too.
///
/// # Errors
/// What the file system says.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Record {
        let applied = AppliedTopic {
            id: TopicId::from_bytes([7; 16]),
            partitions: 3,
            config: [("retention.ms".to_owned(), "-1".to_owned())].into(),
            deletion: DeletionPolicy::Delete,
            file: "/x/a.yaml".into(),
        };
        Record { topics: [("orders".to_owned(), applied)].into() }
    }

    #[test]
    fn a_record_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::load(folder.path()).unwrap(), Record::default());
        some().store(folder.path()).unwrap();
        assert_eq!(Record::load(folder.path()).unwrap(), some());
        Record::default().store(folder.path()).unwrap();
        assert_eq!(Record::load(folder.path()).unwrap(), Record::default());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn what_this_build_cannot_read_is_refused_with_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        for (text, sentence) in [
            (r#"{"version": 2, "topics": {}}"#, "has version 2, and this build reads up to 1"),
            (r#"{"topics": {}}"#, "is damaged (it has no version)"),
            (r#"{"version": 1, "topics"#, "is damaged"),
            (
                r#"{"version": 1, "topics": {"a": {"id": "x", "partitions": 1, "config": {}, "deletion": "Retain", "file": "f"}}}"#,
                "is damaged (\"x\" is no topic id)",
            ),
        ] {
            fs::write(folder.path().join(NAME), text).unwrap();
            let error = Record::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
    }
}

//! Events: what a person finds with `kubectl describe` and `kubectl events`.
//!
//! Owns how they are published. Equal ones within six minutes are one with a count, as long as they are remembered. Whoever
//! calls has something new to say; that an Event could not be written fails nothing: what is true is in `status`. Must never
//! be asked in a loop without a change.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use parking_lot::Mutex;

use crate::cluster::names::MANAGER;
use crate::metrics::Metrics;

/// How long one may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many are written at once.
const WRITES: usize = 16;
/// How many a recorder remembers at most, some KiB each: it never forgets by itself while nothing is published.
const REMEMBERED: usize = 32;
/// The longest note that the API server takes, in bytes.
const NOTE_MAX: usize = 1000;

/// What has happened to an object.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Whether somebody should have a look.
    pub warning: bool,
    /// In a word.
    pub reason: String,
    /// In a sentence.
    pub note: String,
    /// Another object that it is about.
    pub about: Option<ObjectReference>,
}

impl News {
    /// Nothing to worry about.
    pub fn good(reason: impl Into<String>, note: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.into(), note: note.into(), about: None }
    }

    /// Something to have a look at.
    pub fn warning(reason: impl Into<String>, note: impl Into<String>) -> Self {
        Self { warning: true, ..Self::good(reason, note) }
    }

    /// The same, about another object.
    pub fn about(self, other: ObjectReference) -> Self {
        Self { about: Some(other), ..self }
    }
}

/// Who publishes Events. Clones count equal ones together.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
    current: Arc<Mutex<(Recorder, usize)>>,
    metrics: Metrics,
}

impl Events {
    /// `instance` is the name of this replica.
    pub fn new(client: Client, instance: Option<String>, metrics: Metrics) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        Self { client, reporter, current: Arc::new(Mutex::new((recorder, 0))), metrics }
    }

    /// The recorder for one more Event. After `REMEMBERED` of them another one begins: two thousand Topics that are made at
    /// once would fill one with as many Events.
    fn recorder(&self) -> Recorder {
        let mut current = self.current.lock();
        if current.1 == REMEMBERED {
            *current = (Recorder::new(self.client.clone(), self.reporter.clone()), 0);
        }
        current.1 += 1;
        current.0.clone()
    }

    /// Publishes each in turn for one object.
    pub async fn publish(&self, regarding: &ObjectReference, news: Vec<News>) {
        for one in news {
            self.publish_one(regarding, one).await;
        }
    }

    /// Publishes for many objects, several at a time.
    pub async fn publish_all(&self, news: Vec<(ObjectReference, Vec<News>)>) {
        let each = news.into_iter().filter(|(_, news)| !news.is_empty());
        futures::stream::iter(each)
            .for_each_concurrent(WRITES, |(regarding, news)| async move { self.publish(&regarding, news).await })
            .await;
    }

    async fn publish_one(&self, regarding: &ObjectReference, news: News) {
        let event = Event {
            type_: if news.warning { EventType::Warning } else { EventType::Normal },
            action: news.reason.clone(),
            reason: news.reason,
            note: Some(cut(news.note)),
            secondary: news.about,
        };
        self.metrics.wrote("Event", "create");
        let recorder = self.recorder();
        let written = tokio::time::timeout(DEADLINE, recorder.publish(&event, regarding)).await;
        let why = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {DEADLINE:?}"),
        };
        let (kind, name) = (&regarding.kind, &regarding.name);
        tracing::warn!(?kind, ?name, reason = event.reason, why, "write an Event");
    }
}

/// As much of a text as the API server takes.
fn cut(mut text: String) -> String {
    if text.len() > NOTE_MAX {
        let end = (0..=NOTE_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_no_longer_than_the_api_server_takes() {
        assert_eq!(cut("short".to_owned()), "short");
        let long = cut("é".repeat(NOTE_MAX));
        assert!(long.len() <= NOTE_MAX + '…'.len_utf8() && long.ends_with('…'), "{} bytes", long.len());
    }
}

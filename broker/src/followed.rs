//! A small file that changes while the broker runs.
//!
//! Owns when it is read, how much of it, and that whoever cannot read it says so once. What it says is others' affair.
//! Must never take what cannot be read for empty.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// How much of it is read: more than anything that is kept in an annotation.
const BYTES_MAX: u64 = 512 * 1024;
/// How often it is read.
const PERIOD: Duration = Duration::from_secs(1);

/// A file, and what it said.
pub struct Followed {
    /// The key that names it.
    key: &'static str,
    path: PathBuf,
    /// What it last said, as it stands there.
    seen: Option<String>,
    /// It has been told that it cannot be read.
    told: bool,
    /// When it is to be read again.
    ticks: Interval,
}

impl Followed {
    /// The file of that path, which `key` names.
    pub fn new(key: &'static str, path: &Path) -> Self {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { key, path: path.to_owned(), seen: None, told: false, ticks }
    }

    /// The file of that path, which said that when it was read before.
    pub fn known(key: &'static str, path: &Path, seen: String) -> Self {
        Self { seen: Some(seen), ..Self::new(key, path) }
    }

    /// What it says, as soon as that is something else than before. May be given up at any time.
    pub async fn changed(&mut self) -> String {
        loop {
            self.ticks.tick().await;
            if let Some(text) = self.news().await {
                return text;
            }
        }
    }

    /// What it says now, if that is something else than before.
    pub async fn news(&mut self) -> Option<String> {
        match read(&self.path).await {
            Ok(text) => {
                self.told = false;
                if self.seen.as_ref() == Some(&text) {
                    return None;
                }
                self.seen = Some(text.clone());
                Some(text)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    let (key, path) = (self.key, self.path.display());
                    tracing::warn!(%path, %error, "read {key}");
                }
                None
            }
        }
    }

    /// Says that it is not followed as it is now, and why.
    pub fn refuse(&self, error: &dyn std::fmt::Display) {
        let path = self.path.display();
        tracing::error!(%path, %error, "{} is not followed", self.key);
    }
}

/// What the file of that path says.
///
/// # Errors
/// Why it cannot be read, be it for what stands in it.
pub async fn read(path: &Path) -> std::io::Result<String> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        std::fs::File::open(path)?.take(BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    });
    read.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

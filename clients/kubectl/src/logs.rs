//! `logs`: what brokers have said, each line behind the name of its Pod.
//!
//! Owns which containers are read, and that a line is whole. With `--follow` a container that comes later is read from its
//! beginning, and one whose stream breaks from where it broke.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use ottla_crds::names;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::args;
use crate::brokers::{self, Broker};
use crate::failure::{Exit, Result};
use crate::place::Place;
use crate::rights;

/// How often it is looked for other containers.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many lines may wait to be printed.
const LINES: usize = 256;

pub(crate) async fn run(place: &Place, args: args::Logs) -> Result<i32> {
    let cluster = place.cluster(&args.name).await?;
    let brokers = brokers::all(&place.pods(&args.name).await?);
    if args.broker.is_some() {
        brokers::choose(&brokers, args.broker, &cluster, &place.words())?;
    }
    let chosen = |broker: &&Broker| args.broker.is_none_or(|id| broker.id == id);
    if args.follow {
        return follow(place, &args).await;
    }
    if brokers.is_empty() {
        eprintln!("no broker of Cluster {} has a Pod, in {}", args.name, place.words());
    }
    let mut failed = false;
    for broker in brokers.iter().filter(chosen) {
        let read = place.ask(rights::READ_LOGS, place.api::<Pod>().log_stream(&broker.pod, &params(&args))).await;
        match read {
            Ok(stream) => print(&broker.pod, stream).await?,
            Err(failure) if failure.exit() == Exit::Refused => return Err(failure),
            // One that has no log, as of a process before, hides no other's.
            Err(failure) => {
                eprintln!("{}: {}", broker.pod, failure.words());
                failed = true;
            }
        }
    }
    Ok(if failed { Exit::Failed as i32 } else { Exit::Done as i32 })
}

fn params(args: &args::Logs) -> LogParams {
    LogParams {
        container: Some(names::CONTAINER.to_owned()),
        follow: args.follow,
        previous: args.previous,
        since_seconds: args.since.map(|since| i64::try_from(since.as_secs().max(1)).unwrap_or(i64::MAX)),
        tail_lines: args.tail.map(i64::from),
        ..LogParams::default()
    }
}

fn put(pod: &str, line: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{pod} | {line}")?;
    Ok(())
}

async fn print(pod: &str, stream: impl AsyncBufRead + Unpin) -> Result<()> {
    let mut lines = stream.lines();
    while let Some(line) = lines.try_next().await? {
        put(pod, &line)?;
    }
    Ok(())
}

/// One run of a broker's process.
type Run = (String, i32);

/// What a reader has to say.
enum Heard {
    Line {
        pod: String,
        line: String,
    },
    /// The stream has ended, or was never there; with how to read on, if there is more.
    Ended {
        run: Run,
        again: Option<LogParams>,
    },
}

async fn follow(place: &Place, args: &args::Logs) -> Result<i32> {
    let (tell, mut heard) = mpsc::channel(LINES);
    // Which runs are known, and how those are to be read again whose stream broke.
    let mut runs: BTreeMap<Run, Option<LogParams>> = BTreeMap::new();
    let mut beat = interval(LOOK_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut first = true;
    loop {
        tokio::select! {
            one = heard.recv() => match one {
                Some(Heard::Line { pod, line }) => put(&pod, &line)?,
                Some(Heard::Ended { run, again }) => { runs.insert(run, again); }
                None => {}
            },
            _ = beat.tick() => {
                let brokers = match place.pods(&args.name).await {
                    Ok(pods) => brokers::all(&pods),
                    // It is asked again.
                    Err(failure) if failure.exit() == Exit::Late => continue,
                    Err(failure) => return Err(failure),
                };
                for broker in brokers.iter().filter(|one| args.broker.is_none_or(|id| one.id == id)) {
                    let run = (broker.uid().to_owned(), broker.restarts);
                    let params = match runs.get_mut(&run) {
                        Some(again) => again.take(),
                        // What comes later has no past that nobody wants.
                        None if first => Some(params(args)),
                        None => Some(LogParams { since_seconds: None, tail_lines: None, ..params(args) }),
                    };
                    if let Some(params) = params {
                        runs.insert(run.clone(), None);
                        tokio::spawn(listen(place.clone(), broker.pod.clone(), run, params, tell.clone()));
                    }
                }
                first = false;
            }
        }
    }
}

/// Reads one run's log to its end.
async fn listen(place: Place, pod: String, run: Run, params: LogParams, tell: mpsc::Sender<Heard>) {
    let read = place.ask(rights::READ_LOGS, place.api::<Pod>().log_stream(&pod, &params)).await;
    let again = match read {
        Ok(stream) => {
            let mut lines = stream.lines();
            loop {
                match lines.try_next().await {
                    Ok(Some(line)) => {
                        if tell.send(Heard::Line { pod: pod.clone(), line }).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break None,
                    Err(_) => {
                        let at = Some(Timestamp::now());
                        break Some(LogParams { since_time: at, since_seconds: None, tail_lines: None, ..params });
                    }
                }
            }
        }
        // It has not begun, or nobody answered.
        Err(_) => Some(params),
    };
    // Nobody listens any more when the command ends.
    let _ = tell.send(Heard::Ended { run, again }).await;
}

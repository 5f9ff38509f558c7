//! `ottla cluster recover-metadata`: the plan as a person reads it, and what keeps it from being carried out.

use std::fmt::Write;

use ottla_dev::{RecoverArgs, Recovered, RecoveredDocument};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure, Result};
use crate::output::{Columns, Show, list, or_dash};

/// How many partitions at risk a person is shown.
const AT_RISK_SHOWN: usize = 20;

pub(crate) async fn run(cx: &Context, args: &RecoverArgs) -> Result<()> {
    cx.say("Reading the directories. A Lease that a killed broker left behind is waited for, about 10 seconds.");
    let told = ottla_dev::recover(args).await.map_err(|error| {
        let exit = if ottla_dev::is_refusal(&error) { Exit::Refused } else { Exit::Failed };
        Failure::new(exit, format!("{error:#}"))
    })?;
    let needs = told.needs.join(" and ");
    cx.print(&Told(told))?;
    if args.yes && !needs.is_empty() {
        return Err(Failure::new(Exit::Refused, format!("nothing was changed: the plan needs {needs}"))
            .way_out("Read what is in doubt above; the other directories, if there are any, are the better way."));
    }
    Ok(())
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Told(Recovered);

impl Show for Told {
    fn table(&self) -> String {
        let told = &self.0;
        let mut text = format!("Cluster {}, {}\n\n{}\n\n", told.cluster, told.home, directories(told));
        text.push_str(&documents(told));
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n\n{} topics, {} partitions. The highest epoch seen is {}; the documents get epoch {}.\nThe next producer id \
             is {}.\n\n{}",
            told.topics,
            told.partitions,
            told.epoch_seen,
            told.epoch,
            told.next_producer_id,
            doubts(told)
        );
        text.push_str(&end(told));
        text
    }
}

fn directories(told: &Recovered) -> String {
    let mut columns = Columns::new(&["DIRECTORY", "BROKER#", "RUN#"]);
    for one in &told.directories {
        columns.row([one.path.clone(), or_dash(one.broker), one.run.to_string()]);
    }
    columns.text()
}

fn documents(told: &Recovered) -> String {
    let mut columns =
        Columns::new(&["DOCUMENT", "NEWEST COPY IN", "EPOCH#", "VERSION#", "SESSION", "COPIES#", "STORE"]);
    for one in &told.documents {
        let same = one.copies.iter().flatten().filter(|copy| **copy == one.state).count();
        columns.row([
            one.document.clone(),
            one.from.clone(),
            one.state.epoch.to_string(),
            one.state.version.to_string(),
            one.state.session.clone(),
            format!("{same} of {}", one.copies.len()),
            in_store(one),
        ]);
    }
    columns.text()
}

fn in_store(document: &RecoveredDocument) -> String {
    match &document.store_state {
        Some(state) => format!("{}: epoch {}, version {}", document.in_store, state.epoch, state.version),
        None => document.in_store.to_owned(),
    }
}

fn doubts(told: &Recovered) -> String {
    if told.doubts.is_empty() {
        return "Every broker's directory is here: no acknowledged record is lost.\n".to_owned();
    }
    let mut text = "In doubt, because a later state may have been acted on elsewhere:\n".to_owned();
    for doubt in &told.doubts {
        let _ = writeln!(text, "  {doubt}");
    }
    let _ = writeln!(text, "Partitions whose leader may then lack acknowledged records: {}", told.at_risk.len());
    for one in told.at_risk.iter().take(AT_RISK_SHOWN) {
        let who = match one.may_lead.as_slice() {
            [] => "waits for them".to_owned(),
            some => format!("led by one of {}", list(some)),
        };
        let _ =
            writeln!(text, "  {}-{}: brokers {} may know better; {who}", one.topic, one.partition, list(&one.unknown));
    }
    if told.at_risk.len() > AT_RISK_SHOWN {
        text.push_str("  and more: -o json names all of them\n");
    }
    text.push_str("Topics that only those directories know are not there afterwards; their records stay on disk.\n");
    text
}

fn end(told: &Recovered) -> String {
    let mut text = String::new();
    if !told.can_start {
        text.push_str(
            "Fewer than half of the brokers are here: none can become the controller before more are back. Name those whose \
             disks are gone for good with --lost.\n",
        );
    }
    if told.documents.iter().any(|one| matches!(one.in_store, "newer" | "elsewhere" | "unreadable")) {
        text.push_str(
            "The store holds documents that no directory has seen; they are given up with --discard-newer. If a directory \
             is missing, its broker may have acted on them.\n",
        );
    }
    text.push_str(&match (told.applied, told.needs.as_slice()) {
        (true, _) => "\nThe metadata is written. Start the brokers.".to_owned(),
        (false, []) => "\nNothing was changed. --yes carries this out.".to_owned(),
        (false, needs) => format!("\nNothing was changed. {} --yes carries this out.", needs.join(" ")),
    });
    text
}

#[cfg(test)]
mod tests {
    use ottla_dev::{RecoveredDirectory, RecoveredPartition, RecoveredState};

    use super::*;
    use crate::output::{Format, render};

    fn state(epoch: i64, version: u64) -> RecoveredState {
        RecoveredState { epoch, version, session: "0a1b2c3d".into() }
    }

    fn told() -> Recovered {
        let root = RecoveredDocument {
            document: "root".into(),
            from: "/mnt/1".into(),
            state: state(7, 91),
            next_version: 1_099_511_627_867,
            in_store: "older",
            store_state: Some(state(5, 60)),
            copies: vec![Some(state(6, 80)), Some(state(7, 91))],
        };
        let shard = RecoveredDocument {
            document: "topics-0000".into(),
            from: "/mnt/0".into(),
            state: state(7, 12),
            in_store: "missing",
            store_state: None,
            copies: vec![Some(state(7, 12)), None],
            ..root.clone()
        };
        Recovered {
            cluster: "MkU3OEVBNTcwNTJENDM2Qg".into(),
            home: "cluster shop in Kubernetes".into(),
            epoch_seen: 7,
            epoch: 1_048_583,
            next_producer_id: 1_000_004_000,
            topics: 2,
            partitions: 4,
            brokers: vec![0, 1],
            lost: Vec::new(),
            can_start: true,
            directories: vec![
                RecoveredDirectory { path: "/mnt/0".into(), broker: Some(0), run: 3 },
                RecoveredDirectory { path: "/mnt/1".into(), broker: None, run: 4 },
            ],
            documents: vec![root, shard],
            doubts: Vec::new(),
            at_risk: Vec::new(),
            needs: Vec::new(),
            applied: false,
        }
    }

    #[test]
    fn a_plan_is_shown() {
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(
                format!("cluster_recover_metadata_{format:?}"),
                render(format, &Told(told())).unwrap()
            );
        }
    }

    #[test]
    fn doubts_say_what_they_may_cost_and_what_consent_they_need() {
        let partition =
            |partition, may_lead| RecoveredPartition { topic: "t".into(), partition, unknown: vec![2], may_lead };
        let mut doubted = told();
        doubted.doubts = vec!["the data directory of broker 2 is not given".into()];
        doubted.at_risk = vec![partition(0, vec![0, 1]), partition(1, Vec::new())];
        doubted.at_risk.extend((2..30).map(|index| partition(index, vec![0])));
        doubted.documents[0].in_store = "newer";
        (doubted.can_start, doubted.needs) = (false, vec!["--incomplete", "--discard-newer"]);
        insta::assert_snapshot!("cluster_recover_metadata_in_doubt", Told(doubted).table());
        let mut done = told();
        done.applied = true;
        assert!(Told(done).table().ends_with("Start the brokers."));
    }
}

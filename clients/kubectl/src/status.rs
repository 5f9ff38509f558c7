//! `status`: how a Cluster is, on one page for people.
//!
//! Owns the page: what is as it should be takes one line, what is not is told with its message. Pure but for `run`. Must never
//! say that all is well of a Cluster whose operator has not looked.

use std::collections::BTreeMap;
use std::io::Write as _;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use ottla_crds::{Cluster, Topic, names};

use crate::args;
use crate::brokers::{self, Broker};
use crate::conditions;
use crate::failure::{Exit, Result};
use crate::place::Place;
use crate::rights;
use crate::table::{Columns, ago, or_dash};

/// How long a message in a table may be.
const MESSAGE_CHARS_MAX: usize = 160;

pub(crate) async fn run(place: &Place, args: args::Status) -> Result<i32> {
    let (text, ready) = match &args.name {
        Some(name) => {
            let view = look(place, name).await?;
            (page(&view, Timestamp::now()), is_ready(&view.cluster))
        }
        None => {
            let (place, api) = match args.all_namespaces {
                true => (place.everywhere(), Api::<Cluster>::all(place.client())),
                false => (place.clone(), place.api::<Cluster>()),
            };
            let clusters = place.ask(rights::LIST_CLUSTERS, api.list(&ListParams::default())).await?.items;
            if clusters.is_empty() {
                (format!("There is no Cluster in {}.", place.words()), true)
            } else {
                (list(&clusters, args.all_namespaces), clusters.iter().all(is_ready))
            }
        }
    };
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(if ready { Exit::Done as i32 } else { Exit::Failed as i32 })
}

/// What a page is made of.
pub(crate) struct View {
    pub(crate) cluster: Cluster,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) topics: Vec<Topic>,
}

/// Looks at everything that the page shows.
pub(crate) async fn look(place: &Place, name: &str) -> Result<View> {
    let cluster = place.cluster(name).await?;
    let pods: Vec<Pod> = place.pods(name).await?;
    let topics = place.list::<Topic>(rights::LIST_TOPICS, "").await?;
    let topics = topics.into_iter().filter(|topic| topic.spec.cluster_ref.name == name).collect();
    let mut brokers = brokers::all(&pods);
    let zones = zones(place, &brokers).await;
    for broker in &mut brokers {
        let of_node = broker.node.as_ref().and_then(|node| zones.get(node).cloned());
        broker.zone = broker.zone.take().or(of_node);
    }
    Ok(View { cluster, brokers, topics })
}

/// The zones of nodes whose Pods do not say it. Whoever may not look at nodes sees none.
async fn zones(place: &Place, brokers: &[Broker]) -> BTreeMap<String, String> {
    let api: Api<Node> = Api::all(place.client());
    let mut zones = BTreeMap::new();
    for node in brokers.iter().filter(|one| one.zone.is_none()).filter_map(|one| one.node.as_ref()) {
        let Ok(found) = api.get(node).await else { break };
        let zone = found.metadata.labels.and_then(|labels| labels.get("topology.kubernetes.io/zone").cloned());
        zones.extend(zone.map(|zone| (node.clone(), zone)));
    }
    zones
}

pub(crate) fn is_ready(cluster: &Cluster) -> bool {
    cluster.status.as_ref().is_some_and(|status| conditions::is(&status.conditions, "Ready", "True"))
}

fn name(cluster: &Cluster) -> &str {
    cluster.metadata.name.as_deref().unwrap_or_default()
}

/// In one line, without what would break a table.
fn short(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// One line for each Cluster.
fn list(clusters: &[Cluster], with_namespaces: bool) -> String {
    let mut header =
        vec!["CLUSTER", "READY", "BROKERS", "VERSION", "OFFLINE#", "UNDER-REPLICATED#", "OPERATION", "MESSAGE"];
    if with_namespaces {
        header.insert(0, "NAMESPACE");
    }
    let mut table = Columns::new(&header);
    for cluster in clusters {
        let status = cluster.status.clone().unwrap_or_default();
        let ready = conditions::find(&status.conditions, "Ready");
        let serving: i32 = status.pools.iter().filter_map(|pool| pool.ready).sum();
        let partitions = status.partitions.clone().unwrap_or_default();
        let operation = status.operation.as_ref().map(|one| {
            format!("{} {}", one.kind.as_deref().unwrap_or("-"), one.step.as_deref().unwrap_or_default())
                .trim_end()
                .to_owned()
        });
        let message = status.conditions.iter().find(|one| conditions::is_wrong(one)).map(|one| short(&one.message));
        let mut row = vec![
            name(cluster).to_owned(),
            or_dash(ready.map(|one| one.status.clone())),
            format!("{serving}/{}", brokers::declared(cluster)),
            or_dash(status.version.and_then(|version| version.current)),
            or_dash(partitions.offline),
            or_dash(partitions.under_replicated),
            or_dash(operation),
            message.unwrap_or_default(),
        ];
        if with_namespaces {
            row.insert(0, cluster.metadata.namespace.clone().unwrap_or_default());
        }
        table.row(row);
    }
    table.text()
}

/// The whole page.
pub(crate) fn page(view: &View, now: Timestamp) -> String {
    let parts = [headline(view), facts(view), wrong(view, now), table_of_brokers(view, now), table_of_topics(view)];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

fn headline(view: &View) -> String {
    let cluster = &view.cluster;
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let subject = format!("Cluster {} in namespace {namespace}", name(cluster));
    let Some(status) = &cluster.status else {
        return format!("{subject}: no operator has looked at it\n  Does one run for this namespace?");
    };
    let ready = conditions::find(&status.conditions, "Ready");
    let word = match ready {
        Some(one) if one.status == "True" => "Ready".to_owned(),
        Some(one) => format!("not Ready, {}", one.reason),
        None => "no operator has said whether it is Ready".to_owned(),
    };
    let message = ready.map(|one| one.message.as_str()).filter(|message| !message.is_empty());
    let seen = status.observed_generation.unwrap_or(0);
    let behind = cluster.metadata.generation.is_some_and(|generation| generation > seen);
    let behind = behind.then_some("the operator has not looked at the newest spec yet");
    [Some(format!("{subject}: {word}")), message.map(|one| format!("  {one}")), behind.map(|one| format!("  {one}"))]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
}

fn facts(view: &View) -> String {
    let status = view.cluster.status.clone().unwrap_or_default();
    let mut facts: Vec<(&str, String)> = Vec::new();
    if let Some(version) = status.version {
        let current = or_dash(version.current.clone());
        let target = version.target.filter(|target| version.current.as_ref() != Some(target));
        facts.push(("version", target.map_or(current.clone(), |target| format!("{current}, on the way to {target}"))));
    }
    if let Some(controller) = status.controller {
        facts.push(("controller", format!("broker {}, epoch {}", controller.broker, controller.epoch)));
    }
    for listener in &status.listeners {
        let servers = or_dash(listener.bootstrap_servers.clone());
        facts.push(("listener", format!("{} at {servers}", listener.name)));
    }
    if let Some(partitions) = status.partitions {
        facts.push((
            "partitions",
            format!(
                "{}, of which {} have no leader and {} miss replicas",
                or_dash(partitions.total),
                or_dash(partitions.offline),
                or_dash(partitions.under_replicated)
            ),
        ));
    }
    if let Some(operation) = status.operation {
        let words = [operation.kind, operation.step, operation.reason.map(|why| format!("({why})"))];
        let words = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        facts.push(("operation", operation.since.map_or(words.clone(), |since| format!("{words}, since {since}"))));
    }
    for asked in [names::PAUSE, names::HIBERNATE] {
        if brokers::is_asked(&view.cluster, asked) {
            facts.push(("annotated", format!("{asked}=true")));
        }
    }
    facts.iter().map(|(what, value)| format!("  {what:<12}{value}")).collect::<Vec<_>>().join("\n")
}

/// The conditions that are not as they should be.
fn wrong(view: &View, now: Timestamp) -> String {
    let conditions = view.cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let wrong: Vec<_> = conditions.iter().filter(|one| conditions::is_wrong(one)).collect();
    if wrong.is_empty() {
        return String::new();
    }
    let lines = wrong.iter().map(|one| {
        let since = ago(one.last_transition_time.0, now);
        let message = if one.message.is_empty() { String::new() } else { format!("\n      {}", one.message) };
        format!("  {}={} {}, for {since}{message}", one.type_, one.status, one.reason)
    });
    format!("Not as it should be:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

fn table_of_brokers(view: &View, now: Timestamp) -> String {
    if view.brokers.is_empty() {
        return "No broker has a Pod.".to_owned();
    }
    let outdated = brokers::outdated(&view.brokers, &view.cluster);
    let mut table =
        Columns::new(&["BROKER#", "POD", "NODE", "ZONE", "STATE", "VERSION", "OUTDATED", "RESTARTS#", "AGE"]);
    for broker in &view.brokers {
        table.row([
            broker.id.to_string(),
            broker.pod.clone(),
            or_dash(broker.node.as_ref()),
            or_dash(broker.zone.as_ref()),
            broker.state.clone(),
            or_dash(broker.version.as_ref()),
            if outdated.contains(&broker.id) { "yes" } else { "-" }.to_owned(),
            broker.restarts.to_string(),
            or_dash(broker.born.map(|born| ago(born, now))),
        ]);
    }
    table.text()
}

/// What is wrong with a Topic, if anything is.
fn problem(topic: &Topic) -> Option<(String, String)> {
    let Some(status) = &topic.status else {
        return Some(("-".to_owned(), "no operator has looked at it".to_owned()));
    };
    if let Some(one) = status.conditions.iter().find(|one| conditions::is_wrong(one)) {
        return Some((one.reason.clone(), short(&one.message)));
    }
    let drift: Vec<&str> = status.drift.iter().map(|drift| drift.field.as_str()).collect();
    (!drift.is_empty()).then(|| ("Drifted".to_owned(), format!("differs in {}", drift.join(", "))))
}

fn table_of_topics(view: &View) -> String {
    let problems: Vec<(&Topic, (String, String))> =
        view.topics.iter().filter_map(|topic| Some((topic, problem(topic)?))).collect();
    let total = view.topics.len();
    if problems.is_empty() {
        return if total == 0 { String::new() } else { format!("All of {total} Topic resources are as declared.") };
    }
    let mut table = Columns::new(&["TOPIC", "REASON", "PROBLEM"]);
    for (topic, (reason, message)) in &problems {
        table.row([topic.metadata.name.clone().unwrap_or_default(), reason.clone(), message.clone()]);
    }
    format!("{} of {total} Topic resources have problems:\n{}", problems.len(), table.text())
}

#[cfg(test)]
mod tests;

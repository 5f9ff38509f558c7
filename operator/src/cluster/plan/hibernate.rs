//! A Cluster that sleeps: no broker runs, everything else stays.
//!
//! Owns the order: every broker but one at once, the controller when they are gone, so that somebody decides who leads for
//! as long as somebody is left to lead. Nobody is asked whether they may stop: all go, because a person wants it.

use serde_json::Value;

use super::super::child::Seen;
use super::super::desired::Desired;
use super::super::kind::Kind;
use super::super::observed::Observed;
use super::{Operation, Plan, Whose, Why, whose};

pub(super) fn plan(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let ours = |pod: &Value| whose(desired, Kind::Pod, pod) != Whose::Foreign;
    let pods: Vec<(&str, &Value)> = observed.of(Kind::Pod).filter(|(_, pod)| ours(pod)).collect();
    let controller = observed.documents.summary().and_then(|summary| summary.controller).map(|(id, _)| id);
    let staying = pods.iter().filter(|(_, pod)| !pod.is_going());
    let last = staying.max_by_key(|(_, pod)| (controller.is_some() && pod.broker() == controller, pod.broker()));
    let last = last.map(|(name, _)| *name);
    let others = pods.iter().any(|(name, _)| Some(*name) != last);
    for (name, pod) in pods.iter().filter(|(name, _)| !others || Some(*name) != last) {
        plan.delete(Kind::Pod, name, pod, Why::Hibernated);
    }
    if pods.is_empty() {
        return;
    }
    plan.waits = true;
    let step = format!("{} to go", pods.len());
    let names: Vec<&str> = pods.iter().map(|(name, _)| *name).collect();
    plan.operation = Some(Operation { kind: "Hibernate", step, reason: format!("stop {}", names.join(", ")) });
}

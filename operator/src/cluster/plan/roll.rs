//! Brokers' Pods: those that are missing, ended, or older than what is wanted.
//!
//! Owns that brokers are stopped only while every other one serves, and only when the cluster says that they may be:
//! unknown is no. The first ones are canaries, one at a time; after them as many of one zone go together as `spec` lets and
//! the cluster's controller agrees to. As long as one that was restarted does not serve again, nothing follows it.

use std::collections::BTreeSet;

use ottla_crds::cluster::UpdatePolicy;
use serde_json::{Value, json};

use super::super::child::{Child, Seen};
use super::super::desired::{Desired, Seat};
use super::super::health;
use super::super::kind::Kind;
use super::super::names;
use super::super::observed::{CanStop, Observed};
use super::super::reason::{Reason, Refusal};
use super::super::windows::{Gate, gate};
use super::{Operation, Plan, Step, Why, covers, mendable};

/// Whether a Pod's broker serves.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    !pod.is_going()
        && conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// Whether a broker's Pod is of what is wanted now.
pub fn is_current(pod: &Value, wanted: &Value) -> bool {
    pod.annotation(names::REVISION) == wanted.annotation(names::REVISION) && !is_asked_for(pod, wanted)
}

/// Whether a person has declared something since that only a restart brings into force. To a Pod that was made before
/// there was anything else, that is everything.
pub(in super::super) fn is_declared_otherwise(pod: &Value, wanted: &Value) -> bool {
    let known = pod.annotation(names::DECLARED_AT_START).is_some();
    let key = if known { names::DECLARED_AT_START } else { names::DECLARED };
    pod.annotation(key) != wanted.annotation(key)
}

/// Whether a person has asked that this Pod be restarted: it alone, or its whole Cluster since it was made. That nobody
/// asks any more is no wish.
fn is_asked_for(pod: &Value, wanted: &Value) -> bool {
    let since = wanted.annotation(names::RESTARTED);
    pod.annotation(names::RESTART).is_some() || since.is_some() && since != pod.annotation(names::RESTARTED)
}

/// No process of it runs: stopping it stops nothing.
fn is_idle(pod: &Value) -> bool {
    let containers = pod["status"]["containerStatuses"].as_array();
    containers.is_none_or(|all| all.iter().all(|one| one["state"]["running"].is_null()))
}

fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"))
}

/// A Pod that runs and is older than what is wanted.
struct Outdated<'a> {
    seat: &'a Seat,
    pod: &'a Value,
    wanted: &'a Child,
}

impl Outdated<'_> {
    /// Whether it may be restarted without anybody asking once more.
    fn is_allowed(&self, gate: Gate) -> bool {
        is_asked_for(self.pod, &self.wanted.manifest) || self.is_declared() && gate == Gate::Open
    }

    /// Whether its Cluster's owner has declared something else since.
    fn is_declared(&self) -> bool {
        is_declared_otherwise(self.pod, &self.wanted.manifest)
    }

    /// Where it is, as far as its Pod says; all of which nobody knows are in one place.
    fn zone(&self) -> &str {
        self.seat.rack.as_deref().and_then(|label| self.pod.label(label)).unwrap_or_default()
    }

    /// Its volume does not outlive its Pod.
    fn has_last_volume(&self, observed: &Observed) -> bool {
        observed.get(Kind::PersistentVolumeClaim, &self.seat.claim).is_some_and(Seen::is_going)
    }
}

pub(super) fn plan(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let (mut settled, mut outdated, mut started) = (true, Vec::new(), 0);
    let (mut missing, mut failure) = (Vec::new(), None);
    for seat in desired.brokers.values() {
        let Some(wanted) = desired.pod(seat) else { continue };
        let claim = observed.get(Kind::PersistentVolumeClaim, &seat.claim);
        if observed.get(Kind::Pod, &seat.pod).is_none() && claim.is_some_and(Seen::is_going) {
            settled = false;
            continue;
        }
        let Some(pod) = plan.present(desired, observed, wanted) else {
            settled = false;
            missing.push(seat);
            continue;
        };
        started += 1;
        if pod.is_going() || has_ended(pod) {
            settled = false;
            plan.delete(Kind::Pod, &seat.pod, pod, Why::Ended);
        } else if is_current(pod, &wanted.manifest) {
            settled &= is_ready(pod);
            failure = failure.or_else(|| health::failure(&seat.pod, pod, observed.now));
            mend(plan, pod, wanted);
        } else if is_idle(pod) {
            settled = false;
            plan.delete(Kind::Pod, &seat.pod, pod, Why::Idle);
        } else {
            configure(plan, pod, wanted);
            outdated.push(Outdated { seat, pod, wanted });
        }
    }
    plan.waits |= !settled;
    if !missing.is_empty() {
        plan.operation = Some(growth(desired, &missing, started));
    }
    let Some(list) = pending(plan, desired, observed, &outdated) else { return };
    if settled {
        stop(plan, desired, observed, &outdated, &list);
        return;
    }
    plan.operation =
        operation(desired, &outdated, format!("waits until the brokers that were restarted serve; then {list}"));
    if let Some(failure) = failure {
        let message =
            format!("{list}: not restarted, for {failure}. It goes on once that broker serves, or when spec changes");
        plan.pending = Some(Refusal::new(Reason::RollHalted, message));
    }
}

/// The brokers that would be stopped next, if the cluster says that they may be: more than one only if all of them may go
/// together. None while one that was restarted does not serve.
pub(in super::super) fn candidates(desired: &Desired, observed: &Observed) -> Vec<i32> {
    let mut outdated = Vec::new();
    for seat in desired.brokers.values() {
        let (Some(wanted), Some(pod)) = (desired.pod(seat), observed.get(Kind::Pod, &seat.pod)) else {
            return Vec::new();
        };
        if !is_current(pod, &wanted.manifest) && !is_idle(pod) && !pod.is_going() {
            outdated.push(Outdated { seat, pod, wanted });
        } else if !is_ready(pod) {
            return Vec::new();
        }
    }
    next(desired, observed, &outdated).iter().map(|one| one.seat.id).collect()
}

/// Who is to go next, in the order in which they would be left out: whoever does not serve first, the controller last.
fn next<'a, 'b>(desired: &Desired, observed: &Observed, outdated: &'b [Outdated<'a>]) -> Vec<&'b Outdated<'a>> {
    let gate = gate(&desired.updates, observed.now);
    let controller = observed.documents.summary().and_then(|summary| summary.controller).map(|(id, _)| id);
    let leads = |one: &Outdated<'_>| controller == Some(one.seat.id);
    let mut allowed: Vec<&Outdated<'a>> = outdated.iter().filter(|one| one.is_allowed(gate)).collect();
    allowed.sort_by_key(|one| (is_ready(one.pod), leads(one), one.seat.id));
    let Some(first) = allowed.first().copied() else { return allowed };
    // How many went before, of the pools that are changed.
    let pools: BTreeSet<&str> = outdated.iter().map(|one| one.seat.pool.as_str()).collect();
    let members = desired.brokers.values().filter(|seat| pools.contains(seat.pool.as_str())).count();
    let canaries = usize::try_from(desired.updates.canary).unwrap_or(0);
    let alone = members - outdated.len() < canaries || !is_ready(first.pod) || leads(first);
    let most = if alone { 1 } else { usize::try_from(desired.updates.max_unavailable_per_zone).unwrap_or(1).max(1) };
    let beside = |one: &&Outdated<'a>| one.zone() == first.zone() && !leads(one) && !one.has_last_volume(observed);
    let mut batch = vec![first];
    batch.extend(allowed.into_iter().skip(1).filter(beside).take(most - 1));
    batch
}

/// What the creation of Pods is called.
fn growth(desired: &Desired, missing: &[&Seat], started: usize) -> Operation {
    let kind = if started == 0 { "Create" } else { "StartBrokers" };
    let names: Vec<&str> = missing.iter().map(|seat| seat.pod.as_str()).collect();
    let step = format!("{started}/{}", desired.brokers.len());
    Operation { kind, step, reason: format!("start {}", names.join(", ")) }
}

fn operation(desired: &Desired, outdated: &[Outdated<'_>], reason: String) -> Option<Operation> {
    let (done, total) = (desired.brokers.len() - outdated.len(), desired.brokers.len());
    Some(Operation { kind: "Roll", step: format!("{done}/{total}"), reason })
}

fn mend(plan: &mut Plan, pod: &Value, wanted: &Child) {
    let metadata = mendable(wanted);
    if !covers(&pod["metadata"], &metadata) {
        plan.steps.push(Step::Mend { pod: wanted.name.clone(), metadata });
    }
}

/// What changes while a broker runs does not wait for its restart.
fn configure(plan: &mut Plan, pod: &Value, wanted: &Child) {
    let (known, config) = (pod.annotation(names::CONFIG), wanted.manifest.annotation(names::CONFIG));
    if known.is_some() && known != config {
        let metadata = json!({"annotations": {names::CONFIG: config}});
        plan.steps.push(Step::Mend { pod: wanted.name.clone(), metadata });
    }
}

/// The Pods that are to be replaced, in words, if one of them may be now; else it says why none is.
fn pending(plan: &mut Plan, desired: &Desired, observed: &Observed, outdated: &[Outdated<'_>]) -> Option<String> {
    if outdated.is_empty() {
        return None;
    }
    let pods: Vec<&str> = outdated.iter().map(|one| one.seat.pod.as_str()).collect();
    let list = pods.join(", ");
    let gate = gate(&desired.updates, observed.now);
    if outdated.iter().any(|one| one.is_allowed(gate)) {
        return Some(list);
    }
    let declared = outdated.iter().any(Outdated::is_declared);
    let ask = format!("annotate the Cluster with a new value of {} to restart them", names::RESTART);
    let (reason, message) = match desired.updates.policy {
        UpdatePolicy::Manual if declared => {
            (Reason::WaitsForPerson, format!("{list}: spec.updates.policy is Manual; {ask}"))
        }
        UpdatePolicy::InWindow if declared => {
            let begins = match gate {
                Gate::Opens(Some(time)) => format!("the next window begins at {time}"),
                Gate::Opens(None) | Gate::Open | Gate::Asks => "no window of spec.updates.windows begins".to_owned(),
            };
            (Reason::WaitsForWindow, format!("{list}: {begins}; to go before, {ask}"))
        }
        UpdatePolicy::Automatic | UpdatePolicy::Manual | UpdatePolicy::InWindow => {
            (Reason::OperatorChanged, format!("a newer operator makes other Pods than {list}: {ask}"))
        }
    };
    plan.pending = Some(Refusal::new(reason, message));
    None
}

/// Stops the next outdated brokers, or says why not.
fn stop(plan: &mut Plan, desired: &Desired, observed: &Observed, outdated: &[Outdated<'_>], list: &str) {
    let batch = next(desired, observed, outdated);
    let Some(first) = batch.first().copied() else { return };
    let agreed: Vec<&Outdated<'_>> =
        batch.iter().copied().filter(|one| observed.together.contains(&one.seat.id)).collect();
    let chosen = if agreed.len() > 1 { agreed } else { vec![first] };
    let (id, pod) = (first.seat.id, &first.seat.pod);
    let operation = |what: String| operation(desired, outdated, what);
    let stays = |other: &&Outdated<'_>| chosen.iter().all(|one| one.seat.id != other.seat.id);
    if !outdated.iter().filter(stays).all(|other| is_ready(other.pod)) {
        plan.waits = true;
        plan.operation = operation(format!("waits until every broker but {id} serves; then {list}"));
        return;
    }
    if chosen.len() > 1 {
        let names: Vec<&str> = chosen.iter().map(|one| one.seat.pod.as_str()).collect();
        plan.operation = operation(format!("restarts {}", names.join(", ")));
        plan.waits = true;
        for one in chosen {
            plan.delete(Kind::Pod, &one.seat.pod, one.pod, Why::Outdated);
        }
        return;
    }
    match observed.can_stop.get(&id) {
        Some(CanStop::Yes) if !first.has_last_volume(observed) => {
            plan.operation = operation(format!("restarts {pod}"));
            plan.waits = true;
            plan.delete(Kind::Pod, pod, first.pod, Why::Outdated);
        }
        Some(_) => {
            // A roll is not over because it waits: who looks at `Reconciling` must not take it for done.
            plan.operation = operation(format!("waits until broker {id} may be stopped; then {list}"));
            let message = format!("{list}: broker {id} must not be stopped now; it is asked again");
            plan.pending = Some(Refusal::new(Reason::StopRefused, message));
        }
        None => {
            plan.operation =
                operation(format!("waits until somebody confirms that broker {id} may be stopped; then {list}"));
            let message = format!("{list}: nobody confirms that broker {id} may be stopped; it is not restarted");
            plan.pending = Some(Refusal::new(Reason::StopUnconfirmed, message));
        }
    }
}

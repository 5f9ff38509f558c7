//! Brokers' Pods: those that are missing, ended, or older than what is wanted.
//!
//! Owns that at most one broker is stopped at a time, only while every other one serves, and only when the cluster says
//! that it may be: unknown is no. The first that is stopped is the canary: as long as it does not serve again, nothing
//! follows it.

use serde_json::Value;

use ottla_crds::cluster::UpdatePolicy;

use super::super::child::{Child, Seen};
use super::super::desired::{Desired, Seat};
use super::super::kind::Kind;
use super::super::names;
use super::super::observed::{CanStop, Observed};
use super::super::reason::{Reason, Refusal};
use super::{Operation, Plan, Step, Why, covers, mendable};

/// Whether a Pod's broker serves.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    !pod.is_going()
        && conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// Whether a broker's Pod is of what is wanted now.
pub fn is_current(pod: &Value, wanted: &Value) -> bool {
    pod.annotation(names::REVISION) == wanted.annotation(names::REVISION)
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
    /// Whether the policy lets it be restarted without anybody asking once more.
    fn is_allowed(&self, policy: UpdatePolicy) -> bool {
        let differs = |key| self.pod.annotation(key) != self.wanted.manifest.annotation(key);
        match policy {
            UpdatePolicy::Automatic => differs(names::DECLARED),
            UpdatePolicy::Manual | UpdatePolicy::InWindow => differs(names::RESTART),
        }
    }
}

pub(super) fn plan(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let (mut settled, mut outdated, mut started) = (true, Vec::new(), 0);
    let mut missing = Vec::new();
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
            mend(plan, pod, wanted);
        } else if is_idle(pod) {
            settled = false;
            plan.delete(Kind::Pod, &seat.pod, pod, Why::Idle);
        } else {
            outdated.push(Outdated { seat, pod, wanted });
        }
    }
    plan.waits |= !settled;
    if !missing.is_empty() {
        plan.operation = Some(growth(desired, &missing, started));
    }
    stop_one(plan, desired, observed, settled, outdated);
}

/// What the creation of Pods is called.
fn growth(desired: &Desired, missing: &[&Seat], started: usize) -> Operation {
    let kind = if started == 0 { "Create" } else { "StartBrokers" };
    let names: Vec<&str> = missing.iter().map(|seat| seat.pod.as_str()).collect();
    let step = format!("{started}/{}", desired.brokers.len());
    Operation { kind, step, reason: format!("start {}", names.join(", ")) }
}

fn mend(plan: &mut Plan, pod: &Value, wanted: &Child) {
    let metadata = mendable(wanted);
    if !covers(&pod["metadata"], &metadata) {
        plan.steps.push(Step::Mend { pod: wanted.name.clone(), metadata });
    }
}

/// Stops the next outdated broker, or says why not.
fn stop_one(plan: &mut Plan, desired: &Desired, observed: &Observed, settled: bool, outdated: Vec<Outdated<'_>>) {
    let Some(first) = outdated.first() else { return };
    let pods: Vec<&str> = outdated.iter().map(|one| one.seat.pod.as_str()).collect();
    let list = pods.join(", ");
    let (done, total) = (desired.brokers.len() - outdated.len(), desired.brokers.len());
    let declared = outdated
        .iter()
        .any(|one| one.pod.annotation(names::DECLARED) != one.wanted.manifest.annotation(names::DECLARED));
    if !outdated.iter().any(|one| one.is_allowed(desired.policy)) {
        let ask = format!("annotate the Cluster with a new value of {} to restart them", names::RESTART);
        let (reason, message) = match desired.policy {
            UpdatePolicy::Automatic => {
                (Reason::OperatorChanged, format!("a newer operator makes other Pods than {list}: {ask}"))
            }
            _ if !declared => {
                (Reason::OperatorChanged, format!("a newer operator makes other Pods than {list}: {ask}"))
            }
            UpdatePolicy::Manual => (Reason::WaitsForPerson, format!("{list}: spec.updates.policy is Manual; {ask}")),
            UpdatePolicy::InWindow => {
                let message =
                    format!("{list}: spec.updates.windows are not acted on yet; set the policy Automatic, or {ask}");
                (Reason::WaitsForWindow, message)
            }
        };
        plan.pending = Some(Refusal::new(reason, message));
        return;
    }
    let step = format!("{done}/{total}");
    let operation = |what: String| Some(Operation { kind: "Roll", step: step.clone(), reason: what });
    let others_serve =
        |one: &Outdated<'_>| outdated.iter().all(|other| other.seat.id == one.seat.id || is_ready(other.pod));
    if !settled {
        plan.operation = operation(format!("waits until the brokers that were restarted serve; then {list}"));
        return;
    }
    // Whoever does not serve first, the controller last.
    let controller = observed.documents.summary().and_then(|summary| summary.controller).map(|(id, _)| id);
    let next = outdated
        .iter()
        .filter(|one| one.is_allowed(desired.policy))
        .min_by_key(|one| (is_ready(one.pod), controller == Some(one.seat.id), one.seat.id))
        .unwrap_or(first);
    let (id, pod) = (next.seat.id, &next.seat.pod);
    if !others_serve(next) {
        plan.waits = true;
        plan.operation = operation(format!("waits until every broker but {id} serves; then {list}"));
        return;
    }
    let claim_goes = observed.get(Kind::PersistentVolumeClaim, &next.seat.claim).is_some_and(Seen::is_going);
    match observed.can_stop.get(&id) {
        Some(CanStop::Yes) if !claim_goes => {
            plan.operation = operation(format!("restarts {pod}"));
            plan.waits = true;
            plan.delete(Kind::Pod, pod, next.pod, Why::Outdated);
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

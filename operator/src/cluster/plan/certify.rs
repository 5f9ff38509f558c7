//! The Secrets of a cluster's certificates, as steps.
//!
//! Owns what is written into which. What is to happen is decided in [`super::super::certificates`]. Must never overwrite a
//! Secret that is somebody else's, nor the authority as another operator has made it meanwhile.

use std::collections::BTreeSet;

use ottla_rpc::trust::{CA_FILE, KEY_FILE, LEAF_FILE, MODE_FILE};
use serde_json::{Map, Value, json};

use super::super::certificates::{CA_KEY, Course, Holder, Issue, Order, State, course, data, word};
use super::super::child::{Child, Seen, merge};
use super::super::desired::Desired;
use super::super::kind::Kind;
use super::super::names;
use super::super::observed::Observed;
use super::super::reason::Reason;
use super::{Plan, Step, Whose, Why, covers, whose};

/// Whether brokers may be looked at: there is an authority, without which no new one could show who it is.
pub(super) fn plan(plan: &mut Plan, desired: &Desired, observed: &Observed) -> bool {
    let Some(id) = observed.cluster_id() else { return true };
    if !own(plan, desired, observed) {
        return true;
    }
    let state = State::read(observed, &desired.owner.name, id, &desired.holders, observed.now);
    let holders: BTreeSet<Holder> = desired.holders.keys().copied().collect();
    let wish = desired.rotate.as_deref();
    let course = course(&state, &holders, &observed.processes(), &observed.reported, wish, observed.now);
    let before = plan.steps.len();
    let secrets = Secrets { desired, observed, state: &state, course: &course };
    plan.steps.extend(secrets.authority());
    plan.steps.extend(secrets.bundle());
    plan.steps.extend(desired.holders.iter().filter_map(|(holder, name)| secrets.leaf(*holder, name, id)));
    plan.waits |= plan.steps.len() > before || course.old > 0;
    plan.certificates = Some(course);
    state.newest.is_some()
}

/// Whether all Secrets that are there may be written.
fn own(plan: &mut Plan, desired: &Desired, observed: &Observed) -> bool {
    let mut all = true;
    for name in desired.secrets() {
        let Some(found) = observed.get(Kind::Secret, &name) else { continue };
        match whose(desired, Kind::Secret, found) {
            Whose::Ours if found.is_going() => plan.waits = true,
            Whose::Ours => continue,
            // The sweep sees to it.
            Whose::Predecessor => plan.delete(Kind::Secret, &name, found, Why::Predecessor),
            Whose::Foreign => {
                let message =
                    format!("Secret {name} is not this Cluster's; delete it, or give the Cluster another name");
                plan.refuse(Reason::NameTaken, message);
            }
        }
        all = false;
    }
    all
}

struct Secrets<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    state: &'a State,
    course: &'a Course,
}

impl Secrets<'_> {
    fn secret(&self, name: &str, labels: Map<String, Value>, values: &[(&str, String)]) -> Child {
        let body = json!({"type": "Opaque", "data": data(values)});
        self.desired.owner.labelled(Kind::Secret, name.to_owned(), labels, body)
    }

    /// Applies it if it is not there, or not like this.
    fn ensure(&self, child: Child) -> Option<Step> {
        let why = match self.observed.get(Kind::Secret, &child.name) {
            None => Why::Missing,
            Some(found) if covers(found, &child.manifest) => return None,
            Some(found) if found.annotation(names::APPLIED) == child.stamped().annotation(names::APPLIED) => {
                Why::Edited
            }
            Some(_) => Why::Changed,
        };
        Some(Step::Apply { child, why })
    }

    fn authority(&self) -> Option<Step> {
        let name = names::authority(&self.desired.owner.name);
        let ordered = self.course.issue.iter().find_map(|issue| match issue {
            Issue::Authority { wish } => Some(wish.clone()),
            Issue::Leaf { .. } => None,
        });
        let noted = |child: &mut Child, wish: &Option<String>| {
            if let Some(wish) = wish {
                merge(&mut child.manifest, json!({"metadata": {"annotations": {names::ROTATED: wish}}}));
            }
        };
        if let Some(wish) = ordered {
            let mut secret = self.secret(&name, Map::new(), &[]);
            noted(&mut secret, &wish);
            let found = self.observed.get(Kind::Secret, &name);
            let version = found.and_then(|found| found["metadata"]["resourceVersion"].as_str()).map(str::to_owned);
            let title = format!("{} {}", self.desired.owner.name, self.observed.now.strftime("%Y-%m-%dT%H:%M:%SZ"));
            return Some(Step::Certify { secret, order: Order::Authority { title, version }, now: self.observed.now });
        }
        let (newest, key) = self.state.newest.as_ref()?;
        let values = [(CA_FILE, newest.certificate.clone()), (CA_KEY, key.clone())];
        let mut secret = self.secret(&name, Map::new(), &values);
        noted(&mut secret, &self.state.asked);
        self.ensure(secret)
    }

    fn bundle(&self) -> Option<Step> {
        self.state.newest.as_ref()?;
        let name = names::authorities(&self.desired.owner.name);
        self.ensure(self.secret(&name, Map::new(), &[(CA_FILE, self.course.believed.clone())]))
    }

    fn leaf(&self, holder: Holder, name: &str, id: ottla_core::types::ClusterId) -> Option<Step> {
        let (newest, key) = self.state.newest.as_ref()?;
        let mut labels = Map::new();
        if let Holder::Broker(id) = holder {
            labels.insert(names::BROKER_LABEL.to_owned(), json!(id.to_string()));
        }
        let mut values = vec![(CA_FILE, self.course.believed.clone()), (MODE_FILE, word(self.course.mode).to_owned())];
        if self.course.issue.contains(&Issue::Leaf { holder }) {
            let secret = self.secret(name, labels, &values);
            let authority = (newest.certificate.clone(), key.clone());
            let order = Order::Leaf { dns: holder.name().dns(id), authority, authority_until: newest.until };
            return Some(Step::Certify { secret, order, now: self.observed.now });
        }
        let files = &self.state.held.get(&holder)?.files;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        values.extend([(LEAF_FILE, text(&files.leaf)), (KEY_FILE, text(&files.key))]);
        self.ensure(self.secret(name, labels, &values))
    }
}

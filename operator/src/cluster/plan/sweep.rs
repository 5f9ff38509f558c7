//! What is there and wanted by nobody.
//!
//! Owns which orphans go. An object goes only if it belongs to this Cluster or to an earlier one of its name; a disk only
//! if its broker has left, is proven to hold nothing, and is unregistered: then it can be given nothing. A Pod that is still
//! there, on a node that does not let it go, keeps the disk until then; that it is deleted says for whoever looks next that the broker
//! does not come back.

use std::collections::BTreeSet;

use super::super::child::Seen;
use super::super::desired::Desired;
use super::super::kind::Kind;
use super::super::observed::Observed;
use super::{Plan, Whose, Why, whose};

pub(super) fn plan(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let wanted: BTreeSet<(Kind, &str)> =
        desired.children.iter().map(|child| (child.kind, child.name.as_str())).collect();
    // A Pod that starts again reads its configuration again, however old.
    let in_use: BTreeSet<&str> = observed
        .of(Kind::Pod)
        .flat_map(|(_, pod)| pod["spec"]["volumes"].as_array().into_iter().flatten())
        .filter_map(|volume| volume["configMap"]["name"].as_str())
        .collect();
    let secrets: BTreeSet<String> = desired.secrets().into_iter().collect();
    let with_pod: BTreeSet<i32> = observed.of(Kind::Pod).filter_map(|(_, pod)| pod.broker()).collect();
    let registered = observed.documents.summary().map(|summary| &summary.registered);
    let forgotten = |id: i32| registered.is_some_and(|registered| !registered.contains(&id));
    // Where no broker is left nobody could be asked to forget one, nor gives it anything.
    let abandoned = |id: i32| desired.brokers.is_empty() && !with_pod.contains(&id);
    for ((kind, name), object) in &observed.objects {
        if wanted.contains(&(*kind, name.as_str())) {
            continue;
        }
        // What is left of a broker that is forgotten goes when its node lets it: nobody has to wait for that.
        if object.is_going() && object.broker().is_some_and(|id| desired.dismissed.contains(&id) && forgotten(id)) {
            continue;
        }
        let whose = whose(desired, *kind, object);
        let broker = object.broker();
        let dismissed = broker.is_some_and(|id| desired.dismissed.contains(&id));
        let why = match (kind, whose) {
            (_, Whose::Foreign) => continue,
            // Brokers that sleep are not on their way out.
            (Kind::PersistentVolumeClaim | Kind::Pod, _) if desired.hibernates => continue,
            (Kind::PersistentVolumeClaim, _)
                if dismissed && broker.is_some_and(|id| forgotten(id) || abandoned(id)) =>
            {
                Why::Dismissed
            }
            (Kind::PersistentVolumeClaim, _) => continue,
            (_, Whose::Predecessor) => Why::Predecessor,
            // Who is on its way out shows who it is until it has gone.
            (Kind::Secret, Whose::Ours)
                if secrets.contains(name) || broker.is_some_and(|id| with_pod.contains(&id)) =>
            {
                continue;
            }
            (Kind::Pod, Whose::Ours) if dismissed => Why::Dismissed,
            (Kind::Pod, Whose::Ours)
                if broker.is_some_and(|id| desired.kept.contains(&id) || desired.lost.brokers.contains_key(&id)) =>
            {
                continue;
            }
            (Kind::ConfigMap, Whose::Ours) if in_use.contains(name.as_str()) => continue,
            (_, Whose::Ours) => Why::Orphaned,
        };
        plan.delete(*kind, name, object, why);
    }
}

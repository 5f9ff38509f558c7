//! The Pod of a broker.
//!
//! Owns what it runs, as whom, where, and its checksums: one of everything it was made from, one of the part that the
//! Cluster's owner declared and only a restart brings into force. A Pod whose first differs from what is wanted is outdated;
//! only a difference of the second may restart a broker by itself: a new operator restarts nothing. Another one, of all that
//! was declared, is what operators before this one compare.

use std::collections::BTreeMap;

use ottla_crds::Cluster;
use ottla_crds::cluster::{Listener, ListenerType, Pool};
use serde_json::{Value, json};

use super::super::child::{Child, Owner, checksum, merge};
use super::super::kind::Kind;
use super::super::names;
use super::super::outside::{self, Outside};
use super::access::account;
use super::config::changes_while_running;
use super::config::{ADVERTISED, CERTIFICATES, DYNAMIC, FILE, FILE_OF_ADVERTISED, Properties, VOLUME};
use super::{Seat, storage};

/// How long a broker may take to hand over what it leads and to bring everything to disk.
const GRACE_SECONDS: i32 = 90;
/// How often a start is looked at, and how many times before it is given up: half an hour of recovery.
const START_PERIOD_SECONDS: i32 = 2;
const START_FAILURES_MAX: i32 = 900;
/// The user and group that brokers run as.
const USER: i64 = 65532;
/// Read by that group, and nobody else: `0440`.
const SECRET_MODE: i32 = 0o440;

/// A volume with one file, which follows that annotation of the Pod.
fn downward(name: &str, file: &str, annotation: &str) -> Value {
    let path = format!("metadata.annotations['{annotation}']");
    json!({"name": name, "downwardAPI": {"items": [{"path": file, "fieldRef": {"fieldPath": path}}]}})
}

/// What Pods are made from.
pub(super) struct Recipe<'a> {
    pub(super) owner: &'a Owner,
    pub(super) cluster: &'a Cluster,
    pub(super) pool: &'a Pool,
    pub(super) listeners: &'a [Listener],
    pub(super) image: &'a str,
    pub(super) properties: &'a Properties,
    pub(super) outside: &'a Outside,
}

impl Recipe<'_> {
    /// The Pod of the broker of that seat.
    pub(super) fn pod(&self, seat: &Seat) -> Child {
        let template = self.pool.template.clone().unwrap_or_default();
        let mut labels: serde_json::Map<String, Value> =
            template.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        labels.extend(storage::labels(seat));
        // A person's labels never replace those that Services select by.
        labels.extend(self.owner.labels());
        // Whoever has this one is restarted: a Pod that was born with it would be for ever.
        let annotations = template.annotations.iter().filter(|(key, _)| key.as_str() != names::RESTART);
        let annotations: serde_json::Map<String, Value> =
            annotations.map(|(key, value)| (key.clone(), json!(value))).collect();
        let with = |config: &str| {
            let body = json!({"metadata": {"annotations": annotations}, "spec": self.spec(seat, config)});
            self.owner.labelled(Kind::Pod, seat.pod.clone(), labels.clone(), body)
        };
        // What changes while a broker runs makes no other Pod, although one that is made later begins with it.
        let revision = checksum(&with(&self.properties.fixed).manifest);
        let mut pod = with(&self.properties.config.name);
        let mut stamps = json!({
            names::REVISION: revision,
            names::DECLARED: self.declared(|_| true),
            names::DECLARED_AT_START: self.declared(|key| !changes_while_running(key)),
            names::CONFIG: self.properties.dynamic,
        });
        if let Some(restart) = self.restart() {
            stamps[names::RESTARTED] = json!(restart);
        }
        // What clients outside are told is learned and changes while the broker runs: it makes no other Pod.
        if let Some(advertised) = self.outside.advertised(self.owner, self.listeners, seat.id) {
            stamps[names::ADVERTISED] = json!(advertised);
        }
        merge(&mut pod.manifest, json!({"metadata": {"annotations": stamps}}));
        pod
    }

    fn restart(&self) -> Option<&String> {
        self.cluster.metadata.annotations.as_ref()?.get(names::RESTART)
    }

    /// The checksum of what a person has declared about this broker, with those keys of `spec.config` that count. A size is
    /// not part of it: volumes grow under brokers that run. Nor is a wish to have it restarted, which a Pod tells for itself;
    /// where it once was there is nothing.
    fn declared(&self, counts: impl Fn(&str) -> bool) -> String {
        let spec = &self.cluster.spec;
        let config: BTreeMap<_, _> = spec.config.iter().filter(|(key, _)| counts(key)).collect();
        checksum(&json!({
            "version": spec.version,
            "rack": self.pool.rack,
            "resources": self.pool.resources,
            "template": self.pool.template,
            "listeners": spec.listeners,
            "config": config,
            "restart": null,
        }))
    }

    fn spec(&self, seat: &Seat, config: &str) -> Value {
        let template = self.pool.template.clone().unwrap_or_default();
        let mut security = json!({
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        merge(&mut security, template.security_context.map_or(json!({}), |context| json!(context)));
        let certificate = json!({"secretName": names::certificate(&seat.pod), "defaultMode": SECRET_MODE});
        let mut volumes = vec![
            json!({"name": "config", "configMap": {"name": config}}),
            downward("dynamic", FILE, names::CONFIG),
            json!({"name": "certificates", "secret": certificate}),
            json!({"name": "data", "persistentVolumeClaim": {"claimName": seat.claim}}),
        ];
        if self.is_outside() {
            volumes.push(downward("advertised", FILE_OF_ADVERTISED, names::ADVERTISED));
        }
        let mut spec = json!({
            "serviceAccountName": account(&self.owner.name),
            "automountServiceAccountToken": true,
            "enableServiceLinks": false,
            "hostname": seat.pod,
            "subdomain": names::brokers(&self.owner.name),
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": security,
            "affinity": self.affinity(),
            "topologySpreadConstraints": [self.spread("topology.kubernetes.io/zone"), self.spread("kubernetes.io/hostname")],
            "containers": [self.container(seat)],
            "volumes": volumes,
        });
        if !template.tolerations.is_empty() {
            spec["tolerations"] = json!(template.tolerations);
        }
        if let Some(class) = template.priority_class_name {
            spec["priorityClassName"] = json!(class);
        }
        spec
    }

    fn spread(&self, key: &str) -> Value {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": self.owner.selector()},
        })
    }

    /// Whether clients outside are told addresses that change while the broker runs.
    fn is_outside(&self) -> bool {
        outside::listeners(self.listeners).next().is_some()
    }

    /// Apart from each other where there is room, unless the pool's owner says it otherwise.
    fn affinity(&self) -> Value {
        let declared = self.pool.template.as_ref().and_then(|template| template.affinity.as_ref());
        let mut affinity = declared.map_or(json!({}), |affinity| json!(affinity));
        if affinity["podAntiAffinity"].is_null() {
            let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": self.owner.selector()}});
            affinity["podAntiAffinity"] =
                json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]});
        }
        affinity
    }

    fn container(&self, seat: &Seat) -> Value {
        let http = |path: &str| json!({"httpGet": {"path": path, "port": names::HTTP_PORT}, "periodSeconds": 5});
        let mut startup = http("/livez");
        merge(&mut startup, json!({"periodSeconds": START_PERIOD_SECONDS, "failureThreshold": START_FAILURES_MAX}));
        let mut readiness = http("/readyz");
        merge(&mut readiness, json!({"periodSeconds": START_PERIOD_SECONDS}));
        let mut liveness = http("/livez");
        merge(&mut liveness, json!({"failureThreshold": 6, "timeoutSeconds": 5}));
        let mut ports: Vec<Value> =
            self.listeners.iter().map(|one| json!({"name": one.name, "containerPort": one.port})).collect();
        ports.push(json!({"name": "ottla-grpc", "containerPort": names::GRPC_PORT}));
        ports.push(json!({"name": "ottla-http", "containerPort": names::HTTP_PORT}));
        let mut mounts = vec![
            json!({"name": "config", "mountPath": "/etc/ottla", "readOnly": true}),
            json!({"name": "dynamic", "mountPath": DYNAMIC, "readOnly": true}),
            json!({"name": "certificates", "mountPath": CERTIFICATES, "readOnly": true}),
            json!({"name": "data", "mountPath": VOLUME}),
        ];
        if self.is_outside() {
            mounts.push(json!({"name": "advertised", "mountPath": ADVERTISED, "readOnly": true}));
        }
        let mut container = json!({
            "name": "broker",
            "image": self.image,
            "args": ["--config", format!("/etc/ottla/{FILE}")],
            "env": self.environment(seat),
            "ports": ports,
            "startupProbe": startup,
            "readinessProbe": readiness,
            "livenessProbe": liveness,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": mounts,
        });
        if let Some(resources) = &self.pool.resources {
            container["resources"] = json!(resources);
        }
        container
    }

    /// What differs from broker to broker.
    fn environment(&self, seat: &Seat) -> Value {
        let (owner, pod) = (self.owner, &seat.pod);
        let host = format!("{pod}.{}.{}.svc", names::brokers(&owner.name), owner.namespace);
        // Of the others the file tells.
        let internal = self.listeners.iter().filter(|one| one.kind == ListenerType::Internal);
        let advertised: Vec<String> =
            internal.map(|one| format!("{}://{host}:{}", names::in_properties(one), one.port)).collect();
        let mut variables = vec![
            json!({"name": "OTTLA_NODE_ID", "value": seat.id.to_string()}),
            json!({"name": "OTTLA_ADVERTISED_LISTENERS", "value": advertised.join(",")}),
            json!({"name": "OTTLA_GRPC_ADVERTISED", "value": format!("{host}:{}", names::GRPC_PORT)}),
        ];
        if let Some(label) = &self.pool.rack {
            // Kubernetes copies this label of the node onto the Pod when it binds it; where it does not (before 1.35), the rack
            // is empty, which is none.
            let path = format!("metadata.labels['{label}']");
            variables.push(json!({"name": "OTTLA_BROKER_RACK", "valueFrom": {"fieldRef": {"fieldPath": path}}}));
        }
        json!(variables)
    }
}

//! `report`: what a bug report needs, in one file.
//!
//! Owns what is collected, how much of it, and what could not be had, which is told inside. Everything but the program's own words
//! goes through `redact`. Must never ask for a Secret, nor fail as a whole because one part may not be read.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{AsyncBufReadExt as _, AsyncReadExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, LogParams};
use ottla_crds::names;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::args;
use crate::brokers::Broker;
use crate::failure::{Exit, Failure, Result};
use crate::place::Place;
use crate::redact;
use crate::rights::{self, Right};
use crate::status;
use crate::tunnel::Tunnel;

mod bundle;

use bundle::Bundle;

/// How the operator's Pods are labelled.
const OPERATOR: &str = "app.kubernetes.io/name=ottla-operator";
/// Where it runs when nobody says so.
const OPERATOR_NAMESPACE: &str = "ottla-system";
/// How many objects of one kind are written.
const OBJECTS_MAX: usize = 5000;
/// How large the metrics of one broker may be, and how long they may take.
const METRICS_BYTES_MAX: u64 = 64 * 1024 * 1024;
const METRICS_PATIENCE: Duration = Duration::from_secs(20);
/// How long a log may take.
const LOG_PATIENCE: Duration = Duration::from_secs(120);

/// A kind of objects, and which of them belong to a Cluster.
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    version: &'static str,
    kind: &'static str,
    pub(crate) plural: &'static str,
    belongs: Belongs,
}

/// How an object is known to belong to a Cluster.
#[derive(Clone, Copy)]
enum Belongs {
    Name,
    Reference,
    Label,
    About,
}

const fn labelled(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, version, kind, plural, belongs: Belongs::Label }
}

/// Everything that is listed.
pub(crate) const LISTED: [Kind; 11] = [
    Kind { group: "ottla.dev", version: "v1alpha1", kind: "Cluster", plural: "clusters", belongs: Belongs::Name },
    Kind { group: "ottla.dev", version: "v1alpha1", kind: "Topic", plural: "topics", belongs: Belongs::Reference },
    labelled("ottla.dev", "v1alpha1", "MetadataShard", "metadatashards"),
    labelled("", "v1", "Pod", "pods"),
    labelled("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    labelled("", "v1", "Service", "services"),
    labelled("", "v1", "ConfigMap", "configmaps"),
    labelled("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    labelled("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    labelled("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind { group: "", version: "v1", kind: "Event", plural: "events", belongs: Belongs::About },
];

impl Kind {
    fn resource(&self) -> ApiResource {
        let api_version =
            if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) };
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version,
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    fn right(&self) -> Right {
        Right { verb: "list", group: self.group, resource: self.plural }
    }

    fn includes(&self, cluster: &str, object: &Value) -> bool {
        match self.belongs {
            Belongs::Label => true,
            Belongs::Name => object["metadata"]["name"] == cluster,
            Belongs::Reference => object["spec"]["clusterRef"]["name"] == cluster,
            Belongs::About => {
                let about = object["involvedObject"]["name"].as_str().unwrap_or_default();
                about == cluster
                    || about.starts_with(&format!("{cluster}-"))
                    || about.contains(&format!("-{cluster}-"))
                    || object["involvedObject"]["kind"] == "Topic"
            }
        }
    }
}

/// A report in the making.
struct Report<'a> {
    place: &'a Place,
    args: &'a args::Report,
    bundle: Bundle,
    /// What could not be had, and why.
    missing: Vec<String>,
}

pub(crate) async fn run(place: &Place, args: args::Report) -> Result<i32> {
    let name = args.name.clone();
    let now = Timestamp::now();
    let view = status::look(place, &name).await?;
    let folder = format!("ottla-{name}-{}", now.strftime("%Y%m%d-%H%M%S"));
    let mut report = Report { place, args: &args, bundle: Bundle::new(&folder, now), missing: Vec::new() };
    report.bundle.add("status.txt", redact::text(&status::page(&view, now)).as_bytes())?;
    for kind in &LISTED {
        report.objects(kind).await?;
    }
    report.operator().await?;
    for broker in &view.brokers {
        report.broker(broker).await?;
    }
    let missing = report.missing;
    report.bundle.add("report.txt", cover(place, &name, now, &missing).as_bytes())?;
    let content = report.bundle.finish()?;
    write(args.output.unwrap_or_else(|| PathBuf::from(format!("{folder}.tar.gz"))).as_path(), &content)?;
    for one in &missing {
        eprintln!("left out: {one}");
    }
    Ok(Exit::Done as i32)
}

fn cover(place: &Place, name: &str, now: Timestamp, missing: &[String]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "Cluster {name}, in {}\ncollected {now} by kubectl-ottla {version}\n\n\
         No Secret was asked for. What looks like a credential was replaced by {}.\n",
        place.words(),
        redact::REDACTED
    );
    if !missing.is_empty() {
        text.push_str("\nLeft out:\n");
        missing.iter().for_each(|one| text.push_str(&format!("  {}\n", redact::text(one))));
    }
    text
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    if path == Path::new("-") {
        std::io::stdout().lock().write_all(content)?;
        return Ok(());
    }
    // Names of topics and hosts are for nobody else on this machine.
    let created = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    created
        .and_then(|mut file| file.write_all(content))
        .map_err(|error| Failure::new(Exit::Failed, format!("{} cannot be written: {error}", path.display())))?;
    writeln!(std::io::stdout().lock(), "{} ({} KiB)", path.display(), content.len().div_ceil(1024))?;
    Ok(())
}

impl Report<'_> {
    fn miss(&mut self, what: &str, failure: &Failure) {
        self.missing.push(format!("{what}: {}", failure.words()));
    }

    /// Every object of one kind that belongs to the Cluster.
    async fn objects(&mut self, kind: &Kind) -> Result<()> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.place.client(), self.place.namespace(), &kind.resource());
        let labels = format!("{}={}", names::CLUSTER_LABEL, self.args.name);
        let params = match kind.belongs {
            Belongs::Label => ListParams::default().labels(&labels),
            Belongs::Name | Belongs::Reference | Belongs::About => ListParams::default(),
        };
        let found = match self.place.ask(kind.right(), api.list(&params)).await {
            Ok(list) => list.items,
            Err(failure) => {
                self.miss(kind.plural, &failure);
                return Ok(());
            }
        };
        let mut written = String::new();
        let objects = found.into_iter().filter_map(|object| serde_json::to_value(object).ok());
        for mut object in objects.filter(|object| kind.includes(&self.args.name, object)).take(OBJECTS_MAX) {
            // What a list holds does not say itself what it is.
            object["apiVersion"] = Value::from(kind.resource().api_version);
            object["kind"] = Value::from(kind.kind);
            redact::object(&mut object);
            let yaml = serde_yaml::to_string(&object)
                .map_err(|error| Failure::new(Exit::Failed, format!("a {} cannot be written: {error}", kind.kind)))?;
            written.push_str("---\n");
            written.push_str(&yaml);
        }
        self.bundle.add(&format!("resources/{}.yaml", kind.plural), written.as_bytes())?;
        Ok(())
    }

    /// The logs of the operator's Pods.
    async fn operator(&mut self) -> Result<()> {
        let params = ListParams::default().labels(OPERATOR);
        let within = |namespace: &str| Api::<Pod>::namespaced(self.place.client(), namespace);
        let found = match &self.args.operator_namespace {
            Some(namespace) => self.place.ask(rights::LIST_PODS, within(namespace).list(&params)).await,
            None => {
                let everywhere = Api::<Pod>::all(self.place.client());
                match self.place.ask(rights::LIST_PODS, everywhere.list(&params)).await {
                    Ok(found) => Ok(found),
                    // Who may not look everywhere may perhaps look where it usually is.
                    Err(_) => self.place.ask(rights::LIST_PODS, within(OPERATOR_NAMESPACE).list(&params)).await,
                }
            }
        };
        let pods = match found {
            Ok(list) if list.items.is_empty() => {
                self.missing.push(format!("the operator's logs: there is no Pod labelled {OPERATOR}"));
                return Ok(());
            }
            Ok(list) => list.items,
            Err(failure) => {
                let why = failure.way_out("Name its namespace with --operator-namespace, if you may read there.");
                self.miss("the operator's logs", &why);
                return Ok(());
            }
        };
        for pod in pods {
            let namespace = pod.metadata.namespace.unwrap_or_default();
            let name = pod.metadata.name.unwrap_or_default();
            let api = Api::namespaced(self.place.client(), &namespace);
            self.log(&api, &name, None, "operator").await?;
        }
        Ok(())
    }

    async fn broker(&mut self, broker: &Broker) -> Result<()> {
        let api = self.place.api::<Pod>();
        self.log(&api, &broker.pod, Some(names::CONTAINER), "brokers").await?;
        match metrics(self.place, &broker.pod).await {
            Ok(text) => self.bundle.add(&format!("metrics/{}.txt", broker.pod), redact::text(&text).as_bytes())?,
            Err(failure) => self.miss(&format!("metrics of {}", broker.pod), &failure),
        }
        Ok(())
    }

    /// The end of a container's log, and of the one before where there was one.
    async fn log(&mut self, api: &Api<Pod>, pod: &str, container: Option<&str>, folder: &str) -> Result<()> {
        for previous in [false, true] {
            let suffix = if previous { ".previous" } else { "" };
            let params = LogParams {
                container: container.map(str::to_owned),
                previous,
                timestamps: true,
                ..LogParams::default()
            };
            let bytes_max = usize::from(self.args.log_size) * 1024 * 1024;
            match tokio::time::timeout(LOG_PATIENCE, tail(self.place, api, pod, &params, bytes_max)).await {
                Ok(Ok(text)) => {
                    self.bundle.add(&format!("logs/{folder}/{pod}{suffix}.log"), redact::text(&text).as_bytes())?;
                }
                // Most containers are the first of their Pod.
                Ok(Err(_)) if previous => {}
                Ok(Err(failure)) => self.miss(&format!("log of {pod}"), &failure),
                Err(_) => self.missing.push(format!("log of {pod}: it took longer than {} s", LOG_PATIENCE.as_secs())),
            }
        }
        Ok(())
    }
}

/// The last lines of a log, `bytes_max` bytes of them at most.
async fn tail(place: &Place, api: &Api<Pod>, pod: &str, params: &LogParams, bytes_max: usize) -> Result<String> {
    let mut stream = place.ask(rights::READ_LOGS, api.log_stream(pod, params)).await?;
    let mut kept: Vec<u8> = Vec::new();
    let mut cut = false;
    loop {
        // A line without an end is no reason to keep more.
        let read = (&mut stream).take(bytes_max as u64).read_until(b'\n', &mut kept).await?;
        if read == 0 {
            break;
        }
        // Half of what is too much at once: not every line moves all that is kept.
        if kept.len() > bytes_max.saturating_mul(2) {
            let from = kept.len() - bytes_max;
            kept.drain(..from);
            cut = true;
        }
    }
    let from = kept.len().saturating_sub(bytes_max);
    kept.drain(..from);
    cut |= from > 0;
    let whole = if cut { kept.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) } else { 0 };
    Ok(String::from_utf8_lossy(&kept[whole..]).into_owned())
}

/// What a broker tells scrapers.
async fn metrics(place: &Place, pod: &str) -> Result<String> {
    let (mut stream, refusal, end) = Tunnel::open(place, pod, names::HTTP_PORT).await?.split();
    let read = async {
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: broker\r\n\r\n").await?;
        let mut answer = Vec::new();
        (&mut stream).take(METRICS_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok::<_, Failure>(answer)
    };
    let answer = tokio::time::timeout(METRICS_PATIENCE, read).await;
    drop(stream);
    end.close().await;
    let answer = answer.map_err(|_| Failure::new(Exit::Late, format!("{pod} did not answer in time")))??;
    let text = String::from_utf8_lossy(&answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        let why = refusal.await.unwrap_or_else(|| "it did not answer".to_owned());
        return Err(Failure::new(Exit::Late, format!("{pod}: {why}")));
    };
    let first = head.lines().next().unwrap_or_default();
    if first.split(' ').nth(1) != Some("200") {
        return Err(Failure::new(Exit::Failed, format!("{pod} answered {first}")));
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(plural: &str) -> &'static Kind {
        LISTED.iter().find(|kind| kind.plural == plural).unwrap()
    }

    #[test]
    fn what_belongs_to_a_cluster_is_known() {
        let about = |kind: &str, name: &str| json!({"involvedObject": {"kind": kind, "name": name}});
        let events = kind("events");
        for (object, belongs) in [
            (about("Pod", "events-main-0"), true),
            (about("PersistentVolumeClaim", "data-events-main-0"), true),
            (about("Cluster", "events"), true),
            (about("Topic", "orders"), true),
            (about("Pod", "events2-main-0"), false),
            (about("Pod", "other"), false),
        ] {
            assert_eq!(events.includes("events", &object), belongs, "{object}");
        }
        assert!(kind("topics").includes("events", &json!({"spec": {"clusterRef": {"name": "events"}}})));
        assert!(!kind("topics").includes("events", &json!({"spec": {"clusterRef": {"name": "other"}}})));
        assert!(!kind("clusters").includes("events", &json!({"metadata": {"name": "other"}})));
    }

    #[test]
    fn no_secret_is_listed() {
        assert!(LISTED.iter().all(|kind| kind.plural != "secrets"));
        assert_eq!(kind("pods").resource().api_version, "v1");
        assert_eq!(kind("leases").resource().api_version, "coordination.k8s.io/v1");
    }
}

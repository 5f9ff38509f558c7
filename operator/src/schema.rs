//! Whether the definitions in Kubernetes know every field that this operator writes.
//!
//! Owns the comparison of what the API server serves with what this operator was built with: a field that a definition does
//! not know is lost, or refuses the whole write. It reads what every account may read, the published schema, so that no right
//! is needed. Who cannot read it goes on as if everything fitted. Must never write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use kube::Client;
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// How often the API server is asked whether it serves another schema.
const PERIOD: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// What the operator writes.
const WRITTEN: [&str; 3] = ["Cluster", "MetadataShard", "Topic"];

/// What is known of the definitions. Clones know the same.
#[derive(Clone, Default)]
pub struct Schemas(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// Where the schema that was last compared is: another one is elsewhere.
    at: Option<String>,
    /// What each kind lacks, in a sentence.
    lacks: BTreeMap<&'static str, String>,
    told: bool,
}

impl Schemas {
    /// What a definition lacks and the way out, if it is older than this operator.
    pub fn lack(&self, kind: &str) -> Option<String> {
        self.0.lock().lacks.get(kind).cloned()
    }

    /// Looks now and then until `stop`.
    pub async fn follow(self, client: Client, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => self.look(&client).await,
            }
        }
    }

    /// Looks once.
    pub async fn look(&self, client: &Client) {
        let looked = tokio::time::timeout(DEADLINE, self.compare(client)).await;
        let why = match looked {
            Ok(Ok(())) => {
                self.0.lock().told = false;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {DEADLINE:?}"),
        };
        if !std::mem::replace(&mut self.0.lock().told, true) {
            tracing::warn!(why, "read the published schema; whether definitions are too old is not known");
        }
    }

    async fn compare(&self, client: &Client) -> kube::Result<()> {
        let index: Value = client.request(get("/openapi/v3")).await?;
        let group = format!("apis/{}", ottla_crds::API_VERSION);
        // Without it there is not a single definition, which every watch tells.
        let Some(at) = index["paths"][&group]["serverRelativeURL"].as_str() else { return Ok(()) };
        if self.0.lock().at.as_deref() == Some(at) {
            return Ok(());
        }
        let served: Value = client.request(get(at)).await?;
        let lacks = lacks(&served);
        for sentence in lacks.values() {
            tracing::warn!(sentence, "definitions are too old");
        }
        let mut known = self.0.lock();
        (known.at, known.lacks) = (Some(at.to_owned()), lacks);
        Ok(())
    }
}

fn get(path: &str) -> Request<Vec<u8>> {
    Request::get(path).body(Vec::new()).expect("a path of this program or of the API server itself")
}

/// What of this operator's own definitions the served schema lacks.
fn lacks(served: &Value) -> BTreeMap<&'static str, String> {
    let mut lacks = BTreeMap::new();
    for definition in ottla_crds::definitions() {
        let names = &definition.spec.names;
        let Some(kind) = WRITTEN.into_iter().find(|kind| *kind == names.kind) else { continue };
        let own = serde_json::to_value(&definition.spec.versions[0]).expect("a definition is plain data");
        let own = &own["schema"]["openAPIV3Schema"];
        let Some(theirs) = schema_of(served, kind) else { continue };
        let field = ["spec", "status"].into_iter().find_map(|part| {
            let own = &own["properties"][part];
            if own.is_null() { None } else { missing(own, &theirs["properties"][part], part) }
        });
        if let Some(field) = field {
            let sentence = format!(
                "the definition {}.{} in Kubernetes is older than this operator and has no {field}: apply the chart ottla-crds of \
                 this version, or `kubectl apply -k crds --server-side`",
                names.plural,
                ottla_crds::GROUP
            );
            lacks.insert(kind, sentence);
        }
    }
    lacks
}

/// The schema of a kind in what the API server publishes of a group.
fn schema_of<'a>(served: &'a Value, kind: &str) -> Option<&'a Value> {
    let is_kind =
        |one: &Value| one["group"] == ottla_crds::GROUP && one["version"] == ottla_crds::VERSION && one["kind"] == kind;
    let schemas = served["components"]["schemas"].as_object()?;
    schemas
        .values()
        .find(|schema| schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|all| all.iter().any(is_kind)))
}

/// The first field of `own` that `theirs` does not have.
fn missing(own: &Value, theirs: &Value, path: &str) -> Option<String> {
    if theirs.is_null() {
        return Some(path.to_owned());
    }
    if theirs["x-kubernetes-preserve-unknown-fields"] == true {
        return None;
    }
    let fields = own["properties"].as_object().into_iter().flatten();
    let field = fields.map(|(name, inner)| (inner, &theirs["properties"][name], format!("{path}.{name}")));
    let inner = ["items", "additionalProperties"].into_iter().filter(|name| own[*name].is_object());
    let inner = inner.map(|name| (&own[name], &theirs[name], format!("{path}[]")));
    field.chain(inner).find_map(|(own, theirs, path)| missing(own, theirs, &path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What an API server publishes for these definitions.
    fn served() -> Value {
        let mut schemas = serde_json::Map::new();
        for definition in ottla_crds::definitions() {
            let kind = definition.spec.names.kind.clone();
            let version = serde_json::to_value(&definition.spec.versions[0]).unwrap();
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            let list = json!([{"group": "ottla.dev", "version": "v1alpha1", "kind": format!("{kind}List")}]);
            schemas.insert(format!("{kind}List"), json!({"x-kubernetes-group-version-kind": list}));
            schema["x-kubernetes-group-version-kind"] =
                json!([{"group": "ottla.dev", "version": "v1alpha1", "kind": kind}]);
            schemas.insert(kind, schema);
        }
        json!({"components": {"schemas": schemas}})
    }

    /// The sentence about Clusters when a field is taken out of the served schema.
    fn without(pointer: &str) -> Option<String> {
        let mut served = served();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = format!("/components/schemas/Cluster/properties/{parent}");
        served.pointer_mut(&parent).unwrap().as_object_mut().unwrap().remove(name).expect(name);
        lacks(&served).remove("Cluster")
    }

    #[test]
    fn what_it_was_built_with_fits() {
        assert_eq!(lacks(&served()), BTreeMap::new());
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_the_way_out() {
        let sentence = without("spec/properties/updates/properties/canary").unwrap();
        assert!(sentence.contains("clusters.ottla.dev") && sentence.contains("spec.updates.canary"), "{sentence}");
        assert!(sentence.contains("the chart ottla-crds"), "{sentence}");
        let inside = without("spec/properties/pools/items/properties/rack").unwrap();
        assert!(inside.contains("spec.pools[].rack"), "{inside}");
        assert!(without("status/properties/operation").unwrap().contains("status.operation"));
    }

    #[test]
    fn a_newer_definition_fits_too() {
        let mut served = served();
        let fields = served.pointer_mut("/components/schemas/Cluster/properties/spec/properties").unwrap();
        fields["more"] = json!({"type": "string"});
        assert_eq!(lacks(&served), BTreeMap::new());
    }
}

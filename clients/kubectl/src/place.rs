//! Where to look: a context, a namespace, and the API server behind them.
//!
//! Owns the way from a kubeconfig to a client, and the words for what goes wrong there: every failure names the namespace and the
//! context that were looked at. Must never print a credential.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::client::UpgradeConnectionError;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};
use ottla_crds::{Cluster, names};
use serde::de::DeserializeOwned;

use crate::args::Global;
use crate::failure::{Exit, Failure, Result};
use crate::rights::{self, Right};

/// How long one answer of the API server may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// No namespace has this name.
const EVERYWHERE: &str = "*";
/// How alike a name has to be to be meant.
const ALIKE: f64 = 0.75;
/// How many names are offered.
const OFFERED_MAX: usize = 5;

/// Where to look.
#[derive(Clone)]
pub(crate) struct Place {
    client: Client,
    context: String,
    server: String,
    namespace: String,
}

impl Place {
    /// The place that the kubeconfig and the options name.
    pub(crate) async fn open(global: &Global) -> Result<Self> {
        let unreadable = |error: &dyn Display| {
            Failure::new(Exit::Usage, format!("the kubeconfig cannot be used: {error}"))
                .way_out("Give another one with --kubeconfig FILE, or another context with --context NAME.")
        };
        let kubeconfig = match &global.kubeconfig {
            Some(path) => {
                Kubeconfig::read_from(path).map_err(|error| unreadable(&format!("{}: {error}", path.display())))?
            }
            None => match Kubeconfig::read() {
                Ok(kubeconfig) => kubeconfig,
                // In a Pod there is none, and an account all the same.
                Err(error) => {
                    let config = Config::incluster().map_err(|_| unreadable(&error))?;
                    return Self::of(config, "the Pod's own account".to_owned(), global);
                }
            },
        };
        let known: Vec<String> = kubeconfig.contexts.iter().map(|one| one.name.clone()).collect();
        let context = global.context.clone().or_else(|| kubeconfig.current_context.clone());
        let context = context.unwrap_or_default();
        if !known.contains(&context) {
            let what = if context.is_empty() {
                "the kubeconfig has no current context".to_owned()
            } else {
                format!("the kubeconfig has no context {context:?}")
            };
            return Err(Failure::new(Exit::Usage, what).way_out(offer("--context", &near(&context, &known))));
        }
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unreadable(&error))?;
        Self::of(config, context, global)
    }

    fn of(mut config: Config, context: String, global: &Global) -> Result<Self> {
        // Logs that are followed and connections that are forwarded may be silent for as long as they like.
        config.read_timeout = None;
        config.write_timeout = None;
        let server = config.cluster_url.to_string();
        let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| {
            Failure::new(Exit::Usage, format!("context {context} cannot be used: {}", causes(&error)))
        })?;
        Ok(Self { client, context, server, namespace })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Every namespace of the same context.
    pub(crate) fn everywhere(&self) -> Self {
        Self { namespace: EVERYWHERE.to_owned(), ..self.clone() }
    }

    /// Namespace and context.
    pub(crate) fn words(&self) -> String {
        match self.namespace.as_str() {
            EVERYWHERE => format!("every namespace of context {}", self.context),
            one => format!("namespace {one} of context {}", self.context),
        }
    }

    /// What there is of one kind in this namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// The answer to what needs `right`, within [`PATIENCE`].
    pub(crate) async fn ask<T>(&self, right: Right, answer: impl Future<Output = kube::Result<T>>) -> Result<T> {
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failure(right, &error)),
            Err(_) => Err(Failure::new(
                Exit::Late,
                format!("context {}: {} has not answered within {} s", self.context, self.server, PATIENCE.as_secs()),
            )),
        }
    }

    /// What is wrong, in words.
    pub(crate) fn failure(&self, right: Right, error: &kube::Error) -> Failure {
        let refused = if let kube::Error::Api(status) = error {
            Some((status.code, status.message.clone()))
        } else if let kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)) = error {
            Some((code.as_u16(), format!("it answered {code}")))
        } else {
            None
        };
        let Some((code, message)) = refused else {
            let what = format!("context {}: {} cannot be asked: {}", self.context, self.server, causes(error));
            return Failure::new(Exit::Late, what);
        };
        match code {
            401 => Failure::new(
                Exit::Refused,
                format!("context {}: {} does not know who you are", self.context, self.server),
            )
            .way_out("Log in again, as the kubeconfig's user does."),
            403 => Failure::new(Exit::Refused, format!("you may not {right} in {}", self.words()))
                .way_out(format!("Somebody who may has to give you a Role with {}", right.rule())),
            404 if right.group == ottla_crds::GROUP && !message.contains('"') => Failure::new(
                Exit::NotFound,
                format!(
                    "context {} has no Ottla: its API server does not know {}.{}",
                    self.context, right.resource, right.group
                ),
            )
            .way_out("Install its definitions and the operator, or choose another context with --context NAME."),
            404 => Failure::new(Exit::NotFound, format!("{message}, in {}", self.words())),
            _ => Failure::new(Exit::Failed, format!("{}: {right}: {message}", self.words())),
        }
    }

    /// The Cluster of that name.
    pub(crate) async fn cluster(&self, name: &str) -> Result<Cluster> {
        let found = self.ask(rights::GET_CLUSTERS, self.api::<Cluster>().get_opt(name)).await?;
        match found {
            Some(cluster) => Ok(cluster),
            None => Err(self.no_cluster(name).await),
        }
    }

    /// That there is no such Cluster, and which ones there are.
    async fn no_cluster(&self, name: &str) -> Failure {
        let failure = Failure::new(Exit::NotFound, format!("there is no Cluster {name} in {}", self.words()));
        let all = ListParams::default();
        // Who may list nothing gets no help, and no second failure either.
        let here = self.ask(rights::LIST_CLUSTERS, self.api::<Cluster>().list(&all)).await;
        let here = match here {
            Ok(list) => list.items,
            Err(why) if why.exit() == Exit::NotFound => return why,
            Err(_) => return failure,
        };
        let everywhere = self.ask(rights::LIST_CLUSTERS, Api::<Cluster>::all(self.client()).list(&all)).await;
        let elsewhere: Vec<String> = everywhere
            .map(|list| list.items)
            .unwrap_or_default()
            .into_iter()
            .filter(|one| one.metadata.name.as_deref() == Some(name))
            .filter_map(|one| one.metadata.namespace)
            .collect();
        if let [namespace, ..] = elsewhere.as_slice() {
            return failure.way_out(format!("There is one in namespace {}: -n {namespace}", elsewhere.join(", ")));
        }
        let known: Vec<String> = here.into_iter().filter_map(|one| one.metadata.name).collect();
        failure.way_out(match known.as_slice() {
            [] => "There is no Cluster at all in that namespace; -n NAME looks elsewhere, `status -A` everywhere."
                .to_owned(),
            known => offer("Cluster", &near(name, known)),
        })
    }

    /// The Pods of a Cluster's brokers.
    pub(crate) async fn pods(&self, cluster: &str) -> Result<Vec<Pod>> {
        let labels = format!("{}={cluster},{}", names::CLUSTER_LABEL, names::BROKER_LABEL);
        self.list(rights::LIST_PODS, &labels).await
    }

    /// What there is of one kind with these labels.
    pub(crate) async fn list<K>(&self, right: Right, labels: &str) -> Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let list = self.ask(right, self.api::<K>().list(&ListParams::default().labels(labels))).await?;
        Ok(list.items)
    }
}

/// The names that may have been meant; all of them where none is alike.
fn near(name: &str, known: &[String]) -> Vec<String> {
    let mut alike: Vec<(f64, &String)> = known.iter().map(|one| (strsim::jaro_winkler(name, one), one)).collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0));
    let close: Vec<String> = alike.iter().filter(|one| one.0 >= ALIKE).map(|one| one.1.clone()).collect();
    let chosen = if close.is_empty() { alike.into_iter().map(|one| one.1.clone()).collect() } else { close };
    chosen.into_iter().take(OFFERED_MAX).collect()
}

fn offer(what: &str, names: &[String]) -> String {
    match names {
        [] => "There is none at all.".to_owned(),
        [one] => format!("Did you mean {what} {one}?"),
        many => format!("Did you mean one of these? {what} {}", many.join(", ")),
    }
}

/// An error with everything that it was caused by.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_come_first() {
        let known = ["events", "orders", "event-log"].map(str::to_owned);
        assert_eq!(near("evnts", &known)[0], "events");
        assert_eq!(near("evnts", &known).len(), 2, "orders is not meant");
        assert_eq!(near("zzz", &known).len(), 3, "where none is alike all are shown");
        assert_eq!(offer("Cluster", &near("ordrs", &known[1..2])), "Did you mean Cluster orders?");
        assert_eq!(offer("--context", &[]), "There is none at all.");
    }
}

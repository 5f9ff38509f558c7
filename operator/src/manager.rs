//! The process: its log, its HTTP listener, the election, and the controllers while this replica acts.
//!
//! Owns the order of starting and stopping. On a signal no new turn begins, those under way come to their end, and the lease
//! is given back. Must never act without having had the lease.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{Config as RunConfig, Error, applier};
use kube::{Client, Config};
use ottla_coordination::{Holder, Kubernetes};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogFormat};
use crate::cluster::apply::Hands;
use crate::cluster::brokers::Brokers;
use crate::cluster::desired::Settings;
use crate::cluster::reconcile::{Context, gone, on_error, reconcile};
use crate::cluster::watch::{Scope, news};
use crate::election::{Election, LEASE_OF, Pulse};
use crate::events::Events;
use crate::http::{Shown, serve};
use crate::metrics::Metrics;
use crate::schema::Schemas;
use crate::topic;
use crate::topic::addresses::ByService;
use crate::unserved;

/// How long one request of the election may take.
const LEASE_DEADLINE: Duration = Duration::from_secs(3);
/// How often the topics of a cluster are looked at when nothing happens.
const TOPICS_PERIOD: Duration = Duration::from_secs(60);
/// How long turns that are under way get to come to their end.
const DRAIN: Duration = Duration::from_secs(20);

/// Runs the operator until a signal stops it.
///
/// # Errors
/// When it cannot start or has lost its lease, with a sentence for the person who started it.
pub fn run(args: Args) -> anyhow::Result<()> {
    start_log(&args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("start the runtime")?.block_on(async {
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone())?;
        let socket = TcpListener::bind(&args.http_listener).await;
        let socket = socket.with_context(|| format!("--http-listener {}", args.http_listener))?;
        operate(args, socket, stop).await
    })
}

fn start_log(args: &Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log_level)
        .with_context(|| format!("--log-level {}: write error, warn, info, debug or trace", args.log_level))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_target(false).init(),
    }
    Ok(())
}

fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handle SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        stop.cancel();
    });
    Ok(())
}

/// Runs the operator until `stop`, its HTTP listener on `socket`.
///
/// # Errors
/// As [`run`].
pub async fn operate(args: Args, socket: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    let config = config(&args).await?;
    let client = Client::try_from(config.clone()).context("reach the API server")?;
    let (pulse, metrics) = (Pulse::default(), Metrics::default());
    tracing::info!(address = %socket.local_addr()?, "serving /livez, /readyz and /metrics");
    let tasks = TaskTracker::new();
    let http_stop = CancellationToken::new();
    let shown = Shown { pulse: pulse.clone(), metrics: metrics.clone() };
    tasks.spawn(serve(socket, shown, http_stop.clone()));

    let election =
        Election { store: lease_store(&config, &args)?, holder: holder(&args), pulse, metrics: metrics.clone() };
    let (leads, mut leading) = watch::channel(false);
    let election_stop = CancellationToken::new();
    let running = tokio::spawn(election.run(leads, election_stop.clone()));
    let context = Arc::new(Context {
        hands: hands(&args, client, config, metrics),
        brokers: Brokers::new(Arc::new(ByService)),
        settings: Settings { image: args.broker_image.clone(), version: args.broker_version.clone() },
        room: Semaphore::new(usize::from(args.concurrency)),
        backoff: parking_lot::Mutex::default(),
    });
    let topics = Arc::new(topic::rounds::Context {
        hands: context.hands.clone(),
        addresses: Arc::new(ByService),
        period: TOPICS_PERIOD,
        concurrency: usize::from(args.concurrency),
    });
    let work_stop = CancellationToken::new();
    let leads = tokio::select! {
        _ = leading.wait_for(|leads| *leads) => true,
        () = stop.cancelled() => false,
    };
    if leads {
        let Hands { client, schemas, .. } = context.hands.clone();
        schemas.look(&client).await;
        tasks.spawn(schemas.follow(client, work_stop.clone()));
        for scope in scopes(&args) {
            tasks.spawn(topic::rounds::run(scope.clone(), Arc::clone(&topics), work_stop.clone()));
            tasks.spawn(unserved::run(scope.clone(), context.hands.clone(), work_stop.clone()));
            tasks.spawn(control(scope, Arc::clone(&context), args.concurrency, work_stop.clone()));
        }
    }
    let lost = tokio::select! {
        () = stop.cancelled() => false,
        _ = leading.wait_for(|leads| !*leads), if !stop.is_cancelled() => true,
    };
    work_stop.cancel();
    http_stop.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!("stopping although some turns have not come to their end");
    }
    // The lease goes last: whoever takes it finds nobody at work.
    election_stop.cancel();
    running.await.context("end the election")?;
    if lost {
        bail!("another operator has the lease, or the API server did not answer in time; start again to wait for it");
    }
    Ok(())
}

async fn config(args: &Args) -> anyhow::Result<Config> {
    let mut config = match &args.kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.context("use the kubeconfig")?
        }
        None => Config::infer().await.context("find the API server: set --kubeconfig, or run in a pod")?,
    };
    // Who tries again is decided here, with a delay that grows.
    config.default_retry = false;
    Ok(config)
}

fn lease_store(config: &Config, args: &Args) -> anyhow::Result<Arc<Kubernetes>> {
    let mut config = config.clone();
    if let Some(namespace) = &args.lease_namespace {
        config.default_namespace.clone_from(namespace);
    }
    Ok(Arc::new(Kubernetes::new(config, Handle::current(), LEASE_OF, LEASE_DEADLINE)?))
}

fn hands(args: &Args, client: Client, config: Config, metrics: Metrics) -> Hands {
    let events = Events::new(client.clone(), replica(args), metrics.clone());
    Hands { client, config, metrics, events, schemas: Schemas::default() }
}

/// The name of this replica, if it has one.
fn replica(args: &Args) -> Option<String> {
    args.identity.clone().or_else(|| std::env::var("HOSTNAME").ok())
}

/// Every run of a process is a holder of its own.
fn holder(args: &Args) -> Holder {
    let name = replica(args).unwrap_or_else(|| "operator".to_owned());
    Holder(format!("{name}_{}", uuid::Uuid::new_v4().simple()))
}

fn scopes(args: &Args) -> Vec<Scope> {
    let named: Vec<Scope> = args
        .watch_namespaces
        .iter()
        .map(|name| name.trim())
        .filter(|name| !name.is_empty())
        .map(|name| Some(name.to_owned()))
        .collect();
    if named.is_empty() { vec![None] } else { named }
}

/// Looks after the Clusters of one scope until `stop`.
pub async fn control(scope: Scope, context: Arc<Context>, concurrency: u16, stop: CancellationToken) {
    let (store, news) = news(&context.hands.client, &scope);
    let queue = news.map(Ok::<_, std::convert::Infallible>).take_until(stop.cancelled_owned());
    let turn = |cluster, context| Box::pin(reconcile(cluster, context));
    let how = RunConfig::default().concurrency(concurrency);
    let turns = applier(turn, on_error, Arc::clone(&context), store, queue, how);
    turns
        .for_each_concurrent(usize::from(concurrency), |done| async {
            // What a turn came to, it has told itself.
            if let Err(Error::ObjectNotFound(absent)) = done {
                gone(absent.namespace.unwrap_or_default(), absent.name, &context).await;
            }
        })
        .await;
}

//! `connect`: clients on this machine reach the brokers in Kubernetes.
//!
//! Owns the local ports and the connections through them. Every broker has a local port, and answers that name brokers are
//! rewritten to name those ports, so that a client needs nothing but the bootstrap address. Everything else passes byte by byte.
//! Must never listen anywhere but on the loopback address.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_crds::Cluster;
use ottla_crds::cluster::ListenerType;
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{ApiKey, frame, header::ResponseHeader};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::args;
use crate::brokers;
use crate::failure::{Exit, Failure, Result};
use crate::place::Place;
use crate::tunnel::Tunnel;

mod calls;
mod pass;
mod ports;
mod rewrite;

use ports::{Ports, Target};

/// How long the first broker may take to answer.
const FIRST_ANSWER: Duration = Duration::from_secs(15);
/// How long the answer to the first question can be.
const FIRST_ANSWER_BYTES_MAX: usize = 64 * 1024;

pub(crate) async fn run(place: Place, args: args::Connect) -> Result<i32> {
    let cluster = place.cluster(&args.name).await?;
    let port = listener_port(&cluster, args.listener.as_deref())?;
    let brokers = brokers::all(&place.pods(&args.name).await?);
    let first = brokers::choose(&brokers, None, &cluster, &place.words())?;
    try_out(&place, &first.pod, port).await?;

    let (place_words, name) = (place.words(), args.name.clone());
    let ports = Arc::new(Ports::new(place, args.name, port, args.port));
    let bootstrap = Arc::clone(&ports).listen(Target::Bootstrap).map_err(|error| {
        Failure::new(Exit::Failed, format!("port {} of 127.0.0.1 cannot be had: {error}", args.port))
            .way_out("Take another one with --port PORT, or any with --port 0.")
    })?;
    eprintln!("Cluster {name}, in {place_words}; Ctrl-C ends it");
    for broker in &brokers {
        ports.local(broker.id);
    }
    let mut out = std::io::stdout();
    writeln!(out, "ready: bootstrap 127.0.0.1:{bootstrap}")?;
    out.flush()?;
    stop().await?;
    Ok(Exit::Done as i32)
}

/// Until somebody wants us to stop.
async fn stop() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The port of the listener that is gone through.
fn listener_port(cluster: &Cluster, wanted: Option<&str>) -> Result<u16> {
    let listeners = &cluster.spec.listeners;
    let known: Vec<&str> = listeners.iter().map(|one| one.name.as_str()).collect();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let found = match wanted {
        // The one that a Cluster has without any.
        None if listeners.is_empty() => return Ok(ottla_crds::names::DEFAULT_PORT as u16),
        Some("internal") if listeners.is_empty() => return Ok(ottla_crds::names::DEFAULT_PORT as u16),
        None => {
            let plain = || listeners.iter().filter(|one| one.tls.is_none());
            let inside = plain().find(|one| one.kind == ListenerType::Internal);
            inside.or_else(|| plain().next()).ok_or_else(|| {
                let what = format!("every listener of Cluster {name} has TLS: {}", known.join(", "));
                Failure::new(Exit::Refused, what).way_out(NO_TLS)
            })?
        }
        Some(wanted) => listeners.iter().find(|one| one.name == wanted).ok_or_else(|| {
            let known = if known.is_empty() { "internal".to_owned() } else { known.join(", ") };
            Failure::new(Exit::NotFound, format!("Cluster {name} has no listener {wanted}"))
                .way_out(format!("Its listeners are {known}."))
        })?,
    };
    if found.tls.is_some() {
        return Err(
            Failure::new(Exit::Refused, format!("listener {} of Cluster {name} has TLS", found.name)).way_out(NO_TLS)
        );
    }
    u16::try_from(found.port).map_err(|_| Failure::new(Exit::Failed, format!("port {} is none", found.port)))
}

/// Why a listener with TLS is no way in.
const NO_TLS: &str = "What is encrypted cannot be rewritten: declare an Internal listener without TLS, which NetworkPolicies can \
                      keep to yourself, or run what you need inside, with `kubectl ottla exec`.";

/// Asks a broker which versions it speaks: that shows rights, the way and the broker, before anybody relies on them.
async fn try_out(place: &Place, pod: &str, port: u16) -> Result<()> {
    let (mut stream, refusal, end) = Tunnel::open(place, pod, port).await?.split();
    let asked = async {
        let question = frame::request_frame(&ApiVersionsRequest::default(), 0, 1, Some("kubectl-ottla")).ok()?;
        stream.write_all(&question).await.ok()?;
        let mut prefix = [0; frame::LENGTH_BYTES];
        stream.read_exact(&mut prefix).await.ok()?;
        let mut answer = vec![0; frame::frame_length(prefix, FIRST_ANSWER_BYTES_MAX).ok()?];
        stream.read_exact(&mut answer).await.ok()?;
        understood(answer.into())
    };
    let answered = timeout(FIRST_ANSWER, asked).await.ok().flatten();
    drop(stream);
    end.close().await;
    if answered.is_some() {
        return Ok(());
    }
    let why = timeout(Duration::from_millis(100), refusal).await.ok().flatten();
    let why = why.unwrap_or_else(|| format!("it did not answer as a broker within {} s", FIRST_ANSWER.as_secs()));
    Err(Failure::new(Exit::Late, format!("{pod} cannot be reached at port {port}: {why}")))
}

fn understood(answer: Bytes) -> Option<ApiVersionsResponse> {
    let mut reader = ottla_wire::Reader::new(answer);
    ResponseHeader::decode(&mut reader, ApiKey::ApiVersions, 0).ok()?;
    ottla_wire::Message::decode(&mut reader, 0).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::brokers::tests::cluster;

    fn port(listeners: Value, wanted: Option<&str>) -> Result<u16, String> {
        let mut cluster = cluster(&json!({}), &json!({}));
        cluster.spec.listeners = serde_json::from_value(listeners).unwrap();
        listener_port(&cluster, wanted).map_err(|why| why.words())
    }

    #[test]
    fn the_way_in_is_a_listener_without_tls() {
        assert_eq!(port(json!([]), None), Ok(9092));
        assert_eq!(port(json!([]), Some("internal")), Ok(9092));
        let several = json!([
            {"name": "secure", "port": 9093, "tls": {}},
            {"name": "outside", "port": 9094, "type": "NodePort", "insecure": true},
            {"name": "inside", "port": 9095},
        ]);
        assert_eq!(port(several.clone(), None), Ok(9095), "inside before outside");
        assert_eq!(port(several.clone(), Some("outside")), Ok(9094));
        assert!(
            port(several.clone(), Some("secure")).unwrap_err().contains("listener secure of Cluster events has TLS")
        );
        assert!(port(several, Some("other")).unwrap_err().contains("secure, outside, inside"));
        assert!(port(json!([{"name": "s", "port": 1, "tls": {}}]), None).unwrap_err().contains("every listener"));
    }
}

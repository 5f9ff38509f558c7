//! `exec`: our own command in a broker's Pod.
//!
//! Owns the three streams and the exit code. What `ottla` prints is passed through byte by byte.

use std::io::IsTerminal as _;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachParams;
use ottla_crds::{Cluster, names};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy};

use crate::args;
use crate::brokers;
use crate::failure::{Exit, Failure, Result};
use crate::place::Place;
use crate::rights;

/// How much of a stream may wait on its way.
const BUFFER_BYTES: usize = 64 * 1024;

pub(crate) async fn run(place: &Place, args: args::Exec) -> Result<i32> {
    let cluster = place.cluster(&args.name).await?;
    let brokers = brokers::all(&place.pods(&args.name).await?);
    let broker = brokers::choose(&brokers, args.broker, &cluster, &place.words())?;
    let piped = !std::io::stdin().is_terminal();
    let params = AttachParams {
        container: Some(names::CONTAINER.to_owned()),
        stdin: piped,
        max_stdin_buf_size: Some(BUFFER_BYTES),
        max_stdout_buf_size: Some(BUFFER_BYTES),
        max_stderr_buf_size: Some(BUFFER_BYTES),
        ..AttachParams::default()
    };
    let words = words(&cluster, args.words);
    let mut process = place.ask(rights::EXEC, place.api::<Pod>().exec(&broker.pod, words, &params)).await?;
    let status = process.take_status();
    if let Some(stdin) = process.stdin() {
        // It ends with the process: what nobody reads is left in the pipe.
        tokio::spawn(feed(stdin));
    }
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let (out, errors) = tokio::join!(pass(stdout, tokio::io::stdout()), pass(stderr, tokio::io::stderr()));
    out?;
    errors?;
    let ended = match status {
        Some(status) => status.await,
        None => None,
    };
    let ended = ended.ok_or_else(|| {
        let what = format!("the connection to {} broke before its command had ended", broker.pod);
        Failure::new(Exit::Late, what).way_out("What it did is not known; look before you repeat it.")
    })?;
    exit_code(&ended, &broker.pod)
}

/// `ottla` and its words; where the first listener is not where `ottla` looks by itself, that as well.
fn words(cluster: &Cluster, given: Vec<String>) -> Vec<String> {
    let port = cluster.spec.listeners.iter().find(|one| one.tls.is_none()).map_or(names::DEFAULT_PORT, |one| one.port);
    let says = |word: &String| {
        word == "-b" || word == "--bootstrap" || word.starts_with("--bootstrap=") || word == "--command-config"
    };
    let mut words = vec!["ottla".to_owned()];
    if port != names::DEFAULT_PORT && !given.iter().any(says) {
        words.push(format!("--bootstrap=127.0.0.1:{port}"));
    }
    words.extend(given);
    words
}

async fn feed(mut stdin: impl AsyncWrite + Unpin) {
    // Whoever does not want it has closed it.
    let _ = copy(&mut tokio::io::stdin(), &mut stdin).await;
    let _ = stdin.shutdown().await;
}

async fn pass(from: Option<impl AsyncRead + Unpin>, mut to: impl AsyncWrite + Unpin) -> Result<()> {
    if let Some(mut from) = from {
        copy(&mut from, &mut to).await?;
    }
    to.flush().await?;
    Ok(())
}

/// What the process ended with.
fn exit_code(status: &Status, pod: &str) -> Result<i32> {
    if status.status.as_deref() == Some("Success") {
        return Ok(Exit::Done as i32);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_deref()).unwrap_or_default();
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    match code.and_then(|cause| cause.message.as_deref()?.parse().ok()) {
        Some(code) => Ok(code),
        None => {
            let why = status.message.clone().unwrap_or_default();
            Err(Failure::new(Exit::Failed, format!("nothing could be run in {pod}: {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::brokers::tests::cluster;

    #[test]
    fn the_exit_code_is_kept() {
        let of = |status: serde_json::Value| {
            exit_code(&serde_json::from_value(status).unwrap(), "p").map_err(|why| why.words())
        };
        assert_eq!(of(json!({"status": "Success"})), Ok(0));
        let causes = json!([{"reason": "ExitCode", "message": "3"}]);
        assert_eq!(of(json!({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}})), Ok(3));
        let missing = json!({"status": "Failure", "reason": "InternalError", "message": "no such file: ottla"});
        assert_eq!(of(missing), Err("nothing could be run in p: no such file: ottla".to_owned()));
    }

    #[test]
    fn ottla_is_told_where_the_listener_is() {
        let mut there = cluster(&json!({}), &json!({}));
        let words =
            |cluster: &Cluster, text: &str| words(cluster, text.split(' ').map(str::to_owned).collect()).join(" ");
        assert_eq!(words(&there, "topic list"), "ottla topic list");
        there.spec.listeners = serde_json::from_value(json!([
            {"name": "tls", "port": 9093, "tls": {}},
            {"name": "plain", "port": 9192},
        ]))
        .unwrap();
        assert_eq!(words(&there, "topic list"), "ottla --bootstrap=127.0.0.1:9192 topic list");
        assert_eq!(words(&there, "-b other:1 topic list"), "ottla -b other:1 topic list");
    }
}

//! A proxy in front of the API server that follows a script.
//!
//! Owns what goes wrong with a request on its way; what goes through is the real server's, byte for byte.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::{Client, Config};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use super::{config, runtime};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It never reaches the server, which "answers" with this status.
    Refused(u16),
    /// It never reaches the server, and the connection breaks.
    LostRequest,
    /// The server does it; the connection breaks before the answer.
    LostAnswer,
    /// The server does it; the answer breaks off in the middle of its body.
    CutAnswer,
    /// The server gets it only after this time.
    Slow(Duration),
    /// The server answers, and then the stream carries one more event: its version is too old.
    Expired,
}

type Script = Arc<Mutex<Box<dyn FnMut(&Method, &str) -> Option<Fault> + Send>>>;
type Answer = UnsyncBoxBody<Bytes, io::Error>;

/// The proxy; it ends with this value, and then nobody listens any more.
pub(super) struct Proxy {
    address: SocketAddr,
    script: Script,
    seen: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl Proxy {
    /// A proxy that lets everything through.
    pub(super) fn start() -> Self {
        let mut config = config();
        let script: Script = Arc::new(Mutex::new(Box::new(|_, _| None)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (listener, client) = runtime().block_on(async {
            config.default_retry = false;
            let client = Client::try_from(config).expect("a client");
            (TcpListener::bind("127.0.0.1:0").await.expect("a port"), client)
        });
        let address = listener.local_addr().expect("bound");
        let (own_script, own_seen) = (Arc::clone(&script), Arc::clone(&seen));
        let task = runtime().spawn(async move {
            // Connections end with the proxy.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                let (client, script, seen) = (client.clone(), Arc::clone(&own_script), Arc::clone(&own_seen));
                connections.spawn(async move {
                    let serve = service_fn(move |request| {
                        answer(client.clone(), Arc::clone(&script), Arc::clone(&seen), request)
                    });
                    // A connection that breaks is what the script wants.
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        Self { address, script, seen, task: task.abort_handle() }
    }

    /// How a client reaches the API server through it.
    pub(super) fn config(&self) -> Config {
        let url = format!("http://{}", self.address).parse().expect("a URL");
        let mut config = Config::new(url);
        config.default_namespace = super::config().default_namespace;
        config
    }

    /// From now on each request meets what `script` says.
    pub(super) fn script(&self, script: impl FnMut(&Method, &str) -> Option<Fault> + Send + 'static) {
        *self.script.lock() = Box::new(script);
    }

    /// The next request of that method meets `fault`, the others nothing.
    pub(super) fn once(&self, method: Method, fault: Fault) {
        let mut left = Some(fault);
        self.script(move |seen, _| if *seen == method { left.take() } else { None });
    }

    /// Methods of the requests since the last call.
    pub(super) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn whole(bytes: impl Into<Bytes>) -> Answer {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Kubernetes' answer of that status.
fn refusal(code: u16) -> Response<Answer> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Scripted", "message": "scripted"
    });
    let response = Response::builder().status(code).header("content-type", "application/json");
    response.body(whole(status.to_string())).expect("a response")
}

async fn answer(
    client: Client,
    script: Script,
    seen: Arc<Mutex<Vec<String>>>,
    request: Request<Incoming>,
) -> io::Result<Response<Answer>> {
    let broken = || io::Error::new(io::ErrorKind::ConnectionReset, "scripted");
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    seen.lock().push(request.method().to_string());
    let fault = (script.lock())(request.method(), &path);
    let delay = match fault {
        Some(Fault::Refused(code)) => return Ok(refusal(code)),
        Some(Fault::LostRequest) => return Err(broken()),
        Some(Fault::Slow(delay)) => delay,
        Some(Fault::LostAnswer | Fault::CutAnswer | Fault::Expired) | None => Duration::ZERO,
    };
    let mut forward = http_request(&request, &path);
    *forward.body_mut() =
        Body::from(request.into_body().collect().await.map_err(io::Error::other)?.to_bytes().to_vec());
    // The client may give up; the server is asked to the end all the same, as a network would.
    let asked = tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        client.send(forward).await
    });
    let answer = asked.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    let (head, body) = answer.into_parts();
    match fault {
        Some(Fault::LostAnswer) => {
            // Only once the server has done it.
            let _ = body.collect().await;
            Err(broken())
        }
        Some(Fault::CutAnswer) => {
            let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let half = bytes.slice(..bytes.len() / 2);
            let pieces = futures::stream::iter([Ok(Frame::data(half)), Err(broken())]);
            Ok(Response::from_parts(head, StreamBody::new(pieces).boxed_unsync()))
        }
        Some(Fault::Expired) => {
            let event = serde_json::json!({"type": "ERROR", "object": {
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
                "message": "too old resource version",
            }});
            Ok(Response::from_parts(head, whole(format!("{event}\n"))))
        }
        Some(Fault::Refused(_) | Fault::LostRequest | Fault::Slow(_)) | None => {
            Ok(Response::from_parts(head, body.map_err(io::Error::other).boxed_unsync()))
        }
    }
}

/// The same request for the server: the client knows its address and who it is.
fn http_request(request: &Request<Incoming>, path: &str) -> Request<Body> {
    let mut forward = Request::builder().method(request.method()).uri(path);
    for name in ["content-type", "accept"] {
        if let Some(value) = request.headers().get(name) {
            forward = forward.header(name, value);
        }
    }
    forward.body(Body::empty()).expect("a request")
}

//! One TCP connection to one broker: version negotiation, pipelining, answers matched to requests.
//!
//! Owns the socket. Two tasks work on it, one writes and one reads, so that a large request never waits for a large
//! answer. A broker answers one connection strictly in order; [`Connection::call`] relies on it and checks it. Dropping
//! the last handle closes the socket. `call` is cancel-safe: the answer of an abandoned call is read and thrown away.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_wire::header::RequestHeader;
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{ApiKey, DecodeError, EncodeError, ErrorCode, Request, Writer, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::config::ClientConfig;
use crate::error::{Error, Result, Retriable, Terminal};
use crate::versions::Versions;

/// Requests that may wait for the socket; more wait in `call`.
const QUEUE_MAX: usize = 64;
/// Largest answer that is believed.
const FRAME_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Answers are read in pieces, so that a length that lies costs no memory.
const READ_BYTES: usize = 256 * 1024;

/// One negotiated connection.
#[derive(Debug)]
pub(crate) struct Connection {
    address: Arc<str>,
    client_id: String,
    versions: Versions,
    correlation: AtomicI32,
    queue: mpsc::Sender<Outgoing>,
    fate: Arc<Fate>,
    reader: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The writer ends with the queue, after what is in it; a broker that never answers must not keep the reader.
        self.reader.abort();
    }
}

/// A request on its way to the socket.
struct Outgoing {
    frame: Vec<Bytes>,
    waiting: Option<Waiting>,
}

/// Someone who waits for an answer.
struct Waiting {
    correlation: i32,
    answer: oneshot::Sender<Bytes>,
}

/// How the connection ended, and who still waits on it.
#[derive(Debug, Default)]
struct Fate {
    over: AtomicBool,
    reason: Mutex<String>,
    waiting: Mutex<VecDeque<Waiting>>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.correlation)
    }
}

impl Fate {
    fn end(&self, reason: &str) {
        if !self.over.swap(true, Ordering::AcqRel) {
            reason.clone_into(&mut self.reason.lock().unwrap_or_else(PoisonError::into_inner));
        }
        self.waiting().clear();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self) -> String {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Connection {
    /// Connects to `address` and negotiates versions.
    pub(crate) async fn open(address: &str, config: &ClientConfig) -> Result<Self> {
        let refused = |reason: String| Retriable::Connect { address: address.to_owned(), reason };
        let stream = match timeout(config.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(refused(plain(&error)).into()),
            Err(_) => return Err(refused(format!("no answer within {} ms", config.connect_timeout.as_millis())).into()),
        };
        stream.set_nodelay(true).map_err(|error| refused(plain(&error)))?;
        let (reading, writing) = stream.into_split();
        let (queue, outgoing) = mpsc::channel(QUEUE_MAX);
        let fate = Arc::new(Fate::default());
        tokio::spawn(write(writing, outgoing, Arc::clone(&fate)));
        let reader = tokio::spawn(read(reading, Arc::clone(&fate))).abort_handle();
        let mut connection = Self {
            address: address.into(),
            client_id: config.client_id.clone(),
            versions: Versions::default(),
            correlation: AtomicI32::new(0),
            queue,
            fate,
            reader,
        };
        connection.versions = connection.negotiate(config.request_timeout).await?;
        Ok(connection)
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether nothing more can be asked here.
    pub(crate) fn is_over(&self) -> bool {
        self.fate.over.load(Ordering::Acquire)
    }

    /// The version in which `api` is spoken here.
    pub(crate) fn version(&self, api: ApiKey) -> Result<i16> {
        self.versions.choose(api, &self.address)
    }

    /// Asks and waits for the answer, at most `patience`.
    pub(crate) async fn call<R: Request>(&self, request: &R, patience: Duration) -> Result<R::Response> {
        let version = self.version(R::KEY)?;
        let answer = self.exchange(request, version, patience).await?;
        self.decode::<R>(answer, version)
    }

    /// Asks and does not expect an answer: Produce with acks=0.
    pub(crate) async fn tell<R: Request>(&self, request: &R, patience: Duration) -> Result<()> {
        let version = self.version(R::KEY)?;
        let (frame, _) = self.frame(request, version)?;
        self.enqueue(R::KEY, Outgoing { frame, waiting: None }, patience).await
    }

    async fn exchange<R: Request>(&self, request: &R, version: i16, patience: Duration) -> Result<Bytes> {
        let (frame, correlation) = self.frame(request, version)?;
        let (sender, receiver) = oneshot::channel();
        let asked = async {
            let waiting = Some(Waiting { correlation, answer: sender });
            self.enqueue(R::KEY, Outgoing { frame, waiting }, patience).await?;
            receiver.await.map_err(|_| self.disconnected(R::KEY))
        };
        match timeout(patience, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                // Whatever is behind a silent request on this connection would wait as long: nobody shall use it again.
                self.fate.over.store(true, Ordering::Release);
                Err(self.silent(R::KEY, patience))
            }
        }
    }

    async fn enqueue(&self, api: ApiKey, outgoing: Outgoing, patience: Duration) -> Result<()> {
        match self.queue.send_timeout(outgoing, patience).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(self.silent(api, patience)),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(self.disconnected(api)),
        }
    }

    fn frame<R: Request>(&self, request: &R, version: i16) -> Result<(Vec<Bytes>, i32)> {
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed);
        let header = RequestHeader {
            api_key: R::KEY.code(),
            api_version: version,
            correlation_id: correlation,
            client_id: Some(self.client_id.clone()),
        };
        let framed = frame::framed(Writer::sharing(256), |writer| {
            header.encode(writer)?;
            request.encode(writer, version)
        });
        let unwritable = |error: EncodeError| Terminal::Unwritable {
            address: self.address.to_string(),
            api: R::KEY.name(),
            reason: error.to_string(),
        };
        Ok((framed.map_err(unwritable)?, correlation))
    }

    fn decode<R: Request>(&self, answer: Bytes, version: i16) -> Result<R::Response> {
        let garbled = |error: DecodeError| Terminal::Garbled {
            address: self.address.to_string(),
            api: R::KEY.name(),
            reason: error.to_string(),
        };
        let (_, response) = frame::read_response::<R>(answer, version).map_err(garbled)?;
        Ok(response)
    }

    /// Asks for the broker's versions; a broker that is too old for our question says so in version 0.
    async fn negotiate(&self, patience: Duration) -> Result<Versions> {
        let api = ApiKey::ApiVersions;
        let request = ApiVersionsRequest {
            client_software_name: "ottla".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ApiVersionsRequest::default()
        };
        let mut version = *api.versions().end();
        loop {
            let answer = self.exchange(&request, version, patience).await?;
            let too_new = answer.len() >= 6 && answer[4..6] == ErrorCode::UNSUPPORTED_VERSION.code().to_be_bytes();
            let response: ApiVersionsResponse =
                self.decode::<ApiVersionsRequest>(answer, if too_new { 0 } else { version })?;
            if !too_new {
                crate::error::check(api, || format!("broker {}", self.address), response.error_code, None)?;
                return Ok(Versions::new(&response));
            }
            let theirs = Versions::new(&response);
            let next = theirs.choose(api, &self.address)?;
            if next >= version {
                return Err(Terminal::Garbled {
                    address: self.address.to_string(),
                    api: api.name(),
                    reason: format!("it refused version {version} and offers {next}"),
                }
                .into());
            }
            version = next;
        }
    }

    fn disconnected(&self, api: ApiKey) -> Error {
        Retriable::Disconnected { address: self.address.to_string(), api: api.name(), reason: self.fate.reason() }
            .into()
    }

    fn silent(&self, api: ApiKey, after: Duration) -> Error {
        Retriable::Silent { address: self.address.to_string(), api: api.name(), after }.into()
    }
}

async fn write(mut socket: OwnedWriteHalf, mut queue: mpsc::Receiver<Outgoing>, fate: Arc<Fate>) {
    while let Some(Outgoing { frame, waiting }) = queue.recv().await {
        if let Some(waiting) = waiting {
            fate.waiting().push_back(waiting);
        }
        for piece in frame {
            if let Err(error) = socket.write_all(&piece).await {
                fate.end(&plain(&error));
                return;
            }
        }
        if fate.over.load(Ordering::Acquire) && fate.waiting().is_empty() {
            return;
        }
    }
    // Nobody holds the connection any more; the reader ends when the broker answers our close with its own.
    let _ = socket.shutdown().await;
}

async fn read(mut socket: OwnedReadHalf, fate: Arc<Fate>) {
    let reason = loop {
        let frame = match read_frame(&mut socket).await {
            Ok(frame) => frame,
            Err(reason) => break reason,
        };
        let Some(waiting) = fate.waiting().pop_front() else {
            break "an answer came that nobody had asked for".to_owned();
        };
        if frame[..4] != waiting.correlation.to_be_bytes() {
            break format!("answers came out of order: expected number {}", waiting.correlation);
        }
        // Whoever gave up waiting has dropped the receiver.
        let _ = waiting.answer.send(frame);
    };
    fate.end(&reason);
}

async fn read_frame(socket: &mut OwnedReadHalf) -> Result<Bytes, String> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(String::new()),
        Err(error) => return Err(plain(&error)),
    }
    let length = i32::from_be_bytes(length);
    let length = usize::try_from(length)
        .ok()
        .filter(|length| (4..=FRAME_BYTES_MAX).contains(length))
        .ok_or_else(|| format!("an answer announced {length} bytes: is this a Kafka port?"))?;
    let mut frame = BytesMut::with_capacity(length.min(READ_BYTES));
    while frame.len() < length {
        let missing = length - frame.len();
        frame.reserve(missing.min(READ_BYTES.max(frame.len())));
        let read = (&mut *socket).take(missing as u64).read_buf(&mut frame).await.map_err(|error| plain(&error))?;
        if read == 0 {
            return Err("the connection ended in the middle of an answer".to_owned());
        }
    }
    Ok(frame.freeze())
}

/// The system's words without its error number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut symbols = text.chars();
    symbols.next().map(|first| first.to_lowercase().chain(symbols).collect()).unwrap_or_default()
}

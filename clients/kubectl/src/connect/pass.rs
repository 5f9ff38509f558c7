//! One connection of a client, passed on to a broker and back.
//!
//! Owns the two directions. Requests pass as they are; of each only what tells its answer is read. Answers that can name brokers
//! are held until they are whole, and rewritten; all others pass as they come. Must never hold a request back for an answer.

use std::io;

use bytes::Bytes;
use ottla_wire::frame::{self, BadFrameLength, LENGTH_BYTES};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::calls::{Calls, FIRST_BYTES, HEAD_BYTES, Mismatch};
use super::rewrite::{self, Unreadable};

/// The largest frame of Kafka: what an int32 can say.
const FRAME_BYTES_MAX: usize = i32::MAX as usize;
/// The largest answer that is held to be rewritten.
const HELD_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How much is copied at once.
const COPY_BYTES: usize = 64 * 1024;

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the client sent {0}")]
    Request(#[source] Misunderstood),
    #[error("the broker sent {0}")]
    Answer(#[source] Misunderstood),
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
    #[error("an answer to {api} of {length} bytes; at most {HELD_BYTES_MAX} can be rewritten")]
    TooLarge { api: ottla_wire::ApiKey, length: usize },
}

/// What is no Kafka.
#[derive(Debug, thiserror::Error)]
pub(super) enum Misunderstood {
    #[error("{0}")]
    Length(#[from] BadFrameLength),
    #[error("{0}")]
    Mismatch(#[from] Mismatch),
}

/// Passes on until one side ends.
pub(super) async fn pass(
    client: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    broker: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    local: impl FnMut(i32) -> Option<u16>,
) -> Result<(), Broken> {
    let calls = Mutex::new(Calls::default());
    let ((client_reads, client_writes), (broker_reads, broker_writes)) = (client, broker);
    tokio::select! {
        ended = requests(client_reads, broker_writes, &calls) => ended,
        ended = answers(broker_reads, client_writes, &calls, local) => ended,
    }
}

async fn requests(
    mut client: impl AsyncRead + Unpin,
    mut broker: impl AsyncWrite + Unpin,
    calls: &Mutex<Calls>,
) -> Result<(), Broken> {
    while let Some(prefix) = prefix(&mut client).await? {
        let length = frame::frame_length(prefix, FRAME_BYTES_MAX).map_err(|error| Broken::Request(error.into()))?;
        let mut head = vec![0; length.min(HEAD_BYTES)];
        client.read_exact(&mut head).await?;
        calls.lock().ask(&head).map_err(|error| Broken::Request(error.into()))?;
        broker.write_all(&prefix).await?;
        broker.write_all(&head).await?;
        copy(&mut client, &mut broker, length - head.len()).await?;
        broker.flush().await?;
    }
    Ok(())
}

async fn answers(
    mut broker: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    calls: &Mutex<Calls>,
    mut local: impl FnMut(i32) -> Option<u16>,
) -> Result<(), Broken> {
    const ID_BYTES: usize = FIRST_BYTES / 2;
    while let Some(prefix) = prefix(&mut broker).await? {
        let misunderstood = |error: Misunderstood| Broken::Answer(error);
        let bad =
            |length: usize| BadFrameLength { length: i32::try_from(length).unwrap_or(i32::MAX), max: FRAME_BYTES_MAX };
        let length = frame::frame_length(prefix, FRAME_BYTES_MAX).map_err(|error| misunderstood(error.into()))?;
        let rest = length.checked_sub(ID_BYTES).ok_or_else(|| misunderstood(bad(length).into()))?;
        let mut id = [0; ID_BYTES];
        broker.read_exact(&mut id).await?;
        let call = calls.lock().answer(i32::from_be_bytes(id)).map_err(|error| misunderstood(error.into()))?;
        let api = rewrite::names_brokers(call.api, call.version);
        if let Some(api) = api.filter(|api| length <= HELD_BYTES_MAX || !rewrite::is_hint(*api)) {
            if length > HELD_BYTES_MAX {
                return Err(Broken::TooLarge { api, length });
            }
            let answer = held(&mut broker, id, rest).await?;
            match rewrite::rewrite(api, call.version, &answer, &mut local)? {
                Some(pieces) => {
                    for piece in pieces {
                        client.write_all(&piece).await?;
                    }
                }
                None => {
                    client.write_all(&prefix).await?;
                    client.write_all(&answer).await?;
                }
            }
        } else {
            client.write_all(&prefix).await?;
            client.write_all(&id).await?;
            copy(&mut broker, &mut client, rest).await?;
        }
        client.flush().await?;
    }
    Ok(())
}

/// The length of the next frame; `None` where the stream ends between two.
async fn prefix(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<[u8; LENGTH_BYTES]>> {
    let mut prefix = [0; LENGTH_BYTES];
    if from.read(&mut prefix[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut prefix[1..]).await?;
    Ok(Some(prefix))
}

/// A whole answer. Memory grows with what arrives, not with what was claimed.
async fn held(from: &mut (impl AsyncRead + Unpin), id: [u8; 4], rest: usize) -> io::Result<Bytes> {
    let mut answer = Vec::with_capacity(COPY_BYTES.min(rest) + id.len());
    answer.extend_from_slice(&id);
    if from.take(rest as u64).read_to_end(&mut answer).await? < rest {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer.into())
}

async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), bytes: usize) -> io::Result<()> {
    let mut left = bytes;
    let mut buffer = vec![0; COPY_BYTES.min(left)];
    while left > 0 {
        let wanted = buffer.len().min(left);
        let read = from.read(&mut buffer[..wanted]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&buffer[..read]).await?;
        left -= read;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ottla_wire::messages::metadata_response::MetadataResponseBroker;
    use ottla_wire::messages::{MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse};
    use ottla_wire::{ApiKey, Message, Request};
    use tokio::io::DuplexStream;
    use tokio::task::JoinHandle;

    use super::*;

    /// A client and a broker with a connection between them that is passed on.
    struct Stage {
        client: DuplexStream,
        broker: DuplexStream,
        passing: JoinHandle<Result<(), Broken>>,
    }

    impl Stage {
        fn new() -> Self {
            let (client, near) = tokio::io::duplex(1000);
            let (far, broker) = tokio::io::duplex(1000);
            let local = |broker: i32| u16::try_from(broker).ok().map(|id| 10_000 + id);
            let passing = tokio::spawn(pass(tokio::io::split(near), tokio::io::split(far), local));
            Self { client, broker, passing }
        }

        /// What a broker hears is what its client says.
        async fn ask<R: Request>(&mut self, request: &R, version: i16, id: i32) {
            let sent = frame::request_frame(request, version, id, Some("c")).unwrap();
            let heard = said(&mut self.client, &mut self.broker, &sent, sent.len()).await;
            assert_eq!(heard, sent);
        }

        /// What a client hears when the broker says this.
        async fn answer<M: Message>(
            &mut self,
            message: &M,
            api: ApiKey,
            version: i16,
            id: i32,
            length: usize,
        ) -> Bytes {
            let sent: Bytes = frame::response_frame(message, api, version, id).unwrap().concat().into();
            said(&mut self.broker, &mut self.client, &sent, length).await
        }
    }

    /// Writes and reads at once: no pipe holds a large frame.
    async fn said(from: &mut DuplexStream, to: &mut DuplexStream, sent: &[u8], length: usize) -> Bytes {
        let mut heard = vec![0; length];
        let (wrote, read) = tokio::join!(from.write_all(sent), to.read_exact(&mut heard));
        wrote.unwrap();
        read.unwrap();
        heard.into()
    }

    fn metadata(host: &str, port: i32) -> MetadataResponse {
        let broker = MetadataResponseBroker { node_id: 1, host: host.to_owned(), port, rack: None };
        MetadataResponse { brokers: vec![broker], ..MetadataResponse::default() }
    }

    fn frame_of<M: Message>(message: &M, api: ApiKey, version: i16, id: i32) -> Bytes {
        frame::response_frame(message, api, version, id).unwrap().concat().into()
    }

    #[tokio::test]
    async fn requests_pass_and_answers_name_local_ports() {
        let mut stage = Stage::new();
        let produce =
            |acks| ProduceRequest { acks, transactional_id: Some("t".repeat(3000)), ..ProduceRequest::default() };
        // Several at once, one of them without an answer, one longer than any pipe.
        stage.ask(&MetadataRequest::default(), 9, 1).await;
        stage.ask(&produce(0), 9, 2).await;
        stage.ask(&produce(-1), 9, 3).await;
        stage.ask(&MetadataRequest::default(), 12, 4).await;
        let local = frame_of(&metadata("127.0.0.1", 10_001), ApiKey::Metadata, 9, 1);
        assert_eq!(stage.answer(&metadata("a-long-name.svc", 9092), ApiKey::Metadata, 9, 1, local.len()).await, local);
        let produced = frame_of(&ProduceResponse::default(), ApiKey::Produce, 9, 3);
        assert_eq!(stage.answer(&ProduceResponse::default(), ApiKey::Produce, 9, 3, produced.len()).await, produced);
        let local = frame_of(&metadata("127.0.0.1", 10_001), ApiKey::Metadata, 12, 4);
        assert_eq!(stage.answer(&metadata("b", 1), ApiKey::Metadata, 12, 4, local.len()).await, local);
        drop(stage.client);
        stage.passing.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_nobody_asked_for_ends_the_connection() {
        let mut stage = Stage::new();
        let sent = frame_of(&metadata("b", 1), ApiKey::Metadata, 9, 5);
        stage.broker.write_all(&sent).await.unwrap();
        let error = stage.passing.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the broker sent an answer to request 5, which nobody has sent");
    }

    #[tokio::test]
    async fn what_is_no_kafka_ends_the_connection() {
        let mut stage = Stage::new();
        stage.client.write_all(&[0xff; 4]).await.unwrap();
        let error = stage.passing.await.unwrap().unwrap_err();
        assert!(error.to_string().starts_with("the client sent a frame of -1 bytes"), "{error}");
    }

    #[tokio::test]
    async fn a_broker_that_goes_away_ends_the_connection() {
        let mut stage = Stage::new();
        stage.ask(&MetadataRequest::default(), 9, 1).await;
        drop(stage.broker);
        stage.passing.await.unwrap().unwrap();
        assert_eq!(stage.client.read(&mut [0; 1]).await.unwrap(), 0, "its client hears of it");
    }
}

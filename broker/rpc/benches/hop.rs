//! What a gigabyte costs on its way from one broker to another over gRPC: records inside a protobuf message, as tonic's
//! codec sends and receives them, beside records that travel as frames of the body, untouched (ADR 0003), by the codec
//! that replication uses.
//!
//! ```text
//! cargo bench -p ottla-rpc --bench hop            both ways, 64 KiB and 1 MiB a message, 2 GiB each
//! ```
//! Both ends run in this process, over TCP on loopback; the CPU time is that of both together. Frames and windows are those
//! of `ottla_rpc::transport`; every push is answered by an acknowledgement. A first pass of each is not counted.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first thing that does not work")]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::channel::mpsc;
use futures::{StreamExt, stream};
use http::uri::PathAndQuery;
use ottla_core::replica::{Ack, Message as Between, Push, SessionNumber, Stamp};
use ottla_core::types::{Incarnation, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use ottla_rpc::replication::{Decoder, Handler, Incoming, Item, Outgoing, Replication, dial, put};
use ottla_rpc::transport;
use prost::Message;
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::codegen::Service;
use tonic::server::{ClientStreamingService, Grpc};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const MIB: usize = 1024 * 1024;
const TOTAL_BYTES: usize = 2 * 1024 * MIB;
const ROUNDS: usize = 5;

/// A push with its records inside.
#[derive(Clone, PartialEq, Message)]
struct Whole {
    #[prost(int64, tag = "1")]
    base: i64,
    #[prost(bytes = "bytes", tag = "2")]
    records: Bytes,
}

/// Receives both ways.
#[derive(Clone)]
struct Follower;

impl Service<http::Request<Body>> for Follower {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let grpc = Grpc::new(codec()).max_decoding_message_size(usize::MAX);
            Ok({ grpc }.client_streaming(Protobuf, request).await)
        })
    }
}

impl tonic::server::NamedService for Follower {
    const NAME: &'static str = "bench.Hop";
}

fn codec() -> ProstCodec<Whole, Whole> {
    ProstCodec::default()
}

struct Protobuf;

impl ClientStreamingService<Whole> for Protobuf {
    type Response = Whole;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Whole>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Whole>>) -> Self::Future {
        Box::pin(async move {
            let (mut pushes, mut received) = (request.into_inner(), 0);
            while let Some(push) = pushes.message().await? {
                received += push.records.len();
            }
            Ok(Response::new(Whole { base: i64::try_from(received).unwrap(), records: Bytes::new() }))
        })
    }
}

impl Handler for Follower {
    fn exchange(&self, incoming: Incoming) -> Outgoing {
        let (out, answers) = mpsc::unbounded();
        tokio::spawn(receive_frames(incoming, out));
        answers.boxed()
    }
}

/// Acknowledges every push; its end says how many bytes have come.
async fn receive_frames(mut incoming: Incoming, out: mpsc::UnboundedSender<Bytes>) {
    let (mut decoder, mut received) = (Decoder::new(TOTAL_BYTES), 0);
    while let Some(piece) = incoming.next().await {
        decoder.feed(piece.unwrap());
        let mut acks = BytesMut::new();
        while let Some((item, records)) = decoder.next().unwrap() {
            let Item::Message { partition, message: Between::Push(push) } = item else { continue };
            received += records.len();
            let ack = Ack {
                epoch: push.epoch,
                incarnation: Incarnation::new(1),
                session: push.session,
                end: Offset::new(i64::try_from(received).unwrap()),
                log_start: push.log_start,
                stamp: push.stamp,
            };
            put(&Item::Message { partition, message: Between::Ack(ack) }, 0, &mut acks);
        }
        if !acks.is_empty() {
            out.unbounded_send(acks.freeze()).unwrap();
        }
    }
}

/// A header in one piece, its records as they are in the next.
fn pieces(bytes: usize) -> impl futures::Stream<Item = Bytes> {
    let records = Bytes::from(vec![7; bytes]);
    stream::iter((0..TOTAL_BYTES / bytes).flat_map(move |at| {
        let push = Push {
            incarnation: Incarnation::new(1),
            epoch: LeaderEpoch::new(7),
            session: SessionNumber(3),
            base: Offset::new(at as i64),
            end: Offset::new(at as i64 + 1),
            high_watermark: Offset::new(at as i64),
            log_start: Offset::new(0),
            stamp: Stamp(1_000_000_000),
        };
        let partition = TopicPartition::new(TopicId::from_bytes([9; 16]), PartitionIndex::new(1));
        let mut head = BytesMut::new();
        put(&Item::Message { partition, message: Between::Push(push) }, bytes, &mut head);
        [head.freeze(), records.clone()]
    }))
}

async fn push_protobuf(channel: &Channel, bytes: usize) -> usize {
    let mut grpc = tonic::client::Grpc::new(channel.clone()).max_encoding_message_size(usize::MAX);
    grpc.ready().await.unwrap();
    let records = Bytes::from(vec![7; bytes]);
    let pushes = (0..TOTAL_BYTES / bytes).map(move |at| Whole { base: at as i64, records: records.clone() });
    let request = Request::new(futures::stream::iter(pushes));
    let answer = grpc.client_streaming(request, PathAndQuery::from_static("/bench.Hop/protobuf"), codec()).await;
    usize::try_from(answer.unwrap().into_inner().base).unwrap()
}

async fn push_frames(channel: &Channel, bytes: usize) -> usize {
    let mut incoming = dial(channel.clone(), pieces(bytes)).await.unwrap();
    let (mut decoder, mut acked) = (Decoder::new(TOTAL_BYTES), 0);
    while let Some(piece) = incoming.next().await {
        decoder.feed(piece.unwrap());
        while let Some((item, _)) = decoder.next().unwrap() {
            if let Item::Message { message: Between::Ack(ack), .. } = item {
                acked = ack.end.get();
            }
        }
    }
    usize::try_from(acked).unwrap()
}

/// User and system time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // `cargo test --all-targets` runs this as well, without the word.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = transport::server().add_service(Follower).add_service(Replication::new(Arc::new(Follower)));
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(server.serve_with_incoming(incoming));
    let uri = format!("http://{address}").parse().unwrap();
    let channel = transport::endpoint(uri).connect().await.unwrap();
    println!("| message | way | CPU-s/GiB | GiB/s |\n|---|---|---|---|");
    for bytes in [64 * 1024, MIB] {
        for way in ["protobuf", "frames"] {
            let mut measured = Vec::new();
            for round in 0..=ROUNDS {
                #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
                let (began, before) = (Instant::now(), cpu());
                let received = match way {
                    "protobuf" => push_protobuf(&channel, bytes).await,
                    _ => push_frames(&channel, bytes).await,
                };
                assert_eq!(received, TOTAL_BYTES);
                let gib = received as f64 / (1024 * MIB) as f64;
                if round > 0 {
                    measured.push(((cpu() - before).as_secs_f64() / gib, gib / began.elapsed().as_secs_f64()));
                }
            }
            measured.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (median, least, most) = (measured[ROUNDS / 2], measured[0].0, measured[ROUNDS - 1].0);
            println!("| {} KiB | {way} | {:.2} ({least:.2} – {most:.2}) | {:.2} |", bytes / 1024, median.0, median.1);
        }
    }
}

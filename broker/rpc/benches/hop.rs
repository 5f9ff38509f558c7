//! What a gigabyte costs on its way from one broker to another over gRPC: records inside a protobuf message, as tonic's
//! codec sends and receives them, beside records that travel as frames of the body, untouched (ADR 0003).
//!
//! ```text
//! cargo bench -p ottla-rpc --bench hop            both ways, 64 KiB and 1 MiB a message, 2 GiB each
//! ```
//! Both ends run in this process, over TCP on loopback; the CPU time is that of both together. HTTP/2 frames are 1 MiB,
//! windows 8 MiB; whoever pushes has dialled, because only a server may announce such frames with tonic. A first pass of each is not counted.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first thing that does not work")]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::server::{ClientStreamingService, Grpc};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::{Service, ServiceExt};

const MIB: usize = 1024 * 1024;
const TOTAL_BYTES: usize = 2 * 1024 * MIB;
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const FRAME_BYTES: u32 = 1024 * 1024;
const ROUNDS: usize = 5;

/// A push with its records inside.
#[derive(Clone, PartialEq, Message)]
struct Whole {
    #[prost(int64, tag = "1")]
    base: i64,
    #[prost(bytes = "bytes", tag = "2")]
    records: Bytes,
}

/// A push whose records follow it.
#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(int64, tag = "1")]
    base: i64,
    #[prost(uint32, tag = "2")]
    records_bytes: u32,
}

/// Receives both ways; the path says which.
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
            if request.uri().path().ends_with("protobuf") {
                let grpc = Grpc::new(codec()).max_decoding_message_size(usize::MAX);
                return Ok({ grpc }.client_streaming(Protobuf, request).await);
            }
            let received = receive_frames(request.into_body()).await;
            Ok(http::Response::builder().header("received", received).body(Body::empty()).unwrap())
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

/// Records out of a body in which every push is gRPC's five bytes, a length, a header, and then the records.
async fn receive_frames(mut body: Body) -> usize {
    // Frames come as they were sent, or cut where a window ended: what is left of one is put before the next.
    let (mut rest, mut missing, mut received) = (Bytes::new(), 0_usize, 0);
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.unwrap().into_data() else { break };
        if !rest.is_empty() {
            data = [std::mem::take(&mut rest), data].concat().into();
        }
        while !data.is_empty() {
            if missing > 0 {
                let piece = data.split_to(missing.min(data.len()));
                missing -= piece.len();
                received += piece.len();
                continue;
            }
            if data.len() < 9 || data.len() < 9 + (&data[5..]).get_u32() as usize {
                rest = data;
                break;
            }
            let length = (&data[5..]).get_u32() as usize;
            let header = Header::decode(data.slice(9..9 + length)).unwrap();
            data.advance(9 + length);
            missing = header.records_bytes as usize;
        }
    }
    received
}

/// gRPC's five bytes and the header in one frame of the body, the records as they are in the next.
fn frames(bytes: usize) -> Body {
    let records = Bytes::from(vec![7; bytes]);
    let pushes = futures::stream::iter((0..TOTAL_BYTES / bytes).flat_map(move |at| {
        let header = Header { base: at as i64, records_bytes: u32::try_from(bytes).unwrap() };
        let prefix = u32::try_from(header.encoded_len()).unwrap();
        let mut head = BytesMut::with_capacity(32);
        head.put_u8(0);
        head.put_u32(prefix + 4 + header.records_bytes);
        head.put_u32(prefix);
        header.encode(&mut head).unwrap();
        [Ok::<_, Status>(Frame::data(head.freeze())), Ok(Frame::data(records.clone()))]
    }));
    Body::new(StreamBody::new(pushes))
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
    let request = http::Request::post("http://bench/bench.Hop/frames").header("content-type", "application/grpc");
    let mut channel = channel.clone();
    let answer = channel.ready().await.unwrap().call(request.body(frames(bytes)).unwrap()).await.unwrap();
    answer.headers()["received"].to_str().unwrap().parse().unwrap()
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
    let server = Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .add_service(Follower);
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(server.serve_with_incoming(incoming));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .tcp_nodelay(true)
        .connect()
        .await
        .unwrap();
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

//! The HTTP listener: /livez, /readyz, /metrics and the log level.
//!
//! Owns what a probe and a scraper see. Must never say ready before every declared partition serves, nor alive once the
//! data directory is offline.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::logging;
use crate::node::Node;

/// Serves `socket` until the broker stops.
///
/// # Errors
/// What the socket says when it cannot accept any more.
pub async fn serve(socket: TcpListener, node: Arc<Node>) -> std::io::Result<()> {
    let shutdown = node.shutdown.clone();
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/loglevel", get(level).put(set_level))
        .with_state(node);
    axum::serve(socket, routes).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

async fn livez(State(node): State<Arc<Node>>) -> Response {
    match node.partitions.offline_reason() {
        None => "ok\n".into_response(),
        Some(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("data directory is offline: {reason}\n")).into_response()
        }
    }
}

async fn readyz(State(node): State<Arc<Node>>) -> Response {
    match node.not_ready() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(node): State<Arc<Node>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match node.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("encode metrics: {error}\n")).into_response(),
    }
}

async fn level() -> String {
    format!("{}\n", logging::level())
}

async fn set_level(body: String) -> Response {
    match logging::set_level(body.trim()) {
        Ok(()) => format!("{}\n", logging::level()).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

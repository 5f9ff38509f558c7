//! /livez, /readyz and /metrics.
//!
//! Owns what a probe and a scraper see. Alive is who still turns its election over; ready is who has reached the API
//! server lately. A replica that waits for the lease is ready: it is what takes over.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::election::Pulse;
use crate::metrics::Metrics;

/// What is shown.
#[derive(Clone)]
pub struct Shown {
    /// How the election does.
    pub pulse: Pulse,
    /// What was counted.
    pub metrics: Metrics,
}

/// Serves `socket` until `stop`.
///
/// # Errors
/// What the socket says when it cannot accept any more.
pub async fn serve(socket: TcpListener, shown: Shown, stop: CancellationToken) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shown);
    axum::serve(socket, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn livez(State(shown): State<Shown>) -> Response {
    verdict(shown.pulse.is_alive(), "the election has not turned over for a minute")
}

async fn readyz(State(shown): State<Shown>) -> Response {
    verdict(shown.pulse.is_ready(), "the API server has not answered lately")
}

fn verdict(good: bool, reason: &str) -> Response {
    if good { "ok\n".into_response() } else { (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response() }
}

async fn metrics(State(shown): State<Shown>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match shown.metrics.encode(shown.pulse.age()) {
        Ok(text) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("encode metrics: {error}\n")).into_response(),
    }
}

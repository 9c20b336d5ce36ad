//! The admin HTTP server: `/healthz`, `/readyz` and `/metrics`.

use std::sync::{Arc, OnceLock};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;
use tracing::error;

use crate::{broker::Broker, metrics::Metrics, net::Shutdown};

/// What the endpoints tell from.
#[derive(Clone)]
pub struct Admin {
    metrics: Arc<Metrics>,
    backend: &'static str,
    broker: Arc<OnceLock<Arc<Broker>>>,
}

impl Admin {
    /// `backend` labels the gauges of stored sizes.
    pub fn new(metrics: Arc<Metrics>, backend: &'static str) -> Self {
        Self { metrics, backend, broker: Arc::default() }
    }

    /// From now on `/readyz` answers 200.
    pub fn set_ready(&self, broker: Arc<Broker>) {
        // Set once, at the end of the start.
        let _ = self.broker.set(broker);
    }

    /// Serves until `shutdown` says stop.
    pub async fn serve(self, listener: TcpListener, mut shutdown: Shutdown) {
        let app = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self);
        let stop = async move { shutdown.given().await };
        if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
            error!(%error, "the admin server failed");
        }
    }
}

/// 200 while the process lives and its storage takes writes; 503 with the reason when it does not.
async fn healthz(State(admin): State<Admin>) -> (StatusCode, String) {
    match admin.broker.get().and_then(|broker| broker.storage_trouble()) {
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
        None => (StatusCode::OK, "ok\n".to_owned()),
    }
}

/// 200 once clients are served.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.broker.get().is_some() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

/// Everything in Prometheus' text format.
async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    if let Some(broker) = admin.broker.get() {
        broker.observe(admin.backend).await;
    }
    match admin.metrics.render() {
        Ok(text) => ([("content-type", "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

//! The state as JSON: the structs that the command line prints with `--json`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use longshore_engine::counters::Counters;
use longshore_engine::overview::Overview;
use longshore_metrics::{ReceiverSample, Service, Sources, to_text};
use serde::Serialize;

use crate::state::Shared;

type AppState = State<Arc<Shared>>;

/// Returns the routes below `/api/v1`.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/status", get(status))
        .route("/backups", get(backups))
        .route("/retention", get(retention))
        .route("/runs", get(runs))
        .route("/runs/{id}", get(run))
        .route("/drills/{*mark}", get(drill))
        .route("/running", get(running))
        .route("/wal", get(wal))
        .route("/wal/{cluster}", get(wal_of))
        .route("/receivers", get(receivers))
        .fallback(async || error(StatusCode::NOT_FOUND, "there is no such resource"))
}

/// Returns a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => ([(CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => self::error(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot write JSON: {error}")),
    }
}

/// Returns an error as JSON.
pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    (status, json(&serde_json::json!({ "error": message }))).into_response()
}

fn with_overview(shared: &Shared, answer: impl FnOnce(&Overview) -> Response) -> Response {
    match &shared.view().overview {
        Some(overview) => answer(overview),
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the destinations have not been read yet"),
    }
}

/// Answers as `longshore status --json`.
async fn status(State(shared): AppState) -> Response {
    with_overview(&shared, |overview| json(&overview.status))
}

/// Answers as `longshore list --json`.
async fn backups(State(shared): AppState) -> Response {
    with_overview(&shared, |overview| json(&overview.backups))
}

/// Answers as `longshore prune --dry-run --json`.
async fn retention(State(shared): AppState) -> Response {
    with_overview(&shared, |overview| json(&overview.retention))
}

/// Answers with metrics for Prometheus.
pub(crate) async fn metrics(State(shared): AppState) -> Response {
    let view = shared.view();
    let receivers = view.receivers.iter().map(|receiver| ReceiverSample {
        cluster: receiver.cluster.clone(),
        is_up: receiver.is_up(),
        restarts: receiver.restarts,
    });
    let service = Service {
        last_reload_successful: view.is_reloaded,
        last_schedule_successful: view.is_scheduling,
        receivers: receivers.collect(),
    };
    let counters = Counters::read(&view.config);
    with_overview(&shared, |overview| {
        let sources = Sources { status: &overview.status, counters: &counters, service: Some(&service) };
        ([(CONTENT_TYPE, longshore_metrics::CONTENT_TYPE)], to_text(&sources)).into_response()
    })
}

/// Answers with the newest run reports.
async fn runs(State(shared): AppState) -> Response {
    with_overview(&shared, |overview| json(&overview.runs.iter().map(|run| &run.report).collect::<Vec<_>>()))
}

/// Answers with a run report.
async fn run(State(shared): AppState, Path(id): Path<String>) -> Response {
    with_overview(&shared, |overview| {
        let found = overview.runs.iter().find(|run| run.report.id.to_string() == id);
        found.map_or_else(|| error(StatusCode::NOT_FOUND, "there is no such run"), |run| json(&run.report))
    })
}

/// Answers with the tasks in progress and in the queue.
async fn running(State(shared): AppState) -> Response {
    json(&*shared.tasks.borrow())
}

/// Answers with the archived WAL of all clusters.
async fn wal(State(shared): AppState) -> Response {
    with_overview(&shared, |overview| json(&overview.wal))
}

/// Answers as `longshore wal status --json`.
async fn wal_of(State(shared): AppState, Path(cluster): Path<String>) -> Response {
    with_overview(&shared, |overview| {
        let found = overview.wal.iter().find(|wal| wal.cluster == cluster);
        let unknown = || error(StatusCode::NOT_FOUND, "there is no cluster with an archive of this name");
        found.map_or_else(unknown, |wal| json(&wal.archives))
    })
}

/// Answers with the receivers of WAL that the service starts.
async fn receivers(State(shared): AppState) -> Response {
    json(&shared.view().receivers)
}

/// Answers with the record of a drill.
async fn drill(State(shared): AppState, Path(mark): Path<String>) -> Response {
    let view = shared.view();
    let found = view.overview.as_ref().and_then(|overview| Some((overview, overview.drill_name(&mark)?)));
    let Some((overview, name)) = found else { return error(StatusCode::NOT_FOUND, "there is no such drill") };
    match overview.drill(&name).await {
        Ok(drill) => json(&drill),
        Err(failed) => error(StatusCode::BAD_GATEWAY, &failed.chain()),
    }
}

//! The routes, and the pages behind them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, Form, Path, Request, State};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use futures_util::stream;
use longshore_config::serve::{Permission, Role};
use longshore_core::error::printable;
use longshore_page::live::{Task, fragment};
use longshore_page::login::{self, Reason};
use longshore_page::{Context, destinations, drills, overview, policies, runs, series, wal};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::access::{self, Access};
use crate::api;
use crate::guard::{self, Bearer, Limit, Note, client_name};
use crate::state::{RunReply, RunRequest, Shared};

/// The maximum size of a request's body in bytes.
const MAX_BODY_BYTES: usize = 4096;
/// The time limit for the answer to a request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The minimum time between two events of a stream.
const EVENT_INTERVAL: Duration = Duration::from_millis(500);

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The address; `None` on a socket of this host.
    address: Option<IpAddr>,
    /// The names in the client certificate, which was verified.
    names: Arc<[String]>,
}

impl Peer {
    pub(crate) fn new(address: Option<IpAddr>, names: Vec<String>) -> Self {
        Self { address, names: names.into() }
    }
}

/// The client of a request: the other end of the connection, or the client that a proxy names.
#[derive(Debug, Clone, Copy)]
struct Client(Option<IpAddr>);

type AppState = State<Arc<Shared>>;

/// Returns the service of all routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page_overview))
        .route("/series/{cluster}/{subject}", get(page_series))
        .route("/runs", get(page_runs))
        .route("/runs/{id}", get(page_run))
        .route("/drills", get(page_drills))
        .route("/drills/{*mark}", get(page_drill))
        .route("/policies", get(page_policies))
        .route("/policies/{name}", get(page_policy))
        .route("/destinations", get(page_destinations))
        .route("/destinations/{name}", get(page_destination))
        .route("/wal", get(page_wal))
        .route("/events", get(events))
        .route("/jobs/{job}/run", post(run_now))
        .route("/login", get(login_form).post(log_in))
        .route("/logout", post(log_out))
        .route("/metrics", get(api::metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/assets/style.css", get(|| asset("text/css; charset=utf-8", longshore_page::STYLE)))
        .route("/assets/live.js", get(|| asset("text/javascript; charset=utf-8", longshore_page::SCRIPT)))
        .route("/assets/icon.svg", get(|| asset("image/svg+xml", longshore_page::ICON)))
        .nest("/api/v1", api::routes())
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&shared), authorize))
        .layer(middleware::from_fn(protect))
        .with_state(shared)
}

/// Adds the headers, and limits the time.
async fn protect(request: Request, next: Next) -> Response {
    let answer = timeout(TIMEOUT, next.run(request)).await;
    let mut answer = answer.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response());
    guard::add_headers(answer.headers_mut());
    answer
}

/// Passes only requests for this host, at a permitted rate, with a sufficient role, from a page
/// of this service.
async fn authorize(State(shared): AppState, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or_else(|| Peer::new(None, Vec::new()));
    let view = shared.view();
    let proxies = &view.config.serve.proxies;
    let is_proxy = proxies.contains(peer.address);
    let forwarded = is_proxy.then(|| guard::forwarded_client(request.headers(), &proxies.client_header));
    let client = forwarded.flatten().or(peer.address);
    request.extensions_mut().insert(Client(client));
    let token = bearer(request.headers());
    let is_guess = token.is_some() || (request.method() == Method::POST && request.uri().path() == "/login");
    let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    let counted = shared.limits.count(client, if is_guess { Bearer::Present } else { Bearer::Absent });
    if let Err(limit) = counted.or_else(|limit| if is_probe { Ok(()) } else { Err(limit) }) {
        return refuse_rate(&request, &shared, client, limit);
    }
    if !guard::is_own_host(request.headers(), &view.config.serve.hosts) {
        return refuse(
            &request,
            &shared,
            StatusCode::MISDIRECTED_REQUEST,
            "this host name is not served: see hosts in [serve]",
        );
    }
    let carried = if token.is_some() { Bearer::Present } else { Bearer::Absent };
    if !guard::is_same_origin(request.method(), request.headers(), carried) {
        return refuse(
            &request,
            &shared,
            StatusCode::FORBIDDEN,
            "the request does not come from a page of this service: a program sends a token, or this service as Origin",
        );
    }
    if is_public(request.uri().path()) {
        return next.run(request).await;
    }
    let users = users(&request, &view.access, &peer, is_proxy);
    let role = match token {
        Some(token) if view.access.needs_credentials() => view.access.role_of(token),
        _ => view
            .access
            .anonymous_role()
            .or_else(|| view.access.role_of_user(users.iter().map(String::as_str)))
            .or_else(|| session(request.headers()).and_then(|id| shared.sessions.role(id, &view.access))),
    };
    let Some(role) = role else {
        if token.is_some() {
            shared.limits.count_failure(client);
        } else if !users.is_empty() {
            let user = printable(&users.join(", "));
            shared.note_client(client, Note::User, || format!("{}: user {user} has no role", client_name(client)));
            let message = format!("the user {user} has no role: see users in [serve]");
            return refuse(&request, &shared, StatusCode::FORBIDDEN, &message);
        } else if let Some(header) = view.access.user_header().filter(|name| request.headers().contains_key(*name)) {
            let ignored = if is_proxy { "is empty or repeated" } else { "comes from no address of proxies" };
            shared.note_client(client, Note::Header, || {
                format!("{}: the header {header} {ignored}", client_name(peer.address))
            });
        }
        return unauthorized(&request, &shared, view.access.missing());
    };
    if role < needed_role(request.method(), request.uri().path()) {
        let message = match token.is_some() || users.is_empty() {
            true => "the token does not permit this",
            false => "the role of the user does not permit this: see users in [serve]",
        };
        return refuse(&request, &shared, StatusCode::FORBIDDEN, message);
    }
    next.run(request).await
}

/// Returns the names of the user: those in the client certificate, or the one that a proxy sends.
fn users(request: &Request, access: &Access, peer: &Peer, is_proxy: bool) -> Vec<String> {
    let Some(header) = access.user_header().filter(|_| is_proxy) else { return peer.names.to_vec() };
    let mut values = request.headers().get_all(header).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(name)), None) if !name.trim().is_empty() => vec![name.trim().to_owned()],
        _ => Vec::new(),
    }
}

/// Refuses a request beyond a limit, with the reason for the client and the log.
fn refuse_rate(request: &Request, shared: &Shared, client: Option<IpAddr>, limit: Limit) -> Response {
    let reason = limit.reason(client);
    shared.note_client(client, Note::Limit, || format!("refused with status 429: {reason}"));
    let mut answer = refuse(request, shared, StatusCode::TOO_MANY_REQUESTS, &reason);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(limit.wait_seconds()));
    answer
}

/// Returns true for paths that need no token.
fn is_public(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/login") || path.starts_with("/assets/")
}

fn needed_role(method: &Method, path: &str) -> Role {
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/metrics") => Role::Metrics,
        (&Method::GET | &Method::HEAD, _) | (_, "/logout") => Role::Read,
        _ => Role::Run,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == access::COOKIE).map(|(_, id)| id)
}

fn wants_html(request: &Request) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html")) && !request.uri().path().starts_with("/api/")
}

fn refuse(request: &Request, shared: &Shared, status: StatusCode, message: &str) -> Response {
    match wants_html(request) {
        true => (status, html(login::message("Refused", message, &shared.version))).into_response(),
        false => api::error(status, message),
    }
}

fn unauthorized(request: &Request, shared: &Shared, missing: &str) -> Response {
    let has_tokens = shared.view().access.has_tokens();
    let mut answer = match wants_html(request) {
        true if has_tokens => {
            (StatusCode::UNAUTHORIZED, html(login::login(Reason::Missing, &shared.version))).into_response()
        }
        true => refuse(request, shared, StatusCode::UNAUTHORIZED, missing),
        false => api::error(StatusCode::UNAUTHORIZED, missing),
    };
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

fn html(page: String) -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

async fn asset(media_type: &'static str, content: &'static str) -> Response {
    ([(CONTENT_TYPE, media_type)], content).into_response()
}

/// Renders a page of the current state.
fn render(shared: &Shared, page: impl FnOnce(&Context<'_>) -> String) -> Response {
    let (view, tasks) = (shared.view(), shared.tasks.borrow().clone());
    html(page(&view.context(&tasks, &shared.version)))
}

/// Renders a page that exists if its subject does.
fn render_known(shared: &Shared, page: impl FnOnce(&Context<'_>) -> Option<String>) -> Response {
    let (view, tasks) = (shared.view(), shared.tasks.borrow().clone());
    page(&view.context(&tasks, &shared.version)).map_or_else(|| missing(shared), html)
}

fn missing(shared: &Shared) -> Response {
    (StatusCode::NOT_FOUND, html(login::message("Not found", "There is no such page.", &shared.version)))
        .into_response()
}

async fn not_found(State(shared): AppState) -> Response {
    missing(&shared)
}

async fn page_overview(State(shared): AppState) -> Response {
    render(&shared, overview::page)
}

async fn page_series(State(shared): AppState, Path((cluster, subject)): Path<(String, String)>) -> Response {
    render_known(&shared, |context| series::page(context, &cluster, &subject))
}

async fn page_runs(State(shared): AppState) -> Response {
    render(&shared, runs::list)
}

async fn page_run(State(shared): AppState, Path(id): Path<String>) -> Response {
    render_known(&shared, |context| runs::page(context, &id))
}

async fn page_drills(State(shared): AppState) -> Response {
    render(&shared, drills::list)
}

async fn page_drill(State(shared): AppState, Path(mark): Path<String>) -> Response {
    let view = shared.view();
    let Some(overview) = &view.overview else { return missing(&shared) };
    let Some(name) = overview.drill_name(&mark) else { return missing(&shared) };
    match overview.drill(&name).await {
        Ok(drill) => render(&shared, |context| drills::page(context, &drill)),
        Err(error) => {
            let page = login::message("Cannot be read", &error.chain(), &shared.version);
            (StatusCode::BAD_GATEWAY, html(page)).into_response()
        }
    }
}

async fn page_wal(State(shared): AppState) -> Response {
    render(&shared, wal::page)
}

async fn page_policies(State(shared): AppState) -> Response {
    render(&shared, policies::list)
}

async fn page_policy(State(shared): AppState, Path(name): Path<String>) -> Response {
    render_known(&shared, |context| policies::page(context, &name))
}

async fn page_destinations(State(shared): AppState) -> Response {
    render(&shared, destinations::list)
}

async fn page_destination(State(shared): AppState, Path(name): Path<String>) -> Response {
    render_known(&shared, |context| destinations::page(context, &name))
}

/// Sends the progress of tasks whenever it changes.
async fn events(State(shared): AppState) -> Response {
    let Ok(permit) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return api::error(StatusCode::SERVICE_UNAVAILABLE, "too many event streams");
    };
    let mut receiver = shared.tasks.subscribe();
    receiver.mark_changed();
    let pending = VecDeque::new();
    let events = stream::unfold((receiver, permit, pending), move |(mut receiver, permit, mut pending)| {
        let shared = Arc::clone(&shared);
        async move {
            if pending.is_empty() {
                sleep(EVENT_INTERVAL).await;
                receiver.changed().await.ok()?;
                let tasks = receiver.borrow_and_update().clone();
                pending.extend(change(&shared, &tasks));
            }
            pending.pop_front().map(|event| (Ok::<_, Infallible>(event), (receiver, permit, pending)))
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// Returns the events about a change of the tasks or of the state.
fn change(shared: &Shared, tasks: &[Task]) -> [Event; 3] {
    let read = shared.view().overview.as_ref().map(|overview| overview.status.time.to_rfc3339());
    [
        Event::default().event("progress").data(fragment(tasks)),
        Event::default().event("running").data(tasks.len().to_string()),
        Event::default().event("state").data(read.unwrap_or_default()),
    ]
}

/// Adds a run of a job to the queue.
async fn run_now(State(shared): AppState, Path(job): Path<String>, request: Request) -> Response {
    if shared.view().activity != longshore_page::Activity::Run {
        let message = match shared.view().config.serve.allow.contains(&Permission::Run) {
            true => "this service starts no jobs: it was started with --no-schedule",
            false => "requests may not start jobs: see allow in [serve]",
        };
        return refuse(&request, &shared, StatusCode::FORBIDDEN, message);
    }
    let (reply, replied) = oneshot::channel();
    if shared.requests.try_send(RunRequest { job, reply }).is_err() {
        return refuse(&request, &shared, StatusCode::SERVICE_UNAVAILABLE, "too many requests for runs");
    }
    let status = match replied.await {
        Ok(RunReply::Accepted) => StatusCode::ACCEPTED,
        Ok(RunReply::AlreadyQueued) => StatusCode::CONFLICT,
        Ok(RunReply::Unknown) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    match (status, wants_html(&request)) {
        (StatusCode::ACCEPTED | StatusCode::CONFLICT, true) => redirect(),
        (StatusCode::ACCEPTED, false) => (status, api::json(&serde_json::json!({ "accepted": true }))).into_response(),
        (StatusCode::CONFLICT, false) => api::error(status, "the job is running or in the queue"),
        (StatusCode::NOT_FOUND, _) => refuse(&request, &shared, status, "there is no such job"),
        (status, _) => refuse(&request, &shared, status, "the service is stopping"),
    }
}

fn redirect() -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, "/")]).into_response()
}

async fn login_form(State(shared): AppState) -> Response {
    html(login::login(Reason::Missing, &shared.version))
}

#[derive(Deserialize)]
struct Credentials {
    token: String,
}

/// Trades a token for a cookie.
async fn log_in(
    State(shared): AppState,
    client: Option<Extension<Client>>,
    Form(credentials): Form<Credentials>,
) -> Response {
    let view = shared.view();
    let token = credentials.token.trim();
    if view.access.role_of(token).is_none() {
        shared.limits.count_failure(client.and_then(|client| client.0.0));
        return (StatusCode::UNAUTHORIZED, html(login::login(Reason::Wrong, &shared.version))).into_response();
    }
    let id = shared.sessions.start(token);
    // With TLS, browsers send the cookie over TLS only.
    let secure = if view.tls.is_some() { "; Secure" } else { "" };
    set_cookie(&format!("{}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200{secure}", access::COOKIE))
}

async fn log_out(State(shared): AppState, headers: HeaderMap) -> Response {
    session(&headers).iter().for_each(|id| shared.sessions.end(id));
    set_cookie(&format!("{}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0", access::COOKIE))
}

fn set_cookie(cookie: &str) -> Response {
    let mut answer = redirect();
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(SET_COOKIE, value);
    }
    answer
}

/// Reports whether the loop works. A stale backup does not change the answer: a restart of the
/// service would not help.
async fn healthz(State(shared): AppState) -> Response {
    state(shared.is_healthy(), "the loop does not work")
}

/// Reports whether the destinations were read.
async fn readyz(State(shared): AppState) -> Response {
    state(shared.view().overview.is_some(), "the destinations have not been read yet")
}

fn state(is_good: bool, problem: &'static str) -> Response {
    match is_good {
        true => Response::new(Body::from("ok\n")),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response(),
    }
}

//! HTTP with a SeaweedFS filer: pooled connections, time-outs, retries with jitter, and a circuit breaker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};

use super::{
    breaker::Breaker,
    error::{FilerError, describe},
    list::{self, ListEntry},
    names,
    tls::Tls,
};
use crate::{
    clock::Clock,
    config::{FilerSettings, is_https},
};

/// The filer, below one folder of it. Paths are relative to that folder, parts joined by `/`, each made by
/// [`names::encode`] or of its letters.
pub struct FilerClient {
    http: reqwest::Client,
    urls: Vec<String>,
    /// How often a filer was left for the next one.
    turn: AtomicUsize,
    folder: String,
    /// Where new objects go: `?collection=…&replication=…`, or nothing.
    placement: String,
    settings: FilerSettings,
    breaker: Breaker,
    clock: Arc<dyn Clock>,
    tls: Tls,
}

/// What is stored under a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub bytes: Bytes,
    /// The [`ATTRIBUTE`] that it was stored with.
    pub attribute: Option<String>,
}

impl FilerClient {
    pub fn new(settings: &FilerSettings, clock: Arc<dyn Clock>) -> Result<Self, FilerError> {
        let mut headers = header::HeaderMap::new();
        if let Some(token) = &settings.token {
            let value = header::HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| FilerError::Setup("filer.token is no header value".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let tls = Tls::new(settings)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.http())
            .https_only(!settings.urls.is_empty() && settings.urls.iter().all(|url| is_https(url)))
            .default_headers(headers)
            .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT_MAX))
            .read_timeout(settings.timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(POOL_MAX)
            .tcp_nodelay(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
            .build()
            .map_err(|error| FilerError::Setup(describe(&error)))?;
        Ok(Self {
            http,
            urls: settings.urls.clone(),
            turn: AtomicUsize::new(0),
            folder: folder(&settings.path),
            placement: placement(settings),
            settings: settings.clone(),
            breaker: Breaker::new(Arc::clone(&clock)),
            clock,
            tls,
        })
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The folder on the filer that everything is below, such as `/kafka`.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Why the filer is not asked at the moment; Ok when it is.
    pub fn health(&self) -> Result<(), FilerError> {
        self.breaker.health()
    }

    /// Stores an object in place of what was there.
    pub async fn put(&self, path: &str, bytes: Bytes, attribute: Option<&str>) -> Result<(), FilerError> {
        self.retrying(|| self.put_once(path, bytes.clone(), attribute)).await
    }

    /// [`put`](Self::put) with a single attempt. After an error it may be stored all the same, now or later.
    pub async fn put_once(&self, path: &str, bytes: Bytes, attribute: Option<&str>) -> Result<(), FilerError> {
        let timeout = self.settings.timeout + transfer_time(bytes.len());
        let query = self.placement.as_str();
        self.attempt(|turn| async move {
            let mut request = self.request(turn, Method::PUT, path, query).timeout(timeout);
            request = request.header(header::CONTENT_TYPE, "application/octet-stream").body(bytes);
            if let Some(attribute) = attribute {
                request = request.header(ATTRIBUTE, attribute);
            }
            let response = success(send(request).await?).await?;
            body(response, ANSWER_BYTES_MAX).await.map(drop)
        })
        .await
    }

    /// What is stored under a path, at most `bytes_max` of it (more is an error); none when nothing is.
    pub async fn get(&self, path: &str, bytes_max: usize) -> Result<Option<Object>, FilerError> {
        let timeout = self.settings.timeout + transfer_time(bytes_max);
        self.retrying(|| {
            self.attempt(|turn| async move {
                let request = self.request(turn, Method::GET, path, "").timeout(timeout);
                let Some(response) = found(send(request).await?).await? else { return Ok(None) };
                let attribute = response.headers().get(ATTRIBUTE).and_then(|value| value.to_str().ok());
                let attribute = attribute.map(str::to_owned);
                Ok(Some(Object { bytes: body(response, bytes_max).await?, attribute }))
            })
        })
        .await
    }

    /// `length` bytes of an object from `position` on, and no fewer.
    pub async fn get_range(&self, path: &str, position: u64, length: usize) -> Result<Bytes, FilerError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let timeout = self.settings.timeout + transfer_time(length);
        let last = position.saturating_add(length as u64).saturating_sub(1);
        self.retrying(|| {
            self.attempt(|turn| async move {
                let request = self.request(turn, Method::GET, path, "").timeout(timeout);
                let request = request.header(header::RANGE, format!("bytes={position}-{last}"));
                let response = found(send(request).await?).await?.ok_or_else(|| missing(path))?;
                // A filer answers the whole object with 200 when it holds no more than was asked for.
                let is_partial = response.status() == StatusCode::PARTIAL_CONTENT;
                let bytes = body(response, length).await?;
                match bytes.len() == length && (is_partial || position == 0) {
                    true => Ok(bytes),
                    false => Err(FilerError::Corrupt(format!(
                        "{path} has {} bytes at {position} where there must be {length}",
                        bytes.len()
                    ))),
                }
            })
        })
        .await
    }

    /// Removes an object; one that is not there is no error.
    pub async fn delete(&self, path: &str) -> Result<(), FilerError> {
        self.remove(path, "").await
    }

    /// Removes a folder with everything in it.
    pub async fn delete_folder(&self, path: &str) -> Result<(), FilerError> {
        self.remove(path, "?recursive=true&ignoreRecursiveError=true").await
    }

    async fn remove(&self, path: &str, query: &str) -> Result<(), FilerError> {
        self.retrying(|| {
            self.attempt(|turn| async move {
                let request = self.request(turn, Method::DELETE, path, query).timeout(self.settings.timeout);
                found(send(request).await?).await.map(drop)
            })
        })
        .await
    }

    /// All entries of a folder whose names come behind `after`, in their order, as many pages as there are. Nothing for a
    /// folder that is not there.
    pub async fn list(&self, path: &str, after: &str) -> Result<Vec<ListEntry>, FilerError> {
        let mut entries = Vec::new();
        let mut after = after.to_owned();
        loop {
            let page = self.list_page(path, &after).await?;
            let Some(last) = page.last() else { return Ok(entries) };
            if last.name <= after {
                return Err(FilerError::Corrupt(format!("the listing of {path} goes round in circles")));
            }
            after.clone_from(&last.name);
            entries.extend(page);
        }
    }

    /// Whether a folder is there and has nothing in it.
    pub async fn is_empty_folder(&self, path: &str) -> Result<bool, FilerError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let is_there = || async {
            let found = self.list_page(parent, "").await?;
            Ok::<_, FilerError>(found.iter().any(|entry| entry.name == name) || found.len() >= LIST_PAGE)
        };
        Ok(self.list_page(path, "").await?.is_empty() && is_there().await?)
    }

    async fn list_page(&self, path: &str, after: &str) -> Result<Vec<ListEntry>, FilerError> {
        let query = &format!("?limit={LIST_PAGE}&lastFileName={}", names::in_url(after));
        self.retrying(|| {
            self.attempt(|turn| async move {
                let request = self.request(turn, Method::GET, &format!("{path}/"), query);
                let request = request.header(header::ACCEPT, "application/json").timeout(self.settings.timeout * 3);
                let Some(response) = found(send(request).await?).await? else { return Ok(Vec::new()) };
                list::parse(&body(response, LIST_BYTES_MAX).await?)
            })
        })
        .await
    }

    fn request(&self, turn: usize, method: Method, path: &str, query: &str) -> RequestBuilder {
        let (url, path) = (of_turn(&self.urls, turn).map_or("", String::as_str), names::in_url(path));
        self.http.request(method, format!("{url}{}/{path}{query}", names::in_url(&self.folder)))
    }

    /// One attempt, counted by the breaker, at the filer whose turn it is; after a failure it is that of the next.
    pub(super) async fn attempt<T, F: Future<Output = Result<T, FilerError>>>(
        &self,
        call: impl FnOnce(usize) -> F,
    ) -> Result<T, FilerError> {
        self.breaker.admit()?;
        let turn = self.turn.load(Ordering::Relaxed);
        let outcome = call(turn).await;
        match &outcome {
            Err(error) if error.is_worth_another_attempt() => {
                self.breaker.failed(error);
                self.end_turn(turn, error);
            }
            _ => self.breaker.succeeded(),
        }
        outcome
    }

    fn end_turn(&self, turn: usize, error: &FilerError) {
        // Several fail at once when a filer goes down, and all of them mean the same one.
        let next = turn.wrapping_add(1);
        let is_first = self.turn.compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_first && self.urls.len() > 1 {
            let (left, next) = (of_turn(&self.urls, turn), of_turn(&self.urls, next));
            tracing::info!(%error, left, next, "a filer fails; asking the next");
        }
    }

    async fn retrying<T, F: Future<Output = Result<T, FilerError>>>(
        &self,
        call: impl Fn() -> F,
    ) -> Result<T, FilerError> {
        let mut attempt = 1;
        loop {
            match call().await {
                Err(error) if error.is_worth_another_attempt() && attempt < ATTEMPTS_MAX => {
                    tracing::debug!(%error, attempt, "asking the filer again");
                }
                outcome => return outcome,
            }
            tokio::time::sleep(self.backoff(attempt)).await;
            attempt += 1;
        }
    }

    /// How long to wait before the next attempt: twice as long each time up to a second, half of it by chance.
    pub fn backoff(&self, attempt: u32) -> Duration {
        let whole_ms = (BACKOFF_MS << attempt.min(8)).min(BACKOFF_MS_MAX);
        Duration::from_millis(u64::from(whole_ms / 2 + self.clock.random_below(whole_ms / 2 + 1)))
    }
}

/// The filers take turns.
pub(super) fn of_turn<T>(all: &[T], turn: usize) -> Option<&T> {
    all.get(turn.checked_rem(all.len())?)
}

async fn send(request: RequestBuilder) -> Result<Response, FilerError> {
    request.send().await.map_err(|error| FilerError::Unreachable(describe(&error)))
}

/// The answer, or the error that its status says.
async fn success(response: Response) -> Result<Response, FilerError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let shown = response.url().path().to_owned();
    let text = body(response, ANSWER_BYTES_MAX).await.unwrap_or_default();
    let reason = String::from_utf8_lossy(&text).trim().chars().take(REASON_CHARS).collect::<String>();
    Err(FilerError::from_status(status.as_u16(), format!("{shown}: {status} {reason}").trim_end().to_owned()))
}

/// None for what is not there.
async fn found(response: Response) -> Result<Option<Response>, FilerError> {
    match response.status() {
        StatusCode::NOT_FOUND => Ok(None),
        _ => success(response).await.map(Some),
    }
}

async fn body(mut response: Response, bytes_max: usize) -> Result<Bytes, FilerError> {
    let too_large = || FilerError::Corrupt(format!("an answer has more than {bytes_max} bytes"));
    let length = usize::try_from(response.content_length().unwrap_or_default()).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(too_large());
    }
    let mut bytes = BytesMut::with_capacity(length);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > bytes_max => return Err(too_large()),
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes.freeze()),
            Err(error) => return Err(FilerError::Unreachable(describe(&error))),
        }
    }
}

fn missing(path: &str) -> FilerError {
    FilerError::Corrupt(format!("{path} is missing"))
}

/// `/a/b` from what an operator wrote.
fn folder(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty()).map(names::encode);
    parts.map(|part| format!("/{part}")).collect()
}

fn placement(settings: &FilerSettings) -> String {
    let named = [("collection", &settings.collection), ("replication", &settings.replication)];
    let given = named.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}")));
    let given: Vec<_> = given.chain(settings.fsync.then(|| "fsync=true".to_owned())).collect();
    if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
}

/// What a slow network may take on top of the time-out.
fn transfer_time(bytes: usize) -> Duration {
    Duration::from_millis(bytes as u64 / SLOWEST_BYTES_PER_MS)
}

/// A header that the filer keeps with an object and answers again; what it calls extended attributes.
const ATTRIBUTE: &str = "Seaweed-Tidegate";
const ATTEMPTS_MAX: u32 = 4;
const BACKOFF_MS: u32 = 10;
const BACKOFF_MS_MAX: u32 = 1_000;
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(30);
const POOL_MAX: usize = 64;
const REDIRECTS_MAX: usize = 3;
const SLOWEST_BYTES_PER_MS: u64 = 4 << 10;
const LIST_PAGE: usize = 1000;
const LIST_BYTES_MAX: usize = 64 << 20;
const ANSWER_BYTES_MAX: usize = 1 << 20;
const REASON_CHARS: usize = 200;

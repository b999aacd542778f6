//! An in-process S3 server. It checks signatures, records requests, and has no Object Lock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use longshore_core::stage::Store;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::client::s3;
use crate::memory_bucket::MemoryBucket;

/// The credentials with all permissions.
pub(crate) const OWNER: (&str, &str) = ("AKOWNER", "owner-secret");
/// The write-only credentials.
pub(crate) const WRITER: (&str, &str) = ("AKWRITER", "writer-secret");

/// A server with bucket `acme`. Dropping it stops it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    bucket: MemoryBucket,
    requests: Arc<Mutex<Vec<Request>>>,
    _serving: JoinSet<()>,
}

/// A request with a valid signature.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) operation: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|(header, value)| (header == name).then_some(value.as_str()))
    }
}

/// Records each request, and restricts the writer to writing.
struct RecordingAccess(Arc<Mutex<Vec<Request>>>);

/// The operations needed to write.
const WRITE_OPERATIONS: [&str; 5] =
    ["PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload"];

#[async_trait::async_trait]
impl S3Access for RecordingAccess {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name().to_owned();
        let headers = context.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let request =
            Request { operation: operation.clone(), path: context.uri().path().to_owned(), headers: headers.collect() };
        self.0.lock().unwrap().push(request);
        match context.credentials() {
            Some(credentials)
                if credentials.access_key == OWNER.0 || WRITE_OPERATIONS.contains(&operation.as_str()) =>
            {
                Ok(())
            }
            _ => Err(s3_error!(AccessDenied)),
        }
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let (bucket, requests) = (MemoryBucket::default(), Arc::new(Mutex::new(Vec::new())));
        let mut auth = SimpleAuth::new();
        for (id, secret) in [OWNER, WRITER] {
            auth.register(id.into(), secret.into());
        }
        let mut service = S3ServiceBuilder::new(bucket.clone());
        service.set_auth(auth);
        service.set_access(RecordingAccess(Arc::clone(&requests)));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let service = service.clone();
                connections.spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    // A client may disconnect at any time.
                    http.serve_connection(TokioIo::new(connection), service).await.ok();
                });
            }
        });
        Self { address, bucket, requests, _serving: serving }
    }

    /// Returns a destination with the owner's credentials.
    pub(crate) fn s3(&self, more: Value) -> Box<dyn Store> {
        s3(self.address, OWNER.0, OWNER.1, more)
    }

    /// Returns the requests for an operation.
    pub(crate) fn requests(&self, operation: &str) -> Vec<Request> {
        self.requests.lock().unwrap().iter().filter(|request| request.operation == operation).cloned().collect()
    }

    /// Stores an object under a name that no client of ours would use.
    pub(crate) fn put_foreign(&self, name: &str) {
        self.bucket.put_foreign(name);
    }

    /// Returns the number of parts of uploads that were neither completed nor aborted.
    pub(crate) fn unfinished_parts(&self) -> usize {
        self.bucket.unfinished_parts()
    }
}

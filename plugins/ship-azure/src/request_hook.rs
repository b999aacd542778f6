//! Adds headers to requests, and signs them again.

use std::sync::OnceLock;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::{AUTHORIZATION, IF_NONE_MATCH};
use longshore_objects::{RequestHook, completes_upload};
use object_store::azure::{AzureAuthorizer, AzureCredential};
use object_store::client::{CredentialProvider, HttpRequest};

/// The source of the credentials.
type Provider = std::sync::Arc<dyn CredentialProvider<Credential = AzureCredential>>;

/// Makes the completion of an upload fail if the blob exists.
#[derive(Debug)]
pub(crate) struct AzureHook {
    account: String,
    /// Set after the client is built.
    credentials: OnceLock<Provider>,
}

impl AzureHook {
    pub(crate) fn new(account: &str) -> Self {
        Self { account: account.to_owned(), credentials: OnceLock::new() }
    }

    /// Sets the credentials for signatures.
    pub(crate) fn set_credentials(&self, credentials: &Provider) {
        self.credentials.get_or_init(|| credentials.clone());
    }
}

#[async_trait]
impl RequestHook for AzureHook {
    async fn before_send(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        if !completes_upload(request) {
            return Ok(());
        }
        request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        // Only signatures by the account's key cover this header.
        let Some(credentials) = self.credentials.get() else {
            return Ok(());
        };
        let credential = credentials.get_credential().await?;
        if matches!(*credential, AzureCredential::AccessKey(_)) {
            request.headers_mut().remove(AUTHORIZATION);
            AzureAuthorizer::new(&credential, &self.account).try_authorize(request)?;
        }
        Ok(())
    }
}

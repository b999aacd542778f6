//! Adds headers to requests, and signs them again.

use std::sync::OnceLock;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::{AUTHORIZATION, IF_NONE_MATCH};
use longshore_objects::{Dress, completes};
use object_store::azure::{AzureAuthorizer, AzureCredential};
use object_store::client::{CredentialProvider, HttpRequest};

/// The source of the credentials.
type Credentials = std::sync::Arc<dyn CredentialProvider<Credential = AzureCredential>>;

/// Makes the completion of an upload fail if the blob exists.
#[derive(Debug)]
pub(crate) struct Dressed {
    account: String,
    /// Set after the client is built.
    credentials: OnceLock<Credentials>,
}

impl Dressed {
    pub(crate) fn new(account: &str) -> Self {
        Self { account: account.to_owned(), credentials: OnceLock::new() }
    }

    /// Sets the credentials for signatures.
    pub(crate) fn sign_with(&self, credentials: &Credentials) {
        self.credentials.get_or_init(|| credentials.clone());
    }
}

#[async_trait]
impl Dress for Dressed {
    async fn dress(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        if !completes(request) {
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

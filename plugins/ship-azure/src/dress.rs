//! What is added to requests, and signed again.

use std::sync::OnceLock;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::{AUTHORIZATION, IF_NONE_MATCH};
use longshore_objects::{Dress, completes};
use object_store::azure::{AzureAuthorizer, AzureCredential};
use object_store::client::{CredentialProvider, HttpRequest};

/// Who knows the credentials.
type Credentials = std::sync::Arc<dyn CredentialProvider<Credential = AzureCredential>>;

/// Lets blocks be put together only where nothing is.
#[derive(Debug)]
pub(crate) struct Dressed {
    account: String,
    /// Known once the client is there.
    credentials: OnceLock<Credentials>,
}

impl Dressed {
    pub(crate) fn new(account: &str) -> Self {
        Self { account: account.to_owned(), credentials: OnceLock::new() }
    }

    /// Says who signs.
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
        // Of the ways to sign, that with the account's key alone covers this header.
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

//! Files of certificates, keys and revocation lists, in PEM. A private key may be in DER.

use std::io;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::error::{Error, Result};

/// Reads all certificates of a file, at least one.
pub(super) async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let content = read(path).await?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(rejected(path, "contains no certificate in PEM format")),
        Err(_) => Err(rejected(path, "a certificate is not in PEM format")),
    }
}

/// Reads all revocation lists of a file, at least one.
pub(super) async fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let content = read(path).await?;
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&content).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        // Without a list, no certificate would be revoked.
        Ok(_) => Err(rejected(path, "contains no certificate revocation list in PEM format")),
        Err(_) => Err(rejected(path, "a certificate revocation list is not in PEM format")),
    }
}

/// Reads a private key that is not encrypted.
pub(super) async fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let content = read(path).await?;
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&content) {
        return Ok(key);
    }
    let is_der = content.first() == Some(&0x30);
    let key = if is_der { PrivateKeyDer::try_from(content).ok() } else { None };
    key.ok_or_else(|| rejected(path, "contains no private key, or an encrypted one"))
}

async fn read(path: &Path) -> Result<Vec<u8>> {
    let owned = path.to_owned();
    let content = match tokio::task::spawn_blocking(move || std::fs::read(owned)).await {
        Ok(content) => content,
        Err(error) => Err(io::Error::other(error)),
    };
    content.map_err(|source| Error::File {
        path: path.to_owned(),
        message: "cannot be read".to_owned(),
        source: Some(source),
    })
}

/// Returns the error of a file whose content cannot be used.
pub(super) fn rejected(path: &Path, message: &str) -> Error {
    Error::File { path: path.to_owned(), message: message.to_owned(), source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn file_without_revocation_list_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no list\n").unwrap();
        let error = revocation_lists(file.path()).await.unwrap_err();
        assert!(error.to_string().contains("contains no certificate revocation list"), "{error}");
    }
}

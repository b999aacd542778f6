//! The configuration of TLS.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Error as RustlsError, RootCertStore, SupportedProtocolVersion, version};

use super::file;
use super::verifier::{Check, Trust, Verifier};
use crate::error::{Error, Result};
use crate::parameters::{ClientCert, Host, RootCert, Sni, Ssl, TlsVersion, Verification};

/// Returns the configuration for one host. Reads the files that the parameters name.
pub(super) async fn config(ssl: &Ssl, host: &Host) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let check = match ssl.verification() {
        Verification::None => Check::Nothing,
        Verification::Chain => Check::Chain(trust(ssl, &provider).await?),
        Verification::ChainAndName => Check::ChainAndName(trust(ssl, &provider).await?, host.name.clone()),
    };
    let verifier = Verifier::new(check, provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(ssl))
        .map_err(|error| setup(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &ssl.client_cert {
        Some(client_cert) => {
            let certified = certified_key(client_cert, &provider).await?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = ssl.sni == Sni::Send;
    config.alpn_protocols = vec![super::PROTOCOL.to_vec()];
    Ok(config)
}

fn versions(ssl: &Ssl) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::V1_3, &version::TLS13), (TlsVersion::V1_2, &version::TLS12)];
    let wanted = ssl.min_version..=ssl.max_version;
    all.into_iter().filter(|(version, _)| wanted.contains(version)).map(|(_, version)| version).collect()
}

/// Returns the roots and revocation lists that the server's certificate is checked with.
async fn trust(ssl: &Ssl, provider: &Arc<CryptoProvider>) -> Result<Trust> {
    let roots = match &ssl.root_cert {
        RootCert::File(path) => file::certificates(path).await?,
        RootCert::System => system_roots().await?,
        RootCert::None => Vec::new(),
    };
    let mut store = RootCertStore::empty();
    // libpq uses the certificates of a file that it can parse, too.
    let (_, _) = store.add_parsable_certificates(roots.iter().cloned());
    let mut lists = Vec::new();
    for path in &ssl.crls {
        lists.extend(file::revocation_lists(path).await?);
    }
    let has_lists = !lists.is_empty();
    let webpki = if store.is_empty() {
        None
    } else {
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
        let built = builder.with_crls(lists).enforce_revocation_expiration().build();
        Some(built.map_err(|error| setup(&RustlsError::General(error.to_string())))?)
    };
    Ok(Trust { webpki, roots, has_revocation_lists: has_lists })
}

/// Returns the roots of the operating system. An empty list would trust no server.
async fn system_roots() -> Result<Vec<CertificateDer<'static>>> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    match loaded {
        Ok(result) if !result.certs.is_empty() => Ok(result.certs),
        _ => Err(Error::File {
            path: "system".into(),
            message: "the operating system has no trusted certificates".to_owned(),
            source: None,
        }),
    }
}

/// Returns the client's certificate and key. rustls cannot compare a certificate of version 1 with
/// its key; the server does.
async fn certified_key(client_cert: &ClientCert, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let chain = file::certificates(&client_cert.cert).await?;
    let key = file::private_key(&client_cert.key).await?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| file::rejected(&client_cert.key, "a private key of an unsupported kind"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Err(RustlsError::InconsistentKeys(_)) => {
            Err(file::rejected(&client_cert.key, &format!("not the key of {}", client_cert.cert.display())))
        }
        Ok(()) | Err(_) => Ok(certified),
    }
}

fn setup(error: &RustlsError) -> Error {
    Error::Protocol { subject: "TLS".to_owned(), message: format!("cannot be set up: {error}") }
}

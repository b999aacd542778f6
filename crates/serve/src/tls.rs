//! The certificate of the service, and the certificates of clients.

use std::path::Path;
use std::sync::Arc;

use longshore_config::serve::{Auth, ServeSettings};
use longshore_core::{Error, Kind, Result, Stage, credential, regular_file};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Reads the certificate of the service, and the authorities of clients; `None` without TLS.
pub(crate) fn load(settings: &ServeSettings) -> Result<Option<Arc<ServerConfig>>> {
    let Some(tls) = &settings.tls else { return Ok(None) };
    let provider = Arc::new(default_provider());
    let failed = |path: &Path, message: &str, error: rustls::Error| {
        Error::new(Stage::Config, Kind::Usage, path.display().to_string(), message).because(error)
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&tls.cert, "TLS is not available", error))?;
    let client_ca = match &settings.auth {
        Auth::Required(credentials) => credentials.client_ca.as_ref(),
        Auth::Loopback | Auth::None => None,
    };
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| failed(path, "is not the certificate of an authority", error))?;
            }
            // A client without a certificate may have a token, and probes need neither.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.allow_unauthenticated().build().map_err(|error| {
                Error::new(Stage::Config, Kind::Usage, path.display().to_string(), "has no usable authority")
                    .because(error)
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(&read(&tls.key)?).map_err(|_| {
        let message = "contains no private key in PEM format, or an encrypted one";
        Error::new(Stage::Config, Kind::Usage, tls.key.display().to_string(), message)
            .hint("decrypt it with `openssl pkey`, and let only the user of the service read it")
    })?;
    let mut config = builder
        .with_single_cert(certificates(&tls.cert)?, key)
        .map_err(|error| failed(&tls.cert, "does not fit its private key, or is not usable", error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let content = read(path)?;
    let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| {
        let message = "contains no certificate in PEM format";
        Error::new(Stage::Config, Kind::Usage, path.display().to_string(), message)
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Error::io(Stage::Config, path.display().to_string(), "cannot be read", error);
    regular_file::read(&credential::file(path)?).map_err(failed)
}

/// Returns the names of a client certificate that was verified: the common name of the subject, and
/// its alternative names (DNS, e-mail, URI).
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let names = certificate.tbs_certificate.subject.0.iter().flat_map(|names| names.0.iter());
    let common = names.filter(|name| name.oid == COMMON_NAME).filter_map(|name| {
        let value = &name.value;
        let utf8 = || value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.to_string());
        let printable = || value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.to_string());
        let teletex = || value.decode_as::<TeletexStringRef<'_>>().ok().map(|text| text.to_string());
        utf8().or_else(printable).or_else(teletex)
    });
    let mut all: Vec<String> = common.collect();
    // A certificate with an invalid extension was not verified.
    if let Ok(Some((_, SubjectAltName(alternative)))) = certificate.tbs_certificate.get::<SubjectAltName>() {
        all.extend(alternative.iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.to_string()),
            GeneralName::Rfc822Name(name) => Some(name.to_string()),
            GeneralName::UniformResourceIdentifier(name) => Some(name.to_string()),
            _ => None,
        }));
    }
    all
}

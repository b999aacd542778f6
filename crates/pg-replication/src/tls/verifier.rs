//! The checks of the server's certificate. rustls checks the chain; the name is compared by libpq's
//! rules.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::der::Decode;

use super::{name, version_1};

/// The checks of a server's certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The kind of check.
#[derive(Debug)]
pub(super) enum Check {
    /// No check of the certificate. The server still proves that it has the certificate's key.
    Nothing,
    /// A check of the chain.
    Chain(Trust),
    /// A check of the chain, and of the host name.
    ChainAndName(Trust, String),
}

/// The certificates that a chain must end in.
#[derive(Debug)]
pub(super) struct Trust {
    /// The check of rustls, if there are roots that it can use.
    pub(super) webpki: Option<Arc<WebPkiServerVerifier>>,
    /// All roots.
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// True if revocation lists apply.
    pub(super) has_revocation_lists: bool,
}

impl Verifier {
    pub(super) fn new(check: Check, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { check, algorithms }
    }

    fn verify_chain(
        &self,
        trust: &Trust,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = parse(end_entity)?;
        if !trust.has_revocation_lists {
            // OpenSSL accepts two kinds of certificates that rustls does not: a self-signed one
            // that is also a root, and one of version 1. PostgreSQL's manual recommends both.
            if trust.roots.iter().any(|root| root == end_entity) && is_self_issued(&parsed) {
                return version_1::verify_validity(&parsed, now);
            }
            if parsed.tbs_certificate.version == Version::V1 {
                return version_1::verify(&parsed, &trust.roots, self.algorithms.all, now);
            }
        }
        let webpki = trust.webpki.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        // The chain is checked before the name, so an error of the name means a good chain.
        match webpki.verify_server_cert(end_entity, intermediates, server_name, &[], now) {
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.check {
            Check::Nothing => {}
            Check::Chain(trust) => self.verify_chain(trust, end_entity, intermediates, server_name, now)?,
            Check::ChainAndName(trust, host) => {
                self.verify_chain(trust, end_entity, intermediates, server_name, now)?;
                let names = name::Names::of(&parse(end_entity)?)?;
                if !names.match_host(host) {
                    let (expected, presented) = (server_name.to_owned(), names.into_presented());
                    return Err(CertificateError::NotValidForNameContext { expected, presented }.into());
                }
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    // The signature of the handshake proves that the server has the key of its certificate. Channel
    // binding relies on that proof even if the certificate itself is not checked.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match version_1::parse(cert) {
            Some(parsed) => version_1::verify_handshake(&parsed, message, dss, &self.algorithms),
            None => verify_tls12_signature(message, cert, dss, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match version_1::parse(cert) {
            Some(parsed) => version_1::verify_tls13_handshake(&parsed, message, dss, &self.algorithms),
            None => verify_tls13_signature(message, cert, dss, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.tbs_certificate.issuer == certificate.tbs_certificate.subject
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

//! Certificates of version 1, which have no extensions. `openssl x509 -req` makes them, as in
//! PostgreSQL's manual ("Creating Certificates"), and rustls accepts none.
//!
//! The signatures are verified with the algorithms of the same provider. A chain is one certificate
//! and its root.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::der::{Decode, Encode, Header, SliceReader};
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::spki::AlgorithmIdentifierOwned;

/// Returns a certificate if it is one of version 1.
pub(super) fn parse(certificate: &CertificateDer<'_>) -> Option<Certificate> {
    let parsed = Certificate::from_der(certificate).ok()?;
    (parsed.tbs_certificate.version == Version::V1).then_some(parsed)
}

/// Checks that a root signed the certificate, and that both are valid now.
pub(super) fn verify(
    certificate: &Certificate,
    roots: &[CertificateDer<'_>],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: UnixTime,
) -> Result<(), Error> {
    let roots = roots.iter().filter_map(|root| Certificate::from_der(root).ok());
    let mut issuers =
        roots.filter(|root| root.tbs_certificate.subject == certificate.tbs_certificate.issuer).peekable();
    if issuers.peek().is_none() {
        return Err(CertificateError::UnknownIssuer.into());
    }
    let root = issuers
        .find(|root| is_authority(root) && is_signed_by(certificate, root, algorithms) == Some(true))
        .ok_or(CertificateError::BadSignature)?;
    verify_validity(&root, now)?;
    verify_validity(certificate, now)
}

/// Checks that a certificate is valid now.
pub(super) fn verify_validity(certificate: &Certificate, now: UnixTime) -> Result<(), Error> {
    let validity = &certificate.tbs_certificate.validity;
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// Checks the signature of a handshake of TLS 1.3.
pub(super) fn verify_tls13_handshake(
    certificate: &Certificate,
    message: &[u8],
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let key =
        certificate.tbs_certificate.subject_public_key_info.to_der().map_err(|_| CertificateError::BadEncoding)?;
    verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(key), dss, algorithms)
}

/// Checks the signature of a handshake of TLS 1.2. A scheme does not determine the curve, so each
/// algorithm for the scheme and the key is tried.
pub(super) fn verify_handshake(
    certificate: &Certificate,
    message: &[u8],
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let candidates = algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme).map(|(_, all)| *all);
    let candidates = candidates.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let key = PublicKey::of(certificate).ok_or(CertificateError::BadEncoding)?;
    let is_valid = candidates.iter().any(|algorithm| key.verifies(*algorithm, message, dss.signature()));
    if is_valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
}

/// Returns true if the key of `root` made the signature of `certificate`, and `None` if a part
/// cannot be decoded.
fn is_signed_by(
    certificate: &Certificate,
    root: &Certificate,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Option<bool> {
    let (outer, inner) = (&certificate.signature_algorithm, &certificate.tbs_certificate.signature);
    let signed = certificate.tbs_certificate.to_der().ok()?;
    let signature = certificate.signature.as_bytes()?;
    let (key, id) = (PublicKey::of(root)?, identifier(outer)?);
    let mut candidates = algorithms.iter().filter(|algorithm| algorithm.signature_alg_id().as_ref() == id);
    Some(outer == inner && candidates.any(|algorithm| key.verifies(*algorithm, &signed, signature)))
}

/// The public key of a certificate.
struct PublicKey {
    /// The algorithm in the form of rustls.
    algorithm: Vec<u8>,
    bits: Vec<u8>,
}

impl PublicKey {
    fn of(certificate: &Certificate) -> Option<Self> {
        let info = &certificate.tbs_certificate.subject_public_key_info;
        let bits = info.subject_public_key.as_bytes()?.to_vec();
        Some(Self { algorithm: identifier(&info.algorithm)?, bits })
    }

    fn verifies(&self, algorithm: &dyn SignatureVerificationAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        algorithm.public_key_alg_id().as_ref() == self.algorithm
            && algorithm.verify_signature(&self.bits, message, signature).is_ok()
    }
}

/// Returns an algorithm in the form of rustls: the content of the DER sequence.
fn identifier(algorithm: &AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    let der = algorithm.to_der().ok()?;
    let mut reader = SliceReader::new(&der).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    let start = der.len().checked_sub(usize::try_from(header.length).ok()?)?;
    der.get(start..).map(<[u8]>::to_vec)
}

/// Returns true if a root may sign certificates. Version 1 has no field for it, so OpenSSL accepts
/// each root of that version.
fn is_authority(root: &Certificate) -> bool {
    root.tbs_certificate.version == Version::V1
        || matches!(root.tbs_certificate.get::<BasicConstraints>(), Ok(Some((_, constraints))) if constraints.ca)
}

//! The hash of the server's certificate, for channel binding by `tls-server-end-point`.
//!
//! Source: RFC 5929, section 4.1, and `pgtls_get_peer_certificate_hash` in `fe-secure-openssl.c`.

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::{rfc5912, rfc8410};
use x509_cert::der::{Decode, Reader, SliceReader, Tag, TagNumber};
use x509_cert::spki::AlgorithmIdentifierOwned;

/// The algorithm `ecdsa-with-SHA1` (RFC 3279).
const ECDSA_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");

/// Returns the hash of a certificate in DER, by the hash function of its signature. MD5 and SHA-1
/// are replaced by SHA-256. Returns `None` for signatures without a hash function, such as Ed25519:
/// channel binding is not defined for them.
pub(crate) fn endpoint_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    hash(&parsed.signature_algorithm, certificate)
}

fn hash(signature: &AlgorithmIdentifierOwned, certificate: &[u8]) -> Option<Vec<u8>> {
    let function = match signature.oid {
        rfc5912::ID_RSASSA_PSS => pss_function(signature)?,
        oid => oid,
    };
    match function {
        rfc5912::ID_MD_5
        | rfc5912::MD_5_WITH_RSA_ENCRYPTION
        | rfc5912::ID_SHA_1
        | rfc5912::SHA_1_WITH_RSA_ENCRYPTION
        | ECDSA_WITH_SHA_1
        | rfc5912::DSA_WITH_SHA_1
        | rfc5912::ID_SHA_256
        | rfc5912::SHA_256_WITH_RSA_ENCRYPTION
        | rfc5912::ECDSA_WITH_SHA_256
        | rfc5912::DSA_WITH_SHA_256 => Some(Sha256::digest(certificate).to_vec()),
        rfc5912::ID_SHA_224
        | rfc5912::SHA_224_WITH_RSA_ENCRYPTION
        | rfc5912::ECDSA_WITH_SHA_224
        | rfc5912::DSA_WITH_SHA_224 => Some(Sha224::digest(certificate).to_vec()),
        rfc5912::ID_SHA_384 | rfc5912::SHA_384_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_384 => {
            Some(Sha384::digest(certificate).to_vec())
        }
        rfc5912::ID_SHA_512 | rfc5912::SHA_512_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_512 => {
            Some(Sha512::digest(certificate).to_vec())
        }
        rfc8410::ID_ED_25519 | rfc8410::ID_ED_448 => None,
        _ => None,
    }
}

/// Returns the hash function in the parameters of RSASSA-PSS: their first field, or SHA-1 if it is
/// missing (RFC 4055, section 3.1).
fn pss_function(signature: &AlgorithmIdentifierOwned) -> Option<ObjectIdentifier> {
    let Some(parameters) = &signature.parameters else { return Some(rfc5912::ID_SHA_1) };
    let content = parameters.value();
    let mut reader = SliceReader::new(content).ok()?;
    let first = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
    if reader.peek_byte() != Some(first.octet()) {
        return Some(rfc5912::ID_SHA_1);
    }
    let header = x509_cert::der::Header::decode(&mut reader).ok()?;
    let field = reader.read_slice(header.length).ok()?;
    Some(AlgorithmIdentifierOwned::from_der(field).ok()?.oid)
}

//! libpq's comparison of a certificate's names with the host name.
//!
//! Source: `pq_verify_peer_name_matches_certificate` in `fe-secure-common.c`,
//! `pgtls_verify_peer_name_matches_certificate_guts` in `fe-secure-openssl.c`.

use std::net::IpAddr;

use rustls::{CertificateError, Error};
use x509_cert::Certificate;
use x509_cert::der::asn1::{PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The names in a certificate.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The subject's alternative names.
    dns: Vec<String>,
    /// The subject's alternative addresses.
    addresses: Vec<IpAddr>,
    /// The first common name of the subject.
    common_name: Option<String>,
}

impl Names {
    /// Returns the names of a certificate.
    pub(super) fn of(certificate: &Certificate) -> Result<Self, Error> {
        let mut names = Self { common_name: common_name(certificate), ..Self::default() };
        let alternative = certificate.tbs_certificate.get::<SubjectAltName>();
        let alternative = alternative.map_err(|_| Error::from(CertificateError::BadEncoding))?;
        for name in alternative.into_iter().flat_map(|(_, SubjectAltName(all))| all) {
            match name {
                GeneralName::DnsName(name) => names.dns.push(name.to_string()),
                GeneralName::IpAddress(octets) => names.addresses.extend(address(octets.as_bytes())),
                _ => {}
            }
        }
        Ok(names)
    }

    /// Returns true if the certificate is for the host. The common name counts only if there is no
    /// alternative name of the same kind as the host.
    pub(super) fn match_host(&self, host: &str) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        let has_same_kind = if address.is_some() { !self.addresses.is_empty() } else { !self.dns.is_empty() };
        self.dns.iter().any(|name| matches_name(name, host))
            || address.is_some_and(|address| self.addresses.contains(&address))
            || (!has_same_kind && self.common_name.as_ref().is_some_and(|name| matches_name(name, host)))
    }

    /// Returns all names, for an error.
    pub(super) fn into_presented(self) -> Vec<String> {
        let addresses = self.addresses.iter().map(IpAddr::to_string);
        let alternative: Vec<_> = self.dns.into_iter().chain(addresses).collect();
        if alternative.is_empty() { self.common_name.into_iter().collect() } else { alternative }
    }
}

/// Returns true if a name in a certificate is the host, or a wildcard for the first label of it.
fn matches_name(name: &str, host: &str) -> bool {
    if name.is_empty() || name.contains('\0') {
        return false;
    }
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    match (name.strip_prefix('*'), host.find('.')) {
        (Some(domain), Some(dot)) if domain.len() > 1 && domain.starts_with('.') => {
            host.get(dot..).is_some_and(|rest| rest.eq_ignore_ascii_case(domain))
        }
        _ => false,
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn common_name(certificate: &Certificate) -> Option<String> {
    let mut parts = certificate.tbs_certificate.subject.0.iter().flat_map(|part| part.0.iter());
    let value = &parts.find(|attribute| attribute.oid == COMMON_NAME)?.value;
    let utf8 = value.decode_as::<Utf8StringRef<'_>>().map(|text| text.as_str().to_owned());
    let printable = || value.decode_as::<PrintableStringRef<'_>>().map(|text| text.as_str().to_owned());
    let teletex = || value.decode_as::<TeletexStringRef<'_>>().map(|text| text.as_str().to_owned());
    utf8.or_else(|_| printable()).or_else(|_| teletex()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dns: &[&str], addresses: &[&str], common_name: Option<&str>) -> Names {
        Names {
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            common_name: common_name.map(str::to_owned),
        }
    }

    #[test]
    fn names_match_like_libpq() {
        for (name, host, expected) in [
            ("db.example.com", "DB.example.COM", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", true),
            ("d*.example.com", "db.example.com", false),
            ("*", "db", false),
            ("*.", "db.", false),
            ("db.example.com\0.evil.org", "db.example.com", false),
            ("", "", false),
        ] {
            assert_eq!(matches_name(name, host), expected, "{name:?} {host:?}");
        }
    }

    #[test]
    fn common_name_is_a_fallback() {
        assert!(names(&[], &[], Some("db1")).match_host("db1"));
        assert!(!names(&["db2"], &[], Some("db1")).match_host("db1"));
        // An alternative name of the other kind does not replace it.
        assert!(names(&[], &["10.0.0.1"], Some("db1")).match_host("db1"));
        assert!(names(&["db2"], &[], Some("10.0.0.1")).match_host("10.0.0.1"));
        assert!(!names(&[], &["10.0.0.2"], Some("10.0.0.1")).match_host("10.0.0.1"));
    }

    #[test]
    fn addresses_match_in_any_notation() {
        assert!(names(&[], &["::1"], None).match_host("0:0:0:0:0:0:0:1"));
        assert!(names(&["10.0.0.1"], &[], None).match_host("10.0.0.1"));
        assert!(!names(&[], &["10.0.0.1"], None).match_host("db1"));
    }
}

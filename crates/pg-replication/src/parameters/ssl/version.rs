//! The versions of TLS. Source: `sslVerifyProtocolVersion` and `sslVerifyProtocolRange` in
//! `fe-connect.c`.

use super::super::error::ParameterError;
use super::super::settings::Settings;

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// The versions that libpq accepts by name, in their order.
const NAMES: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// Returns the lowest and the highest version. A minimum below TLS 1.2 becomes TLS 1.2; a maximum
/// below TLS 1.2 is refused.
pub(super) fn range(settings: &Settings) -> Result<(TlsVersion, TlsVersion), ParameterError> {
    let rank = |keyword| match settings.text(keyword) {
        None => Ok(None),
        Some(name) => match NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)) {
            Some(rank) => Ok(Some(rank)),
            None => Err(settings.invalid(keyword, "not one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3")),
        },
    };
    let (min, max) = (rank("ssl_min_protocol_version")?, rank("ssl_max_protocol_version")?);
    if max.is_some_and(|max| max < 2) {
        return Err(settings.unsupported("ssl_max_protocol_version"));
    }
    let version = |rank: usize| if rank < 3 { TlsVersion::V1_2 } else { TlsVersion::V1_3 };
    let (lowest, highest) = (min.map_or(TlsVersion::V1_2, version), max.map_or(TlsVersion::V1_3, version));
    if lowest > highest {
        return Err(settings.invalid("ssl_min_protocol_version", "above ssl_max_protocol_version"));
    }
    Ok((lowest, highest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(min: &str, max: &str) -> Result<(TlsVersion, TlsVersion), ParameterError> {
        let keywords = [("ssl_min_protocol_version", min), ("ssl_max_protocol_version", max)];
        let keywords = keywords.map(|(keyword, value)| (keyword.to_owned(), value.to_owned()));
        range(&Settings::merge(keywords, &|_| None).unwrap())
    }

    #[test]
    fn versions_below_tls_1_2_are_never_used() {
        use TlsVersion::{V1_2, V1_3};
        assert_eq!(versions("", "").unwrap(), (V1_2, V1_3));
        assert_eq!(versions("TLSv1", "tlsv1.2").unwrap(), (V1_2, V1_2));
        assert_eq!(versions("TLSv1.3", "").unwrap(), (V1_3, V1_3));
        for max in ["TLSv1", "TLSv1.1"] {
            assert!(matches!(versions("", max), Err(ParameterError::Unsupported { .. })), "{max}");
        }
        for (min, max) in [("TLSv1.3", "TLSv1.2"), ("1.2", ""), ("", "SSLv3")] {
            assert!(matches!(versions(min, max), Err(ParameterError::Invalid { .. })), "{min} {max}");
        }
    }
}

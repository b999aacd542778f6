//! The settings of TLS. Source: `pqConnectOptions2` in `fe-connect.c`, `initialize_SSL` in
//! `fe-secure-openssl.c`, and PostgreSQL's documentation of libpq, "SSL Support".

mod client_cert;
mod root;
mod version;

use std::path::{Path, PathBuf};

pub use client_cert::ClientCert;
pub use root::RootCert;
pub use version::TlsVersion;

use super::error::ParameterError;
use super::settings::Settings;

/// The settings of TLS. Sockets never use TLS. If no connection can use TLS, there are neither
/// roots nor a certificate of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssl {
    /// The mode.
    pub mode: SslMode,
    /// The start of TLS: after a request, or at once.
    pub negotiation: SslNegotiation,
    /// The certificates that the server's chain must end in.
    pub root_cert: RootCert,
    /// Files with certificate revocation lists, which apply to the whole chain if there are any.
    pub crls: Vec<PathBuf>,
    /// The certificate that the client presents if the server asks for one.
    pub client_cert: Option<ClientCert>,
    /// The sending of the host name in the handshake.
    pub sni: Sni,
    /// The lowest version of TLS.
    pub min_version: TlsVersion,
    /// The highest version of TLS, not below the lowest.
    pub max_version: TlsVersion,
}

/// The use of TLS by the hosts of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// Sockets alone.
    Sockets,
    /// TCP for at least one host.
    Tcp,
}

impl Ssl {
    /// Returns the settings. `home` is the home directory. Adds files to the warnings that libpq
    /// ignores without a warning, such as a file of roots that does not exist.
    pub(super) fn resolve(
        settings: &Settings,
        transport: Transport,
        home: Option<&Path>,
        warnings: &mut Vec<ParameterError>,
    ) -> Result<Self, ParameterError> {
        let mode = SslMode::resolve(settings)?;
        let negotiation = SslNegotiation::resolve(settings)?;
        check_strength(settings, mode, negotiation)?;
        let (min_version, max_version) = version::range(settings)?;
        let sni = if settings.get("sslsni").is_none_or(|value| value.starts_with('1')) { Sni::Send } else { Sni::Omit };
        let words = [("disable", CertMode::Disable), ("allow", CertMode::Allow), ("require", CertMode::Require)];
        let cert_mode =
            settings.choice("sslcertmode", CertMode::Allow, &words, "not one of disable, allow, require")?;
        if cert_mode == CertMode::Require {
            return Err(settings.unsupported("sslcertmode"));
        }
        let mut ssl = Self {
            mode,
            negotiation,
            root_cert: RootCert::None,
            crls: Vec::new(),
            client_cert: None,
            sni,
            min_version,
            max_version,
        };
        if mode == SslMode::Disable || transport == Transport::Sockets {
            return Ok(ssl);
        }
        let folder = home.map(|home| home.join(".postgresql"));
        let folder = folder.as_deref();
        let roots = root::search(settings, folder)?;
        match roots.missing {
            Some(missing) if mode >= SslMode::VerifyCa => return Err(missing),
            Some(missing) if settings.text("sslrootcert").is_some() => warnings.push(missing),
            _ => {}
        }
        ssl.crls = root::crls(settings, &roots.found, folder)?;
        ssl.root_cert = roots.found;
        if cert_mode == CertMode::Allow {
            ssl.client_cert = match client_cert(settings, folder, warnings) {
                // In these modes, libpq would continue without TLS.
                Err(error @ (ParameterError::File { .. } | ParameterError::Read { .. })) if mode < SslMode::Require => {
                    warnings.push(error);
                    None
                }
                result => result?,
            };
        }
        Ok(ssl)
    }

    /// Returns the checks that the server's certificate must pass if the connection uses TLS. As in
    /// libpq, a file of roots makes every mode below `verify-full` check the chain.
    pub fn verification(&self) -> Verification {
        match (self.mode, &self.root_cert) {
            (SslMode::VerifyFull, _) => Verification::ChainAndName,
            (SslMode::VerifyCa, _) => Verification::Chain,
            (_, RootCert::None) => Verification::None,
            (_, _) => Verification::Chain,
        }
    }
}

/// A mode of TLS (`sslmode`), from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never uses TLS.
    Disable,
    /// Tries without TLS, then with TLS.
    Allow,
    /// Tries with TLS, then without TLS.
    Prefer,
    /// Uses TLS always.
    Require,
    /// Uses TLS always, and checks the chain of the server's certificate.
    VerifyCa,
    /// Uses TLS always, and checks the chain and the name of the server's certificate.
    VerifyFull,
}

impl SslMode {
    fn resolve(settings: &Settings) -> Result<Self, ParameterError> {
        let words = [
            ("disable", Self::Disable),
            ("allow", Self::Allow),
            ("prefer", Self::Prefer),
            ("require", Self::Require),
            ("verify-ca", Self::VerifyCa),
            ("verify-full", Self::VerifyFull),
        ];
        let rule = "not one of disable, allow, prefer, require, verify-ca, verify-full";
        settings.choice("sslmode", Self::Prefer, &words, rule)
    }
}

/// The checks of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Accepts every certificate.
    None,
    /// Checks that the chain ends in one of the roots.
    Chain,
    /// Checks the chain and the host name.
    ChainAndName,
}

/// The use of the client's certificate (`sslcertmode`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum CertMode {
    Disable,
    Allow,
    Require,
}

/// The start of TLS (`sslnegotiation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslNegotiation {
    /// Sends an `SSLRequest` first.
    Postgres,
    /// Begins with the TLS handshake and the ALPN protocol `postgresql` (PostgreSQL 17 and newer).
    Direct,
}

impl SslNegotiation {
    fn resolve(settings: &Settings) -> Result<Self, ParameterError> {
        let words = [("postgres", Self::Postgres), ("direct", Self::Direct)];
        settings.choice("sslnegotiation", Self::Postgres, &words, "not one of postgres, direct")
    }
}

/// The sending of the host name in the handshake (`sslsni`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sni {
    /// Sends the host name, unless it is an IP address.
    Send,
    /// Sends no host name.
    Omit,
}

/// Rejects a mode that is weaker than another setting demands.
fn check_strength(settings: &Settings, mode: SslMode, negotiation: SslNegotiation) -> Result<(), ParameterError> {
    let (other, weakest, rule) = match (negotiation, settings.text("sslrootcert")) {
        (_, Some("system")) => ("sslrootcert=system", SslMode::VerifyFull, "sslmode must be verify-full"),
        (SslNegotiation::Direct, _) => {
            ("sslnegotiation=direct", SslMode::Require, "sslmode must be require, verify-ca or verify-full")
        }
        _ => return Ok(()),
    };
    if mode >= weakest {
        return Ok(());
    }
    let setting = format!("sslmode={}", settings.text("sslmode").unwrap_or("prefer"));
    Err(ParameterError::Conflict { setting, other: other.to_owned(), rule })
}

/// Returns the certificate of the client, if there is one.
fn client_cert(
    settings: &Settings,
    folder: Option<&Path>,
    warnings: &mut Vec<ParameterError>,
) -> Result<Option<ClientCert>, ParameterError> {
    let Some(cert) = client_cert::cert(settings, folder)? else {
        if let Some(path) = settings.text("sslcert") {
            let rule = "does not exist, so the client presents no certificate";
            warnings.push(ParameterError::File { keyword: "sslcert", path: path.into(), rule });
        }
        return Ok(None);
    };
    // A colon separates an OpenSSL engine and the name of its key.
    if settings.text("sslkey").is_some_and(|key| key.contains(':')) {
        return Err(settings.unsupported("sslkey"));
    }
    let key = client_cert::key(settings, folder)?;
    if settings.text("sslpassword").is_some() {
        return Err(settings.unsupported("sslpassword"));
    }
    Ok(Some(ClientCert { cert, key }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns the settings and the warnings of a connection over TCP.
    fn ssl(keywords: &[(&str, &str)], home: Option<&Path>) -> Result<(Ssl, Vec<ParameterError>), ParameterError> {
        let keywords = keywords.iter().map(|(keyword, value)| ((*keyword).to_owned(), (*value).to_owned()));
        let mut warnings = Vec::new();
        let ssl = Ssl::resolve(&Settings::merge(keywords, &|_| None)?, Transport::Tcp, home, &mut warnings)?;
        Ok((ssl, warnings))
    }

    /// Returns a home directory with the files of libpq's defaults.
    fn home(files: &[&str]) -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".postgresql")).unwrap();
        for file in files {
            let path = home.path().join(".postgresql").join(file);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        home
    }

    #[test]
    fn defaults_are_those_of_libpq() {
        let (ssl, warnings) = ssl(&[], None).unwrap();
        let expected = Ssl {
            mode: SslMode::Prefer,
            negotiation: SslNegotiation::Postgres,
            root_cert: RootCert::None,
            crls: Vec::new(),
            client_cert: None,
            sni: Sni::Send,
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
        };
        assert_eq!((ssl.verification(), &ssl), (Verification::None, &expected));
        assert!(warnings.is_empty());
    }

    #[test]
    fn files_of_the_home_directory_are_used() {
        let home = home(&["root.crt", "postgresql.crt", "postgresql.key"]);
        let path = |name: &str| home.path().join(".postgresql").join(name);
        for (mode, verification) in [
            ("allow", Verification::Chain),
            ("prefer", Verification::Chain),
            ("require", Verification::Chain),
            ("verify-ca", Verification::Chain),
            ("verify-full", Verification::ChainAndName),
        ] {
            let (ssl, _) = ssl(&[("sslmode", mode)], Some(home.path())).unwrap();
            assert_eq!(ssl.root_cert, RootCert::File(path("root.crt")), "{mode}");
            assert_eq!(ssl.verification(), verification, "{mode}");
            let client_cert = ClientCert { cert: path("postgresql.crt"), key: path("postgresql.key") };
            assert_eq!(ssl.client_cert, Some(client_cert), "{mode}");
        }
        for keyword in [("sslmode", "disable"), ("sslcertmode", "disable")] {
            assert_eq!(ssl(&[keyword], Some(home.path())).unwrap().0.client_cert, None, "{keyword:?}");
        }
    }

    #[test]
    fn missing_roots_fail_only_where_they_are_needed() {
        let home = home(&[]);
        for mode in ["verify-ca", "verify-full"] {
            for home in [Some(home.path()), None] {
                let result = ssl(&[("sslmode", mode)], home);
                assert!(matches!(result, Err(ParameterError::File { keyword: "sslrootcert", .. })), "{mode}");
            }
        }
        let (without, warnings) = ssl(&[("sslmode", "require")], Some(home.path())).unwrap();
        assert_eq!((without.verification(), warnings.len()), (Verification::None, 0));
        let (_, warnings) = ssl(&[("sslmode", "require"), ("sslrootcert", "/nonexistent")], None).unwrap();
        assert!(matches!(warnings[..], [ParameterError::File { keyword: "sslrootcert", .. }]));
        let settings = Settings::merge([("sslmode".into(), "verify-full".into())], &|_| None).unwrap();
        assert!(Ssl::resolve(&settings, Transport::Sockets, None, &mut Vec::new()).is_ok());
    }

    #[test]
    fn system_roots_imply_verify_full() {
        let (system, _) = ssl(&[("sslrootcert", "system")], None).unwrap();
        assert_eq!((system.mode, &system.root_cert), (SslMode::VerifyFull, &RootCert::System));
        assert_eq!(system.verification(), Verification::ChainAndName);
        for mode in ["disable", "prefer", "require", "verify-ca"] {
            let result = ssl(&[("sslrootcert", "system"), ("sslmode", mode)], None);
            assert!(matches!(result, Err(ParameterError::Conflict { .. })), "{mode}");
        }
    }

    #[test]
    fn direct_negotiation_needs_a_strong_mode() {
        let direct = ("sslnegotiation", "direct");
        for keywords in [&[direct][..], &[direct, ("sslmode", "prefer")], &[direct, ("sslmode", "disable")]] {
            assert!(matches!(ssl(keywords, None), Err(ParameterError::Conflict { .. })), "{keywords:?}");
        }
        let (ssl, _) = ssl(&[direct, ("sslmode", "require")], None).unwrap();
        assert_eq!(ssl.negotiation, SslNegotiation::Direct);
    }

    #[test]
    fn bad_key_fails_or_warns_by_mode() {
        let home = home(&["postgresql.crt"]);
        let result = ssl(&[("sslmode", "require")], Some(home.path()));
        assert!(matches!(result, Err(ParameterError::File { keyword: "sslkey", .. })));
        let (preferred, warnings) = ssl(&[], Some(home.path())).unwrap();
        assert!(preferred.client_cert.is_none() && warnings.len() == 1, "{warnings:?}");
        let (_, warnings) = ssl(&[("sslcert", "/nonexistent")], None).unwrap();
        assert!(matches!(warnings[..], [ParameterError::File { keyword: "sslcert", .. }]));
    }

    #[test]
    fn unsupported_settings_are_named() {
        let home = home(&["postgresql.crt", "postgresql.key"]);
        for (keyword, value) in [
            ("sslcertmode", "require"),
            ("sslpassword", "hunter2"),
            ("sslkey", "pkcs11:key"),
            ("ssl_max_protocol_version", "TLSv1.1"),
        ] {
            match ssl(&[(keyword, value)], Some(home.path())) {
                Err(error @ ParameterError::Unsupported { .. }) => {
                    assert!(error.to_string().starts_with(keyword) && !error.to_string().contains("hunter2"));
                }
                other => panic!("{keyword}: {other:?}"),
            }
        }
        assert!(ssl(&[("sslpassword", "hunter2")], None).is_ok(), "no key needs the password");
        for (keyword, value) in
            [("sslmode", "on"), ("sslmode", "VERIFY-FULL"), ("sslnegotiation", "tls"), ("sslcertmode", "x")]
        {
            assert!(matches!(ssl(&[(keyword, value)], None), Err(ParameterError::Invalid { .. })), "{keyword}={value}");
        }
    }

    #[test]
    fn sni_is_sent_unless_disabled() {
        for (value, sni) in [("1", Sni::Send), ("0", Sni::Omit)] {
            assert_eq!(ssl(&[("sslsni", value)], None).unwrap().0.sni, sni);
        }
    }
}

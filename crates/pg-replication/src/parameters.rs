//! The parameters of a connection, by libpq's rules.
//!
//! | Module | Content |
//! |---|---|
//! | `keyword` | the keywords of libpq, and their treatment |
//! | `settings` | connection string, service file and environment, merged |
//! | `service_file` | services |
//! | `host` | hosts, addresses, ports, sockets |
//! | `ssl` | TLS: mode, roots, client certificate, versions |
//! | `authentication` | channel binding, permitted methods |
//! | `target` | choice among hosts |
//! | `tcp` | keepalives |
//! | `passfile` | passwords |
//! | `system_user` | the name and the home directory of the operating system user |
//! | `error` | errors |

mod authentication;
mod error;
mod host;
mod keyword;
mod passfile;
mod service_file;
mod settings;
mod ssl;
mod system_user;
mod target;
mod tcp;

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

pub use authentication::{AuthenticationMethod, ChannelBinding, PermittedMethods};
pub use error::ParameterError;
pub use host::Host;
pub use passfile::{Password, PasswordSource};
pub use ssl::{ClientCert, RootCert, Sni, Ssl, SslMode, SslNegotiation, TlsVersion, Verification};
pub use target::{LoadBalanceHosts, TargetSessionAttrs};
pub use tcp::{Keepalives, Tcp};

use passfile::{Passfile, Wanted};
use settings::Settings;
use ssl::Transport;

/// The database name of a replication connection, in password files.
const DATABASE: &str = "replication";

/// The parameters of a connection. `Debug` does not print passwords.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// The hosts to try in turn, at least one.
    pub hosts: Vec<Host>,
    /// The role to log in as.
    pub user: String,
    /// The server's command-line options for the session, `-c name=value …`, empty for none.
    pub options: String,
    /// The name of the client in the server's log and views.
    pub application_name: String,
    /// The settings of TLS.
    pub ssl: Ssl,
    /// The use of channel binding.
    pub channel_binding: ChannelBinding,
    /// The methods of authentication that the client accepts.
    pub permitted_methods: PermittedMethods,
    /// The operating system user that a server on a socket must run as (`requirepeer`).
    pub require_peer: Option<String>,
    /// The time limit for one address, from the first packet until the server is ready.
    pub connect_timeout: Option<Duration>,
    /// The kind of server that the connection accepts.
    pub target_session_attrs: TargetSessionAttrs,
    /// The order in which hosts are tried.
    pub load_balance_hosts: LoadBalanceHosts,
    /// The options of TCP connections.
    pub tcp: Tcp,
    /// Files that are named or found and that the connection does not use, as in libpq: a password
    /// file that others can read, a file of roots that does not exist.
    pub warnings: Vec<ParameterError>,
}

impl Parameters {
    /// Resolves the parameters of a connection from the keywords of a connection string, the
    /// password that the caller has (it replaces the keyword `password`), and an environment.
    ///
    /// A keyword takes its value from the connection string, then from the service file, then from
    /// the environment, then from libpq's defaults. The database is always `replication`, as with
    /// `pg_basebackup`, also in a password file. Fails if a keyword is unknown, or if a value is
    /// invalid or not implemented.
    pub fn resolve(
        keywords: impl IntoIterator<Item = (String, String)>,
        password: Option<SecretString>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ParameterError> {
        let settings = Settings::merge(keywords, environment)?;
        let home = system_user::home(environment);
        let mut warnings = Vec::new();

        let mut hosts = host::resolve(&settings)?;
        let user = settings.text("user").map_or_else(system_user::name, |user| Ok(user.to_owned()))?;
        let password = password.filter(|password| !password.expose_secret().is_empty());
        match password.or_else(|| settings.text("password").map(SecretString::from)) {
            Some(secret) => {
                let password = Password { secret, source: PasswordSource::Setting };
                hosts.iter_mut().for_each(|host| host.password = Some(password.clone()));
            }
            None => find_passwords(&mut hosts, &user, &settings, home.as_deref(), &mut warnings),
        }
        let transport = if hosts.iter().all(Host::is_socket) { Transport::Sockets } else { Transport::Tcp };
        let name = settings.text("application_name").or(settings.text("fallback_application_name"));
        let seconds = settings.integer("connect_timeout")?.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Self {
            options: settings.text("options").unwrap_or_default().to_owned(),
            application_name: name.unwrap_or("longshore").to_owned(),
            ssl: Ssl::resolve(&settings, transport, home.as_deref(), &mut warnings)?,
            channel_binding: ChannelBinding::resolve(&settings)?,
            permitted_methods: PermittedMethods::resolve(&settings)?,
            require_peer: settings.text("requirepeer").map(str::to_owned),
            connect_timeout: seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs),
            target_session_attrs: TargetSessionAttrs::resolve(&settings)?,
            load_balance_hosts: LoadBalanceHosts::resolve(&settings)?,
            tcp: Tcp::resolve(&settings)?,
            hosts,
            user,
            warnings,
        })
    }
}

/// Sets the passwords that the password file has: `passfile`, or `~/.pgpass`.
fn find_passwords(
    hosts: &mut [Host],
    user: &str,
    settings: &Settings,
    home: Option<&Path>,
    warnings: &mut Vec<ParameterError>,
) {
    let named = settings.text("passfile").map(PathBuf::from);
    let Some(path) = named.clone().or_else(|| Some(home?.join(".pgpass"))) else { return };
    let passfile = match Passfile::read(&path) {
        Ok(passfile) => passfile,
        // The file of the home directory is optional.
        Err(ParameterError::Read { .. }) if named.is_none() => return,
        Err(error) => return warnings.push(error),
    };
    for host in hosts {
        // In a password file, the socket in its default directory is `localhost`.
        let is_default = host.is_socket() && host::SOCKET_DIRS.contains(&host.name.as_str());
        let names = [host.name.as_str(), "localhost"];
        let names = if is_default { &names[..] } else { &names[..1] };
        host.password = passfile.password(&Wanted { hosts: names, port: host.port, database: DATABASE, user });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn resolve(keywords: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Parameters, ParameterError> {
        let keywords = keywords.iter().map(|(keyword, value)| ((*keyword).to_owned(), (*value).to_owned()));
        Parameters::resolve(keywords, None, &|name| {
            let set = variables.iter().find(|(variable, _)| *variable == name);
            set.map(|(_, value)| (*value).to_owned()).or_else(|| (name == "HOME").then(|| "/nonexistent".to_owned()))
        })
    }

    fn passwords(parameters: &Parameters) -> Vec<Option<&str>> {
        parameters.hosts.iter().map(|host| Some(host.password.as_ref()?.secret.expose_secret())).collect()
    }

    #[test]
    fn parameters_follow_libpq() {
        let keywords = [("host", "db1,/run/pg"), ("port", "5433,"), ("user", "bob"), ("dbname", "shop")];
        let parameters = resolve(&keywords, &[("PGOPTIONS", "-c a=b"), ("PGPASSWORD", "hunter2")]).unwrap();
        assert_eq!((parameters.user.as_str(), parameters.options.as_str()), ("bob", "-c a=b"));
        let hosts: Vec<_> =
            parameters.hosts.iter().map(|host| (host.name.as_str(), host.port, host.is_socket())).collect();
        assert_eq!(hosts, [("db1", 5433, false), ("/run/pg", 5432, true)]);
        assert_eq!(passwords(&parameters), [Some("hunter2"); 2]);
        assert!(!format!("{parameters:?}").contains("hunter2"));
    }

    #[test]
    fn defaults_are_those_of_libpq() {
        let parameters = resolve(&[], &[]).unwrap();
        assert_eq!(parameters.user, system_user::name().unwrap());
        assert_eq!((parameters.options.as_str(), parameters.application_name.as_str()), ("", "longshore"));
        assert!(parameters.hosts.len() == 1 && parameters.hosts[0].is_socket() && parameters.hosts[0].port == 5432);
        assert_eq!((parameters.connect_timeout, parameters.require_peer.as_deref()), (None, None));
        assert_eq!(parameters.target_session_attrs, TargetSessionAttrs::Any);
        assert_eq!(parameters.load_balance_hosts, LoadBalanceHosts::Disable);
        assert_eq!(parameters.channel_binding, ChannelBinding::Prefer);
        assert!(parameters.permitted_methods.permits(AuthenticationMethod::Password));
        assert!(parameters.warnings.is_empty() && passwords(&parameters) == [None]);
    }

    #[test]
    fn choices_are_parsed_or_rejected() {
        let parameters = resolve(
            &[
                ("target_session_attrs", "prefer-standby"),
                ("load_balance_hosts", "random"),
                ("channel_binding", "require"),
                ("connect_timeout", "10"),
                ("requirepeer", "postgres"),
                ("fallback_application_name", "app"),
            ],
            &[("PGAPPNAME", "")],
        )
        .unwrap();
        assert_eq!(parameters.target_session_attrs, TargetSessionAttrs::PreferStandby);
        assert_eq!(parameters.load_balance_hosts, LoadBalanceHosts::Random);
        assert_eq!(parameters.channel_binding, ChannelBinding::Require);
        assert_eq!(parameters.connect_timeout, Some(Duration::from_secs(10)));
        assert_eq!(
            (parameters.require_peer.as_deref(), parameters.application_name.as_str()),
            (Some("postgres"), "app")
        );
        assert_eq!(resolve(&[("connect_timeout", "-1")], &[]).unwrap().connect_timeout, None);
        for (keyword, value) in [
            ("target_session_attrs", "master"),
            ("load_balance_hosts", "on"),
            ("channel_binding", "on"),
            ("connect_timeout", "10s"),
            ("port", "many"),
        ] {
            assert!(matches!(resolve(&[(keyword, value)], &[]), Err(ParameterError::Invalid { .. })), "{keyword}");
        }
    }

    #[test]
    fn ignored_keywords_change_nothing() {
        let ignored: Vec<_> = keyword::KEYWORDS
            .iter()
            .filter(|keyword| matches!(keyword.treatment, keyword::Treatment::Ignore(_)))
            .map(|keyword| (keyword.name, "x"))
            .collect();
        assert_eq!(ignored.len(), 13);
        assert_eq!(format!("{:?}", resolve(&ignored, &[]).unwrap()), format!("{:?}", resolve(&[], &[]).unwrap()));
    }

    #[test]
    fn passfile_supplies_a_password_for_each_host() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".pgpass");
        let lines = [
            "db1:5432:replication:bob:one",
            "10.0.0.2:*:*:bob:two",
            "localhost:*:*:bob:three",
            "/run/pg:*:*:bob:four",
            "db5:*:shop:bob:no",
        ];
        fs::write(&path, lines.join("\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let keywords = [
            ("host", "db1,,/tmp,/run/pg,db5"),
            ("hostaddr", "10.0.0.1,10.0.0.2,,,"),
            ("user", "bob"),
            ("dbname", "shop"),
            ("sslmode", "disable"),
        ];
        let variables = [("HOME", home.path().to_str().unwrap())];
        let from_home = resolve(&keywords, &variables).unwrap();
        assert_eq!(passwords(&from_home), [Some("one"), Some("two"), Some("three"), Some("four"), None]);
        assert_eq!(from_home.hosts[0].password.as_ref().unwrap().source, PasswordSource::File(path.clone()));
        for text in ["one", "two", "three"] {
            assert!(!format!("{from_home:?}").contains(&format!("\"{text}\"")));
        }
        let named = resolve(&keywords, &[("PGPASSFILE", path.to_str().unwrap())]).unwrap();
        assert_eq!(passwords(&named), passwords(&from_home));
        let given = resolve(&[keywords[2], ("password", "given")], &variables).unwrap();
        assert_eq!(passwords(&given), [Some("given")]);
    }

    #[test]
    fn password_of_the_caller_precedes_all_others() {
        let keywords = [("password".to_owned(), "string".to_owned())];
        let environment = |name: &str| (name == "PGPASSWORD").then(|| "environment".to_owned());
        let resolve = |password: Option<&str>| {
            let parameters = Parameters::resolve(keywords.clone(), password.map(SecretString::from), &environment);
            passwords(&parameters.unwrap())[0].unwrap().to_owned()
        };
        assert_eq!(resolve(Some("caller")), "caller");
        assert_eq!(resolve(Some("")), "string");
        assert_eq!(resolve(None), "string");
    }

    #[test]
    fn ignored_passfile_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        let keywords = [("passfile", path.to_str().unwrap())];
        let missing = resolve(&keywords, &[]).unwrap();
        assert!(matches!(missing.warnings[..], [ParameterError::Read { keyword: "passfile", .. }]));
        fs::write(&path, "*:*:*:*:hunter2").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let open = resolve(&keywords, &[]).unwrap();
        assert!(matches!(open.warnings[..], [ParameterError::File { keyword: "passfile", .. }]));
        assert_eq!(passwords(&open), [None]);
    }

    #[test]
    fn sockets_need_no_certificates() {
        let socket = resolve(&[("host", "/run/pg"), ("sslmode", "verify-full")], &[]).unwrap();
        assert_eq!((socket.ssl.mode, socket.ssl.root_cert), (SslMode::VerifyFull, RootCert::None));
        let tcp = resolve(&[("host", "/run/pg,db1"), ("sslmode", "verify-full")], &[]);
        assert!(matches!(tcp, Err(ParameterError::File { .. })));
    }
}

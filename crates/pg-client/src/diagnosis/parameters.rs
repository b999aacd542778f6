//! The parameters that libpq would use: those of the connection string, then the environment, then
//! its defaults.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use secrecy::SecretString;
use tokio_postgres::config::SslMode;

use super::passfile;
use crate::conninfo::ConnInfo;
use crate::server::SOCKET_DIRS;

/// Settings, by keyword and variable, whose behaviour in libpq the second connection cannot
/// reproduce.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("service", "PGSERVICE"),
    ("sslcert", "PGSSLCERT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("require_auth", "PGREQUIREAUTH"),
];

/// The parameters of a connection.
pub(super) struct Parameters {
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) options: String,
    pub(super) ssl_mode: SslMode,
    password: Option<SecretString>,
    passfile: Option<String>,
}

/// One of the hosts that are tried in turn.
pub(super) struct Host {
    /// The host name, or the directory of a socket.
    pub(super) name: String,
    /// The host address, if given.
    pub(super) address: Option<String>,
    pub(super) port: u16,
}

impl Parameters {
    /// Returns the parameters of a command that connects, or `None` if the second connection cannot
    /// follow libpq.
    pub(super) fn of(command: &Command) -> Option<Self> {
        let string = command.get_args().find_map(|argument| argument.to_str()?.strip_prefix("--dbname="))?;
        let conninfo = ConnInfo::parse(&string.to_owned().into()).ok()?;
        let variable = |name: &str| environment(command, name);
        let setting = |keyword: &str, name: &str| conninfo.get(keyword).map(str::to_owned).or_else(|| variable(name));
        if UNSUPPORTED.iter().any(|(keyword, name)| setting(keyword, name).is_some()) {
            return None;
        }
        let ssl_mode = match setting("sslmode", "PGSSLMODE").as_deref() {
            None | Some("prefer") => SslMode::Prefer,
            Some("disable" | "allow") => SslMode::Disable,
            Some("require") if setting("sslrootcert", "PGSSLROOTCERT").is_none() => SslMode::Require,
            Some(_) => return None,
        };
        let user = match setting("user", "PGUSER") {
            Some(user) => user,
            None => nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()??.name,
        };
        let list = |text: Option<String>| text.map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
        let (names, addresses) = (list(setting("host", "PGHOST")), list(setting("hostaddr", "PGHOSTADDR")));
        let ports = list(setting("port", "PGPORT")).unwrap_or_default();
        let count = names.as_ref().or(addresses.as_ref()).map_or(1, Vec::len);
        let hosts = (0..count).map(|index| {
            let of = |all: &Option<Vec<String>>| {
                all.as_ref().and_then(|all| all.get(index)).filter(|one| !one.is_empty()).cloned()
            };
            let port = ports.get(index).or(ports.last()).map_or(Some(5432), |port| match port.as_str() {
                "" => Some(5432),
                port => port.parse().ok(),
            })?;
            let address = of(&addresses);
            let name = of(&names).or_else(|| address.clone()).unwrap_or_else(|| socket_dir(port));
            Some(Host { name, address, port })
        });
        Some(Self {
            hosts: hosts.collect::<Option<Vec<_>>>()?,
            database: setting("dbname", "PGDATABASE").unwrap_or_else(|| user.clone()),
            options: setting("options", "PGOPTIONS").unwrap_or_default(),
            ssl_mode,
            password: variable("PGPASSWORD").map(SecretString::from),
            passfile: setting("passfile", "PGPASSFILE").or_else(|| Some(format!("{}/.pgpass", variable("HOME")?))),
            user,
        })
    }

    /// Returns the password for one host.
    pub(super) fn password(&self, host: &Host) -> Option<SecretString> {
        self.password.clone().or_else(|| {
            // For a socket in its default directory, the password file names the host `localhost`.
            let name = if SOCKET_DIRS.contains(&host.name.as_str()) { "localhost" } else { &host.name };
            passfile::password(
                Path::new(self.passfile.as_ref()?),
                [name, &host.port.to_string(), &self.database, &self.user],
            )
        })
    }
}

impl Host {
    /// Returns true if the host is a socket of this machine.
    pub(super) fn is_local(&self) -> bool {
        self.address.is_none() && self.name.starts_with(['/', '@'])
    }

    /// Returns the TLS mode for this host. A socket never uses TLS.
    pub(super) fn ssl_mode(&self, wanted: SslMode) -> SslMode {
        if self.is_local() { SslMode::Disable } else { wanted }
    }
}

/// Returns a variable as the command receives it.
fn environment(command: &Command, name: &str) -> Option<String> {
    let own = command.get_envs().find(|(key, _)| *key == OsStr::new(name));
    let value = match own {
        Some((_, value)) => value.map(OsStr::to_owned),
        None => std::env::var_os(name),
    };
    value.and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

/// Returns the directory in which libpq looks for the socket: Debian's, if it has a socket of that
/// port.
fn socket_dir(port: u16) -> String {
    let has = |folder: &&&str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
    SOCKET_DIRS.iter().find(has).unwrap_or(&SOCKET_DIRS[0]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(string: &str) -> Option<Parameters> {
        let mut command = Command::new("psql");
        for name in ["PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGSSLMODE", "PGSERVICE", "PGPASSFILE"] {
            command.env_remove(name);
        }
        command.arg(format!("--dbname={string}")).env("PGOPTIONS", "-c a=b").env("PGPASSWORD", "hunter2");
        Parameters::of(&command)
    }

    #[test]
    fn parameters_follow_libpq() {
        let parameters = parameters("host='db1,/run/pg' port='5433,' user=bob dbname=shop").unwrap();
        assert_eq!(
            (parameters.user.as_str(), parameters.database.as_str(), parameters.options.as_str()),
            ("bob", "shop", "-c a=b")
        );
        let hosts: Vec<_> =
            parameters.hosts.iter().map(|host| (host.name.as_str(), host.port, host.is_local())).collect();
        assert_eq!(hosts, [("db1", 5433, false), ("/run/pg", 5432, true)]);
        assert_eq!(parameters.hosts[1].ssl_mode(parameters.ssl_mode), SslMode::Disable);
    }

    #[test]
    fn unsupported_parameters_are_rejected() {
        for string in
            ["service=main", "sslmode=verify-full host=db1", "sslcert=x", "port=many", "target_session_attrs=primary"]
        {
            assert!(parameters(string).is_none(), "{string}");
        }
    }
}

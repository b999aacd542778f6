//! Facts about a server, its databases, and the connecting role.

use std::time::{SystemTime, UNIX_EPOCH};

use longshore_core::check::Finding;
use longshore_core::manifest::{self, DatabaseFacts};
use longshore_core::{Error, Kind, Result, Stage};
use serde::Deserialize;

use crate::client::Client;
use crate::conninfo::ConnInfo;
use crate::session::ServerFacts;
use crate::tool::Version;

/// The difference between the server's clock and this host's, in seconds, from which on a check
/// warns.
const CLOCK_TOLERANCE: f64 = 60.0;

/// A server, and the rights of our role on the server.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    version: String,
    /// The connecting role.
    pub role: String,
    /// True if the role is a superuser.
    pub superuser: bool,
    /// True if the role may read `pg_authid`, which contains the role passwords.
    pub reads_passwords: bool,
    /// True if the role may read every table.
    pub reads_all_data: bool,
    /// True if row security hides no rows from the role.
    pub bypasses_row_security: bool,
    /// True if the server is a standby.
    pub in_recovery: bool,
    /// The server's clock, in seconds since 1970.
    pub clock: f64,
    /// The facts that decide which settings the server's sessions receive.
    session: ServerFacts,
}

/// `$session` is replaced with [`ServerFacts::sql`].
const SERVER: &str = "select json_build_object(
    'session', $session,
    'version', current_setting('server_version'),
    'role', current_user,
    'superuser', current_setting('is_superuser') = 'on',
    'reads_passwords', has_table_privilege('pg_catalog.pg_authid', 'select'),
    'reads_all_data', current_setting('is_superuser') = 'on' or (select coalesce(bool_or(pg_has_role(current_user, oid, 'usage')), false)
        from pg_catalog.pg_roles where rolname = 'pg_read_all_data'),
    'bypasses_row_security', (select rolsuper or rolbypassrls from pg_catalog.pg_roles where rolname = current_user),
    'in_recovery', pg_catalog.pg_is_in_recovery(),
    'clock', extract(epoch from clock_timestamp())::float8)";

const SYSTEM_IDENTIFIER: &str = "select to_json(system_identifier::text) from pg_catalog.pg_control_system()";

impl Server {
    /// Queries the server's facts. All later sessions of `client` are set up for its version.
    pub async fn query(client: &Client) -> Result<Self> {
        let server: Self = client.query(&SERVER.replace("$session", &ServerFacts::sql())).await?;
        client.session().set_up(server.session.clone());
        Ok(server)
    }

    /// Returns the server's version.
    pub fn version(&self) -> Result<Version> {
        Version::parse(&self.version)
            .ok_or_else(|| Error::new(Stage::Connect, Kind::Failed, &self.version, "not a version of PostgreSQL"))
    }

    /// Returns the server as manifests record it.
    pub async fn record(&self, client: &Client) -> Result<manifest::Server> {
        let system_identifier = match client.query(SYSTEM_IDENTIFIER).await {
            Ok(identifier) => Some(identifier),
            Err(error) if error.kind() == Kind::Denied => None,
            Err(error) => return Err(error),
        };
        Ok(manifest::Server { server_version: self.version()?.to_string(), system_identifier })
    }

    /// Returns findings about the server itself: that it answers, and whether its clock agrees with
    /// `now`, this host's time.
    pub fn findings(&self, client: &Client, now: SystemTime) -> Vec<Finding> {
        let subject = format!("cluster {}", client.name());
        let standby = if self.in_recovery { ", a standby" } else { "" };
        let role = if self.superuser { "a superuser" } else { "not a superuser" };
        let mut findings = vec![Finding::good(
            &subject,
            format!("PostgreSQL {}{standby}, connected as {}, {role}", self.version, self.role),
        )];
        // A clock before 1970 counts as 1970.
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let difference = (self.clock - now).abs();
        findings.push(if difference <= CLOCK_TOLERANCE {
            Finding::good(&subject, "the server's clock agrees with this host's")
        } else {
            let message = format!(
                "the server's clock and this host's are {difference:.0} s apart: backups are dated by this host's clock"
            );
            Finding::warning(&subject, message, "synchronise both clocks with NTP")
        });
        findings
    }
}

/// A database of the server.
#[derive(Debug, Clone, Deserialize)]
pub struct Database {
    /// The database's name.
    pub name: String,
    /// True if the database accepts connections.
    pub allows_connections: bool,
    /// True if the role has the CONNECT privilege.
    pub may_connect: bool,
    /// The maximum number of connections to the database. Negative: no limit of its own.
    pub connection_limit: i64,
    /// The number of connections to the database.
    pub sessions: i64,
    /// True if a `DROP DATABASE` was interrupted: the database can only be dropped again.
    pub invalid: bool,
    /// True if the database is a template.
    pub template: bool,
    /// The size on disk in bytes, if the role may query it.
    pub bytes: Option<u64>,
    /// The properties that a database needs for restoring its backup.
    #[serde(flatten)]
    pub facts: DatabaseFacts,
}

// to_jsonb finds columns that only some versions have: datlocprovider was added in 15, and
// daticulocale became datlocale in 17.
const DATABASES: &str = "select coalesce(json_agg(json_build_object(
    'name', datname,
    'allows_connections', datallowconn,
    'may_connect', has_database_privilege(session_user, oid, 'connect'),
    'connection_limit', datconnlimit,
    'sessions', (select count(*) from pg_catalog.pg_stat_activity a where a.datid = d.oid and a.usesysid is not null
        and a.pid <> pg_backend_pid()
        and (a.usename = session_user and a.backend_start > clock_timestamp() - interval '2 seconds') is not true),
    'invalid', datconnlimit = -2,
    'template', datistemplate,
    'bytes', case when has_database_privilege(oid, 'connect') or pg_has_role('pg_read_all_stats', 'usage') then pg_database_size(oid) end,
    'encoding', pg_encoding_to_char(encoding),
    'collate', coalesce(datcollate, ''),
    'ctype', coalesce(datctype, ''),
    'locale_provider', case to_jsonb(d) ->> 'datlocprovider' when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end,
    'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
    ) order by datname), '[]') from pg_catalog.pg_database d";

/// Returns all databases of the server, by name.
pub async fn databases(client: &Client) -> Result<Vec<Database>> {
    client.query(DATABASES).await
}

// The query whether a table, a function or another object exists that is not PostgreSQL's own, by
// the ids with which pg_dump distinguishes them.
const OWN_OBJECTS: &str =
    "select to_json(exists (select from pg_catalog.pg_class where oid >= 16384 and relpersistence <> 't'
        and relnamespace <> 'pg_toast'::regnamespace)
    or exists (select from pg_catalog.pg_namespace where oid >= 16384 and nspname !~ '^pg_(toast_)?temp_')
    or exists (select from pg_catalog.pg_proc where oid >= 16384)
    or exists (select from pg_catalog.pg_type where oid >= 16384 and typtype in ('d', 'e', 'r'))
    or exists (select from pg_catalog.pg_extension where oid >= 16384)
    or exists (select from pg_catalog.pg_largeobject_metadata)
    or exists (select from pg_catalog.pg_foreign_data_wrapper where oid >= 16384))";

/// Returns true if the database that `client` connects to has objects of its own, such as tables. A
/// new database has none.
pub async fn has_own_objects(client: &Client) -> Result<bool> {
    client.query(OWN_OBJECTS).await
}

/// Quotes a name as an SQL identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text as an SQL literal that is valid with either value of
/// `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// The directories of server sockets: Debian's, and PostgreSQL's default.
pub(crate) const SOCKET_DIRS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Returns the sockets of this machine's servers, each as a connection string, with the connection
/// strings to try: as the current user, and as `postgres`.
pub fn local_sockets() -> Vec<(String, Vec<String>)> {
    let mut sockets = Vec::new();
    for folder in SOCKET_DIRS {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut ports: Vec<u16> =
            files.filter_map(|file| file.file_name().to_str()?.strip_prefix(".s.PGSQL.")?.parse().ok()).collect();
        ports.sort_unstable();
        sockets.extend(ports.into_iter().map(|port| {
            let socket = format!("host={folder} port={port}");
            let connections = vec![socket.clone(), format!("{socket} user=postgres")];
            (socket, connections)
        }));
    }
    sockets
}

/// Returns the connection string that the environment describes, written out because later callers,
/// such as cron, may have another environment.
pub fn of_environment() -> String {
    let mut conninfo = ConnInfo::default();
    for (variable, keyword) in VARIABLES {
        if let Some(value) = std::env::var(variable).ok().filter(|value| !value.is_empty()) {
            conninfo.set(keyword, &value);
        }
    }
    conninfo.to_string()
}

/// The environment variables that choose a server, and libpq's keywords for them. Passwords stay in
/// the environment.
const VARIABLES: [(&str, &str); 6] = [
    ("PGSERVICE", "service"),
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGSSLMODE", "sslmode"),
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use longshore_core::check::Outcome;
    use longshore_core::plugin::Cluster;

    use super::*;

    #[test]
    fn findings_warn_of_a_wrong_clock() {
        let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
        let client = Client::new(&cluster).unwrap();
        let server = Server {
            version: "17.4".into(),
            role: "backup".into(),
            superuser: false,
            reads_passwords: false,
            reads_all_data: true,
            bypasses_row_security: true,
            in_recovery: true,
            clock: 1_000_000.0,
            session: ServerFacts::default(),
        };
        let outcomes = |seconds| {
            let now = UNIX_EPOCH + Duration::from_secs(seconds);
            server.findings(&client, now).iter().map(|finding| finding.outcome).collect::<Vec<_>>()
        };
        assert_eq!(outcomes(1_000_001), [Outcome::Good, Outcome::Good]);
        assert_eq!(outcomes(1_000_100), [Outcome::Good, Outcome::Warning]);
    }

    #[test]
    fn identifiers_and_literals_are_quoted() {
        assert_eq!(identifier("od\"d"), "\"od\"\"d\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
    }
}

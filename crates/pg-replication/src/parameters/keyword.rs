//! The keywords that libpq knows, as of PostgreSQL 18 and `servicefile` of 19. Source:
//! `PQconninfoOptions` in `fe-connect.c`.

/// A keyword of a connection string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keyword {
    pub(super) name: &'static str,
    /// The environment variable that supplies the value if the string and the service do not.
    pub(super) variable: Option<&'static str>,
    pub(super) treatment: Treatment,
}

/// The treatment of a keyword by this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Follows the value as libpq does, or refuses the value by name.
    Follow,
    /// Refuses every value.
    Refuse,
    /// Ignores the value, for a reason.
    Ignore(Harmless),
}

/// A reason to ignore a keyword: ignoring it changes neither the server that the client connects
/// to, nor the protection of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harmless {
    /// `pg_basebackup` replaces the value too: a physical replication connection has no database.
    Replaced,
    /// The value concerns the text that SQL returns. A replication connection runs no SQL.
    NoSql,
    /// The value takes effect with an authentication method that the client refuses.
    RefusedMethod,
    /// The value could only weaken the connection.
    WouldWeaken,
}

use Harmless::{NoSql, RefusedMethod, Replaced, WouldWeaken};
use Treatment::{Follow, Ignore, Refuse};

/// All keywords.
pub(super) const KEYWORDS: [Keyword; 52] = [
    keyword("service", Some("PGSERVICE"), Follow),
    keyword("servicefile", Some("PGSERVICEFILE"), Follow),
    keyword("user", Some("PGUSER"), Follow),
    keyword("password", Some("PGPASSWORD"), Follow),
    keyword("passfile", Some("PGPASSFILE"), Follow),
    keyword("channel_binding", Some("PGCHANNELBINDING"), Follow),
    keyword("connect_timeout", Some("PGCONNECT_TIMEOUT"), Follow),
    keyword("dbname", Some("PGDATABASE"), Ignore(Replaced)),
    keyword("host", Some("PGHOST"), Follow),
    keyword("hostaddr", Some("PGHOSTADDR"), Follow),
    keyword("port", Some("PGPORT"), Follow),
    keyword("client_encoding", Some("PGCLIENTENCODING"), Ignore(NoSql)),
    keyword("options", Some("PGOPTIONS"), Follow),
    keyword("application_name", Some("PGAPPNAME"), Follow),
    keyword("fallback_application_name", None, Follow),
    keyword("keepalives", None, Follow),
    keyword("keepalives_idle", None, Follow),
    keyword("keepalives_interval", None, Follow),
    keyword("keepalives_count", None, Follow),
    keyword("tcp_user_timeout", None, Follow),
    keyword("sslmode", Some("PGSSLMODE"), Follow),
    keyword("sslnegotiation", Some("PGSSLNEGOTIATION"), Follow),
    keyword("sslcompression", Some("PGSSLCOMPRESSION"), Ignore(WouldWeaken)),
    keyword("sslcert", Some("PGSSLCERT"), Follow),
    keyword("sslkey", Some("PGSSLKEY"), Follow),
    keyword("sslcertmode", Some("PGSSLCERTMODE"), Follow),
    keyword("sslpassword", None, Follow),
    keyword("sslrootcert", Some("PGSSLROOTCERT"), Follow),
    keyword("sslcrl", Some("PGSSLCRL"), Follow),
    keyword("sslcrldir", Some("PGSSLCRLDIR"), Follow),
    keyword("sslsni", Some("PGSSLSNI"), Follow),
    keyword("sslkeylogfile", None, Ignore(WouldWeaken)),
    keyword("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Follow),
    keyword("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION"), Follow),
    keyword("requirepeer", Some("PGREQUIREPEER"), Follow),
    keyword("require_auth", Some("PGREQUIREAUTH"), Follow),
    keyword("min_protocol_version", Some("PGMINPROTOCOLVERSION"), Follow),
    keyword("max_protocol_version", Some("PGMAXPROTOCOLVERSION"), Follow),
    keyword("gssencmode", Some("PGGSSENCMODE"), Follow),
    keyword("krbsrvname", Some("PGKRBSRVNAME"), Ignore(RefusedMethod)),
    keyword("gsslib", Some("PGGSSLIB"), Ignore(RefusedMethod)),
    keyword("gssdelegation", Some("PGGSSDELEGATION"), Ignore(RefusedMethod)),
    keyword("oauth_issuer", None, Ignore(RefusedMethod)),
    keyword("oauth_client_id", None, Ignore(RefusedMethod)),
    keyword("oauth_client_secret", None, Ignore(RefusedMethod)),
    keyword("oauth_scope", None, Ignore(RefusedMethod)),
    keyword("replication", None, Ignore(Replaced)),
    keyword("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Follow),
    keyword("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Follow),
    keyword("scram_client_key", None, Refuse),
    keyword("scram_server_key", None, Refuse),
    keyword("oauth_ca_file", Some("PGOAUTHCAFILE"), Ignore(RefusedMethod)),
];

/// The keywords whose values errors do not quote.
const SECRET: [&str; 5] = ["password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"];

const fn keyword(name: &'static str, variable: Option<&'static str>, treatment: Treatment) -> Keyword {
    Keyword { name, variable, treatment }
}

/// Returns a keyword by its name.
pub(super) fn find(name: &str) -> Option<Keyword> {
    KEYWORDS.into_iter().find(|keyword| keyword.name == name)
}

/// Returns a value as errors quote it.
pub(super) fn quotable(name: &str, value: &str) -> String {
    if SECRET.contains(&name) { "…".to_owned() } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keywords_and_variables_are_unique() {
        let names: BTreeSet<_> = KEYWORDS.iter().map(|keyword| keyword.name).collect();
        assert_eq!(names.len(), KEYWORDS.len());
        let variables: Vec<_> = KEYWORDS.iter().filter_map(|keyword| keyword.variable).collect();
        assert_eq!(variables.iter().collect::<BTreeSet<_>>().len(), variables.len());
        assert!(SECRET.iter().all(|name| find(name).is_some()));
    }
}

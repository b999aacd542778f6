//! The error kind and the hint for each refusal.

use longshore_core::Kind;

use super::Refusal;
use crate::failure::kind;

/// The error kind and the hint for a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advice {
    /// The error kind, by which callers decide.
    pub(crate) kind: Kind,
    /// The hint, in the imperative.
    pub(crate) hint: Option<&'static str>,
}

impl Advice {
    /// Returns the advice for a refusal.
    pub(crate) fn of(refusal: &Refusal) -> Self {
        let (kind, hint) = match refusal {
            Refusal::Server { sqlstate, routine, is_local } => {
                let hint = server_hint(sqlstate.as_str(), routine, *is_local);
                return Self { kind: kind(*sqlstate), hint };
            }
            Refusal::UnknownHost => (Kind::Unavailable, "correct the host in the connection string: it has no address"),
            Refusal::NotListening => {
                (Kind::Unavailable, "check that the server is running, and the host and port in the connection string")
            }
            Refusal::SocketDenied => {
                (Kind::Denied, "run as a user with access to the server's socket directory, or connect by TCP")
            }
            Refusal::Unreachable => (Kind::Unavailable, "check the host and the network: the host does not answer"),
            Refusal::NoPassword => (
                Kind::Denied,
                "put the password into ~/.pgpass (mode 600) or PGPASSWORD, or give --ask-password on a terminal",
            ),
        };
        Self { kind, hint: Some(hint) }
    }
}

/// Returns the hint for a server's refusal, by its code and the function that refused, since
/// several refusals share a code.
fn server_hint(code: &str, routine: &str, is_local: bool) -> Option<&'static str> {
    Some(match (code, routine) {
        ("28P01", _) => "check ~/.pgpass, PGPASSWORD and the connection string: the password is wrong",
        ("28000", "InitializeSessionUserId") => {
            "create the role, allow it to log in (alter role … login), or set another in the connection string: user=…"
        }
        ("28000", "ClientAuthentication") => "allow this host, role and database in the server's pg_hba.conf",
        ("28000", _) if is_local => {
            "run as the operating system user of that name, such as `sudo -u postgres longshore …`, or connect by TCP with a \
             password"
        }
        ("28000", _) => "check the authentication method in the server's pg_hba.conf",
        ("42501", "CheckMyDatabase") => "allow the role to connect: grant connect on database … to …",
        ("42501", "InitPostgres") => "use a superuser or a replication role: the remaining connections are reserved",
        ("42501", _) => "remove the settings that the role may not change from `options`",
        ("3D000", _) => "create the database, or name another in the connection string",
        ("55000", _) => "allow connections to the database (alter database … allow_connections true), or exclude it",
        ("53300", "InitializeSessionUserId") => "raise the role's connection limit: alter role … connection limit …",
        ("53300", "CheckMyDatabase") => "raise the database's connection limit: alter database … connection limit …",
        ("53300", _) => "close other connections, or raise max_connections: no connection is left for this role",
        ("57P03", _) => {
            "wait until the server has started; if it is a standby, set hot_standby = on there, or connect to the primary"
        }
        ("22023" | "42704" | "42601", _) => "correct `options` in the connection string, or PGOPTIONS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use longshore_core::SqlState;

    use super::*;

    fn advice(code: &str, routine: &str) -> Advice {
        let sqlstate = SqlState::parse(code).unwrap();
        Advice::of(&Refusal::Server { sqlstate, routine: routine.to_owned(), is_local: false })
    }

    #[test]
    fn refusals_have_distinct_hints() {
        for (code, routine, kind, hint) in [
            ("42501", "CheckMyDatabase", Kind::Denied, "grant connect"),
            ("28000", "InitializeSessionUserId", Kind::Denied, "alter role … login"),
            ("28000", "ClientAuthentication", Kind::Denied, "pg_hba.conf"),
            ("53300", "InitializeSessionUserId", Kind::Unavailable, "role's connection limit"),
            ("53300", "CheckMyDatabase", Kind::Unavailable, "database's connection limit"),
            ("53300", "InitProcess", Kind::Unavailable, "max_connections"),
            ("55000", "CheckMyDatabase", Kind::Failed, "allow_connections"),
            ("57P03", "ProcessStartupPacket", Kind::Unavailable, "hot_standby"),
            ("3D000", "InitPostgres", Kind::NotFound, "create the database"),
        ] {
            let advice = advice(code, routine);
            assert_eq!(advice.kind, kind, "{code} {routine}");
            assert!(advice.hint.unwrap().contains(hint), "{code} {routine}: {advice:?}");
        }
        assert_eq!(advice("XX000", "f").hint, None, "an unknown code has no hint");
    }
}

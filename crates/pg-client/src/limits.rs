//! The connections that a server grants our role: the limits of the role and of the server, and the
//! connections in use.

use longshore_core::Result;
use longshore_core::discovery::Connections;
use serde::Deserialize;

use crate::client::Client;
use crate::server::identifier;

/// The limits of the connecting role, and the open connections.
#[derive(Debug, Clone, Deserialize)]
pub struct Limits {
    role: String,
    superuser: bool,
    role_limit: i64,
    role_sessions: i64,
    slots: i64,
    sessions: i64,
}

// Our session of a moment ago may still be ending, so it is not counted. Of other roles' sessions
// only the ids are visible.
const LIMITS: &str = "with role as (select * from pg_catalog.pg_roles where rolname = session_user),
    session as (select usesysid, usesysid = (select oid from role)
            and backend_start > clock_timestamp() - interval '2 seconds' as is_question
        from pg_catalog.pg_stat_activity where usesysid is not null and datid is not null and pid <> pg_backend_pid()),
    reserve as (select exists (select from pg_catalog.pg_roles r
        where r.rolname = 'pg_use_reserved_connections' and pg_has_role(session_user, r.oid, 'usage')) as may_use)
    select json_build_object(
    'role', session_user,
    'superuser', (select rolsuper from role),
    'role_limit', (select rolconnlimit from role),
    'role_sessions', (select count(*) from session where usesysid = (select oid from role) and not is_question),
    'slots', current_setting('max_connections')::int
        - case when (select rolsuper from role) then 0 else current_setting('superuser_reserved_connections')::int
        + case when (select may_use from reserve) then 0 else coalesce(current_setting('reserved_connections', true)::int, 0) end end,
    'sessions', (select count(*) from session where is_question is not true))";

impl Limits {
    /// Queries the server.
    pub async fn query(client: &Client) -> Result<Self> {
        client.query(LIMITS).await
    }

    /// Returns the number of connections that the tighter limit leaves, for copies that use `each`
    /// of them at once.
    pub fn connections(&self, each: u32) -> Connections {
        let remaining = |limit: i64, used: i64| u32::try_from((limit - used).max(0)).unwrap_or(u32::MAX);
        let of_server = Connections {
            each,
            free: remaining(self.slots, self.sessions),
            limit: format!("server: {} connection slots for the role, {} of them in use", self.slots, self.sessions),
            remedy: "raise max_connections on the server, or run when fewer sessions are open".to_owned(),
        };
        if self.superuser || self.role_limit < 0 {
            return of_server;
        }
        let in_use = if self.role_sessions > 0 { format!(", {} in use", self.role_sessions) } else { String::new() };
        let of_role = Connections {
            each,
            free: remaining(self.role_limit, self.role_sessions),
            limit: format!("role {}: connection limit {}{in_use}", self.role, self.role_limit),
            remedy: format!("raise the limit: alter role {} connection limit …", identifier(&self.role)),
        };
        of_server.and(of_role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_use_the_tighter_limit() {
        let limits =
            Limits { role: "bk".into(), superuser: false, role_limit: 5, role_sessions: 2, slots: 97, sessions: 40 };
        let of_role = limits.connections(1);
        assert_eq!((of_role.free, &*of_role.limit), (3, "role bk: connection limit 5, 2 in use"));
        let of_server = Limits { sessions: 96, ..limits.clone() }.connections(1);
        assert_eq!(of_server.free, 1);
        assert!(of_server.limit.starts_with("server: "), "{of_server:?}");
        assert_eq!(Limits { superuser: true, ..limits.clone() }.connections(1).free, 57);
        assert_eq!(Limits { role_limit: -1, ..limits.clone() }.connections(1).free, 57);
        assert_eq!(Limits { role_sessions: 9, ..limits }.connections(1).free, 0);
    }
}

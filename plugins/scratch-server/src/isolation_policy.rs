//! Decides about backups that act outside of their database, in a server without isolation.

use longshore_core::Result;
use longshore_core::subject::Subject;
use longshore_pg_archive::ExternalEffects;
use longshore_pg_client::isolation_policy::{self, RequiredIsolation};

/// The hint for a backup that may connect to another server.
const HINT: &str = "drill in a temporary cluster: scratch = { type = \"initdb\" }, or accept the risk: isolation = \"none\" in scratch";

/// Fails for backups that may connect to another server by themselves, unless the job accepts this;
/// otherwise returns a warning, if any.
pub(crate) fn check(required: RequiredIsolation, backups: &[(&Subject, ExternalEffects)]) -> Result<Option<String>> {
    let phrases = isolation_policy::check(required, backups, "an existing server is not isolated", HINT)?;
    Ok((!phrases.is_empty())
        .then(|| format!("warning: the drill's server is not isolated from its network: {}", phrases.join("; "))))
}

#[cfg(test)]
mod tests {
    use longshore_core::Kind;

    use super::*;

    #[test]
    fn connecting_backup_is_refused_unless_accepted() {
        let subject = Subject::database("app");
        let servers = ["far".to_owned()].into();
        let mut active = ExternalEffects { servers, ..ExternalEffects::default() };
        let warning = check(RequiredIsolation::Namespaces, &[(&subject, active.clone())]).unwrap().unwrap();
        assert!(warning.contains("contains foreign servers \"far\""), "{warning}");
        active.refreshed.insert("public totals".to_owned());
        let error = check(RequiredIsolation::Namespaces, &[(&subject, active.clone())]).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(check(RequiredIsolation::None, &[(&subject, active)]).unwrap().is_some());
        assert_eq!(check(RequiredIsolation::Namespaces, &[(&subject, ExternalEffects::default())]).unwrap(), None);
    }
}

//! Decides about a drill whose server cannot be isolated from the host.

use longshore_core::Result;
use longshore_core::subject::Subject;
use longshore_pg_archive::ExternalEffects;
use longshore_pg_client::isolation_policy::{self, RequiredIsolation};

use crate::isolation::Isolation;

/// The hint for a host that permits no namespaces.
pub(crate) const REMEDY: &str = "permit namespaces: run the drill as root, or allow user namespaces for its user; in a \
     container, add the capability SYS_ADMIN. To accept the risk: scratch = { type = \"initdb\", isolation = \"none\" }";

/// Fails for backups that may connect to another server by themselves, unless the server is
/// isolated or the job accepts this; otherwise returns a warning, if any.
pub(crate) fn check(
    required: RequiredIsolation,
    isolation: &Isolation,
    backups: &[(&Subject, ExternalEffects)],
) -> Result<Option<String>> {
    let Isolation::Missing(reason) = isolation else { return Ok(None) };
    let unisolated = format!("the drill is not isolated: {reason}");
    let phrases = isolation_policy::check(required, backups, &unisolated, REMEDY)?;
    let phrases: String = phrases.iter().map(|phrase| format!("; {phrase}")).collect();
    Ok(Some(format!("warning: the drill's server is not isolated from this host and its network: {reason}{phrases}")))
}

#[cfg(test)]
mod tests {
    use longshore_core::Kind;

    use super::*;
    use crate::mask::Masks;

    fn active(servers: &[&str], refreshed: &[&str]) -> ExternalEffects {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ExternalEffects { servers: names(servers), refreshed: names(refreshed), ..ExternalEffects::default() }
    }

    #[test]
    fn connecting_backup_is_refused_unless_isolated() {
        let subject = Subject::database("app");
        let backups = [(&subject, active(&["far"], &["public totals"]))];
        let missing = Isolation::Missing("unshare failed".to_owned());
        let error = check(RequiredIsolation::Namespaces, &missing, &backups).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.chain().contains("unshare failed") && error.chain().contains("\"far\""), "{}", error.chain());
        let warning = check(RequiredIsolation::None, &missing, &backups).unwrap().unwrap();
        assert!(
            warning.contains("unshare failed") && warning.contains("contains foreign servers \"far\""),
            "{warning}"
        );
        let isolated = Isolation::Namespaces(Masks::default());
        assert_eq!(check(RequiredIsolation::Namespaces, &isolated, &backups).unwrap(), None);
    }

    #[test]
    fn passive_backup_is_drilled_with_a_warning() {
        let subject = Subject::database("app");
        let missing = Isolation::Missing("unshare failed".to_owned());
        for active in [active(&["far"], &[]), active(&[], &["public totals"])] {
            let warning = check(RequiredIsolation::Namespaces, &missing, &[(&subject, active)]).unwrap();
            assert!(warning.unwrap().starts_with("warning: the drill's server is not isolated"));
        }
    }
}

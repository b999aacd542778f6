//! Decides about a drill whose server cannot be isolated from the host.

use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
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

/// Fails for a base backup unless the server is isolated or the job accepts this; otherwise returns
/// a warning, if any. Recovery repeats changes of tablespaces in their folders at the source, which
/// may exist on this host.
pub(crate) fn check_files(
    required: RequiredIsolation,
    isolation: &Isolation,
    subject: &Subject,
) -> Result<Option<String>> {
    let Isolation::Missing(reason) = isolation else { return Ok(None) };
    if required == RequiredIsolation::Namespaces {
        let message = "the recovery of a base backup may write to folders of the source, and the drill is not isolated";
        let error = Error::new(Stage::Drill, Kind::Refused, subject.to_string(), message);
        return Err(error.hint(REMEDY).because(reason.clone()));
    }
    let message = "the drill's server is not isolated from this host and its network";
    Ok(Some(format!("warning: {message}: {reason}; its recovery may write to folders of the source")))
}

#[cfg(test)]
mod tests {
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
    fn files_are_refused_unless_isolated() {
        let missing = Isolation::Missing("unshare failed".to_owned());
        let error = check_files(RequiredIsolation::Namespaces, &missing, &Subject::Base).unwrap_err();
        assert_eq!((error.kind(), error.remedy()), (Kind::Refused, Some(REMEDY)));
        let warning = check_files(RequiredIsolation::None, &missing, &Subject::Base).unwrap().unwrap();
        assert!(warning.contains("unshare failed"), "{warning}");
        let isolated = Isolation::Namespaces(Masks::default());
        assert_eq!(check_files(RequiredIsolation::Namespaces, &isolated, &Subject::Base).unwrap(), None);
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

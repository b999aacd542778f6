//! Decides about a drill whose server cannot be isolated from the host.

use longshore_core::source::Source;
use longshore_core::stage::Wanted;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::{ExternalEffects, Facts};
use serde::Deserialize;

use crate::isolation::Isolation;
use crate::settings;

/// The key of a dump's facts in the details.
const DETAILS: &str = "archive";

/// The hint for a host that permits no namespaces.
pub(crate) const REMEDY: &str = "permit namespaces: run the drill as root, or allow user namespaces for its user; in a \
     container, add the capability SYS_ADMIN. To accept the risk: scratch = { type = \"initdb\", isolation = \"none\" }";

/// Returns the facts of a backup's dump, if they are recorded and readable.
pub(crate) fn facts(wanted: &Wanted<'_>) -> Option<Facts> {
    Facts::deserialize(wanted.details?.get(DETAILS)?).ok()
}

/// Returns the objects of a backup that act outside of their database, if they are recorded and
/// readable.
pub(crate) fn active(wanted: &Wanted<'_>) -> Option<ExternalEffects> {
    let source = Source::of(wanted.details?);
    Some(ExternalEffects::of(&facts(wanted)?).running_own_code(source.and_then(|source| source.runs_own_code)))
}

/// Fails for backups that may connect to another server by themselves, unless the server is
/// isolated or the job accepts this; otherwise returns a warning, if any.
pub(crate) fn check(
    accepted: settings::Isolation,
    isolation: &Isolation,
    backups: &[(&Subject, ExternalEffects)],
) -> Result<Option<String>> {
    let Isolation::Missing(reason) = isolation else { return Ok(None) };
    if accepted == settings::Isolation::Namespaces
        && let Some((subject, active)) = backups.iter().find(|(_, active)| active.may_connect())
    {
        let message =
            format!("may connect to another server during the restore, and the drill is not isolated: {reason}");
        let error = Error::new(Stage::Drill, Kind::Refused, subject.to_string(), message).hint(REMEDY);
        return Err(error.because(active.phrases().join("; ")));
    }
    let phrases = backups.iter().filter_map(|(subject, active)| {
        let phrases = active.phrases();
        (!phrases.is_empty()).then(|| format!("; {subject} contains {}", phrases.join(", ")))
    });
    let phrases = phrases.collect::<String>();
    Ok(Some(format!("warning: the drill's server is not isolated from this host and its network: {reason}{phrases}")))
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
        let error = check(settings::Isolation::Namespaces, &missing, &backups).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.chain().contains("unshare failed") && error.chain().contains("\"far\""), "{}", error.chain());
        let warning = check(settings::Isolation::None, &missing, &backups).unwrap().unwrap();
        assert!(
            warning.contains("unshare failed") && warning.contains("contains foreign servers \"far\""),
            "{warning}"
        );
        let isolated = Isolation::Namespaces(Masks::default());
        assert_eq!(check(settings::Isolation::Namespaces, &isolated, &backups).unwrap(), None);
    }

    #[test]
    fn passive_backup_is_drilled_with_a_warning() {
        let subject = Subject::database("app");
        let missing = Isolation::Missing("unshare failed".to_owned());
        for active in [active(&["far"], &[]), active(&[], &["public totals"])] {
            let warning = check(settings::Isolation::Namespaces, &missing, &[(&subject, active)]).unwrap();
            assert!(warning.unwrap().starts_with("warning: the drill's server is not isolated"));
        }
    }
}

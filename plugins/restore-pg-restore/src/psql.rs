//! Which psql may be trusted with a script that somebody else may have had a hand in.
//!
//! psql obeys commands of its own in what it reads. Since the releases of August 2025 (CVE-2025-8714) pg_dump forbids them for the length of
//! its script, by `\restrict`; until those of August 2026 (CVE-2026-18408) a script could have programs run all the same, by what it gave
//! to `\unrestrict`.

use longshore_core::manifest::Manifest;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::script::{commands, statements};
use longshore_pg_client::tool::Version;

/// The first minor of each major whose pg_dump writes `\restrict`; newer majors do from the start.
const RESTRICTS: [(u32, u32); 5] = [(13, 22), (14, 19), (15, 14), (16, 10), (17, 6)];
/// The first minor of each major whose psql runs nothing that `\unrestrict` is given.
const OBEYS_NOTHING: [(u32, u32); 5] = [(14, 24), (15, 19), (16, 15), (17, 11), (18, 6)];

fn since(first: &[(u32, u32)], version: &Version) -> bool {
    let newest = first.iter().map(|(major, _)| *major).max().unwrap_or_default();
    version.major > newest || first.iter().any(|(major, minor)| version.major == *major && version.minor >= *minor)
}

/// Refuses a script with which a server that was dumped could have this psql run programs here.
pub(crate) fn judge(psql: &Version, manifest: &Manifest) -> Result<()> {
    let refuse = |message: String, hint: &str| {
        Err(Error::new(Stage::Restore, Kind::Refused, manifest.subject.to_string(), message).hint(hint))
    };
    if !since(&OBEYS_NOTHING, psql) {
        let hint = "use psql 14.24, 15.19, 16.15, 17.11, 18.6 or newer (put it first on PATH), or, if you trust whoever ruled the \
                    server that was dumped with this host, give --trust-script";
        return refuse(format!("psql {psql} can be had to run programs by a script (CVE-2026-18408)"), hint);
    }
    let pg_dump = Version::parse(&manifest.tool.version);
    if pg_dump.as_ref().is_some_and(|version| !since(&RESTRICTS, version)) {
        let hint = "if you trust whoever ruled the server that was dumped with this host, give --trust-script";
        let message = format!(
            "{} {} wrote the script, which may hold commands for psql (CVE-2025-8714)",
            manifest.tool.name, manifest.tool.version
        );
        return refuse(message, hint);
    }
    Ok(())
}

/// Refuses a script of roles and tablespaces that holds a command for psql. What pg_dumpall writes to forbid them is left out: there is
/// nothing left to forbid.
pub(crate) fn without_commands(script: &str, subject: &str) -> Result<String> {
    let mut kept = String::with_capacity(script.len());
    for statement in statements(script) {
        if ["\\restrict ", "\\unrestrict "].iter().any(|command| statement.starts_with(command)) {
            continue;
        }
        if commands(statement) {
            let message = "holds a command for psql, which pg_dumpall does not write among roles and tablespaces";
            return Err(Error::new(Stage::Restore, Kind::Refused, subject, message)
                .hint("look at it: --output FILE; if you trust whoever wrote it with this host, give --trust-script"));
        }
        kept.push_str(statement);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_psql_that_unrestrict_can_have_run_programs_is_told_by_its_minor() {
        let safe = |version| since(&OBEYS_NOTHING, &Version::parse(version).unwrap());
        for version in ["14.24", "15.19", "16.15", "17.11", "18.6 (Debian 18.6-3)", "19beta1"] {
            assert!(safe(version), "{version}");
        }
        for version in ["13.22", "14.23", "15.18 (Debian 15.18-0+deb12u1)", "16.14", "17.10", "18.5", "18.0"] {
            assert!(!safe(version), "{version}");
        }
    }

    #[test]
    fn a_pg_dump_that_forbids_no_commands_is_told_by_its_minor() {
        let restricts = |version| since(&RESTRICTS, &Version::parse(version).unwrap());
        assert!(["13.22", "15.18", "17.6", "18.0"].into_iter().all(restricts));
        assert!(!["9.6.24", "12.22", "15.13", "17.5"].into_iter().any(restricts));
    }

    #[test]
    fn globals_keep_their_statements_and_no_commands() {
        let script = "\\restrict abc\nCREATE ROLE \"a\\b\";\nALTER ROLE app PASSWORD 'x\\y';\n\\unrestrict abc\n";
        let kept = without_commands(script, "globals").unwrap();
        assert_eq!(kept, "CREATE ROLE \"a\\b\";\nALTER ROLE app PASSWORD 'x\\y';\n");
        for hostile in ["CREATE ROLE app;\n\\! id\n", "CREATE ROLE app; \\! id\n", "SELECT 1 \\gexec\n"] {
            assert_eq!(without_commands(hostile, "globals").unwrap_err().kind(), Kind::Refused, "{hostile}");
        }
    }
}

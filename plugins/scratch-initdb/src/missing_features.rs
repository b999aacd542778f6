//! Features of the source that a cluster created on this host would lack.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use longshore_core::check::{Finding, Outcome};
use longshore_core::discovery::{Preloaded, Requirements};

use crate::prerequisites::Programs;
use crate::settings::Initdb;

/// Reports extensions that are not installed with the programs, and libraries that the settings do
/// not preload.
pub(crate) fn findings(settings: &Initdb, programs: &Programs, requirements: &Requirements) -> Vec<Finding> {
    let folder = extension_folder(&programs.postgres, programs.major);
    // A path in the settings may contain further extensions.
    let folder = folder.filter(|_| !settings.settings.contains_key("extension_control_path"));
    let is_installed =
        |name: &str| folder.as_ref().is_none_or(|folder| folder.join(format!("{name}.control")).exists());
    let missing = requirements.extensions.iter().filter(|(name, _)| !is_installed(name));
    let missing = missing.map(|(name, databases)| {
        failure(
            format!(
                "extension {name} of {} is not installed for PostgreSQL {}: a drill fails there",
                list(databases),
                programs.major
            ),
            format!("install {name} for PostgreSQL {} on this host, or drill on a host that has it", programs.major),
        )
    });
    let libraries = settings.settings.get("shared_preload_libraries").map(String::as_str).unwrap_or_default();
    let preloads = |name: &str| libraries.split(',').any(|library| library.trim().trim_matches('"') == name);
    let not_preloaded =
        requirements.preloaded().filter(|needs| is_installed(needs.extension) && !preloads(needs.library));
    let not_preloaded = not_preloaded.map(|Preloaded { extension, library, databases, is_certain }| {
        let first = databases.first().map(String::as_str).unwrap_or_default();
        let more =
            if extension == "pg_cron" { format!(", \"cron.database_name\" = \"{first}\"") } else { String::new() };
        let (outcome, consequence) = match is_certain {
            true => (Outcome::Failed, "fails"),
            false => (Outcome::Warning, "may fail"),
        };
        let message = format!(
            "extension {extension} of {} needs library {library} in shared_preload_libraries: a drill without it {consequence}",
            list(databases)
        );
        let remedy = format!(
            "preload it in the drill: scratch = {{ type = \"initdb\", settings = {{ shared_preload_libraries = \
             \"{library}\"{more} }} }}"
        );
        Finding { outcome, ..failure(message, remedy) }
    });
    missing.chain(not_preloaded).collect()
}

fn failure(message: String, remedy: String) -> Finding {
    Finding { outcome: Outcome::Failed, subject: "drill".to_owned(), message, remedy: Some(remedy) }
}

/// Returns the databases, quoted and joined.
fn list(databases: &BTreeSet<String>) -> String {
    databases.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// Returns the directory of a server program's extensions: beside the program, or in Debian's
/// architecture-independent directory.
fn extension_folder(postgres: &Path, major: u32) -> Option<PathBuf> {
    let bin = postgres.parent()?;
    let debian = bin.ancestors().nth(4).map(|usr| usr.join(format!("share/postgresql/{major}/extension")));
    let beside =
        ["share/extension", "share/postgresql/extension"].map(|folder| bin.parent().map(|root| root.join(folder)));
    beside.into_iter().chain([debian]).flatten().find(|folder| folder.join("plpgsql.control").exists())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use longshore_pg_client::tool::Version;

    use super::*;

    #[test]
    fn findings_name_missing_extensions_and_libraries() {
        let root = tempfile::tempdir().unwrap();
        let extensions = root.path().join("share/extension");
        fs::create_dir_all(&extensions).unwrap();
        for name in ["plpgsql", "hstore", "pg_cron"] {
            fs::write(extensions.join(format!("{name}.control")), "").unwrap();
        }
        let programs = Programs {
            initdb: root.path().join("bin/initdb"),
            postgres: root.path().join("bin/postgres"),
            major: 17,
            bin_dir: None,
            version: Version::parse("17.4").unwrap(),
            requested: None,
        };
        let of =
            |name: &str, databases: &[&str]| (name.to_owned(), databases.iter().map(|&name| name.to_owned()).collect());
        let requirements = Requirements {
            server_version: "17.4".into(),
            extensions: [of("hstore", &["a"]), of("pg_cron", &["a", "b"]), of("postgis", &["b"])].into(),
            preload_libraries: None,
        };
        let found = findings(&Initdb::default(), &programs, &requirements);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].message.contains("extension postgis of \"b\" is not installed"), "{found:?}");
        assert!(found[1].message.contains("pg_cron of \"a\", \"b\""), "{found:?}");
        assert!(found[1].remedy.as_ref().unwrap().contains("\"cron.database_name\" = \"a\""), "{found:?}");

        let preload = ("shared_preload_libraries".to_owned(), "auto_explain, \"pg_cron\"".to_owned());
        let settings = Initdb { settings: [preload].into(), ..Initdb::default() };
        assert_eq!(findings(&settings, &programs, &requirements).len(), 1);
        fs::remove_file(extensions.join("plpgsql.control")).unwrap();
        assert!(
            findings(&settings, &programs, &requirements).is_empty(),
            "an unknown extension directory is not checked"
        );
    }
}

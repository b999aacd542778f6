//! The options that a libpq service sends. They replace those of the environment, so Longshore adds
//! its own options to them.
//!
//! Source: PostgreSQL's documentation of libpq, "The Connection Service File", and its
//! `parseServiceInfo`. A service from LDAP is not supported.

use std::path::PathBuf;

/// The directories that packages of libpq are built with, used if `PGSYSCONFDIR` is not set.
const SYSTEM_DIRS: [&str; 4] =
    ["/etc/postgresql-common", "/etc/sysconfig/pgsql", "/usr/local/pgsql/etc", "/usr/local/etc/postgresql"];

/// Returns the options of a service, from the first file that contains the service.
pub(crate) fn options(service: &str, file: Option<&str>) -> Option<String> {
    let texts = files(file).into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
    texts.into_iter().find_map(|text| section(&text, service)).flatten()
}

/// Returns the files in the order in which libpq reads them. `file` is the keyword `servicefile`.
fn files(file: Option<&str>) -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = file.map(PathBuf::from).or_else(|| variable("PGSERVICEFILE"));
    let user_file = named.or_else(|| variable("HOME").map(|home| home.join(".pg_service.conf")));
    let system = match variable("PGSYSCONFDIR") {
        Some(folder) => vec![folder],
        None => SYSTEM_DIRS.map(PathBuf::from).to_vec(),
    };
    user_file.into_iter().chain(system.into_iter().map(|folder| folder.join("pg_service.conf"))).collect()
}

/// Returns the options of a service, if the file contains the service.
fn section(text: &str, service: &str) -> Option<Option<String>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut lines = lines.skip_while(|line| {
        line.strip_prefix('[').and_then(|line| line.strip_prefix(service)).is_none_or(|rest| !rest.starts_with(']'))
    });
    lines.next()?;
    let mut settings = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    Some(settings.find(|(keyword, _)| *keyword == "options").map(|(_, value)| value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_returns_options_of_the_named_service() {
        let text =
            "# options=no\n[other]\noptions=-c a=1\n\n[main]\nhost=db1\noptions=-c role=owner\n[more]\noptions=x\n";
        assert_eq!(section(text, "main"), Some(Some("-c role=owner".to_owned())));
        assert_eq!(section("[main]\nhost=db1\n[more]\noptions=x\n", "main"), Some(None));
        assert_eq!(section(text, "mai"), None);
    }
}

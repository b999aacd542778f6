//! The connection service file. Source: `parseServiceInfo` in `fe-connect.c`, and PostgreSQL's
//! documentation of libpq, "The Connection Service File". Services from LDAP are refused.

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::error::ParameterError;

/// The directories that packages of libpq are built with, used if `PGSYSCONFDIR` is not set.
const SYSTEM_DIRS: [&str; 4] =
    ["/etc/postgresql-common", "/etc/sysconfig/pgsql", "/usr/local/pgsql/etc", "/usr/local/etc/postgresql"];

/// The places of service files.
pub(super) struct Places {
    /// `servicefile` or `PGSERVICEFILE`. The file must exist.
    pub(super) file: Option<PathBuf>,
    /// The home directory.
    pub(super) home: Option<PathBuf>,
    /// `PGSYSCONFDIR`.
    pub(super) system_dir: Option<PathBuf>,
}

/// Returns the settings of a service in the order of the file, from the first file that defines the
/// service.
pub(super) fn settings(service: &str, places: &Places) -> Result<Vec<(String, SecretString)>, ParameterError> {
    for path in files(places)? {
        let bytes = fs::read(&path).map_err(|source| ParameterError::Read {
            keyword: "servicefile",
            path: path.clone(),
            source: source.into(),
        })?;
        if let Some(settings) = section(&bytes, service, &path)? {
            return Ok(settings);
        }
    }
    Err(ParameterError::Service { service: service.to_owned(), rule: "not defined in any service file".to_owned() })
}

/// Returns the files that exist, in the order in which libpq reads them.
fn files(places: &Places) -> Result<Vec<PathBuf>, ParameterError> {
    let mut files = Vec::new();
    match (&places.file, &places.home) {
        (Some(file), _) if !file.exists() => {
            return Err(ParameterError::File { keyword: "servicefile", path: file.clone(), rule: "does not exist" });
        }
        (Some(file), _) => files.push(file.clone()),
        (None, Some(home)) => files.push(home.join(".pg_service.conf")),
        (None, None) => {}
    }
    match &places.system_dir {
        Some(folder) => files.push(folder.join("pg_service.conf")),
        None => files.extend(SYSTEM_DIRS.map(|folder| Path::new(folder).join("pg_service.conf"))),
    }
    files.retain(|file| file.exists());
    Ok(files)
}

/// Returns the settings of a service, or `None` if the file does not define the service. Errors
/// quote no line, since a line may contain a password.
fn section(bytes: &[u8], service: &str, path: &Path) -> Result<Option<Vec<(String, SecretString)>>, ParameterError> {
    let mut settings: Option<Vec<_>> = None;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let fail = |rule: &str| ParameterError::Service {
            service: service.to_owned(),
            rule: format!("{rule} in line {} of {}", index.saturating_add(1), path.display()),
        };
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if let Some(name) = line.strip_prefix(b"[") {
            if settings.is_some() {
                break;
            }
            if name.strip_prefix(service.as_bytes()).is_some_and(|rest| rest.starts_with(b"]")) {
                settings = Some(Vec::new());
            }
            continue;
        }
        let Some(settings) = settings.as_mut() else { continue };
        let line = std::str::from_utf8(line).map_err(|_| fail("text is not UTF-8"))?;
        if line.starts_with("ldap") {
            return Err(fail("LDAP is not supported"));
        }
        let (keyword, value) = line.split_once('=').ok_or_else(|| fail("syntax error"))?;
        if matches!(keyword, "service" | "servicefile") {
            return Err(fail("a service inside a service"));
        }
        settings.push((keyword.to_owned(), SecretString::from(value)));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn parse(text: &str, service: &str) -> Result<Option<Vec<(String, String)>>, ParameterError> {
        let settings = section(text.as_bytes(), service, Path::new("f"))?;
        let plain = |(keyword, value): (String, SecretString)| (keyword, value.expose_secret().to_owned());
        Ok(settings.map(|settings| settings.into_iter().map(plain).collect()))
    }

    #[test]
    fn section_returns_settings_of_the_named_service() {
        let text = "# options=no\n[other]\noptions=-c a=1\n\n [main] x\n  host=db1 \r\n\
            options=-c role=owner\n#port=1\n[more]\noptions=x\n";
        let expected =
            [("host", "db1"), ("options", "-c role=owner")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(parse(text, "main").unwrap().unwrap(), expected);
        assert_eq!(
            parse("[main]\nhost=db1\n[more]\noptions=x\n[main]\nport=1\n", "main").unwrap().unwrap(),
            expected[..1]
        );
        assert!(parse(text, "mai").unwrap().is_none());
        assert!(parse("[empty]", "empty").unwrap().unwrap().is_empty());
    }

    #[test]
    fn section_rejects_malformed_lines_without_quoting_them() {
        for text in ["password hunter2", "service=hunter2", "ldap://hunter2/x", "servicefile=hunter2"] {
            let error = parse(&format!("[a]\nx y\n[main]\n{text}\n"), "main").unwrap_err().to_string();
            assert!(error.contains("in line 4 of f") && !error.contains("hunter2"), "{error}");
        }
        assert!(section(b"[main]\nuser=\xff", "main", Path::new("f")).is_err());
        assert!(section(b"# \xff\n[main]\nuser=a", "main", Path::new("f")).is_ok());
    }

    #[test]
    fn settings_prefer_the_file_of_the_user() {
        let folder = tempfile::tempdir().unwrap();
        let (home, system) = (folder.path().join("home"), folder.path().join("system"));
        for (path, text) in [
            (home.join(".pg_service.conf"), "[both]\nhost=home\n"),
            (system.join("pg_service.conf"), "[both]\nhost=system\n[one]\nhost=one\n"),
            (folder.path().join("named"), "[both]\nhost=named\n"),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut places = Places { file: None, home: Some(home), system_dir: Some(system) };
        let host = |service, places: &Places| {
            settings(service, places).map(|settings| settings[0].1.expose_secret().to_owned())
        };
        assert_eq!(host("both", &places).unwrap(), "home");
        assert_eq!(host("one", &places).unwrap(), "one");
        assert!(matches!(host("none", &places), Err(ParameterError::Service { .. })));
        places.file = Some(folder.path().join("named"));
        assert_eq!(host("both", &places).unwrap(), "named");
        places.file = Some(folder.path().join("missing"));
        assert!(matches!(host("one", &places), Err(ParameterError::File { .. })));
    }
}

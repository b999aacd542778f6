//! The roots of trust, and certificate revocation lists. Source: `initialize_SSL` in
//! `fe-secure-openssl.c`.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::error::ParameterError;
use super::super::settings::Settings;

/// The roots of trust (`sslrootcert`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// The certificates of a PEM file, which exists.
    File(PathBuf),
    /// The certificates that the operating system trusts.
    System,
    /// No roots.
    None,
}

/// A search for the roots.
pub(super) struct Search {
    pub(super) found: RootCert,
    /// The reason if no roots were found.
    pub(super) missing: Option<ParameterError>,
}

/// Searches the roots: `sslrootcert`, or `~/.postgresql/root.crt`.
pub(super) fn search(settings: &Settings, folder: Option<&Path>) -> Result<Search, ParameterError> {
    let keyword = "sslrootcert";
    if settings.text(keyword) == Some("system") {
        return Ok(Search { found: RootCert::System, missing: None });
    }
    let none = |path: &Path| {
        let rule = "does not exist, so the server's certificate cannot be checked";
        let missing = Some(ParameterError::File { keyword, path: path.to_owned(), rule });
        Ok(Search { found: RootCert::None, missing })
    };
    match (settings.text(keyword), folder) {
        (Some(path), _) => match Path::new(path).try_exists() {
            Ok(true) => Ok(Search { found: RootCert::File(path.into()), missing: None }),
            Ok(false) => none(Path::new(path)),
            Err(source) => Err(ParameterError::Read { keyword, path: path.into(), source: source.into() }),
        },
        (None, Some(folder)) => {
            let path = folder.join("root.crt");
            // Like libpq, `exists` is false in a folder that this process cannot search.
            if path.exists() { Ok(Search { found: RootCert::File(path), missing: None }) } else { none(&path) }
        }
        (None, None) => none(Path::new("~/.postgresql/root.crt")),
    }
}

/// Returns the files with certificate revocation lists: `sslcrl` and the files of `sslcrldir`, or
/// `~/.postgresql/root.crl`. As in libpq, they apply only with a file of roots. Unlike libpq, it is
/// an error if a list that is named does not exist.
pub(super) fn crls(
    settings: &Settings,
    roots: &RootCert,
    folder: Option<&Path>,
) -> Result<Vec<PathBuf>, ParameterError> {
    let (file, dir) = (settings.text("sslcrl").map(Path::new), settings.text("sslcrldir").map(Path::new));
    match roots {
        RootCert::File(_) => {}
        // libpq would ignore the lists without a warning.
        RootCert::System if file.is_some() => return Err(settings.unsupported("sslcrl")),
        RootCert::System if dir.is_some() => return Err(settings.unsupported("sslcrldir")),
        RootCert::System | RootCert::None => return Ok(Vec::new()),
    }
    let mut crls = Vec::new();
    if let Some(file) = file {
        if !file.exists() {
            return Err(ParameterError::File { keyword: "sslcrl", path: file.to_owned(), rule: "does not exist" });
        }
        crls.push(file.to_owned());
    }
    if let Some(dir) = dir {
        let hashed = hashed_crls(dir)?;
        if hashed.is_empty() {
            let rule = "contains no revocation list (HASH.r0)";
            return Err(ParameterError::File { keyword: "sslcrldir", path: dir.to_owned(), rule });
        }
        crls.extend(hashed);
    }
    if let (None, None, Some(folder)) = (file, dir, folder) {
        crls.extend(Some(folder.join("root.crl")).filter(|path| path.exists()));
    }
    Ok(crls)
}

/// Returns the revocation lists of a directory, sorted, by the names that `openssl rehash` gives
/// them: eight hexadecimal digits, `.r`, and a number.
fn hashed_crls(dir: &Path) -> Result<Vec<PathBuf>, ParameterError> {
    let cannot_read = |source: std::io::Error| ParameterError::Read {
        keyword: "sslcrldir",
        path: dir.to_owned(),
        source: source.into(),
    };
    let mut crls = Vec::new();
    for entry in fs::read_dir(dir).map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        let is_crl = entry.file_name().to_str().and_then(|name| name.split_once(".r")).is_some_and(|(hash, number)| {
            hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && number.parse::<u32>().is_ok()
        });
        if is_crl {
            crls.push(entry.path());
        }
    }
    crls.sort();
    Ok(crls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(keywords: &[(&str, &str)]) -> Settings {
        let keywords = keywords.iter().map(|(keyword, value)| ((*keyword).to_owned(), (*value).to_owned()));
        Settings::merge(keywords, &|_| None).unwrap()
    }

    #[test]
    fn crls_apply_with_a_file_of_roots() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let file = RootCert::File(path("root.crt"));
        let of = |keywords: &[(&str, &str)], roots| crls(&settings(keywords), roots, Some(folder.path()));
        assert!(of(&[], &file).unwrap().is_empty());
        for name in ["root.crl", "own.crl", "0a1b2c3d.r0", "0a1b2c3d.0", "README.r1"] {
            fs::write(path(name), "").unwrap();
        }
        assert_eq!(of(&[], &file).unwrap(), [path("root.crl")]);
        let (own, dir) = (path("own.crl"), folder.path().to_owned());
        let (own, dir) = (own.to_str().unwrap(), dir.to_str().unwrap());
        assert_eq!(of(&[("sslcrl", own), ("sslcrldir", dir)], &file).unwrap(), [path("own.crl"), path("0a1b2c3d.r0")]);
        assert!(of(&[("sslcrl", own)], &RootCert::None).unwrap().is_empty());
        assert!(matches!(of(&[("sslcrl", own)], &RootCert::System), Err(ParameterError::Unsupported { .. })));
    }

    #[test]
    fn named_crls_that_are_missing_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("x");
        let file = RootCert::File("r".into());
        let of = |keyword, path: &Path| crls(&settings(&[(keyword, path.to_str().unwrap())]), &file, None);
        assert!(matches!(of("sslcrl", &missing), Err(ParameterError::File { .. })));
        assert!(matches!(of("sslcrldir", &missing), Err(ParameterError::Read { .. })));
        assert!(matches!(of("sslcrldir", folder.path()), Err(ParameterError::File { .. })));
    }
}

//! The settings of a connection, merged: connection string, service file, environment. Source:
//! `conninfo_array_parse` and `conninfo_add_defaults` in `fe-connect.c`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::error::ParameterError;
use super::keyword::{self, KEYWORDS, Treatment};
use super::service_file::{self, Places};
use super::system_user;

/// Settings by keyword.
#[derive(Debug, Default)]
pub(super) struct Settings {
    values: BTreeMap<&'static str, SecretString>,
}

impl Settings {
    /// Merges the settings. As with `pg_basebackup`, an empty value in the connection string is no
    /// value, and the last value of a keyword takes effect; in a service file, the first does, and
    /// an empty value replaces the one of the environment.
    pub(super) fn merge(
        keywords: impl IntoIterator<Item = (String, String)>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ParameterError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let mut merged = Self::default();
        for (name, value) in keywords {
            // libpq still translates this keyword of PostgreSQL 7.
            let (name, value) = match name.as_str() {
                "requiressl" if value.starts_with('1') => ("sslmode", "require".to_owned()),
                "requiressl" => ("sslmode", "prefer".to_owned()),
                name => (name, value),
            };
            let keyword = known(name)?;
            if !value.is_empty() {
                merged.values.insert(keyword, value.into());
            }
        }
        let service = merged.text("service").map(str::to_owned).or_else(|| variable("PGSERVICE"));
        if let Some(service) = service {
            let file = merged.text("servicefile").map(str::to_owned).or_else(|| variable("PGSERVICEFILE"));
            let places = Places {
                file: file.map(PathBuf::from),
                home: system_user::home(environment),
                system_dir: variable("PGSYSCONFDIR").map(PathBuf::from),
            };
            for (name, value) in service_file::settings(&service, &places)? {
                merged.values.entry(known(&name)?).or_insert(value);
            }
        }
        for (name, variable_name) in KEYWORDS.iter().filter_map(|keyword| Some((keyword.name, keyword.variable?))) {
            if let Some(value) = variable(variable_name) {
                merged.values.entry(name).or_insert_with(|| value.into());
            }
        }
        if !merged.values.contains_key("sslmode") {
            let default = if merged.text("sslrootcert") == Some("system") { Some("verify-full") } else { None };
            let required = variable("PGREQUIRESSL").filter(|value| value.starts_with('1')).map(|_| "require");
            if let Some(mode) = required.or(default) {
                merged.values.insert("sslmode", mode.into());
            }
        }
        merged.refuse()?;
        Ok(merged)
    }

    /// Returns the value of a keyword, which may be empty if a service file sets it.
    pub(super) fn get(&self, keyword: &str) -> Option<&str> {
        self.values.get(keyword).map(ExposeSecret::expose_secret)
    }

    /// Returns the value of a keyword, unless it is empty.
    pub(super) fn text(&self, keyword: &str) -> Option<&str> {
        self.get(keyword).filter(|value| !value.is_empty())
    }

    /// Returns the value of a keyword that is one of a list of words.
    pub(super) fn choice<T: Copy>(
        &self,
        keyword: &'static str,
        default: T,
        words: &[(&str, T)],
        rule: &'static str,
    ) -> Result<T, ParameterError> {
        match self.get(keyword) {
            None => Ok(default),
            Some(value) => match words.iter().find(|(word, _)| *word == value) {
                Some((_, choice)) => Ok(*choice),
                None => Err(self.invalid(keyword, rule)),
            },
        }
    }

    /// Returns the value of a keyword that is an integer. Spaces around the integer are accepted.
    pub(super) fn integer(&self, keyword: &'static str) -> Result<Option<i32>, ParameterError> {
        match self.get(keyword) {
            None => Ok(None),
            Some(value) => match value.trim().parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(self.invalid(keyword, "not an integer of 32 bits")),
            },
        }
    }

    /// Returns an error about the value of a keyword.
    pub(super) fn invalid(&self, keyword: &'static str, rule: &'static str) -> ParameterError {
        ParameterError::Invalid { keyword, value: self.quotable(keyword), rule }
    }

    /// Returns an error about a value that the client does not implement.
    pub(super) fn unsupported(&self, keyword: &'static str) -> ParameterError {
        ParameterError::Unsupported { keyword, value: self.quotable(keyword) }
    }

    fn quotable(&self, name: &str) -> String {
        keyword::quotable(name, self.get(name).unwrap_or_default())
    }

    /// Refuses values that change the protection of the connection and that have no further
    /// use in this client.
    fn refuse(&self) -> Result<(), ParameterError> {
        let refused = KEYWORDS
            .iter()
            .find(|keyword| keyword.treatment == Treatment::Refuse && self.values.contains_key(keyword.name));
        if let Some(keyword) = refused {
            return Err(self.unsupported(keyword.name));
        }
        let modes = [("disable", true), ("prefer", true), ("require", false)];
        if !self.choice("gssencmode", true, &modes, "not one of disable, prefer, require")? {
            return Err(self.unsupported("gssencmode"));
        }
        // The client speaks protocol 3.0, which every server accepts.
        let versions = [("3.0", true), ("3.2", false), ("latest", false)];
        let rule = "not one of 3.0, 3.2, latest";
        self.choice("max_protocol_version", true, &versions, rule)?;
        if !self.choice("min_protocol_version", true, &versions, rule)? {
            return Err(self.unsupported("min_protocol_version"));
        }
        Ok(())
    }
}

/// Returns the static name of a keyword.
fn known(name: &str) -> Result<&'static str, ParameterError> {
    match keyword::find(name) {
        Some(keyword) => Ok(keyword.name),
        None => Err(ParameterError::Unknown { keyword: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(keywords: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Settings, ParameterError> {
        let keywords = keywords.iter().map(|(keyword, value)| ((*keyword).to_owned(), (*value).to_owned()));
        Settings::merge(keywords, &|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn string_precedes_service_precedes_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("services");
        std::fs::write(&path, "[main]\nhost=service\nuser=service\nuser=second\noptions=\n").unwrap();
        let variables = [
            ("PGHOST", "environment"),
            ("PGUSER", "environment"),
            ("PGPORT", "environment"),
            ("PGOPTIONS", "environment"),
            ("PGPASSFILE", ""),
            ("PGSERVICEFILE", path.to_str().unwrap()),
            ("PGSERVICE", "none"),
        ];
        let settings =
            merge(&[("host", "first"), ("host", "string"), ("user", ""), ("service", "main")], &variables).unwrap();
        assert_eq!(settings.get("host"), Some("string"));
        assert_eq!(settings.get("user"), Some("service"));
        assert_eq!(settings.get("port"), Some("environment"));
        assert_eq!((settings.get("options"), settings.text("options")), (Some(""), None));
        assert_eq!(settings.get("passfile"), None);
        assert!(matches!(merge(&[], &variables), Err(ParameterError::Service { .. })));
        let named = [("servicefile", path.to_str().unwrap())];
        assert_eq!(merge(&named, &[("PGSERVICE", "main")]).unwrap().get("user"), Some("service"));
    }

    #[test]
    fn every_variable_supplies_its_keyword() {
        for keyword in KEYWORDS.iter().filter(|keyword| !keyword.name.starts_with("service")) {
            let Some(variable) = keyword.variable else { continue };
            let value = match keyword.name {
                "gssencmode" => "prefer",
                "min_protocol_version" | "max_protocol_version" => "3.0",
                _ => "x",
            };
            let settings = merge(&[], &[(variable, value)]).unwrap();
            assert_eq!(settings.get(keyword.name), Some(value), "{variable}");
        }
    }

    #[test]
    fn unknown_keywords_are_named() {
        for keyword in ["sslmod", "SSLMODE", "ssl", "tty", "authtype", ""] {
            match merge(&[(keyword, "")], &[]) {
                Err(ParameterError::Unknown { keyword: named }) => assert_eq!(named, keyword),
                other => panic!("{keyword}: {other:?}"),
            }
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".pg_service.conf"), "[main]\nnonsense=1\n").unwrap();
        let home = [("HOME", folder.path().to_str().unwrap())];
        assert!(matches!(merge(&[("service", "main")], &home), Err(ParameterError::Unknown { .. })));
    }

    #[test]
    fn old_settings_require_tls() {
        assert_eq!(merge(&[("requiressl", "1")], &[]).unwrap().get("sslmode"), Some("require"));
        assert_eq!(merge(&[("sslmode", "disable"), ("requiressl", "0")], &[]).unwrap().get("sslmode"), Some("prefer"));
        assert_eq!(merge(&[], &[("PGREQUIRESSL", "1")]).unwrap().get("sslmode"), Some("require"));
        assert_eq!(merge(&[], &[("PGREQUIRESSL", "0")]).unwrap().get("sslmode"), None);
        let both = [("PGREQUIRESSL", "1"), ("PGSSLMODE", "allow")];
        assert_eq!(merge(&[], &both).unwrap().get("sslmode"), Some("allow"));
    }

    #[test]
    fn unsupported_values_are_named_and_secrets_hidden() {
        for (keyword, value) in [
            ("gssencmode", "require"),
            ("min_protocol_version", "3.2"),
            ("min_protocol_version", "latest"),
            ("scram_client_key", "hunter2"),
            ("scram_server_key", "hunter2"),
        ] {
            let error = merge(&[(keyword, value)], &[]).unwrap_err();
            assert!(matches!(error, ParameterError::Unsupported { .. }), "{error:?}");
            assert!(error.to_string().starts_with(keyword) && !format!("{error} {error:?}").contains("hunter2"));
        }
        for (keyword, value) in [("gssencmode", "on"), ("min_protocol_version", "3"), ("max_protocol_version", "4")] {
            assert!(matches!(merge(&[(keyword, value)], &[]), Err(ParameterError::Invalid { .. })), "{keyword}");
        }
        let fine =
            [("gssencmode", "prefer"), ("max_protocol_version", "latest"), ("krbsrvname", "pg"), ("dbname", "x")];
        let debug =
            format!("{:?}", merge(&[("password", "hunter2"), fine[0], fine[1], fine[2], fine[3]], &[]).unwrap());
        assert!(!debug.contains("hunter2"));
    }

    #[test]
    fn integers_accept_spaces_and_reject_the_rest() {
        let integer = |value| merge(&[("keepalives", value)], &[]).unwrap().integer("keepalives");
        assert_eq!(integer(" -12 ").unwrap(), Some(-12));
        assert_eq!(integer("").unwrap(), None);
        for value in ["1s", "1.5", "99999999999", "on"] {
            assert!(integer(value).is_err(), "{value}");
        }
    }
}

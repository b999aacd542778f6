//! The configuration files of Amazon's own tools: `~/.aws/credentials` and `~/.aws/config`.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use longshore_core::{Error, Result, Stage};
use secrecy::SecretString;

use crate::credentials::usage_error;

/// A profile in these files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) access_key_id: Option<String>,
    pub(crate) secret_access_key: Option<SecretString>,
    pub(crate) session_token: Option<SecretString>,
    pub(crate) region: Option<String>,
}

/// Reads a profile from the files; returns nothing if it does not exist and was not named
/// explicitly.
pub(crate) fn read(credentials_file: Option<&Path>, name: Option<&str>) -> Result<Option<Profile>> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let named = name.map(str::to_owned).or_else(|| variable("AWS_PROFILE"));
    let home = variable("HOME").map(PathBuf::from);
    let file = |given: Option<PathBuf>, name: &str, last: &str| {
        given.or_else(|| variable(name).map(PathBuf::from)).or_else(|| Some(home.as_ref()?.join(".aws").join(last)))
    };
    let mut profile = Profile { name: named.clone().unwrap_or_else(|| "default".to_owned()), ..Profile::default() };
    let credentials = file(credentials_file.map(Path::to_owned), "AWS_SHARED_CREDENTIALS_FILE", "credentials");
    let config = file(None, "AWS_CONFIG_FILE", "config");
    let mut found = false;
    // The credentials file takes precedence, as in Amazon's tools.
    for (path, required) in [(credentials, credentials_file.is_some()), (config, false)] {
        let Some(path) = path else { continue };
        match fs::read_to_string(&path) {
            Ok(text) => found |= profile.merge(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {}
            Err(error) => {
                let subject = path.display().to_string();
                return Err(Error::io(Stage::Config, subject, "cannot read the profiles file", error));
            }
        }
    }
    match (found, named) {
        (true, _) => Ok(Some(profile)),
        (false, Some(name)) => Err(usage_error(&name, "no such profile").hint("check `aws configure list-profiles`")),
        (false, None) => Ok(None),
    }
}

impl Profile {
    /// Adds the values of a file that are not set yet. Returns true if the file contains the
    /// profile.
    fn merge(&mut self, text: &str) -> bool {
        let (mut inside, mut found) = (false, false);
        for line in text.lines() {
            // Indented lines belong to the line above, and contain no relevant keys.
            if line.starts_with([' ', '\t', '#', ';']) {
                continue;
            }
            if let Some(section) = line.trim().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                let name = section.0.trim();
                inside = name.strip_prefix("profile ").unwrap_or(name).trim() == self.name;
                found |= inside;
                continue;
            }
            if let (true, Some((key, value))) = (inside, line.split_once('=')) {
                self.set(key.trim(), value.trim());
            }
        }
        found
    }

    fn set(&mut self, key: &str, value: &str) {
        let text = || value.to_owned();
        match key {
            "aws_access_key_id" => _ = self.access_key_id.get_or_insert_with(text),
            "aws_secret_access_key" => _ = self.secret_access_key.get_or_insert_with(|| value.into()),
            "aws_session_token" => _ = self.session_token.get_or_insert_with(|| value.into()),
            "region" => _ = self.region.get_or_insert_with(text),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const CREDENTIALS: &str = "\
# written by hand
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key=abc/def+ghi=

[backup]
aws_access_key_id=AKBACKUP
aws_secret_access_key = hush
aws_session_token = token
";
    const CONFIG: &str = "\
[default]
region = eu-west-1
s3 =
  aws_access_key_id = NOT-THIS
[profile backup]
region = eu-central-1
aws_access_key_id = LATER
";

    fn profile(name: &str) -> (Profile, bool) {
        let mut profile = Profile { name: name.to_owned(), ..Profile::default() };
        let found = [CREDENTIALS, CONFIG].map(|text| profile.merge(text)).contains(&true);
        (profile, found)
    }

    #[test]
    fn merges_both_files() {
        let (default, _) = profile("default");
        assert_eq!(default.access_key_id.unwrap(), "AKDEFAULT");
        assert_eq!(default.secret_access_key.unwrap().expose_secret(), "abc/def+ghi=");
        assert_eq!((default.region.unwrap().as_str(), default.session_token.is_none()), ("eu-west-1", true));
        let (backup, _) = profile("backup");
        assert_eq!(backup.access_key_id.unwrap(), "AKBACKUP");
        assert_eq!((backup.region.unwrap().as_str(), backup.session_token.is_some()), ("eu-central-1", true));
    }

    #[test]
    fn finds_no_unknown_profile() {
        assert!(!profile("other").1);
    }
}

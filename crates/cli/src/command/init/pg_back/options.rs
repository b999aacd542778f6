//! The options of pg_dump that pg_back adds, as settings of a dump.

use std::collections::BTreeMap;

use super::keys::Keys;

/// The options with a setting that is a list of patterns.
const LISTS: [(&str, &str, &str); 5] = [
    ("-n", "--schema", "schemas"),
    ("-N", "--exclude-schema", "exclude_schemas"),
    ("-t", "--table", "tables"),
    ("-T", "--exclude-table", "exclude_tables"),
    ("", "--exclude-table-data", "exclude_table_data"),
];

/// The options with a setting that is true.
const FLAGS: [(&str, &str, &str); 4] = [
    ("-s", "--schema-only", "schema_only"),
    ("-a", "--data-only", "data_only"),
    ("-O", "--no-owner", "no_owner"),
    ("-x", "--no-privileges", "no_privileges"),
];

/// The options that Longshore sets itself or refuses, each with its short form and the reason.
const LEFT: [(&str, &str, &str); 13] = [
    ("-F", "--format", "the format is that of the key format"),
    ("-Z", "--compress", "Longshore compresses"),
    ("-j", "--jobs", "the number is that of parallel_backup_jobs"),
    ("-f", "--file", "Longshore reads the dump as a stream"),
    ("-d", "--dbname", "the connection is that of the cluster"),
    ("-h", "--host", "the connection is that of the cluster"),
    ("-p", "--port", "the connection is that of the cluster"),
    ("-U", "--username", "the connection is that of the cluster"),
    ("-w", "--no-password", "Longshore never asks for passwords in runs"),
    ("-W", "--password", "Longshore never asks for passwords in runs"),
    ("-C", "--create", "Longshore creates databases when it restores them"),
    ("-c", "--clean", "a restore drops existing objects only with its own --clean"),
    ("", "--if-exists", "a restore drops existing objects only with its own --clean"),
];

/// The settings of a dump.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct DumpOptions {
    /// The settings that are lists, by name.
    pub(super) lists: BTreeMap<&'static str, Vec<String>>,
    /// The settings that are true.
    pub(super) flags: Vec<&'static str>,
    /// The lock timeout, if any.
    pub(super) lock_wait_timeout: Option<String>,
    /// Other options.
    pub(super) extra_args: Vec<String>,
}

impl DumpOptions {
    /// Adds the options of a command line. Notes the ones that are not taken.
    pub(super) fn add(&mut self, words: &[String], keys: &mut Keys) {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let named = |&(short, long, _): &(&str, &'static str, &'static str)| {
                word == short
                    || word == long
                    || word.split_once('=').is_some_and(|(name, _)| name == long)
                    || !short.is_empty() && !word.starts_with("--") && word.starts_with(short)
            };
            let mut value = |short: &str| match word.split_once('=') {
                Some((_, value)) if word.starts_with("--") => Some(value.to_owned()),
                _ if !short.is_empty() && word.len() > short.len() && !word.starts_with("--") => {
                    Some(word[short.len()..].to_owned())
                }
                _ => words.next().cloned(),
            };
            if let Some((short, _, setting)) = LISTS.iter().find(|option| named(option)) {
                self.lists.entry(*setting).or_default().extend(value(short));
            } else if word == "--lock-wait-timeout" || word.starts_with("--lock-wait-timeout=") {
                self.lock_wait_timeout = value("");
            } else if let Some((_, _, setting)) = FLAGS.iter().find(|(short, long, _)| word == short || word == long) {
                self.set(setting);
            } else if word == "--no-acl" {
                self.set("no_privileges");
            } else if let Some((short, long, why)) = LEFT.iter().find(|option| named(option)) {
                let takes_value = !["-w", "-W", "-C", "-c", ""].contains(short);
                if takes_value {
                    // The value belongs to the option, and leaves with it.
                    drop(value(short));
                }
                keys.leave_part(format!("pg_dump_options {long}"), why);
            } else {
                self.extra_args.push(word.clone());
            }
        }
    }

    /// Sets a flag once.
    fn set(&mut self, flag: &'static str) {
        if !self.flags.contains(&flag) {
            self.flags.push(flag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::init::pg_back::ini::{Section, words};

    #[test]
    fn options_become_settings() {
        let mut keys = Keys::new(None, Section::new());
        let mut options = DumpOptions::default();
        let line = "-O -x -T 'tmp*' --exclude-table=log --exclude-table-data audit -nsales -Fp --compress 9 -Z5 --inserts \
                    --lock-wait-timeout=60s -U me --clean";
        options.add(&words(line).unwrap(), &mut keys);
        assert_eq!(options.flags, ["no_owner", "no_privileges"]);
        assert_eq!(options.lists["exclude_tables"], ["tmp*", "log"]);
        assert_eq!(
            (&options.lists["schemas"][0], &options.lists["exclude_table_data"][0]),
            (&"sales".into(), &"audit".into())
        );
        assert_eq!(
            (options.lock_wait_timeout.as_deref(), &options.extra_args[..]),
            (Some("60s"), &["--inserts".into()][..])
        );
        assert_eq!(keys.finish().len(), 5);
    }
}

//! Recognition of the files of other backup tools, and the rules that adopt them.

use std::collections::{BTreeMap, BTreeSet};

use longshore_model::key::Key;

use super::Pattern;
use super::scheme::{COMPANIONS, Clock, HOST, SCHEMES, Scheme};

/// A pattern for the files of one tool in one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The scheme of the tool.
    pub scheme: &'static Scheme,
    /// The pattern of whole keys.
    pub pattern: Pattern,
    /// The database of the files, if their names do not contain one.
    pub database: Option<&'static str>,
}

impl Proposal {
    /// Returns true if the files are no dumps, but were written beside dumps.
    pub fn is_of_companions(&self) -> bool {
        COMPANIONS.iter().any(|end| self.pattern.as_str().ends_with(end))
    }
}

/// The database of files whose names contain none: they contain all databases, or any.
const ALL: &str = "all";

/// Returns a pattern for each form of names of another tool among the keys.
pub fn propose<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Vec<Proposal> {
    let keys: Vec<&Key> = keys.into_iter().collect();
    let forms = forms();
    let hosts = Hosts::of(&keys);
    // Keyed by the scheme and the text, so that the result has a stable order.
    let mut found: BTreeMap<(usize, String), Proposal> = BTreeMap::new();
    for key in keys {
        for form in &forms {
            if let Some((pattern, database)) = form.pattern_of(key, &hosts) {
                let order = SCHEMES.iter().position(|scheme| scheme == form.scheme).unwrap_or_default();
                let key = (order, pattern.as_str().to_owned());
                found.entry(key).or_insert(Proposal { scheme: form.scheme, pattern, database });
                // Schemes are disjoint, and the first pattern of a scheme is the most specific one.
                break;
            }
        }
    }
    found.into_values().collect()
}

/// A pattern of a scheme with one of its extensions.
struct Form {
    scheme: &'static Scheme,
    text: String,
    /// The number of segments of the names.
    depth: usize,
    pattern: Pattern,
}

/// The placeholder that includes the host while a form is compared with a name.
const ANY_HOST: &str = "{database}";

fn forms() -> Vec<Form> {
    let texts = SCHEMES.iter().flat_map(|scheme| {
        let with = |pattern: &&str| scheme.extensions.iter().map(|end| format!("{pattern}{end}")).collect::<Vec<_>>();
        scheme.patterns.iter().flat_map(with).map(move |text| (scheme, text))
    });
    let form = |(scheme, text): (&'static Scheme, String)| {
        // A database and a host are one name until the host is known.
        let merged = MERGED.iter().fold(text.clone(), |text, merged| text.replace(merged, ANY_HOST));
        let pattern = Pattern::parse(&merged).ok()?;
        Some(Form { scheme, depth: text.split('/').count(), text, pattern })
    };
    texts.filter_map(form).collect()
}

/// A database and a host, with what separates them.
const MERGED: [&str; 2] = ["{database}_{host}", "{database}-{host}"];

impl Form {
    /// Returns the pattern of the files that are named like this one, in the same folder, if the
    /// name has this form.
    fn pattern_of(&self, key: &Key, hosts: &Hosts) -> Option<(Pattern, Option<&'static str>)> {
        let segments: Vec<&str> = key.as_str().split('/').collect();
        let folders = segments.len().checked_sub(self.depth)?;
        let tail = Key::parse(&segments[folders..].join("/")).ok()?;
        let found = self.pattern.read(&tail).ok()?;
        let mut text = self.text.clone();
        let mut database = found.database.clone();
        if let (true, Some(merged)) = (text.contains(HOST), &found.database) {
            let separator = if text.contains(MERGED[0]) { '_' } else { '-' };
            let (name, host) = hosts.split(merged, separator)?;
            text = text.replace(HOST, &escape(host));
            database = Some(name.to_owned());
        }
        // A tool may have a folder for each database.
        let is_fixed = |folder: &&str| database.as_deref() != Some(*folder);
        let above = segments[..folders].iter().map(|folder| match is_fixed(folder) {
            true => format!("{}/", escape(folder)),
            false => "{database}/".to_owned(),
        });
        let text = above.collect::<String>() + &text;
        let pattern = Pattern::parse(&text).ok()?;
        let is_read = pattern.read(key).is_ok_and(|read| read.database == database);
        let database = if pattern.names_database() { None } else { Some(ALL) };
        is_read.then_some((pattern, database))
    }
}

/// Writes a text for a pattern.
fn escape(text: &str) -> String {
    text.replace('%', "%%")
}

/// The hosts that names contain for certain: those of files with all databases or with globals.
struct Hosts(BTreeSet<String>);

impl Hosts {
    fn of(keys: &[&Key]) -> Self {
        let file_names = keys.iter().map(|key| key.file_name());
        let hosts = file_names.filter_map(|name| {
            let starts =
                ["pgsql_globals_", "pgsql_all_", "pgsql-globals-", "pgsql-all-", "postgres-globals-", "postgres-all-"];
            let rest = starts.iter().find_map(|start| name.strip_prefix(start))?;
            let end = rest.find("-full-").or_else(|| rest.rfind('_'))?;
            Some(rest[..end].to_owned())
        });
        Self(hosts.filter(|host| !host.is_empty()).collect())
    }

    /// Splits a database and a host: at the longest known host. Else db-backup 5 itself reads the
    /// database up to the first hyphen, unless an address with underscores is at the end; in older
    /// names the host follows the last underscore, which names of hosts do not contain.
    fn split<'a>(&self, merged: &'a str, separator: char) -> Option<(&'a str, &'a str)> {
        let known = self.0.iter().filter_map(|host| {
            let name = merged.strip_suffix(host.as_str())?.strip_suffix(separator)?;
            Some((name, &merged[name.len() + 1..]))
        });
        let known = known.max_by_key(|(_, host)| host.len());
        let split = || match merged.rsplit_once(separator) {
            Some((_, last)) if separator == '-' && !is_address(last) => merged.split_once(separator),
            other => other,
        };
        known.or_else(split).filter(|(name, host)| !name.is_empty() && !host.is_empty())
    }
}

/// Returns true for an IPv4 address with underscores instead of dots.
fn is_address(host: &str) -> bool {
    let numbers: Vec<_> = host.split('_').map(str::parse::<u8>).collect();
    numbers.len() == 4 && numbers.iter().all(Result::is_ok)
}

impl Scheme {
    /// Returns true if the times in the names need the time zone of their host.
    pub fn needs_time_zone(&self) -> bool {
        self.clock == Clock::Local
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposed(keys: &[&str]) -> Vec<(String, String)> {
        let keys: Vec<_> = keys.iter().map(|text| Key::parse(text).unwrap()).collect();
        let shown = |proposal: Proposal| (proposal.scheme.tool.to_owned(), proposal.pattern.as_str().to_owned());
        propose(&keys).into_iter().map(shown).collect()
    }

    #[test]
    fn every_scheme_has_valid_patterns() {
        let number: usize = SCHEMES.iter().map(|scheme| scheme.patterns.len() * scheme.extensions.len()).sum();
        assert_eq!(forms().len(), number);
        assert!(SCHEMES.len() >= 8);
    }

    #[test]
    fn folders_become_part_of_the_pattern() {
        assert_eq!(
            proposed(&["dumps/100%/app_2026-06-07T03:00:01Z.dump", "dumps/100%/shop_2026-06-07T03:00:01+02:00.dump"]),
            [("pg_back".into(), "dumps/100%%/{database}_%FT%T%:z.dump".into())]
        );
        // `backup_directory = /dumps/{dbname}` of pg_back.
        let of_folders = ["app/app_2026-06-07_03-00-01.dump", "shop/shop_2026-06-07_03-00-01.dump"];
        assert_eq!(
            proposed(&of_folders),
            [("pg_back (timestamp_format = legacy)".into(), "{database}/{database}_%F_%H-%M-%S.dump".into())]
        );
    }

    #[test]
    fn versions_of_a_tool_are_separate() {
        assert_eq!(
            proposed(&[
                "weekly/my%20shop/my%20shop_2026-06-07_03h00m.sql.zstd",
                "weekly/app/app_week.23.2026-06-07.sql"
            ]),
            [
                ("autopostgresqlbackup 2".into(), "weekly/{database}/{database}_%F_%Hh%Mm.sql.zstd".into()),
                ("autopostgresqlbackup 1".into(), "weekly/{database}/{database}_week.%V.%F.sql".into()),
            ]
        );
    }

    #[test]
    fn directory_dumps_are_recognized() {
        assert_eq!(
            proposed(&["dumps/app_2026-06-07T03:00:01Z.d/toc.dat", "dumps/app_2026-06-07T03:00:01Z.d/3301.dat"]),
            [("pg_back".into(), "dumps/{database}_%FT%T%:z.d/toc.dat".into())]
        );
    }

    #[test]
    fn hosts_are_separated_from_databases() {
        let pattern = |keys: &[&str]| proposed(keys).into_iter().map(|(_, pattern)| pattern).collect::<Vec<_>>();
        assert_eq!(
            pattern(&["pgsql_my_app_db1_20260607-030001.sql.zst"]),
            ["pgsql_{database}_db1_%Y%m%d-%H%M%S.sql.zst"]
        );
        assert_eq!(
            pattern(&["pgsql_my_app_pg_main_20260607-030001.sql", "pgsql_globals_pg_main_20260607-030001.sql"]),
            ["pgsql_{database}_pg_main_%Y%m%d-%H%M%S.sql"]
        );
        assert_eq!(
            pattern(&[
                "pgsql-app-db-1-full-20260607-030001.sql.zst.age",
                "pgsql-my-app-10_0_0_5-full-20260607-030001.sql"
            ]),
            [
                "pgsql-{database}-10_0_0_5-full-%Y%m%d-%H%M%S.sql",
                "pgsql-{database}-db-1-full-%Y%m%d-%H%M%S.sql.zst.age"
            ]
        );
    }

    #[test]
    fn similar_names_are_not_proposed() {
        for name in [
            "app_2026-06-07T03:00:01.sql",
            "app_2026-06-07T03:00:01+0200.dump",
            "app_2026-02-30T03:00:01Z.dump",
            "app_2026-06-07T03:00:01Z.dump.sha256",
            "app_2026-06-07_03-00-01.dump.part",
            "app_2026-06-07_03-00-01.d/3301.dat.gz",
            "toc.dat",
            "app_2026-06-07_030001.dump",
            "daily/app/shop_2026-06-07.Sunday.sql.gz",
            "daily/app/app_2026-06-07.Monday.sql.gz",
            "weekly/app/app_week.24.2026-06-07.sql.gz",
            "yearly/app/app_2026-06-07_03h00m.sql.gz",
            "daily/app/shop_2026-06-07_03h00m.sql.gz",
            "daily/app/app_2026-06-07_03h00m.sql.gz.part",
            "monthly/app/app_2026-06-01.July.app.sql.gz",
            "last/app-latest.sql.gz",
            "weekly/app-202553.sql.gz",
            "monthly/app-202613.sql.gz",
            "pgsql_app_20260607-030001.sql",
            "mysql_app_db_20260607-030001.sql",
            "pgsql-app-db-incr-20260607-030001.sql",
            "app/2026/06/07/dump-20260607-030001-0f343b09.zip",
            "app/2026/06/08/dump-20260607-030001-0f343b09-3112-4a20-8f6e-5a1b2c3d4e5f.zip",
            "db_backup_2026-06-07T03:00:01.gz",
            "db_backup_2026-06-07T03:00:01+02:00.gz",
        ] {
            assert_eq!(proposed(&[name]), [], "{name}");
        }
    }
}

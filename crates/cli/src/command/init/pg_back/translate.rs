//! The configuration of pg_back as one of Longshore.

use std::path::{Path, PathBuf};

use super::ini::{Ini, Section, list, words};
use super::keys::{Keys, Note};
use super::options::DumpOptions;
use super::quoted;
use super::retention::Purge;
use super::upload::{Upload, upload};

/// The directory of pg_back, unless its configuration names one.
const DIRECTORY: &str = "/var/backups/postgresql";

/// A translated configuration.
#[derive(Debug)]
pub(super) struct Translation {
    /// The tables, with `{encrypt}` for the encryption of the jobs.
    pub(super) config: String,
    /// The outcome of each key.
    pub(super) notes: Vec<Note>,
    /// The directory of the dumps, unless they are only uploaded.
    pub(super) folder: Option<PathBuf>,
    /// The public key that encrypts the dumps, if there is one.
    pub(super) recipient: Option<String>,
    /// The names of the jobs.
    pub(super) jobs: Vec<String>,
}

/// Translates a configuration for a file in `folder`.
pub(super) fn translate(ini: Ini, folder: &Path) -> Result<Translation, String> {
    let mut keys = Keys::new(None, ini.global);
    let cluster = cluster(&mut keys);
    let (directory, by_database) = directory(&mut keys);
    let only_uploaded = keys.is_true("delete_uploaded");
    keys.take("delete_uploaded", "job.nightly ship");
    let upload = upload(&mut keys, folder)?;
    let local = (upload.is_none() || !only_uploaded).then_some(directory);
    let purge = Purge {
        older_than: keys.take("purge_older_than", "retention").unwrap_or_else(|| "30".to_owned()),
        min_keep: keys.take("purge_min_keep", "retention").unwrap_or_else(|| "0".to_owned()),
    };
    let purges_remote = keys.is_true("purge_remote");
    keys.take("purge_remote", "job.nightly retention");
    let legacy = match keys.take("timestamp_format", "adopt pattern").as_deref() {
        None | Some("rfc3339") => false,
        Some("legacy") => true,
        Some(_) => return Err("timestamp_format must be legacy or rfc3339".to_owned()),
    };
    let globals = globals(&mut keys);
    let hooks = hooks(&mut keys);
    let recipient = encryption(&mut keys);
    let parallel = number(&mut keys, "jobs", "job.nightly parallel")?;
    leave_replaced(&mut keys);

    let mut general = Dump::general(&mut keys)?;
    let mut notes = Vec::new();
    let mut jobs = vec![(purge.clone(), vec![])];
    for (database, section) in ini.databases {
        let (own_purge, dump, own_notes) = section_of(&database, section, &general, &purge)?;
        notes.extend(own_notes);
        let Some(dump) = dump else { continue };
        general.without(&database);
        match jobs.iter_mut().find(|(purge, _)| *purge == own_purge) {
            Some((_, dumps)) => dumps.push(dump),
            None => jobs.push((own_purge, vec![dump])),
        }
    }
    if !general.is_empty() {
        jobs[0].1.insert(0, general);
    }
    let mut all_notes = keys.finish();
    all_notes.extend(notes);

    let ship: Vec<&str> = local.iter().map(|_| "local").chain(upload.as_ref().map(|upload| upload.name)).collect();
    let mut config = cluster;
    if let Some(folder) = &local {
        config +=
            &format!("\n[destination.local]\ntype = \"local\"\npath = {}\n", quoted(&folder.display().to_string()));
    }
    config += &upload.iter().map(|Upload { table, .. }| format!("\n{table}")).collect::<String>();
    let mut policies = Vec::new();
    for (purge, _) in &jobs {
        policies.push(match purge.policy()? {
            None => None,
            Some(policy) => {
                let name = numbered("pg_back", policies.len());
                config += &format!("\n[retention.{name}]\n{policy}");
                Some(name)
            }
        });
    }
    if let (Some(_), Some(Some(policy))) = (&local, policies.first()) {
        config += &adopts(by_database, legacy, policy);
    }
    let mut names = Vec::new();
    for (index, ((_, dumps), policy)) in
        jobs.iter().zip(&policies).enumerate().filter(|(_, ((_, dumps), _))| !dumps.is_empty())
    {
        let job = Job { index, dumps, globals: globals.as_deref(), ship: &ship, parallel, hooks: &hooks };
        config += &job.table(policy.as_deref(), purges_remote);
        names.push(job.name());
    }
    Ok(Translation { config, notes: all_notes, folder: local, recipient, jobs: names })
}

/// Returns a name, with a number for all but the first.
fn numbered(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}-{}", index + 1) }
}

fn cluster(keys: &mut Keys) -> String {
    let mut connection = Vec::new();
    for (key, keyword) in [("host", "host"), ("port", "port"), ("user", "user")] {
        connection
            .extend(keys.take(key, "cluster.main connection").map(|value| format!("{keyword}={}", libpq(&value))));
    }
    let database = keys.take("dbname", "cluster.main connection");
    let connection = match database {
        // `dbname` may be a whole connection string.
        Some(whole) if whole.contains("password") => {
            keys.leave_part("password in dbname".to_owned(), "secrets are not copied: write it to ~/.pgpass");
            connection.join(" ")
        }
        Some(whole) if whole.contains('=') || whole.contains("://") => whole,
        Some(name) => {
            connection.push(format!("dbname={}", libpq(&name)));
            connection.join(" ")
        }
        None => connection.join(" "),
    };
    let mut table = format!("[cluster.main]\nconnection = {}\n", quoted(&connection));
    if let Some(folder) = keys.take("bin_directory", "cluster.main bin_dir") {
        table += &format!("bin_dir = {}\n", quoted(&folder));
    }
    if keys.take("pause_timeout", "cluster.main pause_replay").is_some() {
        table += "# On a standby, the replay waits during the dumps. Longshore does not wait for locks first.\n\
                  pause_replay = true\n";
    }
    table
}

/// Quotes a value of a connection string.
fn libpq(value: &str) -> String {
    let is_plain = !value.is_empty() && !value.contains([' ', '\'', '\\']);
    if is_plain { value.to_owned() } else { format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")) }
}

/// Returns the directory, and true if it has a folder for each database.
fn directory(keys: &mut Keys) -> (PathBuf, bool) {
    let directory = keys.take("backup_directory", "destination.local path").unwrap_or_else(|| DIRECTORY.to_owned());
    match directory.split_once("{dbname}") {
        None => (PathBuf::from(directory), false),
        Some((above, _)) => {
            keys.leave_part("{dbname} in backup_directory".to_owned(), "every database has a folder of its own");
            let above = above.rsplit_once('/').map_or(".", |(above, _)| if above.is_empty() { "/" } else { above });
            (PathBuf::from(above), directory.ends_with("/{dbname}") || directory.ends_with("/{dbname}/"))
        }
    }
}

/// Returns the dump of roles and tablespaces, unless only databases are dumped.
fn globals(keys: &mut Keys) -> Option<String> {
    let only_databases = keys.is_true("dump_only");
    keys.take("dump_only", "job.nightly dump");
    let no_passwords = keys.look("dump_role_passwords").is_some() && !keys.is_true("dump_role_passwords");
    keys.take("dump_role_passwords", "dump no_role_passwords");
    let passwords = if no_passwords { ", no_role_passwords = true" } else { "" };
    (!only_databases).then(|| format!("{{ type = \"pg_dumpall\", what = \"globals\"{passwords} }}"))
}

/// Returns the tables of the hooks, without the names of their job.
fn hooks(keys: &mut Keys) -> Vec<String> {
    let mut hooks = Vec::new();
    for (key, when) in [("pre_backup_hook", "before"), ("post_backup_hook", "after")] {
        match keys.look(key).map(words) {
            None => {}
            Some(Some(words)) if words.first().is_some_and(|program| program.starts_with('/')) => {
                let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                hooks.push(format!("when = \"{when}\"\nprogram = [{}]\n", words.join(", ")));
                keys.take(key, "job.nightly.hook");
            }
            Some(_) => keys.leave(key, "a hook needs the absolute path of a program"),
        }
    }
    hooks
}

/// Returns the public key, if there is one.
fn encryption(keys: &mut Keys) -> Option<String> {
    let recipient = keys.take("cipher_public_key", "job.nightly encrypt");
    keys.take("encrypt", "job.nightly encrypt");
    keys.leave("cipher_pass", "Longshore encrypts for public keys; the passphrase still opens the old files");
    keys.leave("cipher_private_key", "only restores need it: move it off this host, and pass it with --identity");
    keys.leave("encrypt_keep_source", "no plaintext is ever stored");
    recipient
}

/// Notes the keys that Longshore replaces.
fn leave_replaced(keys: &mut Keys) {
    keys.leave("checksum_algorithm", "every backup has digests, which verify and restore compare");
    keys.leave("backup_file_mode", "files have mode 0600 and folders 0700");
    keys.leave("uniform_timestamp", "all backups of a run have the same time");
    keys.leave("cipher_passphrase", "Longshore encrypts for public keys; the passphrase still opens the old files");
}

fn number(keys: &mut Keys, key: &str, setting: &str) -> Result<u32, String> {
    let number = keys.take(key, setting).map_or(Ok(1), |value| value.parse::<u32>());
    number.map_err(|_| format!("{key} is not a number")).map(|number| number.clamp(1, 64))
}

/// A dump of databases with the same settings.
#[derive(Debug, Clone)]
struct Dump {
    databases: Vec<String>,
    exclude: Vec<String>,
    format: Option<String>,
    jobs: u32,
    is_compressed: bool,
    options: DumpOptions,
}

impl Dump {
    /// Returns the dump of all databases without a section.
    fn general(keys: &mut Keys) -> Result<Self, String> {
        let with_templates = keys.is_true("with_templates");
        keys.take("with_templates", "dump databases");
        let included = keys.take("include_dbs", "dump databases").map(|value| list(&value)).unwrap_or_default();
        let databases = match (included.is_empty(), with_templates) {
            (false, _) => included.iter().map(|name| pattern(name)).collect(),
            (true, true) => vec!["*".to_owned(), "template1".to_owned()],
            (true, false) => vec!["*".to_owned()],
        };
        let exclude = keys.take("exclude_dbs", "dump exclude").map(|value| list(&value)).unwrap_or_default();
        let exclude = exclude.iter().map(|name| pattern(name)).collect();
        let mut dump =
            Self { databases, exclude, format: None, jobs: 1, is_compressed: true, options: DumpOptions::default() };
        dump.add(keys)?;
        Ok(dump)
    }

    /// Adds the settings that a section may have, too.
    fn add(&mut self, keys: &mut Keys) -> Result<(), String> {
        if let Some(format) = keys.take("format", "dump format") {
            let names = ["plain", "custom", "tar", "directory"];
            let name = names.into_iter().find(|name| *name == format || name[..1] == format);
            self.format = Some(name.ok_or("format must be plain, custom, tar or directory")?.to_owned());
        }
        if keys.look("parallel_backup_jobs").is_some() {
            self.jobs = number(keys, "parallel_backup_jobs", "dump jobs, for the directory format")?;
        }
        match keys.look("compress_level") {
            Some("0") => {
                self.is_compressed = false;
                keys.leave("compress_level", "set compression = { method = \"none\" } if nothing may be compressed");
            }
            Some(_) => keys.leave("compress_level", "Longshore compresses with zstd, at level 3: see compression"),
            None => {}
        }
        if let Some(options) = keys.take("pg_dump_options", "dump") {
            self.options = DumpOptions::default();
            self.options.add(&words(&options).ok_or("pg_dump_options has an unterminated quote")?, keys);
        }
        Ok(())
    }

    /// Leaves a database to a dump of its own.
    fn without(&mut self, database: &str) {
        let own = pattern(database);
        match self.databases.iter().position(|name| *name == own) {
            Some(index) => drop(self.databases.remove(index)),
            None => self.exclude.push(own),
        }
    }

    fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }

    /// Returns true if the directory format, which needs a folder for plaintext, is used.
    fn needs_scratch(&self) -> bool {
        self.format.as_deref() == Some("directory")
    }

    /// Returns the inline table.
    fn table(&self) -> String {
        let strings = |all: &[String]| all.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
        let mut settings = vec!["type = \"pg_dump\"".to_owned(), format!("databases = [{}]", strings(&self.databases))];
        let mut lists = vec![("exclude", &self.exclude)];
        lists.extend(self.options.lists.iter().map(|(name, list)| (*name, list)));
        lists.push(("extra_args", &self.options.extra_args));
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        settings.extend(lists.map(|(name, list)| format!("{name} = [{}]", strings(list))));
        let format = self.format.as_deref().filter(|format| *format != "custom");
        settings.extend(format.map(|format| format!("format = \"{format}\"")));
        if self.needs_scratch() && self.jobs > 1 {
            settings.push(format!("jobs = {}", self.jobs));
        }
        settings.extend(self.options.flags.iter().map(|flag| format!("{flag} = true")));
        let timeout = self.options.lock_wait_timeout.as_ref();
        settings.extend(timeout.map(|timeout| format!("lock_wait_timeout = {}", quoted(timeout))));
        format!("{{ {} }}", settings.join(", "))
    }
}

/// Writes the name of a database as a pattern that matches it alone.
fn pattern(name: &str) -> String {
    let escaped = name.chars().map(|letter| match letter {
        '*' | '?' | '[' | ']' | '{' | '}' => format!("[{letter}]"),
        letter => letter.to_string(),
    });
    escaped.collect()
}

/// Translates the section of a database. Returns no dump if pg_back does not dump the database.
fn section_of(
    database: &str,
    section: Section,
    general: &Dump,
    purge: &Purge,
) -> Result<(Purge, Option<Dump>, Vec<Note>), String> {
    let mut keys = Keys::new(Some(database), section);
    let own = pattern(database);
    let is_dumped = (general.databases.contains(&own) || general.databases.iter().any(|name| name == "*"))
        && !general.exclude.contains(&own);
    if !is_dumped {
        keys.leave_part("the whole section".to_owned(), "include_dbs or exclude_dbs leave the database out");
        return Ok((purge.clone(), None, keys.finish_quietly()));
    }
    let purge = Purge {
        older_than: keys.take("purge_older_than", "retention").unwrap_or_else(|| purge.older_than.clone()),
        min_keep: keys.take("purge_min_keep", "retention").unwrap_or_else(|| purge.min_keep.clone()),
    };
    let mut dump = Dump { databases: vec![own], exclude: Vec::new(), ..general.clone() };
    dump.add(&mut keys)?;
    for (key, setting) in [
        ("schemas", "schemas"),
        ("exclude_schemas", "exclude_schemas"),
        ("tables", "tables"),
        ("exclude_tables", "exclude_tables"),
    ] {
        if let Some(names) = keys.take(key, &format!("dump {setting}")) {
            dump.options.lists.entry(setting).or_default().extend(list(&names));
        }
    }
    if keys.look("with_blobs").is_some() {
        let option = if keys.is_true("with_blobs") { "--blobs" } else { "--no-blobs" };
        keys.take("with_blobs", "dump extra_args");
        dump.options.extra_args.push(option.to_owned());
    }
    keys.leave("checksum_algorithm", "every backup has digests, which verify and restore compare");
    keys.leave("user", "a cluster has one role: add a [cluster] and a job with its own connection");
    Ok((purge, Some(dump), keys.finish()))
}

/// The extension of a dump in directory format.
const DIRECTORY_FORMAT: &str = "d/toc.dat";

/// The files of pg_back: the name of the adopt, the extension, and a comment.
const EXISTING: [(&str, &str, &str); 7] = [
    ("dump", "dump", ""),
    ("directory", DIRECTORY_FORMAT, ""),
    ("sql", "sql", ""),
    ("sql-gz", "sql.gz", ""),
    ("tar", "tar", ""),
    ("out", "out", "# Settings and configuration files of the server: no dumps, which `adopt take` refuses.\n"),
    ("createdb-sql", "createdb.sql", "# Commands that create a database: no dumps, either.\n"),
];

/// Returns the tables that adopt the existing files of pg_back.
fn adopts(by_database: bool, legacy: bool, policy: &str) -> String {
    let folder = if by_database { "{database}/" } else { "" };
    let time = if legacy { "%F_%H-%M-%S" } else { "%FT%T%:z" };
    let zone = if legacy { "# timezone = \"Europe/Berlin\"    # of the clock that named the files\n" } else { "" };
    let mut tables = "\n# The existing files of pg_back, which leave as pg_back would remove them.\n".to_owned();
    for (name, extension, comment) in EXISTING {
        tables += comment;
        // Dumps in directory format are encrypted file by file, and are not adopted then.
        let ends = [("", ""), ("-age", ".age")].into_iter().take(if extension == DIRECTORY_FORMAT { 1 } else { 2 });
        for (suffix, end) in ends {
            tables += &format!(
                "[adopt.pg_back-{name}{suffix}]\ndestination = \"local\"\npattern = \"{folder}{{database}}_{time}.{extension}{end}\"\n\
                 retention = \"{policy}\"\n{zone}"
            );
        }
    }
    tables
}

/// A job of the new configuration.
struct Job<'a> {
    index: usize,
    dumps: &'a [Dump],
    globals: Option<&'a str>,
    ship: &'a [&'a str],
    parallel: u32,
    hooks: &'a [String],
}

impl Job<'_> {
    fn name(&self) -> String {
        numbered("nightly", self.index)
    }

    fn table(&self, policy: Option<&str>, purges_remote: bool) -> String {
        let name = self.name();
        let globals = self.globals.filter(|_| self.index == 0).map(str::to_owned);
        let dumps: Vec<String> = globals.into_iter().chain(self.dumps.iter().map(Dump::table)).collect();
        let ship: Vec<String> = self.ship.iter().map(|name| quoted(name)).collect();
        let mut table = format!(
            "\n[job.{name}]\ncluster = \"main\"\ndump = [\n  {},\n]\n{{encrypt}}\nship = [{}]\n",
            dumps.join(",\n  "),
            ship.join(", ")
        );
        match (policy, purges_remote, self.ship) {
            (None, ..) => {}
            (Some(policy), true, _) | (Some(policy), false, ["local"]) => {
                table += &format!("retention = \"{policy}\"\n")
            }
            // Without purge_remote, pg_back never removes an uploaded file.
            (Some(policy), false, ship) if ship.contains(&"local") => {
                table += &format!("retention = {{ local = \"{policy}\" }}    # as purge_remote is not set\n");
            }
            (Some(_), false, _) => {}
        }
        if self.parallel > 1 {
            table += &format!("parallel = {}\n", self.parallel);
        }
        if self.dumps.iter().any(Dump::needs_scratch) {
            table += "# Plaintext of dumps in directory format: prefer a folder in memory.\n\
                      scratch_dir = \"/var/tmp\"\n";
        }
        if self.dumps.iter().any(|dump| !dump.is_compressed) {
            table += "# compression = { method = \"none\" }\n";
        }
        // Runs of one host are not at the same time.
        table += &format!("schedule = \"{} 3 * * *\"\nmax_age = \"26h\"\n", self.index * 30 % 60);
        if self.index == 0 {
            table += &self.hooks.iter().map(|hook| format!("\n[[job.{name}.hook]]\n{hook}")).collect::<String>();
        }
        table
    }
}

//! A host that signs its backups, and requires signatures.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{CommandOutput, Job, TestEnv, files, finish};

/// All roles.
pub(crate) const ALL: &str = "backup@db1,drill@db1,prune@db1";

/// A host that signs its backups, and trusts some keys.
pub(crate) struct SignedEnv {
    pub(crate) test_env: TestEnv,
}

/// The files of a destination.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

impl SignedEnv {
    pub(crate) fn new() -> Self {
        let signed = Self { test_env: TestEnv::new() };
        signed.test_env.cluster.psql("postgres", "create database shop");
        signed.test_env.cluster.psql("shop", "create table orders as select 7 as id");
        signed.make_key("key");
        signed.trust(&[("key", ALL)]);
        signed.configure("key", "");
        signed
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.test_env.path(name)
    }

    /// Creates a key of this name with ssh-keygen.
    pub(crate) fn make_key(&self, name: &str) {
        let mut keygen = Command::new("ssh-keygen");
        finish(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "a key", "-f"]).arg(self.path(name))).expect(0);
    }

    /// Writes the file of trusted keys: the names of keys, each with its principals and options.
    pub(crate) fn trust(&self, keys: &[(&str, &str)]) {
        let line = |(name, principals): &(&str, &str)| {
            format!("{principals} {}", fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap())
        };
        fs::write(self.path("signers"), keys.iter().map(line).collect::<String>()).unwrap();
    }

    /// Configures a job that signs with a key, and requires signatures.
    pub(crate) fn configure(&self, key: &str, more: &str) {
        self.configure_as(&self.tables(key), more);
    }

    pub(crate) fn tables(&self, key: &str) -> String {
        let (key, signers) = (self.path(key), self.path("signers"));
        format!(
            "[signing]\nkey = '{}'\n[trust]\nallowed_signers = '{}'\nrequired = true\n",
            key.display(),
            signers.display()
        )
    }

    pub(crate) fn configure_as(&self, tables: &str, more: &str) {
        let more = format!("max_age = 'none'\n{more}\n{tables}");
        self.test_env.configure(&Job { more: &more, ..Job::default() });
    }

    pub(crate) fn longshore(&self, arguments: &[&str]) -> CommandOutput {
        self.test_env.longshore(arguments)
    }

    /// Runs a verb as another host, which only reads, by the name of its state.
    pub(crate) fn reader(&self, host: &str, arguments: &[&str]) -> CommandOutput {
        self.reader_with(host, "", arguments)
    }

    /// Runs a verb as a host that only reads, with further tables in its configuration.
    pub(crate) fn reader_with(&self, host: &str, more: &str, arguments: &[&str]) -> CommandOutput {
        let config = self.path(&format!("{host}.toml"));
        let text = format!(
            "lock_dir = '{0}/{host}-locks'\nstate_dir = '{0}/{host}-state'\n\
             [destination.local]\ntype = 'local'\npath = '{0}/local'\n\
             [trust]\nallowed_signers = '{0}/signers'\nrequired = true\n{more}",
            self.path("").display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.env("HOME", self.path("")).env_remove("LONGSHORE_CONFIG").arg("--config").arg(config);
        finish(command.args(arguments))
    }

    pub(crate) fn run(&self) {
        self.longshore(&["run"]).expect(0);
    }

    /// Returns the path in the destination of the only file of a subject with this ending.
    pub(crate) fn only(&self, subject: &str, ending: &str) -> String {
        let all = self.all(subject, ending);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    /// Returns the paths of the files of a subject with this ending, oldest first.
    pub(crate) fn all(&self, subject: &str, ending: &str) -> Vec<String> {
        let suffix_of = |file: &str| file.split_once('.').map(|(_, suffix)| format!(".{suffix}"));
        let of_subject = files(&self.test_env.local()).into_iter().filter(|file| {
            let name = file.rsplit('/').next().unwrap();
            file.starts_with(&format!("main/{subject}/")) && suffix_of(name).as_deref() == Some(ending)
        });
        of_subject.collect()
    }

    pub(crate) fn local(&self, file: &str) -> PathBuf {
        self.test_env.local().join(file)
    }

    /// Returns the paths of all files of the destination, run reports included.
    pub(crate) fn every_file(&self) -> Vec<String> {
        let mut find = Command::new("find");
        let found = finish(find.args([".", "-type", "f", "-not", "-name", ".*"]).current_dir(self.test_env.local()));
        found.expect(0).stdout.lines().map(|line| line.trim_start_matches("./").to_owned()).collect()
    }

    pub(crate) fn snapshot(&self) -> Files {
        let local = self.test_env.local();
        self.every_file().into_iter().map(|name| (name.clone(), fs::read(local.join(name)).unwrap())).collect()
    }

    /// Makes the destination contain exactly these files.
    pub(crate) fn reset(&self, files: &Files) {
        let local = self.test_env.local();
        fs::remove_dir_all(&local).unwrap();
        for (name, bytes) in files {
            fs::create_dir_all(local.join(name).parent().unwrap()).unwrap();
            fs::write(local.join(name), bytes).unwrap();
        }
    }

    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.local(file);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    }

    /// Expects an exit code of all verbs that read backups.
    pub(crate) fn all_verbs(&self, code: i32, words: &str) {
        for verb in [&["list", "--all"][..], &["status"], &["verify", "--all"]] {
            self.longshore(verb).expect(code).shows(words);
        }
        let output = self.path("restored.dump");
        let restore = ["restore", "shop", "--output", output.to_str().unwrap()];
        self.test_env.run_with_identity(&restore).expect(code).shows(words);
        assert!(!output.exists(), "nothing was restored");
        self.test_env.run_with_identity(&["drill"]).expect(code).shows(words);
    }

    /// Returns the backup of a subject, as listed.
    pub(crate) fn listed(&self, subject: &str) -> Value {
        let all = self.test_env.json(&["list", "--all", "--json"]);
        let of_subject = |backup: &&Value| backup["name"].as_str().unwrap().starts_with(&format!("main/{subject}/"));
        all.as_array().unwrap().iter().find(of_subject).unwrap().clone()
    }

    /// Returns the marks of a kind of a backup.
    pub(crate) fn all_marks(&self, name: &str, kind: &str) -> Vec<String> {
        let prefix = format!("{name}.{kind}.");
        let all = files(&self.test_env.local()).into_iter();
        all.filter(|file| file.starts_with(&prefix) && file.ends_with(".json")).collect()
    }
}

//! Unencrypted backups in place of encrypted ones: anyone who can write to a destination can store
//! one there, and a restore runs its contents.

use longshore_config::Config;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::Identities;
use longshore_core::{Error, Kind, Result, Stage};

/// The treatment of unencrypted backups where encrypted ones are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsealed {
    /// Fail.
    Refused,
    /// Read the backup, with a warning.
    Allowed,
}

/// The rules about which backups must be encrypted.
#[derive(Clone, Copy)]
pub struct EncryptionPolicy<'a> {
    config: &'a Config,
    identity: Identity,
    unsealed: Unsealed,
}

/// The availability of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Given,
    None,
}

impl<'a> EncryptionPolicy<'a> {
    /// Expects encrypted backups of all jobs that encrypt, and, if there are identities, of jobs
    /// that are not in the configuration.
    pub fn new(config: &'a Config, identities: &Identities, unsealed: Unsealed) -> Self {
        let is_given = !identities.is_empty() || !identities.programs.is_empty();
        let identity = if is_given { Identity::Given } else { Identity::None };
        Self { config, identity, unsealed }
    }

    /// Creates the same rules with the identity of the configuration, and allows
    /// unencrypted backups.
    pub fn of_config(config: &'a Config) -> Self {
        let is_given = !config.identity.is_empty() || !config.decrypt.is_empty();
        let identity = if is_given { Identity::Given } else { Identity::None };
        Self { config, identity, unsealed: Unsealed::Allowed }
    }

    /// Returns the reason why an unencrypted backup should be encrypted, if there is one.
    pub fn violation(&self, manifest: &Manifest) -> Option<String> {
        if manifest.artifact.encryption.is_some() {
            return None;
        }
        // Jobs of several clusters may have the same name.
        let job = self.config.jobs.get(&manifest.job);
        match job.filter(|job| job.site.cluster.name == manifest.cluster.name) {
            Some(job) => job.encrypt.is_some().then(|| format!("job \"{}\" encrypts its backups", job.name)),
            None => (self.identity == Identity::Given)
                .then(|| "an identity is given and its job is not in the configuration".to_owned()),
        }
    }

    /// Checks backups that are restored together, and returns a warning for each that is allowed.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if a backup that should be encrypted is not, unless
    /// this is allowed.
    pub fn expect<'m>(&self, all: impl Iterator<Item = &'m Manifest> + Clone) -> Result<Vec<String>> {
        let is_sealed = |manifest: &Manifest| manifest.artifact.encryption.is_some();
        // One job makes all backups of a run, and encrypts all or none.
        let with_sealed = all.clone().any(is_sealed);
        let mut warnings = Vec::new();
        for manifest in all.filter(|manifest| !is_sealed(manifest)) {
            let beside_sealed = || with_sealed.then(|| "the backups of its run are encrypted".to_owned());
            let Some(why) = self.violation(manifest).or_else(beside_sealed) else { continue };
            let name = manifest.name().map(|name| name.to_string()).unwrap_or_default();
            let message = format!("unsealed, although {why}");
            match self.unsealed {
                Unsealed::Allowed => warnings.push(format!("{name}: {message}")),
                Unsealed::Refused => {
                    return Err(Error::new(Stage::Restore, Kind::Refused, name, message).hint(
                        "choose another backup (`longshore list --all` shows which are unsealed); --allow-unsealed \
                         runs the contents of this one",
                    ));
                }
            }
        }
        Ok(warnings)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use longshore_testkit::fake_stage::Xor;
    use longshore_testkit::memory::MemoryStore;

    use super::*;
    use crate::fixture;

    fn identities(files: &[&str]) -> Identities {
        let files = files.iter().map(PathBuf::from).collect();
        Identities { files, ..Identities::none() }
    }

    /// Returns a configuration whose only job encrypts, or does not.
    fn config(encrypts: bool) -> Config {
        let mut config = fixture::config(&PathBuf::from("/none"), &MemoryStore::new(), None);
        for job in config.jobs.values_mut().filter(|_| encrypts) {
            job.encrypt = Some(Arc::new(|_| Ok(Box::new(Xor))));
        }
        config
    }

    fn unsealed() -> Manifest {
        let mut manifest = fixture::manifest();
        manifest.artifact.encryption = None;
        manifest
    }

    #[test]
    fn unsealed_backup_of_encrypting_job_is_refused() {
        let (given, none) = (identities(&["key.txt"]), identities(&[]));
        let refuses = |config: &Config, identities: &Identities, manifest: &Manifest| {
            let policy = EncryptionPolicy::new(config, identities, Unsealed::Refused);
            match policy.expect([manifest].into_iter()) {
                Ok(warnings) => !warnings.is_empty(),
                Err(error) => error.kind() == Kind::Refused,
            }
        };
        for identities in [&given, &none] {
            assert!(refuses(&config(true), identities, &unsealed()));
            assert!(!refuses(&config(true), identities, &fixture::manifest()));
            assert!(!refuses(&config(false), identities, &unsealed()), "a job without encryption");
        }
        let other_job = Manifest { job: "other".to_owned(), ..unsealed() };
        let mut other_cluster = unsealed();
        other_cluster.cluster.name = "crm".to_owned();
        for unknown in [other_job, other_cluster] {
            assert!(refuses(&config(false), &given, &unknown));
            assert!(!refuses(&config(true), &none, &unknown));
        }
    }

    #[test]
    fn unsealed_backup_beside_sealed_ones_is_refused() {
        let config = config(false);
        let all = [fixture::manifest(), unsealed()];
        let expect = |unsealed| EncryptionPolicy::new(&config, &identities(&[]), unsealed).expect(all.iter());
        assert_eq!(expect(Unsealed::Refused).unwrap_err().kind(), Kind::Refused);
        let warnings = expect(Unsealed::Allowed).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("unsealed, although"), "{warnings:?}");
    }
}

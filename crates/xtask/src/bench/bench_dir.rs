//! A temporary folder with keys, destinations and configurations.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::database::{Database, shell};
use crate::Result;

/// A temporary folder with a key pair. Dropping it removes the folder.
pub(super) struct BenchDir {
    folder: TempDir,
    pub(super) recipient: String,
}

impl BenchDir {
    pub(super) fn make() -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| format!("cannot create a folder: {error}"))?;
        let made = Command::new("age-keygen").arg("-o").arg(folder.path().join("identity.txt")).output();
        let made = made.map_err(|error| format!("cannot run age-keygen: {error}"))?;
        let output = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        let recipient = output.strip_prefix("Public key: ").map(str::to_owned);
        Ok(Self { folder, recipient: recipient.ok_or_else(|| format!("unexpected output of age-keygen: {output}"))? })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Creates a subfolder.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir(&path).map_err(|error| failed(&path, error))?;
        Ok(path)
    }

    /// Writes a file.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|error| failed(&path, error))?;
        Ok(path)
    }

    /// Creates a key without a passphrase, and returns the command that encrypts its input with gpg
    /// without compression.
    pub(super) fn gpg(&self) -> Result<String> {
        let home = self.path("gnupg");
        fs::create_dir_all(&home).map_err(|error| failed(&home, error))?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).map_err(|error| failed(&home, error))?;
        let gpg = format!("gpg --homedir {} --quiet --batch --yes", home.display());
        // The agent would otherwise keep running and use the folder.
        shell(&format!(
            "{gpg} --passphrase '' --quick-generate-key bench@example.org default default never 2> /dev/null; s=$?; \
             gpgconf --homedir {} --kill all; exit $s",
            home.display()
        ))?;
        Ok(format!("{gpg} --trust-model always --compress-algo none --encrypt --recipient bench@example.org"))
    }

    /// Writes a configuration of an encrypted job `bench` with these destinations, and returns its
    /// path.
    pub(super) fn configure(
        &self,
        name: &str,
        database: &Database,
        destinations: &[(&str, String)],
        job: &str,
    ) -> Result<String> {
        let tables = destinations.iter().map(|(name, lines)| format!("[destination.{name}]\n{lines}\n"));
        let names: Vec<_> = destinations.iter().map(|(name, _)| format!("'{name}'")).collect();
        let text = format!(
            "lock_dir = '{folder}/locks'\nstate_dir = '{folder}/state'\n\
             [cluster.main]\nconnection = \"{connection}\"\nbin_dir = '{bin_dir}'\n{tables}\
             [job.bench]\ncluster = 'main'\nencrypt = {{ type = 'age', recipients = ['{recipient}'] }}\nship = [{names}]\n{job}\n",
            folder = self.folder.path().display(),
            connection = database.connection(),
            bin_dir = database.bin_dir(),
            tables = tables.collect::<String>(),
            recipient = self.recipient,
            names = names.join(", "),
        );
        Ok(self.write(name, &text)?.display().to_string())
    }
}

/// Returns the settings of a destination in a folder.
pub(super) fn local(path: &Path) -> String {
    format!("type = 'local'\npath = '{}'", path.display())
}

fn failed(path: &Path, error: std::io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

//! `[signing]` and `[trust]`: the key that signs this host's records, and the signers that this
//! host trusts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::key::Key;
use longshore_core::mark::MarkKind;
use longshore_core::meter::Digest;
use longshore_core::signature::{MAX_SIGNATURE_BYTES, Record, Verdict};
use longshore_core::stage::{Signatures, Store};
use longshore_core::store::Signed;
use longshore_core::{Error, Kind, Result, Stage, credential};
use longshore_program::output;
use longshore_trust::allowed_signers::{AllowedSigners, Claim, Verified};
use longshore_trust::role::Role;
use longshore_trust::signing_key::{External, SigningKey};
use serde::Deserialize;

/// The time to touch a token, or to confirm a use of an agent's key.
const SIGNING_TIMEOUT: Duration = Duration::from_secs(120);

/// The maximum size of a file of allowed signers, in bytes.
const MAX_SIGNERS_BYTES: u64 = 1 << 20;

/// `[signing]`: the key that signs the records of this host.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenSigning {
    /// The file of the key: a private key of OpenSSH without a passphrase, the handle of a token's
    /// key, or a public key whose private key is in the ssh-agent.
    key: PathBuf,
}

/// `[trust]`: the signers whose records this host trusts.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenTrust {
    /// The file of the trusted keys, as `ssh-keygen -Y verify` reads it. The principals begin with
    /// roles: `backup@db1`, `drill@db1`, `prune@vault`.
    allowed_signers: PathBuf,
    /// Refuse records without a signature of a trusted key, by default false.
    #[serde(default)]
    required: bool,
}

/// The signatures that this host makes and verifies.
#[derive(Debug, Clone, Default)]
pub struct TrustSettings {
    /// The file of the signing key, if this host signs its records.
    pub key: Option<PathBuf>,
    /// The file of the trusted keys, if this host verifies signatures.
    pub allowed_signers: Option<PathBuf>,
    /// True if records without a permitted signature do not count.
    pub required: bool,
}

impl TrustSettings {
    /// Resolves the two tables.
    pub(crate) fn resolve(signing: Option<WrittenSigning>, trust: Option<WrittenTrust>) -> Self {
        let required = trust.as_ref().is_some_and(|trust| trust.required);
        Self {
            key: signing.map(|signing| signing.key),
            allowed_signers: trust.map(|trust| trust.allowed_signers),
            required,
        }
    }

    /// Adds signatures to a destination. Without settings, nothing is signed or verified.
    pub(crate) fn apply(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>> {
        if self.key.is_none() && self.allowed_signers.is_none() {
            return Ok(store);
        }
        Ok(Arc::new(Signed::new(store, Arc::new(HostSignatures::open(self)?))))
    }

    /// Reads the trusted keys, if this host verifies signatures.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or parsed, or contains no key.
    pub fn signers(&self) -> Result<Option<AllowedSigners>> {
        self.allowed_signers.as_deref().map(read_signers).transpose()
    }

    /// Reads the signing key, if this host signs its records.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or parsed, or if other users can read a private key.
    pub fn signing_key(&self) -> Result<Option<SigningKey>> {
        self.key.as_deref().map(read_key).transpose()
    }
}

fn read_signers(setting: &Path) -> Result<AllowedSigners> {
    let path = credential::file(setting)?;
    let subject = path.display().to_string();
    let cannot = |error| {
        Error::io(Stage::Config, &subject, "cannot read the file of allowed signers", error)
            .hint("set allowed_signers in [trust] to a file with a line for each trusted key; longshore-trust(7)")
    };
    if fs::metadata(&path).map_err(cannot)?.len() > MAX_SIGNERS_BYTES {
        let message = format!("is larger than {MAX_SIGNERS_BYTES} bytes, the maximum for allowed signers");
        return Err(Error::new(Stage::Config, Kind::Usage, subject, message));
    }
    let text = fs::read_to_string(&path).map_err(cannot)?;
    let signers = AllowedSigners::parse(&text).map_err(|error| {
        Error::new(Stage::Config, Kind::Usage, format!("{subject}:{}", error.line), error.message)
            .hint("each line has principals, options and a public key: ALLOWED SIGNERS in ssh-keygen(1)")
    })?;
    if signers.is_empty() {
        let message = "contains no key, so no record could be trusted";
        return Err(Error::new(Stage::Config, Kind::Usage, subject, message)
            .hint("add the line that `longshore init` printed on the host that makes the backups"));
    }
    Ok(signers)
}

fn read_key(setting: &Path) -> Result<SigningKey> {
    let path = credential::file(setting)?;
    let subject = path.display().to_string();
    let cannot = |error| {
        Error::io(Stage::Config, &subject, "cannot read the signing key", error).hint(
            "set key in [signing] to a key that this user can read; `ssh-keygen -t ed25519 -N '' -f FILE` makes one",
        )
    };
    let mode = fs::metadata(&path).map_err(cannot)?.permissions().mode();
    let text = zeroize::Zeroizing::new(fs::read_to_string(&path).map_err(cannot)?);
    let key = SigningKey::parse(&text)
        .map_err(|error| Error::new(Stage::Config, Kind::Usage, &subject, error.message).hint(error.hint))?;
    if key.external().is_none() && mode & 0o077 != 0 {
        let message = "other users can read the signing key";
        return Err(Error::new(Stage::Config, Kind::Refused, subject, message)
            .hint("run `chmod go= FILE`, and replace the key if another user may have read it"));
    }
    Ok(key)
}

/// The signatures of this host.
struct HostSignatures {
    settings: TrustSettings,
    /// The key, read when the first record is signed: a user who only lists backups need not be
    /// able to read it.
    key: OnceLock<SigningKey>,
    signers: Option<AllowedSigners>,
}

impl HostSignatures {
    fn open(settings: &TrustSettings) -> Result<Self> {
        Ok(Self { settings: settings.clone(), key: OnceLock::new(), signers: settings.signers()? })
    }

    fn key(&self) -> Result<Option<&SigningKey>> {
        if self.key.get().is_none() {
            let Some(key) = self.settings.signing_key()? else { return Ok(None) };
            // Another task may have read the same file.
            drop(self.key.set(key));
        }
        Ok(self.key.get())
    }
}

/// Signs a record with any key, by `ssh-keygen` if the key is outside of this process.
async fn sign(setting: &Path, key: &SigningKey, namespace: &str, record: &[u8]) -> Result<Vec<u8>> {
    let path = credential::file(setting)?.display().to_string();
    let Some(external) = key.external() else {
        let signed = key.sign(namespace, record);
        return signed
            .map(String::into_bytes)
            .map_err(|error| Error::new(Stage::Ship, Kind::Failed, path, error.message).hint(error.hint));
    };
    let mut argv = vec!["ssh-keygen", "-q", "-Y", "sign", "-f", &path, "-n", namespace];
    let hint = match external {
        External::Agent => {
            argv.push("-U");
            "check that SSH_AUTH_SOCK is set and that `ssh-add -L` shows the key"
        }
        External::Token => "check that the token is plugged in",
    };
    let signature = output(Stage::Ship, &argv, record, SIGNING_TIMEOUT).await.map_err(|error| error.hint(hint))?;
    match signature.len() {
        1..=MAX_SIGNATURE_BYTES => Ok(signature),
        _ => Err(Error::new(Stage::Ship, Kind::Failed, path, "ssh-keygen returned no signature").hint(hint)),
    }
}

#[async_trait]
impl Signatures for HostSignatures {
    async fn sign(&self, key: &Key, record: &[u8]) -> Result<Option<Bytes>> {
        let (Some(setting), Some(signing_key), Some(kind)) = (&self.settings.key, self.key()?, Record::from_key(key))
        else {
            return Ok(None);
        };
        let signature = sign(setting, signing_key, kind.namespace(), record).await?;
        // A record that this host itself would not accept is an error now, and not at a restore.
        self.verify(key, record, Some(&signature)).expect_accepted(key, self.settings.required)?;
        Ok(Some(signature.into()))
    }

    fn verify(&self, key: &Key, record: &[u8], signature: Option<&[u8]>) -> Verdict {
        let Some(signers) = &self.signers else { return Verdict::Unverified };
        let (Some(kind), Some(signature)) = (Record::from_key(key), signature) else { return Verdict::Unsigned };
        let Some(time) = kind.time() else { return Verdict::Unsigned };
        let claim = Claim { namespace: kind.namespace(), time: time.time(), roles: roles(&kind) };
        match signers.verify(record, signature, claim) {
            Verified::Signed { by, .. } => Verdict::Signed { by, digest: Digest::of(record) },
            Verified::NotPermitted(why) => Verdict::NotPermitted(why),
            Verified::Bad(why) => Verdict::Bad(why),
        }
    }

    fn verifies(&self) -> bool {
        self.signers.is_some()
    }

    fn are_required(&self) -> bool {
        self.settings.required
    }
}

/// Returns the roles of which the signer of a record must have one.
fn roles(record: &Record) -> &'static [Role] {
    match record {
        Record::Manifest(_) => &[Role::Backup],
        Record::Mark(mark) => match mark.kind {
            // These marks only protect a backup.
            MarkKind::Hold | MarkKind::Restoring => &[Role::Prune, Role::Backup, Role::Drill],
            MarkKind::Verified | MarkKind::Damaged => &[Role::Drill, Role::Backup],
            MarkKind::Drilled | MarkKind::Unrestorable => &[Role::Drill],
            MarkKind::Released | MarkKind::Withdrawn => &[Role::Prune],
        },
        Record::Report(report) => match report.id.verb.as_str() {
            "prune" | "remove" | "removal" => &[Role::Prune],
            "drill" => &[Role::Drill],
            "verify" => &[Role::Drill, Role::Backup],
            "hold" | "unhold" | "mark" | "restore" => &[Role::Prune, Role::Backup, Role::Drill],
            _ => &[Role::Backup],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path, mode: u32, principals: &str) -> TrustSettings {
        let key = SigningKey::generate("").unwrap();
        let (path, signers) = (folder.join("key"), folder.join("signers"));
        fs::write(&path, key.to_file().unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&signers, key.public_line(principals)).unwrap();
        TrustSettings { key: Some(path), allowed_signers: Some(signers), required: true }
    }

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    const MANIFEST: &str = "main/app/app-2026-06-07_091500.json";

    #[test]
    fn roles_bound_what_a_signer_states() {
        let role_words = |text: String| {
            let record = Record::from_key(&key(&text)).unwrap();
            roles(&record).iter().map(|role| role.word()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(role_words(MANIFEST.to_owned()), "backup");
        for (kind, expected) in [
            ("hold", "prune backup drill"),
            ("restoring", "prune backup drill"),
            ("verified", "drill backup"),
            ("damaged", "drill backup"),
            ("drilled", "drill"),
            ("unrestorable", "drill"),
            ("released", "prune"),
            ("withdrawn", "prune"),
        ] {
            assert_eq!(role_words(MANIFEST.replace(".json", &format!(".{kind}.2026-07-01_120000.json"))), expected);
        }
        for (verb, expected) in [("run", "backup"), ("prune", "prune"), ("remove", "prune"), ("drill", "drill")] {
            let text = format!("main/runs/nightly/2026-06-07_091500-{verb}-1f0c9a7e.json");
            assert_eq!(role_words(text), expected, "{verb}");
        }
    }

    #[tokio::test]
    async fn own_signatures_are_accepted_only_within_the_role() {
        let folder = tempfile::tempdir().unwrap();
        let signatures = HostSignatures::open(&settings(folder.path(), 0o600, "backup@db1")).unwrap();
        let (manifest, record) = (key(MANIFEST), b"{}");
        let signature = signatures.sign(&manifest, record).await.unwrap().unwrap();
        let verdict = |key: &Key, record, signature| signatures.verify(key, record, signature);
        assert_eq!(verdict(&manifest, record, Some(&signature)).signer(), Some("backup@db1"));
        assert!(matches!(verdict(&manifest, b"{ }", Some(&signature)), Verdict::Bad(_)));
        assert_eq!(verdict(&manifest, record, None), Verdict::Unsigned);
        // A host may not state what its role does not permit, and learns that at once.
        let released = key(&MANIFEST.replace(".json", ".released.2026-07-01_120000.json"));
        let error = signatures.sign(&released, record).await.unwrap_err();
        assert!(error.kind() == Kind::Refused && error.to_string().contains("has not the role prune"), "{error}");
        assert_eq!(signatures.sign(&key("RESTORE.md"), record).await.unwrap(), None);
    }

    #[tokio::test]
    async fn unusable_files_are_errors_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let open = settings(folder.path(), 0o640, "backup");
        let error = HostSignatures::open(&open).unwrap().sign(&key(MANIFEST), b"").await.unwrap_err();
        assert!(error.kind() == Kind::Refused && error.remedy().unwrap().contains("chmod"), "{error:?}");
        fs::write(open.allowed_signers.as_ref().unwrap(), "# no key\n").unwrap();
        assert!(open.signers().unwrap_err().to_string().contains("contains no key"));
        fs::write(open.allowed_signers.as_ref().unwrap(), "x y z\n").unwrap();
        assert!(open.signers().unwrap_err().subject().ends_with("signers:1"));
        let missing = TrustSettings { key: Some("/nonexistent".into()), ..open };
        assert_eq!(missing.signing_key().unwrap_err().kind(), Kind::NotFound);
    }
}

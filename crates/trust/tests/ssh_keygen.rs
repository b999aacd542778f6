//! Signatures in both directions between this crate and the stock `ssh-keygen`.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use longshore_trust::allowed_signers::{AllowedSigners, Claim, Verified};
use longshore_trust::role::Role;
use longshore_trust::signing_key::{External, SigningKey};

const NAMESPACE: &str = "longshore-manifest";
const RECORD: &[u8] = b"{\n  \"format\": 1\n}\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn keygen(&self, arguments: &[&str], input: Option<&Path>) -> bool {
        let stdin = input.map_or_else(Stdio::null, |path| File::open(path).unwrap().into());
        let mut keygen = Command::new("ssh-keygen");
        keygen.current_dir(self.0.path()).args(arguments).stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
        keygen.status().unwrap().success()
    }

    fn verifies(&self, principal: &str, record: &Path, time: &str) -> bool {
        let arguments = ["-Y", "verify", "-f", "signers", "-I", principal, "-n", NAMESPACE, "-s", "sig"];
        self.keygen(&[&arguments[..], &[&format!("-Overify-time={time}")]].concat(), Some(record))
    }

    /// Creates a key with ssh-keygen, and signs the record. Returns the key file, its public key
    /// and the signature.
    fn sign_with_keygen(&self, kind: &[&str]) -> (String, String, Vec<u8>) {
        let key = ["-q", "-N", "", "-C", "a comment", "-f", "key"];
        assert!(self.keygen(&[&key[..], kind].concat(), None));
        self.write("record", RECORD);
        assert!(self.keygen(&["-Y", "sign", "-f", "key", "-n", NAMESPACE, "record"], None));
        let read = |name| fs::read(self.0.path().join(name)).unwrap();
        let text = |name| String::from_utf8(read(name)).unwrap();
        (text("key"), text("key.pub"), read("record.sig"))
    }
}

fn claim(time: &str) -> Claim<'_> {
    Claim { namespace: NAMESPACE, time: time.parse().unwrap(), roles: &[Role::Backup] }
}

#[test]
fn ssh_keygen_verifies_own_signatures() {
    let folder = Folder::new();
    let key = SigningKey::generate("db1").unwrap();
    let line = key.public_line("backup@db1").replace("namespaces", "valid-before=\"20260701Z\",namespaces");
    folder.write("signers", &line);
    folder.write("sig", key.sign(NAMESPACE, RECORD).unwrap());
    let (good, changed) = (folder.write("good", RECORD), folder.write("changed", b"{}"));
    assert!(folder.verifies("backup@db1", &good, "20260630000000Z"));
    assert!(!folder.verifies("backup@db1", &changed, "20260630000000Z"));
    assert!(!folder.verifies("prune@db1", &good, "20260630000000Z"));
    // Both programs agree about the end of the validity.
    let signers = AllowedSigners::parse(&line).unwrap();
    for (stock, own, expected) in
        [("20260701000000Z", "2026-07-01T00:00:00Z", true), ("20260701000001Z", "2026-07-01T00:00:01Z", false)]
    {
        assert_eq!(folder.verifies("backup@db1", &good, stock), expected, "{stock}");
        let permitted = signers.permit(key.public(), claim(own));
        assert_eq!(matches!(permitted, Verified::Signed { .. }), expected, "{own}");
    }
}

#[test]
fn signatures_of_ssh_keygen_are_verified() {
    for kind in [&["-t", "ed25519"][..], &["-t", "ecdsa", "-b", "256"]] {
        let folder = Folder::new();
        let (private, public, signature) = folder.sign_with_keygen(kind);
        let signers = AllowedSigners::parse(&format!("backup@db1 {public}")).unwrap();
        let time = "2026-07-01T00:00:00Z";
        assert!(matches!(signers.verify(RECORD, &signature, claim(time)), Verified::Signed { .. }), "{kind:?}");
        assert!(matches!(signers.verify(b"x", &signature, claim(time)), Verified::Bad(_)), "{kind:?}");
        // The file that ssh-keygen wrote signs here, too.
        let own = SigningKey::parse(&private).unwrap().sign(NAMESPACE, RECORD).unwrap();
        folder.write("signers", format!("backup@db1 {public}"));
        folder.write("sig", &own);
        assert!(folder.verifies("backup@db1", &folder.0.path().join("record"), "20260701000000Z"), "{kind:?}");
        if kind.contains(&"ed25519") {
            assert_eq!(own.as_bytes(), signature, "ed25519 has one signature for one content");
        }
    }
}

#[test]
fn unsupported_keys_are_refused_with_a_way_out() {
    let folder = Folder::new();
    let (private, public, signature) = folder.sign_with_keygen(&["-t", "rsa", "-b", "2048"]);
    for text in [private, public.clone()] {
        let error = SigningKey::parse(&text).unwrap_err();
        assert!(error.message.contains("not supported") || error.message.contains("is not a private key"), "{error:?}");
    }
    let other = SigningKey::generate("").unwrap();
    let signers = AllowedSigners::parse(&other.public_line("backup")).unwrap();
    let verified = signers.verify(RECORD, &signature, claim("2026-07-01T00:00:00Z"));
    assert!(matches!(verified, Verified::NotPermitted(_) | Verified::Bad(_)), "{verified:?}");
    // A passphrase needs an agent.
    let folder = Folder::new();
    assert!(folder.keygen(&["-q", "-t", "ed25519", "-N", "a passphrase", "-f", "key"], None));
    let text = fs::read_to_string(folder.0.path().join("key")).unwrap();
    let error = SigningKey::parse(&text).unwrap_err();
    assert!(error.message == "has a passphrase" && error.hint.contains("ssh-add"), "{error:?}");
    let public = fs::read_to_string(folder.0.path().join("key.pub")).unwrap();
    assert_eq!(SigningKey::parse(&public).unwrap().external(), Some(External::Agent));
}

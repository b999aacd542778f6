//! A restic repository with snapshots of any date, thousands of them per second.
//!
//! restic can set the date of a snapshot, but takes a second for each, most of it to derive its
//! key. `restic forget` reads only the snapshots, so this module writes them in restic's [format],
//! with a key derivation of almost no cost: the content is not secret.
//!
//! [format]: https://restic.readthedocs.io/en/stable/100_references.html#design

use std::fs;
use std::path::Path;
use std::process::Command;

use aes::cipher::{BlockEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::{DateTime, SecondsFormat, Utc};
use poly1305::Poly1305;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const PASSWORD: &str = "not a secret";

/// A repository in a temporary folder.
pub struct Repository {
    folder: TempDir,
    master: Key,
    /// The number of encryptions so far, which makes nonces unique.
    sealed: u64,
}

/// A key for encryption and authentication.
struct Key {
    encrypt: [u8; 32],
    mac_k: [u8; 16],
    mac_r: [u8; 16],
}

impl Repository {
    /// Creates an empty repository.
    pub fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["data", "index", "keys", "locks", "snapshots"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let master = Key { encrypt: [1; 32], mac_k: [2; 16], mac_r: clamped([3; 16]) };
        let mut repository = Self { folder, master, sealed: 0 };

        let salt = [4; 64];
        let mut derived = [0; 64];
        let cheapest = scrypt::Params::new(1, 1, 1, derived.len()).unwrap();
        scrypt::scrypt(PASSWORD.as_bytes(), &salt, &cheapest, &mut derived).unwrap();
        let user = Key {
            encrypt: derived[..32].try_into().unwrap(),
            mac_k: derived[32..48].try_into().unwrap(),
            mac_r: clamped(derived[48..].try_into().unwrap()),
        };
        let master = json!({
            "mac": {"k": BASE64_STANDARD.encode(repository.master.mac_k), "r": BASE64_STANDARD.encode(repository.master.mac_r)},
            "encrypt": BASE64_STANDARD.encode(repository.master.encrypt),
        });
        let key = json!({
            "created": "2026-01-01T00:00:00Z",
            "username": "longshore",
            "hostname": "longshore",
            "kdf": "scrypt",
            "N": 2,
            "r": 1,
            "p": 1,
            "salt": BASE64_STANDARD.encode(salt),
            "data": BASE64_STANDARD.encode(user.seal(&[0xff; 16], master.to_string().as_bytes())),
        });
        repository.write("keys", key.to_string().as_bytes());
        // The polynomial is from restic's documentation. It is not used for chunking here.
        let config = json!({"version": 1, "id": hex(&[5; 32]), "chunker_polynomial": "25b468838dcb75"});
        let config = repository.seal(&config);
        fs::write(repository.path().join("config"), config).unwrap();
        repository
    }

    /// Returns the path of the repository.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Adds an empty snapshot of `host` at `time`.
    pub fn add(&mut self, host: &str, time: DateTime<Utc>) {
        let snapshot = json!({
            "time": time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            "tree": hex(&[6; 32]),
            "paths": ["/"],
            "hostname": host,
            "username": "longshore",
        });
        let sealed = self.seal(&snapshot);
        self.write("snapshots", &sealed);
    }

    /// Returns a restic command for the repository, in UTC, without a cache and without locks, so
    /// that several can run at once.
    pub fn restic(&self) -> Command {
        let mut restic = Command::new("restic");
        restic.args(["--no-cache", "--no-lock", "--repo"]).arg(self.path());
        restic.envs([("RESTIC_PASSWORD", PASSWORD), ("TZ", "UTC")]);
        restic
    }

    /// Returns the output of `restic forget --dry-run` with these options, grouped by host.
    pub fn forget(&self, options: &[String]) -> Value {
        let mut restic = self.restic();
        restic.args(["forget", "--dry-run", "--json", "--group-by", "host"]).args(options);
        let output = restic.output().expect(
            "cannot run restic: install it with `cargo xtask test` or `apt-get install --no-install-recommends restic`",
        );
        assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn seal(&mut self, content: &Value) -> Vec<u8> {
        self.sealed += 1;
        self.master.seal(&u128::from(self.sealed).to_be_bytes(), content.to_string().as_bytes())
    }

    /// Writes a file named after its digest.
    fn write(&self, folder: &str, bytes: &[u8]) {
        fs::write(self.path().join(folder).join(hex(&Sha256::digest(bytes))), bytes).unwrap();
    }
}

impl Key {
    /// Encrypts with AES-256 in counter mode and authenticates with Poly1305-AES. Returns nonce,
    /// ciphertext and tag.
    fn seal(&self, nonce: &[u8; 16], bytes: &[u8]) -> Vec<u8> {
        let mut sealed = bytes.to_vec();
        ctr::Ctr128BE::<Aes256>::new(&self.encrypt.into(), nonce.into()).apply_keystream(&mut sealed);
        let mut pad = (*nonce).into();
        Aes128::new(&self.mac_k.into()).encrypt_block(&mut pad);
        let one_time = [self.mac_r, pad.into()].concat();
        let tag = Poly1305::new(one_time.as_slice().into()).compute_unpadded(&sealed);
        [nonce.as_slice(), &sealed, &tag].concat()
    }
}

/// Clears the bits of a Poly1305 key that the algorithm ignores, as restic requires.
fn clamped(mut r: [u8; 16]) -> [u8; 16] {
    for index in [3, 7, 11, 15] {
        r[index] &= 15;
    }
    for index in [4, 8, 12] {
        r[index] &= 252;
    }
    r
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

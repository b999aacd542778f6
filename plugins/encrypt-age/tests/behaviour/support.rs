//! Settings from text, streams from bytes, and the programs to compare with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use longshore_core::plugin::{Ask, Identities, Passphrase, Plugin};
use longshore_core::stage::{Decrypt, Encrypt};
use longshore_core::stream::{ByteStream, collect, from_bytes};
use longshore_core::{Result, Stage};
use longshore_encrypt_age::{Age, AgeDecrypt};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

/// The size in bytes of the chunks that age encrypts separately.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Builds an encrypter from its settings.
pub(crate) fn encrypter(settings: &str) -> Result<Box<dyn Encrypt>> {
    toml::from_str::<Age>(settings).unwrap().build(&())
}

/// Builds an encrypter for one recipient.
pub(crate) fn encrypter_for(recipient: &str) -> Box<dyn Encrypt> {
    encrypter(&format!("recipients = [\"{recipient}\"]")).unwrap()
}

/// Builds a decrypter with identity files, without a prompt.
pub(crate) fn decrypter(files: &[&Path]) -> Box<dyn Decrypt> {
    decrypter_with_prompt(files, &Arc::new(FixedAnswer::none())).unwrap()
}

/// Builds a decrypter with identity files and a prompt.
pub(crate) fn decrypter_with_prompt(files: &[&Path], ask: &Arc<FixedAnswer>) -> Result<Box<dyn Decrypt>> {
    let context = Identities {
        texts: Vec::new(),
        files: files.iter().map(|file| file.to_path_buf()).collect(),
        passphrase: Passphrase::AskFor,
        ask: Arc::clone(ask) as Arc<dyn Ask>,
        programs: Default::default(),
    };
    toml::from_str::<AgeDecrypt>("").unwrap().build(&context)
}

/// A prompt that gives the same answer to all questions, and counts them.
pub(crate) struct FixedAnswer {
    answer: Option<&'static str>,
    asked: AtomicUsize,
}

impl FixedAnswer {
    pub(crate) fn always(answer: &'static str) -> Arc<Self> {
        Arc::new(Self { answer: Some(answer), asked: AtomicUsize::new(0) })
    }

    pub(crate) fn none() -> Self {
        Self { answer: None, asked: AtomicUsize::new(0) }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Ask for FixedAnswer {
    fn secret(&self, _question: &str) -> Option<SecretString> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answer.map(SecretString::from)
    }
}

/// Encrypts bytes.
pub(crate) async fn seal(encrypter: &dyn Encrypt, plaintext: &[u8]) -> Vec<u8> {
    collected(encrypter.encrypt(from_bytes(plaintext.to_vec()), "appdb")).await
}

/// Returns a stream of chunks of one length, each followed by an empty one.
pub(crate) fn in_chunks(bytes: &[u8], length: usize) -> ByteStream {
    let chunks: Vec<_> = bytes.chunks(length).flat_map(|chunk| [chunk.to_vec().into(), Bytes::new()]).collect();
    stream::iter(chunks).map(Ok).boxed()
}

/// Collects a stream.
pub(crate) async fn collected(stream: ByteStream) -> Vec<u8> {
    collect(stream, 1 << 30, Stage::Ship, "").await.unwrap().to_vec()
}

/// Decrypts bytes.
pub(crate) async fn open(decrypter: &dyn Decrypt, ciphertext: &[u8]) -> Result<Vec<u8>> {
    let stream = decrypter.decrypt(from_bytes(ciphertext.to_vec()), "appdb").await?;
    Ok(collect(stream, 1 << 30, Stage::Decrypt, "").await?.to_vec())
}

/// Returns bytes without a pattern that chunks could share.
pub(crate) fn random_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// A directory for keys and files that is deleted after the test.
pub(crate) struct TestFolder(TempDir);

impl TestFolder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Generates an identity file with our own code; returns its path and its recipient.
    pub(crate) fn identity(&self, name: &str) -> (PathBuf, String) {
        let generated = longshore_encrypt_age::generate();
        (self.write(name, generated.file.expose_secret()), generated.recipient)
    }

    /// Generates a key with ssh-keygen; returns the path of the private key and the text of the
    /// public one.
    pub(crate) fn ssh_key(&self, name: &str, options: &[&str]) -> (PathBuf, String) {
        let path = self.path(name);
        let mut arguments = vec!["-q", "-C", "alice@example.net", "-f", path.to_str().unwrap()];
        arguments.extend(options);
        run("ssh-keygen", &arguments).unwrap();
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        (path, public.trim().to_owned())
    }

    /// Decrypts bytes with age; returns its standard output, or its error message.
    pub(crate) fn age_opens(&self, identity: &Path, ciphertext: &[u8]) -> Result<Vec<u8>, String> {
        let file = self.write("sealed.age", ciphertext);
        run("age", &["-d", "-i", identity.to_str().unwrap(), file.to_str().unwrap()])
    }

    /// Encrypts bytes with age.
    pub(crate) fn age_seals(&self, options: &[&str], plaintext: &[u8]) -> Vec<u8> {
        let file = self.write("plain", plaintext);
        let mut arguments = options.to_vec();
        arguments.push(file.to_str().unwrap());
        run("age", &arguments).unwrap()
    }
}

/// Runs a program; returns its standard output, or its error message.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("this test needs {program} (Debian: apt install age openssh-client): {error}"));
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

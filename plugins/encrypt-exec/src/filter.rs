//! The output of a program as a stream.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_exec::{ExecProgram, Request, Session, Step};

/// The number of first bytes of plaintext and output that are compared. No encryption begins with
/// that many bytes of its plaintext by chance.
const COMPARED_BYTES: usize = 32;

/// Returns the encrypted bytes. The stream ends cleanly only if the program read all of the
/// plaintext and succeeded. Output that is missing, or that begins like the plaintext, is an error.
pub(crate) fn encrypted(program: ExecProgram, request: Request, plaintext: ByteStream) -> ByteStream {
    let begin = Begin::default();
    let subject = request.subject.clone();
    let mut input = begin.record(plaintext);
    let stream = async_stream::try_stream! {
        let mut session = Session::start(&program, request).await?;
        let mut output = Vec::new();
        loop {
            match session.step(&mut input).await? {
                Step::Output(bytes) => {
                    if output.len() < COMPARED_BYTES {
                        output.extend_from_slice(&bytes[..bytes.len().min(COMPARED_BYTES)]);
                        if let Err(error) = begin.expect_other(&output, &program, &subject) {
                            session.abort().await;
                            Err(error)?;
                        }
                    }
                    yield bytes;
                }
                Step::Ended => break,
                Step::Taken(_) | Step::InputEnded | Step::Entry(_) => {}
            }
        }
        session.finish().await?;
        begin.expect_encrypted(&output, &program, &subject)?;
    };
    stream.boxed()
}

/// Returns the decrypted bytes. The stream ends cleanly only if the program read all of the
/// ciphertext and succeeded. If it fails after some output, the rest of the ciphertext is read: its
/// error is the cause, if it has one. Without output, the program probably lacks a key, and reading
/// the rest could take hours.
pub(crate) fn decrypted(program: ExecProgram, request: Request, mut ciphertext: ByteStream) -> ByteStream {
    let stream = async_stream::try_stream! {
        let mut session = Session::start(&program, request).await.map_err(no_damage)?;
        let mut has_output = false;
        loop {
            match session.step(&mut ciphertext).await {
                Ok(Step::Output(bytes)) => {
                    has_output = true;
                    yield bytes;
                }
                Ok(Step::Ended) => break,
                Ok(Step::Taken(_) | Step::InputEnded | Step::Entry(_)) => {}
                Err(error) if has_output => Err(cause(error, &mut ciphertext).await)?,
                Err(error) => Err(no_damage(error))?,
            }
        }
        if let Err(error) = session.finish().await {
            Err(cause(error, &mut ciphertext).await)?;
        }
    };
    stream.boxed()
}

/// Reads the rest of the ciphertext, and returns its error, or else that of the program.
async fn cause(error: Error, ciphertext: &mut ByteStream) -> Error {
    while let Some(chunk) = ciphertext.next().await {
        if let Err(damage) = chunk {
            return damage;
        }
    }
    no_damage(error)
}

/// Returns the error of a program, which is no damage even if the program reports damage: its
/// caller compares the digest of the stored bytes.
fn no_damage(error: Error) -> Error {
    match error.kind() {
        Kind::Corrupt => {
            Error::new(Stage::Decrypt, Kind::Failed, error.subject(), "the program reports damage").because(error)
        }
        _ => error,
    }
}

/// The first bytes of the plaintext. Clones share them.
#[derive(Clone, Default)]
struct Begin(Arc<Mutex<Vec<u8>>>);

impl Begin {
    /// Returns the plaintext, and records its first bytes as they pass.
    fn record(&self, plaintext: ByteStream) -> ByteStream {
        let begin = self.clone();
        plaintext.inspect(move |chunk| begin.see(chunk)).boxed()
    }

    fn see(&self, chunk: &Result<Bytes>) {
        let mut begin = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(chunk), missing @ 1..) = (chunk, COMPARED_BYTES - begin.len()) {
            begin.extend_from_slice(&chunk[..chunk.len().min(missing)]);
        }
    }

    /// Fails if the output so far begins like the plaintext.
    fn expect_other(&self, output: &[u8], program: &ExecProgram, subject: &str) -> Result<()> {
        let begin = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if begin.len() == COMPARED_BYTES && output.starts_with(&begin) {
            return Err(unencrypted(program, subject, "wrote its input unchanged: nothing was encrypted"));
        }
        Ok(())
    }

    /// Fails if the whole output is missing, or is the plaintext.
    fn expect_encrypted(&self, output: &[u8], program: &ExecProgram, subject: &str) -> Result<()> {
        let begin = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if output.is_empty() {
            return Err(unencrypted(program, subject, "succeeded, but wrote nothing"));
        }
        if begin.len() < COMPARED_BYTES && *output == **begin {
            return Err(unencrypted(program, subject, "wrote its input unchanged: nothing was encrypted"));
        }
        Ok(())
    }
}

fn unencrypted(program: &ExecProgram, subject: &str, problem: &str) -> Error {
    Error::new(Stage::Encrypt, Kind::Failed, subject, format!("{} {problem}", program.path().display()))
        .hint("correct the program, which must write the encrypted bytes to standard output")
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use longshore_core::stream::{collect, from_bytes};
    use longshore_exec::Role;
    use longshore_testkit::stream::{fails_after, is_failure, random};

    use super::*;

    /// The most output of a test, in bytes.
    const MAX: usize = 10_000_000;

    struct Script {
        folder: tempfile::TempDir,
    }

    impl Script {
        fn new(body: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("program"), format!("#!/bin/bash\n{body}\n")).unwrap();
            fs::set_permissions(folder.path().join("program"), Permissions::from_mode(0o700)).unwrap();
            Self { folder }
        }

        fn program(&self) -> ExecProgram {
            ExecProgram {
                argv: vec![self.folder.path().join("program").display().to_string()],
                stall_timeout: Duration::from_secs(60),
                ..ExecProgram::default()
            }
        }

        async fn encrypt(&self, input: ByteStream) -> Result<Bytes> {
            let request = Request::new(Stage::Encrypt, "wiki", Role::Encrypt);
            collect(encrypted(self.program(), request, input), MAX, Stage::Encrypt, "wiki").await
        }

        async fn decrypt(&self, input: ByteStream) -> Result<Bytes> {
            let request = Request::new(Stage::Decrypt, "wiki", Role::Decrypt);
            collect(decrypted(self.program(), request, input), MAX, Stage::Decrypt, "wiki").await
        }
    }

    const ROTATE: &str = "tr '\\000-\\377' '\\001-\\377\\000'";
    const ROTATE_BACK: &str = "tr '\\001-\\377\\000' '\\000-\\377'";

    #[tokio::test]
    async fn decryption_returns_the_plaintext() {
        for length in [1, 31, 32, 33, 3_000_000] {
            let plaintext = collect(random(1, length), MAX, Stage::Encrypt, "wiki").await.unwrap();
            let sealed = Script::new(&format!("export LC_ALL=C; {ROTATE}")).encrypt(random(1, length)).await.unwrap();
            assert!(sealed.len() == plaintext.len() && sealed != plaintext);
            let opened = Script::new(&format!("export LC_ALL=C; {ROTATE_BACK}")).decrypt(from_bytes(sealed)).await;
            assert_eq!(opened.unwrap(), plaintext);
        }
    }

    #[tokio::test]
    async fn misbehaving_encryption_is_an_error() {
        for (label, body, length, expected) in [
            ("copy", "cat", 100_000, "wrote its input unchanged"),
            ("copy of a little", "cat", 5, "wrote its input unchanged"),
            ("copy in small steps", "head -c 10; sleep 0.1; cat", 100_000, "wrote its input unchanged"),
            ("no output", "cat >/dev/null", 1000, "wrote nothing"),
            ("half", "echo begin; head -c 50000 >/dev/null; echo 'no key' >&2; exit 3", 100_000, "no key"),
            ("unread input", "echo begin; exit 0", 3_000_000, "before the end of its input"),
            ("unread end", "echo begin; head -c 99999 >/dev/null", 100_000, ""),
            ("killed", "cat >/dev/null; echo begin; kill -9 $$", 1000, "signal 9"),
            ("left process", "cat >/dev/null; echo begin; sleep 60 >&- & exit 0", 1000, "left processes running"),
        ] {
            let error = Script::new(body).encrypt(random(1, length)).await.expect_err(label);
            assert!(error.chain().contains(expected), "{label}: {}", error.chain());
            assert_eq!((error.kind(), error.stage()), (Kind::Failed, Stage::Encrypt), "{label}");
        }
        let error = Script::new("cat >/dev/null; echo whole").encrypt(fails_after(100_000)).await.unwrap_err();
        assert!(is_failure(&error), "another error than that of the input: {}", error.chain());
    }

    #[tokio::test]
    async fn damage_is_reported_by_the_digest_alone() {
        // The program fails in the middle, and a wrong digest is found only at the end.
        let fails = "head -c 10; echo 'no secret key' >&2; exit 2";
        let error = Script::new(fails).decrypt(fails_after(3_000_000)).await.unwrap_err();
        assert!(is_failure(&error), "{}", error.chain());
        let error = Script::new(fails).decrypt(random(1, 3_000_000)).await.unwrap_err();
        assert!(error.kind() == Kind::Failed && error.chain().contains("no secret key"), "{}", error.chain());
        let error = Script::new("exit 0").decrypt(random(1, 3_000_000)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Failed);
        // Without output, the rest is not read.
        let endless = futures_util::stream::repeat_with(|| Ok(Bytes::from_static(b"more")));
        let error = Script::new("exec 0<&-; exit 2").decrypt(endless.boxed()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Failed);
    }
}
